"""How many of an item's keywords an answer has, with credit in steps."""

from typing import Any

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer


class Params(Record):
    """Which keywords, and what share of them earns what."""

    name: str = "keyword_coverage"
    input: str = "{{ sample.output_text }}"
    keywords: str = "keywords"
    """Field of the item that lists them."""
    steps: tuple[tuple[float, float], ...] = ((0.5, 1.0), (0.4, 0.7))
    """Pairs of least share and credit, highest share first; below all of them the credit is 0."""


def build(params: Params) -> Scorer:
    """Make the scorer."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        keywords = item.get(params.keywords)
        if not isinstance(keywords, list) or not keywords:
            reason = f"the item has no list {params.keywords!r}"
            return Scored(status="errored", reason=reason)
        output = fill(params.input, item, sample).casefold()
        share = sum(str(word).casefold() in output for word in keywords) / len(keywords)
        credit = next((credit for least, credit in params.steps if share >= least), 0.0)
        return Scored(status="scored", value=credit, passed=credit >= 1.0)

    return score
