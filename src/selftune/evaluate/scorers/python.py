"""A program of the user's gives the answer a number, as OpenAI's grader of this name has it."""

import ast
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.sandbox import grade_inside
from selftune.evaluate.scorer import Graded, Scorer

WAITS = True
"""It runs in a process of its own, so it is not quick."""
_MOST_BYTES = 256 * 1000


class Params(Record):
    """Which program."""

    name: str = "python"
    source: str
    """Python that defines `grade(sample, item)`; it runs in a sandbox or not at all."""
    image_tag: str | None = None
    """Which of OpenAI's images it was written for; here it runs on the Python that is installed."""
    pass_threshold: float = 1.0


def build(params: Params) -> Scorer:
    """Make the scorer."""
    _check(params.source)

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Graded:
        found = grade_inside(params.source, item, sample)
        if found.value is None:
            return found
        return found.model_copy(update={"passed": found.value >= params.pass_threshold})

    return score


def _check(source: str) -> None:
    """Raise `InvalidInput` for what cannot be such a program; nothing of it runs."""
    if len(source.encode(errors="replace")) > _MOST_BYTES:
        raise _refused(f"is longer than {_MOST_BYTES:,} bytes")
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(f"is not Python: {error}") from error
    if not any(getattr(node, "name", None) == "grade" for node in tree.body):
        raise _refused("does not define grade(sample, item)")


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(f"The grader's source {reason}.", code="invalid_value", param="source")
