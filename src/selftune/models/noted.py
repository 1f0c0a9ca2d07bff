"""What a server tells of its exchanges to the process that records and compares them."""

import msgspec

SOCKET = "recorder.sock"
"""Where that process listens, in the home's folder `run`."""
MOST_BYTES = 64 * 1024 * 1024
"""Largest note."""
LENGTH_BYTES = 4


class Heard(msgspec.Struct, array_like=True):
    """What one side answered."""

    by: str
    """`upstream` or `replacement`."""
    model: str
    """The name that was asked there."""
    status: int
    body: bytes
    is_stream: bool
    seconds: float
    """Until the last byte."""
    first_seconds: float
    """Until the first."""
    name: str = ""
    """What the answer's header calls the request."""


class Note(msgspec.Struct, array_like=True):
    """One request and its answers."""

    project_id: str
    path: str
    at: int
    request: bytes
    answer: Heard
    """What the caller read."""
    shadow: Heard | None = None
    """What the replacement answered, which nobody read."""
    is_left_out: bool = False
    """Whether it was the replacement's turn to be asked too, and it was busy."""
    is_recorded: bool = False
    """Whether the request and the answer are to be kept."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Note)


def frame(note: Note) -> bytes:
    """Return a note with its length before it."""
    body = _encoder.encode(note)
    return len(body).to_bytes(LENGTH_BYTES) + body


def note_of(body: bytes) -> Note:
    """Return the note of a frame's body.

    Raises:
        msgspec.DecodeError: it is none.

    """
    return _decoder.decode(body)
