"""What a scorer is: it judges one answer, and a failure to judge is not a bad answer."""

from typing import Any, Protocol

from selftune.core.errors import InvalidInput
from selftune.core.records import Scored


class Scorer(Protocol):
    """Judges one sampled answer against its item."""

    def __call__(self, item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        """Return the score; `sample` has `output_text`."""
        ...


def guarded(scorer: Scorer, item: dict[str, Any], sample: dict[str, Any]) -> Scored:
    """Score, turning a template or item that cannot be read into `errored`, never into zero."""
    try:
        return scorer(item, sample)
    except InvalidInput as error:
        return Scored(status="errored", reason=error.message)


def passed(value: float, *, threshold: float = 1.0) -> Scored:
    """Return a score that passes from a threshold on."""
    return Scored(status="scored", value=value, passed=value >= threshold)
