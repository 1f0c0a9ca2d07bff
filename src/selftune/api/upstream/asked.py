"""What a request says that decides who answers it; the rest is not read."""

from typing import Any

import msgspec

QUESTIONS = frozenset(
    ("/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings")
)
"""Where a model is asked; its name decides."""
COMPARED = frozenset(("/v1/chat/completions", "/v1/responses", "/v1/completions"))
"""Whose answers are texts and calls, which can be compared."""
RECORDED = frozenset(("/v1/chat/completions", "/v1/responses"))
"""Whose answers the API can store: it has no object for a plain completion."""
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What is raised where a body is no JSON, or has another shape."""


class Asked(msgspec.Struct):
    """The fields that decide; of another type than the API's, who answers refuses them."""

    model: str
    store: Any = None
    user: Any = None
    safety_identifier: Any = None
    previous_response_id: Any = None
    conversation: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(Asked)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def asked_of(body: bytes) -> Asked | None:
    """Return what a body asks for; None where it cannot be read."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


def conversation_of(asked: Asked) -> bytes:
    """Return what stays the same in a conversation: its user, else how it began."""
    who = asked.user or asked.safety_identifier
    if who and isinstance(who, str):
        return b"user\0" + who.encode()
    if _is_given(asked.conversation):
        return b"conversation\0" + bytes(asked.conversation)
    told = asked.messages if _is_given(asked.messages) else asked.input
    if _is_given(told):
        return b"begin\0" + bytes(asked.instructions) + b"\0" + _begin(bytes(told))
    return b"prompt\0" + bytes(asked.prompt)


def renamed(body: bytes, model: str, **changed: object) -> bytes:
    """Return a body that asks for another model; what is not changed stays as it is written."""
    try:
        return msgspec.json.encode({**_fields.decode(body), "model": model, **changed})
    except UNREADABLE:  # who answers refuses it
        return body


def _is_given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _begin(told: bytes) -> bytes:
    """Return messages up to the user's first."""
    try:
        found = msgspec.json.decode(told)
    except UNREADABLE:  # who answers refuses it
        return told
    if not isinstance(found, list):
        return told
    kept = []
    for message in found:
        kept.append(message)
        if isinstance(message, dict) and message.get("role") == "user":
            break
    return msgspec.json.encode(kept)
