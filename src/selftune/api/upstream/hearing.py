"""Listen to an answer while it goes out, to tell of it afterwards."""

from time import perf_counter

from starlette.types import Message, Send

from selftune.models.noted import Heard

_MOST_KEPT = 8 * 1024 * 1024
"""Bytes of an answer that are kept in memory to tell of; of a larger one nothing is told."""


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

    def listen(self, send: Send) -> Send:
        """Return what sends, and hears what it sends; what was heard before is forgotten."""
        self._pieces, self._size, self._ended = [], 0, None

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
        if is_last:
            self._ended = perf_counter()
