"""Whether an answer means the same as a reference, by the cosine of their vectors."""

from typing import Any

from selftune.core.errors import SelftuneError
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Scorer, errored, passed
from selftune.evaluate.similarity import cosine


class Params(Record):
    """What to compare, and how near is near enough."""

    name: str = "semantic"
    input: str = "{{ sample.output_text }}"
    references: tuple[str, ...]
    """Templates of right answers; the nearest counts."""
    threshold: float = 0.8
    """Least cosine that passes; it depends on the embedding model, so look at some answers first."""


def build(params: Params) -> Scorer:
    """Make the scorer, which says that there is no embedding model."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        output = fill(params.input, item, sample)
        references = [text for each in params.references if (text := fill(each, item, sample))]
        if not references:
            return errored("there is no reference to compare with", "other_error")
        if not output:
            return passed(0.0, threshold=params.threshold)
        try:
            said, *wanted = means.embed([output, *references])
        except SelftuneError as error:
            return errored(error.message, "other_error")
        nearest = max(cosine(said, each) for each in wanted)
        return passed(nearest, threshold=params.threshold)

    return score
