"""An open model that answers: prompts in, text and calls of tools out, while others are answered.

All models of a process that stand on the same base share it in memory, and their answers share
its batches. Nothing here is safe to be used from more than one thread.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.records import Usage
from selftune.models.hf.asking import Asked, prepare
from selftune.models.hf.engine import Engine
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.scoring import score
from selftune.models.sampler import (
    Choice,
    Completion,
    Finish,
    Piece,
    Prompt,
    Token,
    ToolCall,
)


class Runtime:
    """One model: a base, or a base with an adapter."""

    def __init__(
        self, engine: Engine, renderer: Renderer, adapter: Path | None, threads: int = 0
    ) -> None:
        self._engine, self._renderer, self._adapter = engine, renderer, adapter
        self._threads = threads
        self._shapes = engine.shapes(renderer)
        self._asked: dict[int, Asked] = {}
        self._numbers = 0
        if adapter is not None:
            engine.check(adapter)

    @property
    def renderer(self) -> Renderer:
        """How this model's prompts and answers are written."""
        return self._renderer

    def start(self, prompt: Prompt, tell: Callable[[Piece | SelftuneError], None]) -> int:
        """Take a prompt and return its number; `step` tells its answers."""
        self._numbers += 1
        number = self._numbers

        def forget(piece: Piece | SelftuneError) -> None:
            if isinstance(piece, Usage | SelftuneError):
                self._asked.pop(number, None)
            tell(piece)

        asked = prepare(prompt, self._renderer, self._shapes, self._engine.vocabulary, forget)
        rows = asked.rows(self._adapter, min(self._renderer.context, self._engine.context))
        self._asked[number] = asked
        for row in rows:
            self._engine.decoder.add(row)
        return number

    def drop(self, number: int) -> None:
        """Forget a prompt whose caller has gone."""
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.drop()

    def step(self) -> bool:
        """Take the next token of every answer of this base; False when there is none."""
        return self._engine.step(self._threads)

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        told: list[list[Piece | SelftuneError]] = [[] for _ in prompts]
        numbers: list[int] = []
        try:
            for prompt, pieces in zip(prompts, told, strict=True):
                numbers.append(self.start(prompt, pieces.append))
            while any(number in self._asked for number in numbers):
                self.step()
                _raise_first(told)
        finally:
            for number in numbers:
                self.drop(number)
        _raise_first(told)
        return [completion(pieces) for pieces in told]

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """Answer one prompt token by token; the last item is the usage."""
        told: list[Piece | SelftuneError] = []
        number = self.start(prompt, told.append)
        try:
            going = True
            while going:
                going = number in self._asked
                if going:
                    self.step()
                for piece in told:
                    if isinstance(piece, SelftuneError):
                        raise piece
                    yield piece
                told.clear()
        finally:
            self.drop(number)

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Refuse: a model that writes is none that compares texts.

        Raises:
            InvalidInput: always.

        """
        raise InvalidInput(
            "This model writes answers and makes no embeddings. Ask an embedding model, such as "
            "the one that text-embedding-3-small stands for.",
            code="unsupported_model",
            param="model",
        )

    def score(self, ids: list[list[int]]) -> list[list[float]]:
        """Return the log-probability of each token after the first, by the path that serves."""
        return score(self._engine.network, ids, self._adapter)

    def score_bare(self, ids: list[list[int]]) -> list[list[float]]:
        """Return the same of the base alone."""
        return score(self._engine.network, ids, None)


def completion(pieces: Sequence[Any]) -> Completion:
    """Put together what was told of a prompt."""
    tokens, calls = defaultdict[int, list[Token]](list), defaultdict[int, list[ToolCall]](list)
    reasons: dict[int, str] = {}
    for piece in pieces:
        if isinstance(piece, Token):
            tokens[piece.choice].append(piece)
        elif isinstance(piece, ToolCall):
            calls[piece.choice].append(piece)
        elif isinstance(piece, Finish):
            reasons[piece.choice] = piece.reason
    choices = tuple(
        Choice.model_construct(
            text="".join(token.text for token in tokens[choice]),
            tokens=tuple(tokens[choice]),
            finish_reason=reasons[choice],
            tool_calls=tuple(calls[choice]),
        )
        for choice in sorted(reasons)
    )
    return Completion.model_construct(choices=choices, usage=pieces[-1])


def _raise_first(told: Sequence[Sequence[Piece | SelftuneError]]) -> None:
    for pieces in told:
        if pieces and isinstance(pieces[-1], SelftuneError):
            raise pieces[-1]
