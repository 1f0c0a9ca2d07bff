"""A model gives the answer a label, as OpenAI's grader of this name has it."""

from typing import Annotated, Any

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.judging import Message, SamplingParams, ask_for, filled, object_in
from selftune.evaluate.means import NO_MEANS, Asked, Means
from selftune.evaluate.scorer import Graded, Scorer


class Params(Record):
    """Which model, what it is told, and which labels pass."""

    name: str = "label_model"
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[tuple[Message, ...], Field(min_length=1)]
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    passing_labels: tuple[str, ...]
    sampling_params: SamplingParams = SamplingParams()


def build(params: Params) -> Scorer:
    """Make the scorer, which says that there is no model to ask."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer."""
    strangers = [label for label in params.passing_labels if label not in params.labels]
    if strangers:
        raise InvalidInput(
            f"The passing label {strangers[0]!r} is not one of the labels.",
            code="invalid_value",
            param="passing_labels",
        )
    task = {"role": "system", "content": _task(params.labels)}
    schema = _schema(params.labels)

    def read(text: str) -> str | None:
        return _read_label(text, params.labels)

    def judged(label: str) -> Graded:
        passes = label in params.passing_labels
        return Graded(status="scored", value=float(passes), passed=passes, reason=label)

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Graded:
        asked = Asked(
            model=params.model,
            messages=(task, *filled(params.input, item, sample)),
            sampling=params.sampling_params.words(),
            answer_schema=schema,
        )
        return ask_for(means.ask, asked, read, judged)

    return score


def _read_label(text: str, labels: tuple[str, ...]) -> str | None:
    found = object_in(text)
    said = text.strip() if found is None else found.get("result", found.get("label"))
    return said if isinstance(said, str) and said in labels else None


def _schema(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"result": {"type": "string", "enum": list(labels)}},
        "required": ["result"],
        "additionalProperties": False,
    }


def _task(labels: tuple[str, ...]) -> str:
    # One label on a line: the embedded base finds the choices of a prompt so, and can judge then.
    listed = "\n".join(f"- {label}" for label in labels)
    return f'Reply with JSON only: {{"result": "<label>"}}, where <label> is one of:\n{listed}'
