"""One sample of an inspect_ai log, reduced to what a round and an eval need."""

from dataclasses import dataclass
from typing import Any

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate.interchange.found import Row, count_of, name_of, object_at, rows_in, usage_of
from selftune.evaluate.interchange.questions import plain_messages
from selftune.evaluate.interchange.scores import score_of
from selftune.evaluate.scorer import Graded
from selftune.models.answers import Timing

_ATTACHED = "attachment://"
_WORDS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
_FINISHES = {"max_tokens": "cut", "model_length": "cut", "content_filter": "refused"}
_CONTENT = ("input", "target", "choices")
_KEPT = (
    *("id", "epoch", "input", "target", "choices", "metadata", "messages", "output", "scores"),
    *("score", "error", "model_usage"),
)
_MOST_REASON = 2_000


@dataclass(frozen=True)
class Sample:
    """One answer to one item."""

    key: str
    """The same for every epoch of an item."""
    fields: Row
    asked: tuple[Row, ...] | None
    """The chat that was sent; None where there was more than one, or more than text."""
    epoch: int
    """From 0."""
    output: str
    finish: str
    model: str
    error: str
    scores: dict[str, Graded]
    usage: Usage | None
    timing: Timing | None
    place: str

    def identity(self, id_field: str | None) -> Row:
        """Return the fields that name the item."""
        if id_field is not None:
            return self.fields
        return {key: self.fields[key] for key in _CONTENT if key in self.fields}


def sample_of(value: Row, model: str, place: str) -> Sample:
    """Return a sample of a log in which `model` was asked."""
    value = _whole(value)
    fields: Row = {"input": value.get("input"), "target": _target(value.get("target"))}
    if value.get("choices"):
        fields["choices"] = value["choices"]
    key = canonical_json([str(value.get("id")), type(value.get("id")).__name__])
    fields["sample_id"] = value.get("id")
    if value.get("metadata"):
        fields["metadata"] = value["metadata"]
    asked, turns = _asked(rows_in(value.get("messages")))
    output = object_at(value, "output")
    seconds = score_of(output.get("time")).value
    return Sample(
        key=key,
        fields=fields,
        asked=asked,
        epoch=max((count_of(value.get("epoch")) or 1) - 1, 0),
        output=_said(output),
        finish=_finish(output),
        model=name_of(output.get("model"), ""),
        error=str(object_at(value, "error").get("message") or "")[:_MOST_REASON],
        scores=scores_of(value),
        usage=_usage(value, output, model),
        timing=Timing(answering=seconds) if seconds and seconds > 0 and turns == 1 else None,
        place=place,
    )


def scores_of(value: Row) -> dict[str, Graded]:
    """Return the scores by their names; a score of several values is several scores."""
    given = object_at(value, "scores")
    if not given and object_at(value, "score"):
        given = {"score": value["score"]}
    found: dict[str, Graded] = {}
    for name, score in given.items():
        inner = score.get("value") if isinstance(score, dict) else score
        reason = score.get("explanation") if isinstance(score, dict) else None
        if isinstance(inner, dict):
            found |= {f"{name}.{key}": score_of(_number(each)) for key, each in inner.items()}
        else:
            found[str(name)] = score_of(_number(inner), reason=reason)
    return found


def _number(value: Any) -> Any:
    """Return a score as inspect_ai's own metrics read it."""
    if not isinstance(value, str):
        return value
    if value in _WORDS or value.lower() in _WORDS:
        return _WORDS.get(value, _WORDS.get(value.lower()))
    try:
        return float(value)
    except ValueError:
        return None


def _whole(value: Row) -> Row:
    """Return a sample with its long texts back in their places, but for its events."""
    texts = object_at(value, "attachments")
    kept = {key: value[key] for key in _KEPT if key in value}
    return dict(_attached(kept, texts)) if texts else kept


def _attached(value: Any, texts: Row) -> Any:
    if isinstance(value, str) and value.startswith(_ATTACHED):
        return texts.get(value.removeprefix(_ATTACHED), value)
    if isinstance(value, dict):
        return {key: _attached(each, texts) for key, each in value.items()}
    return [_attached(each, texts) for each in value] if isinstance(value, list) else value


def _target(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _asked(messages: list[Row]) -> tuple[tuple[Row, ...] | None, int]:
    """Return the one chat that was sent, and how often the model answered."""
    answers = [m for m in messages if m.get("role") == "assistant"]
    generated = [m for m in answers if m.get("source") == "generate"] or answers[-1:]
    is_one = len(generated) <= 1 and (not generated or messages[-1] is generated[0])
    try:
        sent = messages[:-1] if generated else messages
        return (plain_messages(sent) if is_one else None), len(generated)
    except InvalidInput:
        return None, len(generated)


def _said(output: Row) -> str:
    completion = output.get("completion")
    if isinstance(completion, str) and completion:
        return completion
    choices = rows_in(output.get("choices"))
    content = object_at(choices[0], "message").get("content") if choices else ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in rows_in(content))


def _finish(output: Row) -> str:
    choices = rows_in(output.get("choices"))
    return _FINISHES.get(str(choices[0].get("stop_reason")) if choices else "", "answered")


def _usage(value: Row, output: Row, model: str) -> Usage | None:
    """Return the tokens of all turns; inspect_ai counts cached ones apart from the others."""
    used = object_at(value, "model_usage", model) or object_at(output, "usage")
    read = count_of(used.get("input_tokens_cache_read")) or 0
    written = count_of(used.get("input_tokens_cache_write")) or 0
    prompt = count_of(used.get("input_tokens"))
    return usage_of(
        None if prompt is None else prompt + read + written, used.get("output_tokens"), read
    )
