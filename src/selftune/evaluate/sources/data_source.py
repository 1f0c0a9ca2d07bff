"""What a run grades and whom it asks, in OpenAI's words, checked."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from selftune.core.errors import InvalidInput

Role = Literal["user", "assistant", "system", "developer"]
_ALLOWED = {
    "jsonl": ("file_content", "file_id"),
    "completions": ("file_content", "file_id", "stored_completions"),
    "responses": ("file_content", "file_id", "responses"),
}
_MOST_TOKENS = 2**31 - 1
_MOST_SEED = 2**63 - 1
Text = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=10_000)]
"""What every database can look up: Postgres has no NUL character."""


class _Part(BaseModel):
    """Part of a data source; what nobody knows is ignored, as OpenAI ignores it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Row(_Part):
    """One row of a file."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContent(_Part):
    """Rows that came with the request."""

    type: Literal["file_content"]
    content: tuple[Row, ...]


class FileId(_Part):
    """A file with one row a line."""

    type: Literal["file_id"]
    id: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=64)]


class StoredCompletions(_Part):
    """Chat completions that were kept."""

    type: Literal["stored_completions"]
    metadata: dict[Text, Text] | None = None
    model: Text | None = None
    created_after: int | None = None
    created_before: int | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


class StoredResponses(_Part):
    """Responses that were kept."""

    type: Literal["responses"]
    metadata: dict[Text, Text] | None = None
    model: Text | None = None
    created_after: Annotated[int, Field(ge=0)] | None = None
    created_before: Annotated[int, Field(ge=0)] | None = None
    instructions_search: Text | None = None
    reasoning_effort: Text | None = None
    temperature: float | None = None
    top_p: float | None = None
    users: tuple[Text, ...] | None = None
    tools: tuple[Text, ...] | None = None


class TemplateMessage(_Part):
    """A message with placeholders."""

    role: Role
    content: str | dict[str, Any] | tuple[str | dict[str, Any], ...]


class Template(_Part):
    """Messages that are filled with each item."""

    type: Literal["template"]
    template: Annotated[tuple[TemplateMessage, ...], Field(min_length=1)]


class ItemReference(_Part):
    """Messages that each item has."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, Field(pattern=r"^item(\.\w+)+$", max_length=500)]


class TextOptions(_Part):
    """What the Responses API calls `text`."""

    format: dict[str, Any] | None = None


class SamplingParams(_Part):
    """How the model samples."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-_MOST_SEED, le=_MOST_SEED)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=_MOST_TOKENS)] | None = None
    max_completions_tokens: Annotated[int, Field(ge=1, le=_MOST_TOKENS)] | None = None
    """The same: older clients write it so."""
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    text: TextOptions | None = None
    tools: tuple[dict[str, Any], ...] | None = None

    @property
    def limit(self) -> int | None:
        """Most tokens of an answer."""
        if self.max_completion_tokens is None:
            return self.max_completions_tokens
        return self.max_completion_tokens


Source = Annotated[
    FileContent | FileId | StoredCompletions | StoredResponses, Field(discriminator="type")
]


class DataSource(_Part):
    """Everything that decides one run."""

    type: Literal["jsonl", "completions", "responses"]
    source: Source
    input_messages: Annotated[Template | ItemReference, Field(discriminator="type")] | None = None
    model: Annotated[str, Field(pattern=r"^[^\x00]+$", max_length=300)] | None = None
    sampling_params: SamplingParams = SamplingParams()

    @property
    def is_stored(self) -> bool:
        """Whether questions and answers were kept before."""
        return isinstance(self.source, StoredCompletions | StoredResponses)

    @property
    def is_asking(self) -> bool:
        """Whether a model is asked; else the answers that are there are graded."""
        return self.type != "jsonl" and self.model is not None


def read_data_source(value: Any) -> DataSource:
    """Return a run's data source.

    Raises:
        InvalidInput: it is none, with `data_source.…` as its parameter.

    """
    try:
        found = DataSource.model_validate(_given(value))
    except ValidationError as problem:
        raise _invalid(problem) from problem
    if found.source.type not in _ALLOWED[found.type]:
        raise _refused(
            f"a data source of type '{found.type}' takes {' or '.join(_ALLOWED[found.type])}, "
            f"not '{found.source.type}'",
            "source.type",
        )
    if found.type == "jsonl":
        return found
    if found.model is None and (found.input_messages is not None or not found.is_stored):
        raise _lacks("model")
    if found.input_messages is None and not found.is_stored:
        raise _lacks("input_messages")
    return found


def echo(value: dict[str, Any]) -> dict[str, Any]:
    """Return a data source as it is answered: without what was given as null."""
    shown: dict[str, Any] = _given(value)
    source = shown.get("source")
    if isinstance(source, dict):
        shown["source"] = _given(source)
        if isinstance(source.get("content"), list | tuple):
            shown["source"]["content"] = [_given(row) for row in source["content"]]
    for name in ("input_messages", "sampling_params"):
        if isinstance(shown.get(name), dict):
            shown[name] = _given(shown[name])
    return shown


def _given(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: found for name, found in value.items() if found is not None}


def _lacks(name: str) -> InvalidInput:
    return InvalidInput(
        f"Missing required parameter: 'data_source.{name}'.",
        code="missing_required_parameter",
        param=f"data_source.{name}",
    )


def _refused(what: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid value for 'data_source.{name}': {what}.",
        code="invalid_value",
        param=f"data_source.{name}",
    )


def _invalid(problem: ValidationError) -> InvalidInput:
    first = problem.errors()[0]
    steps = [str(step) for step in first["loc"]]
    if steps[:1] in (["source"], ["input_messages"]):
        del steps[1:2]  # pydantic names the member of the union too
    where = ".".join(step for step in steps if step not in ("str", "dict") and "[" not in step)
    if first["type"] == "missing":
        return _lacks(where)
    if first["type"] == "union_tag_not_found":
        return _lacks(f"{where}.type")
    return _refused(first["msg"].rstrip("."), where) if where else _lacks("type")
