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
    """Answer one chat, or go on with a text."""

    id: int
    engine: str
    folder: str | None
    messages: list[dict[str, Any]]
    sampling: dict[str, Any]
    with_tokens: bool
    """Whether each token is wanted, or only the text."""
    text: str | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    stream: bool = False
    """Whether the answer is wanted in pieces, as they come."""


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


class WireCall(msgspec.Struct, array_like=True):
    """A function that the model wants called."""

    name: str
    arguments: str


class WireChoice(msgspec.Struct, array_like=True):
    """One answer."""

    text: str
    finish_reason: str
    tokens: list[WireToken]
    calls: list[WireCall] = []


class Sampled(msgspec.Struct, tag="sampled", array_like=True):
    """What came back for a chat, whole."""

    id: int
    choices: list[WireChoice]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class TokenPiece(msgspec.Struct, tag="token", array_like=True):
    """The next token of one of the answers."""

    choice: int
    token: WireToken


class CallPiece(msgspec.Struct, tag="call", array_like=True):
    """A function that one of the answers wants called."""

    choice: int
    call: WireCall


class FinishPiece(msgspec.Struct, tag="finish", array_like=True):
    """The end of one of the answers."""

    choice: int
    reason: str


class EndPiece(msgspec.Struct, tag="end", array_like=True):
    """The end of all of them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


WirePiece = TokenPiece | CallPiece | FinishPiece | EndPiece


class Pieces(msgspec.Struct, tag="pieces", array_like=True):
    """What has come of an answer since the last time."""

    id: int
    pieces: list[WirePiece]


class Patience(msgspec.Struct, tag="patience", array_like=True):
    """The answer is on its way, and may take so much longer than answers take."""

    id: int
    seconds: float


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
    param: str | None = None


Reply = Sampled | Pieces | Patience | Embedded | Failed

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
