"""How many of an item's keywords an answer has, with credit in steps."""

from itertools import compress
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed


class Params(Record):
    """Which keywords, and what share of them earns what."""

    name: str = "keyword_coverage"
    input: str = "{{ sample.output_text }}"
    keywords: str = "keywords"
    """Field of the item that lists them."""
    weights: str | None = None
    """Field of the item that lists one weight above 0 for each keyword; absent, all weigh 1."""
    steps: tuple[tuple[float, float], ...] = ((0.5, 1.0), (0.4, 0.7))
    """Pairs of least share and credit, in any order; below all of them the credit is 0."""
    pass_credit: float = 1.0


def build(params: Params) -> Scorer:
    """Make the scorer."""
    steps = sorted(params.steps, reverse=True)

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        keywords = _listed(item, params.keywords)
        weights = [1.0] * len(keywords)
        if params.weights is not None:
            weights = _weights(item, params.weights, len(keywords))
        output = fill(params.input, item, sample).casefold()
        found = [str(word).casefold() in output for word in keywords]
        share = sum(compress(weights, found)) / sum(weights)
        credit = next((credit for least, credit in steps if share >= least), 0.0)
        return passed(credit, threshold=params.pass_credit)

    return score


def _listed(item: dict[str, Any], field: str) -> list[Any]:
    found = item.get(field)
    if not isinstance(found, list) or not found:
        raise InvalidInput(f"The item has no list {field!r}.")
    return found


def _weights(item: dict[str, Any], field: str, count: int) -> list[float]:
    found = _listed(item, field)
    if len(found) != count or not all(isinstance(w, int | float) and w > 0 for w in found):
        raise InvalidInput(f"The list {field!r} must have {count} numbers above 0.")
    return found
