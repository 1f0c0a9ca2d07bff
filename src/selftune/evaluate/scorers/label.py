"""Whether an answer is the right one of a closed set of labels."""

from typing import Annotated, Any

from pydantic import Field

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, errored


class Params(Record):
    """Which labels there are."""

    name: str = "label"
    input: str = "{{ sample.output_text }}"
    reference: str
    """Template of the right label."""
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    exact: bool = False
    """Case and surrounding space count; else only the words do."""


def build(params: Params) -> Scorer:
    """Make the scorer; its reason says which label was read, for a table of confusions."""
    known = {_form(label, params.exact): label for label in params.labels}

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        wanted = known.get(_form(fill(params.reference, item, sample), params.exact))
        if wanted is None:
            return errored("the reference is not one of the labels", "other_error")
        found = known.get(_form(fill(params.input, item, sample), params.exact))
        right = found == wanted
        said = "no label" if found is None else found
        return Scored(
            status="scored", value=float(right), passed=right, reason=f"{wanted} -> {said}"
        )

    return score


def _form(text: str, exact: bool) -> str:
    return text if exact else " ".join(text.casefold().split())
