"""An answer in pieces, as the chunks of a stream."""

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from selftune.api.chat.tools import call_json, function_json
from selftune.api.chat.wire import CreateChat, Told, usage_json
from selftune.api.streams import Frames
from selftune.serve.frames import CallPiece, EndPiece, TokenPiece, WirePiece


async def chunks_json(
    wanted: CreateChat, told: Told, frames: Frames
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the chunks of a stream, each as soon as its piece is there."""
    chunks = _Chunks(wanted, told)
    async with contextlib.aclosing(frames):
        async for pieces in frames:
            for piece in pieces:
                for chunk in chunks.of(piece):
                    yield chunk


class _Chunks:
    """What was told of each choice."""

    def __init__(self, wanted: CreateChat, told: Told) -> None:
        self._wanted, self._told = wanted, told
        self._begun: set[int] = set()
        self._calls: Counter[int] = Counter()

    def of(self, piece: WirePiece) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a piece."""
        if isinstance(piece, EndPiece):
            if self._wanted.with_usage:
                yield self._told.chunk() | {"usage": usage_json(piece)}
            return
        if piece.choice not in self._begun:
            self._begun.add(piece.choice)
            first = {"role": "assistant", "content": "", "refusal": None}
            yield self._chunk(piece.choice, first)
        if isinstance(piece, TokenPiece):
            if piece.token.text or self._wanted.logprobs:
                delta = {"content": piece.token.text}
                logprobs = self._told.logprobs([piece.token])
                yield self._chunk(piece.choice, delta, logprobs=logprobs)
        elif isinstance(piece, CallPiece):
            yield self._chunk(piece.choice, self._call(piece))
        else:
            yield self._chunk(piece.choice, {}, finish_reason=self._told.reason(piece.reason))

    def _call(self, piece: CallPiece) -> dict[str, Any]:
        if self._wanted.has_functions:
            return {"function_call": function_json(piece.call)}
        index = self._calls[piece.choice]
        self._calls[piece.choice] += 1
        name = self._told.call_id(piece.choice, index)
        return {"tool_calls": [{"index": index, **call_json(name, piece.call)}]}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        place = {"index": index, "delta": delta}
        return self._told.chunk(place | {"logprobs": logprobs, "finish_reason": finish_reason})
