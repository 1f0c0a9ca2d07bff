"""A home in which a recorded model answers from its recording, and is asked nothing."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Self

import numpy as np

from selftune.core.settings import Settings
from selftune.evaluate.arms import Answerer, place_of
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.rounds import ArmRecord
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.prove.home import Home
from selftune.rescue.record.asking import refused_word, without

_AT_ONCE = 32
Opened = AbstractAsyncContextManager[Answerer]


class ProofHome(Home):
    """Answers of the recorded model are in the log; whatever is not was never answered."""

    def __init__(self, settings: Settings, recorded: ArmRecord) -> None:
        super().__init__(settings)
        self._recorded = recorded
        self._vectors: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return vectors of texts; each is made once, for graders and for the table of agreement."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            made = np.asarray(super().embed(missing), np.float32)
            self._vectors.update(zip(missing, made, strict=True))
        return [self._vectors[text].tolist() for text in texts]

    def open(self, model: str, endpoint: Endpoint | None, limits: Limits) -> Opened:
        """Open what answers for a model."""
        if endpoint is None:
            return super().open(model, endpoint, limits)
        opening = super().open
        is_there = place_of(endpoint) == self._recorded.place
        recorded = self._recorded.model if is_there else None
        return _Elsewhere(lambda: opening(model, endpoint, limits), recorded)


class _Elsewhere:
    """An endpoint that is opened when it is first asked; it is its own context."""

    def __init__(self, opening: Callable[[], Opened], recorded: str | None) -> None:
        self._opening, self._recorded = opening, recorded
        self._opened: Opened | None = None
        self._inner: Answerer | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(None, None, None)

    @property
    def requests(self) -> int:
        """Requests that were sent so far."""
        return 0 if self._inner is None else self._inner.requests

    @property
    def lag(self) -> float:
        """How late this process was."""
        return 0.0 if self._inner is None else self._inner.lag

    async def ready(self) -> int:
        """Return when one more question would be asked at once."""
        if self._inner is None:
            await asyncio.sleep(0)
            return _AT_ONCE
        return await self._inner.ready()

    async def answer(self, asked: Question) -> Answer:
        """Ask, unless it is the recorded model; do without words that a model does not take."""
        if asked.body.get("model") == self._recorded:
            return Answer(key=asked.key, status="failed", reason="It was not recorded.")
        inner = await self._ready()
        answer = await inner.answer(asked)
        while answer.status == "rejected" and (word := refused_word(asked, answer.reason)):
            asked = without(asked, word)
            answer = await inner.answer(asked)
        return answer

    async def _ready(self) -> Answerer:
        async with self._lock:
            if self._inner is None:
                opened = self._opening()
                self._inner = await opened.__aenter__()
                self._opened = opened
            return self._inner
