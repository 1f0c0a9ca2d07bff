"""How alike an answer and a reference are, as OpenAI's grader of this name measures it."""

from typing import Any, Literal

from selftune.core.errors import SelftuneError
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Scorer, errored, passed
from selftune.evaluate.similarity import cosine, similarity

Metric = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]


class Params(Record):
    """Which measure."""

    name: str = "text_similarity"
    input: str = "{{ sample.output_text }}"
    reference: str
    evaluation_metric: Metric
    pass_threshold: float = 0.5


def build(params: Params) -> Scorer:
    """Make the scorer; `cosine` says that there is no embedding model."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        output, reference = (fill(each, item, sample) for each in (params.input, params.reference))
        if params.evaluation_metric != "cosine":
            value = similarity(params.evaluation_metric, output, reference)
            return passed(value, threshold=params.pass_threshold)
        if not output or not reference:  # nothing has no vector
            return passed(float(output == reference), threshold=params.pass_threshold)
        try:
            left, right = means.embed([output, reference])
        except SelftuneError as error:
            return errored(error.message, "other_error")
        return passed(cosine(left, right), threshold=params.pass_threshold)

    return score
