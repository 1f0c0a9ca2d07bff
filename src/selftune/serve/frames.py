"""What the API process and the serving process say to each other: msgpack with a length before."""

import asyncio
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct("<I")
MOST_BYTES = 64 * 1024 * 1024
GREETING = b"\n"
"""What the serving process sends first: a connection that a dying one left in its queue has none."""


class SampleRequest(msgspec.Struct, tag="sample", array_like=True):
    """Answer one chat."""

    id: int
    engine: str
    folder: str | None
    messages: list[dict[str, Any]]
    sampling: dict[str, Any]
    with_tokens: bool
    """Whether each token is wanted, or only the text."""


class EmbedRequest(msgspec.Struct, tag="embed", array_like=True):
    """Embed texts."""

    id: int
    engine: str
    folder: str | None
    texts: list[str]


class Cancel(msgspec.Struct, tag="cancel", array_like=True):
    """The caller has gone."""

    id: int


Request = SampleRequest | EmbedRequest | Cancel


class WireToken(msgspec.Struct, array_like=True):
    """One token of an answer."""

    text: str
    bytes: list[int]
    logprob: float
    top: list[tuple[str, list[int], float]]


class WireChoice(msgspec.Struct, array_like=True):
    """One answer."""

    text: str
    finish_reason: str
    tokens: list[WireToken]


class Sampled(msgspec.Struct, tag="sampled", array_like=True):
    """What came back for a chat."""

    id: int
    choices: list[WireChoice]
    prompt_tokens: int
    completion_tokens: int


class Embedded(msgspec.Struct, tag="embedded", array_like=True):
    """Vectors, as little-endian float32 bytes of `count` rows."""

    id: int
    vectors: bytes
    count: int
    tokens: int


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """Why there is no answer; `kind` is the name of an error class."""

    id: int
    kind: str
    message: str
    code: str | None


Reply = Sampled | Embedded | Failed

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next frame, or None at the end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MOST_BYTES:
            return None
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def frame(message: Request | Reply) -> bytes:
    """Return a message with its length before it."""
    body = encode(message)
    return _LENGTH.pack(len(body)) + body
