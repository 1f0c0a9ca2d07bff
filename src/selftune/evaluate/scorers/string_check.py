"""Compare two strings, as OpenAI's grader of this name does."""

from collections.abc import Callable
from typing import Any, Literal

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed

_OPERATIONS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda output, reference: output == reference,
    "ne": lambda output, reference: output != reference,
    "neq": lambda output, reference: output != reference,
    "like": lambda output, reference: reference in output,
    "ilike": lambda output, reference: reference.casefold() in output.casefold(),
}


class Params(Record):
    """How to compare."""

    name: str = "string_check"
    input: str = "{{ sample.output_text }}"
    reference: str
    operation: Literal["eq", "ne", "neq", "like", "ilike"] = "eq"
    """`like` finds the reference inside, `ilike` without regard to case; `neq` is `ne`."""


def build(params: Params) -> Scorer:
    """Make the scorer."""
    matches = _OPERATIONS[params.operation]

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        output = fill(params.input, item, sample)
        return passed(float(matches(output, fill(params.reference, item, sample))))

    return score
