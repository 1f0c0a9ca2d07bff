"""Whether an answer opens with a given phrase."""

from typing import Any

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed


class Params(Record):
    """Which phrase."""

    name: str = "starts_with"
    input: str = "{{ sample.output_text }}"
    phrase: str


def build(params: Params) -> Scorer:
    """Make the scorer."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        output = fill(params.input, item, sample)
        return passed(float(output.startswith(fill(params.phrase, item, sample))))

    return score
