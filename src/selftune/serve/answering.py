"""The model thread's work: whole answers to a batch, and the steps of answers that are under way.

Whatever goes wrong is an answer, and nothing ends.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.models.live import Live
from selftune.models.sampler import LiveSampler, Piece, Sampler
from selftune.serve.frames import (
    Embedded,
    EmbedRequest,
    EndPiece,
    Failed,
    Patience,
    Pieces,
    Reply,
    SampleRequest,
    WirePiece,
)
from selftune.serve.loader import Key
from selftune.serve.pieces import gathered, prompt_of, sampled_of, wire_piece

_NOTE_SECONDS = 1.0
_log = logging.getLogger("selftune.serving")
Work = SampleRequest | EmbedRequest
Caller = asyncio.StreamWriter


class Asked(NamedTuple):
    """A request, and who waits for its answer."""

    work: Work
    caller: Caller

    @property
    def key(self) -> Key:
        """What model it is for."""
        return self.work.engine, self.work.folder


def answer_batch(sampler: Sampler, works: Sequence[Work]) -> list[Reply]:
    """Return the model's answers to a batch; a request that fails, fails alone."""
    try:
        return _replies(sampler, works)
    except Exception as error:  # noqa: BLE001 - a bad request must not end the process
        if len(works) == 1:
            return [failed(works[0], error)]
    half = len(works) // 2
    return answer_batch(sampler, works[:half]) + answer_batch(sampler, works[half:])


def failed(work: Work, error: Exception, *, is_loading: bool = False) -> Failed:
    """Return an error as an answer; a caller never has to fix what a model folder lacks."""
    if isinstance(error, SelftuneError):
        is_ours = is_loading and isinstance(error, InvalidInput)
        kind = "Unavailable" if is_ours else type(error).__name__
        return Failed(work.id, kind, error.message, error.code, error.param)
    doing = "load" if is_loading else "answer by"
    _log.error("could not %s %s", doing, (work.engine, work.folder), exc_info=error)
    if _is_memory(error):
        text = (
            "The model ran out of memory on this request: ask for fewer or shorter answers at "
            "once, or choose a smaller model."
        )
        return Failed(work.id, "Unavailable", text, "out_of_memory")
    text = "The model failed on this request; the server's log says why."
    return Failed(work.id, "Unavailable", text, "model_failed")


class Underway:
    """The answers of live samplers that are under way, and what of them is told to whom."""

    def __init__(self, say: Callable[[Sequence[tuple[Asked, Reply]]], None]) -> None:
        self._say = say
        self._lives: dict[Key, Live] = {}
        self._answers: dict[tuple[Caller, int], _Answer] = {}
        self._told: list[tuple[Asked, Reply]] = []
        self.news = threading.Event()
        """Set from outside: a turn ends after its step."""

    @property
    def keys(self) -> set[Key]:
        """Models that have work."""
        return set(self._lives)

    @property
    def count(self) -> int:
        """Answers that are under way."""
        return len(self._answers)

    def turn(
        self,
        newcomers: Sequence[tuple[LiveSampler, Asked]],
        gone: Sequence[tuple[Caller, int | None]],
        *,
        is_short: bool,
    ) -> None:
        """Take newcomers in, let those go who have gone, and step until there is news."""
        for sampler, asked in newcomers:
            self._start(sampler, asked)
        for caller, number in gone:  # of the newcomers too
            self._drop(caller, number)
        self._flush()
        while self._lives:
            for key, live in list(self._lives.items()):
                live.step()
                self._let_rest(key, live)
            self._flush()
            if is_short or self.news.is_set():
                return

    def _start(self, sampler: LiveSampler, asked: Asked) -> None:
        live = self._lives.setdefault(asked.key, Live(sampler))
        ticket = asked.caller, asked.work.id
        answer = self._answers[ticket] = _Answer(asked)
        assert isinstance(asked.work, SampleRequest)
        answer.number = live.start(prompt_of(asked.work), answer.tell)
        self._let_rest(asked.key, live)

    def _drop(self, caller: Caller, number: int | None) -> None:
        """Forget one of a caller's requests, or all."""
        for ticket in [
            ticket
            for ticket in self._answers
            if ticket[0] is caller and number in (None, ticket[1])
        ]:
            answer = self._answers.pop(ticket)
            live = self._lives.get(answer.asked.key)
            if live is not None and answer.number is not None:
                live.drop(answer.number)
                self._let_rest(answer.asked.key, live)

    def _let_rest(self, key: Key, live: Live) -> None:
        if not live.is_busy:
            del self._lives[key]

    def _flush(self) -> None:
        now = monotonic()
        told = [
            (answer.asked, reply)
            for answer in list(self._answers.values())
            for reply in answer.replies(now)
        ]
        for ticket in [ticket for ticket, answer in self._answers.items() if answer.is_over]:
            del self._answers[ticket]
        if told:
            self._say(told)


class _Answer:
    """What one request was told, and has not been sent."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.number: int | None = None
        self.is_over = False
        self._pieces: list[WirePiece] = []
        self._error: Failed | None = None
        self._is_new = False
        self._noted = monotonic()

    def tell(self, piece: Piece | Exception) -> None:
        """Take a piece of the answer, or what ended it."""
        self._is_new = True
        if isinstance(piece, Exception):
            self._error = failed(self.asked.work, piece)
            self.is_over = True
            return
        self._pieces.append(wire_piece(piece))
        self.is_over = isinstance(self._pieces[-1], EndPiece)

    def replies(self, now: float) -> list[Reply]:
        """Return what is to be sent: pieces at once, a whole answer when it is whole."""
        if not self._is_new:
            return []
        work = self.asked.work
        assert isinstance(work, SampleRequest)
        if self._error is not None:
            return [self._error]
        if work.stream:
            pieces, self._pieces, self._is_new = self._pieces, [], False
            return [Pieces(work.id, pieces)]
        if self.is_over:
            return [gathered(work, self._pieces)]
        if now - self._noted < _NOTE_SECONDS:
            return []
        self._noted, self._is_new = now, False
        return [Patience(work.id, 0.0)]


def _replies(sampler: Sampler, works: Sequence[Work]) -> list[Reply]:
    chats = [work for work in works if isinstance(work, SampleRequest)]
    completions = iter(sampler.sample([prompt_of(work) for work in chats]) if chats else ())
    replies: list[Reply] = []
    for work in works:
        if isinstance(work, SampleRequest):
            replies.append(sampled_of(work, next(completions)))
        else:
            vectors, tokens = sampler.embed(work.texts)
            data = vectors.astype("<f4").tobytes()
            replies.append(Embedded(work.id, data, len(work.texts), tokens))
    return replies


def _is_memory(error: Exception) -> bool:
    """Return whether memory ran out: Python's, a GPU's (torch's class), or a CPU's in torch."""
    names = {each.__name__ for each in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(
        error
    )
