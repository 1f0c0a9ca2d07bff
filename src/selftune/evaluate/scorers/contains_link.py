"""Whether an answer has the right link, and no other."""

import re
from typing import Any

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed

_LINK = re.compile(r"https?://[^\s<>\"')\]]+")


class Params(Record):
    """Which link."""

    name: str = "contains_link"
    input: str = "{{ sample.output_text }}"
    link: str
    alone: bool = True
    """Other links in the answer make it wrong."""


def build(params: Params) -> Scorer:
    """Make the scorer."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        found = [link.rstrip(".,;:!?") for link in _LINK.findall(fill(params.input, item, sample))]
        wanted = fill(params.link, item, sample)
        right = wanted in found and (not params.alone or set(found) == {wanted})
        return passed(float(right))

    return score
