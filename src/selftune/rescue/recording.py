"""What passed through a server -> stored completions, without secrets and personal data."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from selftune.api.responses.items import messages_of
from selftune.api.responses.wire import CreateResponse
from selftune.core.errors import InvalidInput
from selftune.data.findings.redact import redact
from selftune.models.answers import load_json
from selftune.models.noted import Note
from selftune.rescue.told import CHAT, RESPONSES, Said, said_in
from selftune.store.completions import Kind, StoredChoice, StoredCompletion
from selftune.store.store import Store

ANSWERED_BY = "answered_by"
"""Key of the metadata that says which side answered."""
_LEFT = ("model", "messages", "input", "metadata", "store", "stream", "stream_options")
"""Of a request: kept elsewhere in the record, or of no meaning in it."""
_LONGEST = 512
"""Characters of a value of metadata, as OpenAI allows."""


def completions_of(store: Store, notes: Sequence[Note]) -> tuple[list[StoredCompletion], int, int]:
    """Return the records of exchanges, redacted; how many cannot be kept; how much was taken out."""
    found, unreadable = [], 0
    for note in notes:
        try:
            found.append(_completion_of(store, note))
        except (ValueError, InvalidInput, KeyError, TypeError, AttributeError):
            unreadable += 1
    texts = [_texts_of(_words_of(each)) for each in found]
    clean, taken = redact([text for some in texts for text in some])
    rest = iter(clean)
    redacted = [
        _redacted(each, some, list(islice(rest, len(some))))
        for each, some in zip(found, texts, strict=True)
    ]
    return redacted, unreadable, taken


def _completion_of(store: Store, note: Note) -> StoredCompletion:
    body = load_json(note.request)
    said = said_in(note.path, note.answer)
    kind, messages = _messages(note.path, body)
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    given = {str(key): str(value)[:_LONGEST] for key, value in metadata.items()}
    if "\0" in f"{body['model']}{body.get('user')}{given}":
        raise ValueError("It has a NUL character, which not every database can keep.")
    return StoredCompletion(
        id=store.ids.new("chatcmpl-" if kind == "chat.completion" else "resp_"),
        project_id=note.project_id,
        kind=kind,
        model=body["model"],
        created_at=note.at,
        metadata=given | {ANSWERED_BY: note.answer.by},
        messages=messages,
        choices=(_choice(said),),
        usage=said.usage,
        options=_options(body, note),
    )


def _messages(path: str, body: dict[str, Any]) -> tuple[Kind, tuple[dict[str, Any], ...]]:
    if path == CHAT:
        return "chat.completion", tuple(body["messages"])
    if path == RESPONSES:
        wanted = CreateResponse.model_validate(body)
        messages = messages_of(wanted.input)
        if wanted.instructions:
            messages = ({"role": "system", "content": wanted.instructions}, *messages)
        return "response", messages
    raise ValueError("Only chats and responses are kept.")


def _choice(said: Said) -> StoredChoice:
    return StoredChoice(
        message=said.message, finish_reason=said.finish_reason, logprobs=said.logprobs
    )


def _options(body: dict[str, Any], note: Note) -> dict[str, Any]:
    asked = {key: value for key, value in body.items() if key not in _LEFT and value is not None}
    return asked | {
        "request_id": note.answer.name,
        "answered_model": note.answer.model,
        "seconds": round(note.answer.seconds, 4),
        "first_seconds": round(note.answer.first_seconds, 4),
    }


def _words_of(found: StoredCompletion) -> dict[str, Any]:
    """Return the parts of a record that hold texts of strangers."""
    return {
        "messages": found.messages,
        "choices": [choice.message for choice in found.choices],
        "options": found.options,
        "metadata": tuple(found.metadata.items()),
    }


def _collect(value: Any, texts: list[str]) -> None:
    """Add all texts in a value, in its order."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, texts)
    elif isinstance(value, list | tuple):
        for each in value:
            _collect(each, texts)


def _redacted(found: StoredCompletion, texts: list[str], clean: list[str]) -> StoredCompletion:
    """Return a record with clean texts in place of its own.

    Log-probabilities name every token of an answer: they go where anything was taken out.
    """
    if clean == texts:
        return found
    words = _replaced(_words_of(found), iter(clean))
    choices = tuple(
        StoredChoice(message=message, finish_reason=choice.finish_reason)
        for message, choice in zip(words["choices"], found.choices, strict=True)
    )
    changed = {
        "messages": tuple(words["messages"]),
        "choices": choices,
        "options": words["options"],
        "metadata": dict(words["metadata"]),
    }
    return found.model_copy(update=changed)


def _replaced(value: Any, texts: Iterator[str]) -> Any:
    """Return a value with other texts, in its order."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, dict):
        return {key: _replaced(each, texts) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, texts) for each in value]
    return value


def _texts_of(value: Any) -> list[str]:
    found: list[str] = []
    _collect(value, found)
    return found
