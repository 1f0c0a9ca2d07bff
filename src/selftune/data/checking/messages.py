"""What is wrong with the messages of a row, one by one and in their order."""

from collections.abc import Iterator
from typing import Any

from selftune.data.checking.images import MAX_IMAGES, images_of, part_faults
from selftune.data.checking.tools import Fault, call_faults, is_name
from selftune.models.messages import SYSTEM_ROLES

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KEYS = frozenset(
    (
        "role",
        "content",
        "name",
        "weight",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "refusal",
        "audio",
        "annotations",
    )
)
_SHOWN = 40
"""Characters of a wrong value that a problem repeats."""


def messages_faults(row: dict[str, Any], messages: list[Any]) -> Iterator[Fault]:
    """Yield everything that is wrong with a list of messages, but not how it must end."""
    if not messages:
        yield "messages-empty", None, "has no messages"
    for index, message in enumerate(messages, start=1):
        yield from ((rule, index, words) for rule, words in _message_faults(message))
    known = [m for m in messages if isinstance(m, dict) and _is_role(m.get("role"))]
    if len(known) == len(messages):
        yield from call_faults(row, known)
        yield from _order_faults(known)
    images = images_of(messages)
    if images > MAX_IMAGES:
        yield "too-many-images", None, f"has {images} images; the limit is {MAX_IMAGES}"


def _is_role(role: Any) -> bool:
    return isinstance(role, str) and role in ROLES


def _order_faults(messages: list[dict[str, Any]]) -> Iterator[Fault]:
    has_begun = False
    for index, message in enumerate(messages, start=1):
        if message["role"] not in SYSTEM_ROLES:
            has_begun = True
        elif has_begun:
            yield (
                "system-misplaced",
                index,
                f"is from the {message['role']} and not at the beginning",
            )


def _message_faults(message: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(message, dict):
        yield "message-not-object", "is not an object"
        return
    if "role" not in message:
        yield "role-missing", "Discriminator 'role' is missing in value"
        return
    role = message["role"]
    if not _is_role(role):
        shown = repr(role)[:_SHOWN]
        yield "role-unknown", f"has the role {shown}, which is not one of {', '.join(ROLES)}"
        return
    yield from _content_faults(message, role)
    yield from _weight_faults(message, role)
    if message.get("name") is not None and not is_name(message["name"]):
        yield "name-invalid", "has a name that is not 1 to 64 letters, digits, hyphens, underscores"
    for key in message.keys() - _KEYS:
        yield "message-unknown-key", f"has the key {key[:_SHOWN]!r}, which training does not know"


def _content_faults(message: dict[str, Any], role: str) -> Iterator[tuple[str, str]]:
    content = message.get("content")
    speaks_otherwise = role == "assistant" and bool(
        message.get("tool_calls") or message.get("function_call") or message.get("refusal")
    )
    if content is None:
        if not speaks_otherwise:
            yield "content-missing", "has no content"
    elif isinstance(content, str):
        if not content.strip():
            if role == "assistant" and not speaks_otherwise:
                yield "answer-empty", "has empty content"
            elif role == "user":
                yield "prompt-empty", "has empty content"
    elif isinstance(content, list):
        yield from part_faults(content, role)
    else:
        yield "content-invalid", "has content that is neither text nor a list of parts"


def _weight_faults(message: dict[str, Any], role: str) -> Iterator[tuple[str, str]]:
    weight = message.get("weight")
    if weight is None:
        return
    if role != "assistant":
        yield "weight-not-assistant", "has a weight, which only assistant messages may have"
    elif isinstance(weight, bool) or weight not in (0, 1):
        yield "weight-invalid", f"has the weight {repr(weight)[:_SHOWN]}: it must be 0 or 1"
