"""Listen to an answer while it goes out, to tell of it afterwards."""

from time import perf_counter

from starlette.types import Message, Send

from selftune.models.noted import Heard

_MOST_KEPT = 8 * 1024 * 1024
"""Bytes of an answer that are kept in memory to tell of; of a larger one nothing is told."""


_DONE = b"\ndata: [DONE]"
"""How a stream of a chat says that it is over: clients leave then, before its connection says so."""
_AFTER_DONE = 4
"""Bytes of the line breaks behind it."""


class Hearing:
    """What was answered, as far as it has gone."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self._first = 0.0
        self._ended: float | None = None
        self._status = 0
        self._pieces: list[bytes] = []
        self._size = 0
        self._headers: dict[bytes, bytes] = {}
        self._last = b""

    @property
    def is_whole(self) -> bool:
        """Whether all was said."""
        return self._ended is not None

    def listen(self, send: Send) -> Send:
        """Return what sends, and hears what it sends; what was heard before is forgotten."""
        self._pieces, self._size, self._ended, self._last = [], 0, None, b""

        async def heard(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                self._status = message["status"]
                self._headers = dict(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                self._take(message.get("body", b""), is_last=not message.get("more_body", False))

        return heard

    def told(self, by: str, model: str) -> Heard | None:
        """Return what was answered; None where it was cut, or is too large to tell."""
        if self._ended is None or self._size > _MOST_KEPT:
            return None
        kind = self._headers.get(b"content-type", b"")
        return Heard(
            by=by,
            model=model,
            status=self._status,
            body=b"".join(self._pieces),
            is_stream=kind.startswith(b"text/event-stream"),
            seconds=self._ended - self._began,
            first_seconds=self._first - self._began,
            name=self._headers.get(b"x-request-id", b"").decode("latin-1"),
        )

    def _take(self, piece: bytes, *, is_last: bool) -> None:
        if not self._size:
            self._first = perf_counter()
        self._size += len(piece)
        if self._size <= _MOST_KEPT:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
        most = len(_DONE) + _AFTER_DONE
        self._last = (self._last + piece[-most:])[-most:]
        if is_last or self._last.rstrip().endswith(_DONE):
            self._ended = perf_counter()
