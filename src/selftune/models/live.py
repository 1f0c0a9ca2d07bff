"""A live sampler, and who is told what of its answers."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from selftune.core.errors import SelftuneError, Unavailable
from selftune.core.records import Usage
from selftune.models.sampler import (
    Choice,
    Completion,
    Finish,
    LiveSampler,
    Piece,
    Prompt,
    Sampler,
    Token,
    ToolCall,
)

Tell = Callable[[Piece | Exception], None]


def as_live(sampler: Sampler) -> LiveSampler | None:
    """Return a sampler that takes prompts while it answers others as such; None if it is not."""
    return sampler if hasattr(sampler, "step") else None  # type: ignore[return-value]  # it is


class Live:
    """The prompts that one sampler has under way. Used from one thread.

    Every prompt is told its end, and after that nothing: the usage, or the error that ended it.
    What goes wrong ends the prompts of this sampler, and nothing else.
    """

    def __init__(self, sampler: LiveSampler) -> None:
        self._sampler = sampler
        self._tells: dict[int, Tell] = {}

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._tells)

    def start(self, prompt: Prompt, tell: Tell) -> int | None:
        """Take a prompt; return its number, or None where it ended at once."""
        ends: list[int] = []
        try:
            number = self._sampler.start(prompt, partial(self._told, ends, tell))
        except Exception as error:  # noqa: BLE001 - a bad request must not end the process
            tell(error)
            return None
        ends.append(number)
        self._tells[number] = tell
        return number

    def drop(self, number: int) -> None:
        """Forget a prompt whose caller has gone."""
        if self._tells.pop(number, None) is not None:
            with contextlib.suppress(Exception):  # nobody is left to hear of it
                self._sampler.drop(number)

    def step(self) -> None:
        """Take the next token of every answer; an error is told to all, and they end."""
        try:
            is_under_way = self._sampler.step()
        except Exception as error:  # noqa: BLE001 - a broken model must not end the process
            self._fail(error)
            return
        if not is_under_way and self._tells:
            self._fail(Unavailable("The model lost this request.", code="model_failed"))

    def _fail(self, error: Exception) -> None:
        failed = dict(self._tells)
        for number in failed:
            self.drop(number)
        for tell in failed.values():
            tell(error)

    def _told(self, number: list[int], tell: Tell, piece: Piece | SelftuneError) -> None:
        if number[0] not in self._tells:
            return
        if isinstance(piece, Usage | Exception):
            del self._tells[number[0]]
        tell(piece)


def answer_all(sampler: LiveSampler, prompts: Sequence[Prompt]) -> list[Completion]:
    """Return the whole answers of a live sampler, in order.

    Raises:
        Exception: the first prompt that failed, failed with it.

    """
    live = Live(sampler)
    gathered = [Gathered(prompt.sampling.n) for prompt in prompts]
    for prompt, pieces in zip(prompts, gathered, strict=True):
        live.start(prompt, pieces.take)
    while live.is_busy:
        live.step()
    return [pieces.completion() for pieces in gathered]


class Gathered:
    """The pieces of one prompt's answers."""

    def __init__(self, n: int) -> None:
        self._tokens: list[list[Token]] = [[] for _ in range(n)]
        self._calls: list[list[ToolCall]] = [[] for _ in range(n)]
        self._reasons = ["stop"] * n
        self._end: Usage | Exception | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the last piece has come."""
        return self._end is not None

    def take(self, piece: Piece | Exception) -> None:
        """Add a piece."""
        if isinstance(piece, Token):
            self._tokens[piece.choice].append(piece)
        elif isinstance(piece, ToolCall):
            self._calls[piece.choice].append(piece)
        elif isinstance(piece, Finish):
            self._reasons[piece.choice] = piece.reason
        else:
            self._end = piece

    def completion(self) -> Completion:
        """Return what was answered.

        Raises:
            Exception: what ended the answer.

        """
        if isinstance(self._end, Exception):
            raise self._end
        assert self._end is not None
        choices = tuple(
            Choice(
                text="".join(token.text for token in tokens),
                tokens=tuple(tokens),
                finish_reason=reason,
                tool_calls=tuple(calls),
            )
            for tokens, calls, reason in zip(self._tokens, self._calls, self._reasons, strict=True)
        )
        return Completion(choices=choices, usage=self._end)
