"""Stored chats of an archive, brought into the store: a run of an eval reads them there.

Its worker knows no archive. The server goes on answering for them from the archive.
"""

from typing import Any

from selftune.api.archive.archive import Object
from selftune.api.archive.bring import shelf_of
from selftune.api.archive.shelf import Shelf, created_of
from selftune.api.chat.stored import usage_of
from selftune.api.context import Context
from selftune.core.records import Identity
from selftune.store.completions import (
    ARCHIVED,
    StoredChoice,
    StoredCompletion,
    archived_completions,
    save_archived,
)

_AT_ONCE = 100
"""Chats that are read and stored together."""
_OF_MESSAGE = ("role", "name", "tool_calls", "tool_call_id", "function_call")
_OPTIONS = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "tools",
    "tool_choice",
    "response_format",
    "request_id",
)


def bring_chats(parts: Context, caller: Identity) -> None:
    """Make archived chats readable for runs of evals; what cannot be read as a chat is left out."""
    shelf = shelf_of(parts, caller)
    if shelf is None:
        return
    here = archived_completions(parts.store, caller.project_id)
    names = [name for name in shelf.archive.ids("completion") if name not in here]
    for start in range(0, len(names), _AT_ONCE):
        read = (_chat(shelf, caller.project_id, name) for name in names[start : start + _AT_ONCE])
        save_archived(parts.store, *(chat for chat in read if chat is not None))


def _chat(shelf: Shelf, project_id: str, name: str) -> StoredCompletion | None:
    entry = shelf.archive.get("completion", name)
    asked = [each.object for each in shelf.archive.list("completion_message", name)]
    if entry is None or not asked:
        return None
    try:
        chat = _record(project_id, name, entry.object, asked)
    except (KeyError, TypeError, ValueError, AttributeError):  # another shape than a chat
        return None
    return chat if chat.choices else None


def _record(project_id: str, name: str, told: Object, asked: list[Object]) -> StoredCompletion:
    options = {key: told[key] for key in _OPTIONS if told.get(key) is not None}
    user = told.get("input_user")
    return StoredCompletion(
        id=name,
        project_id=project_id,
        kind=ARCHIVED,
        model=told["model"],
        created_at=created_of(told),
        metadata=told.get("metadata") or {},
        messages=tuple(_message(each) for each in asked),
        choices=tuple(
            StoredChoice(
                message=choice["message"],
                finish_reason=choice.get("finish_reason") or "stop",
                logprobs=choice.get("logprobs"),
            )
            for choice in told["choices"]
        ),
        usage=usage_of(told["usage"]) if told.get("usage") else None,
        options=options if user is None else options | {"user": user},
    )


def _message(told: Object) -> dict[str, Any]:
    """Return a message as it was asked: its parts, where it had some."""
    content = told.get("content_parts") or told.get("content")
    given = {name: told[name] for name in _OF_MESSAGE if told.get(name) is not None}
    return given | {"content": content}
