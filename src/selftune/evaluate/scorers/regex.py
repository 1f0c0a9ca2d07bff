"""Whether an answer matches a regular expression."""

import re
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed


class Params(Record):
    """Which expression."""

    name: str = "regex"
    input: str = "{{ sample.output_text }}"
    pattern: str
    whole: bool = False
    """The whole answer must match, not a part of it."""


def build(params: Params) -> Scorer:
    """Make the scorer."""
    try:
        pattern = re.compile(params.pattern)
    except re.error as error:
        raise InvalidInput(f"{params.pattern!r} is not a regular expression: {error}.") from error

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        output = fill(params.input, item, sample)
        found = pattern.fullmatch(output) if params.whole else pattern.search(output)
        return passed(float(found is not None))

    return score
