"""What the model in training answers, by the same decoder that serves models.

Each answer draws from its own seeded numbers, so that a step that is taken again, after a kill or in
another number of processes, draws the same answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from selftune.core.errors import JobFailed, SelftuneError
from selftune.models.hf.decoding import Decoder
from selftune.models.hf.decoding import Row as Answering
from selftune.models.hf.loading import Loaded
from selftune.models.hf.lora import AdapterBank
from selftune.models.hf.network import Network
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.sampling import Drawing, Drawn
from selftune.models.sampler import Sampling
from selftune.train.engine import Sampled
from selftune.train.hf.learner import Learner
from selftune.train.hf.objective import Example, Tokens
from selftune.train.hf.rows import Row

CACHE_BYTES = 1 << 30
"""Memory for what the model has read of answers under way, on a processor."""
CACHE_SHARE = 0.3
"""The same on a GPU, of what is free; where it proves too much the decoder takes less."""
MOST_ROWS = {"cpu": 64, "cuda": 256}
"""Answers under way at once."""


@dataclass(frozen=True)
class Question:
    """A row of the training file."""

    row: Row
    ids: list[int]
    """The prompt, as serving asks it."""
    limit: int
    """Tokens of prompt and answer together."""


class Answer(NamedTuple):
    """What the model said, in plain data."""

    ids: list[int]
    """With the token that ends it."""
    log_probs: list[float]
    """What they were when each token was drawn."""
    free: list[bool]
    """Where the response format left a choice: nothing is learned from the other tokens."""


@dataclass
class _Drawing:
    """An answer under way."""

    drawing: Drawing
    stops: frozenset[int]
    answer: Answer = field(default_factory=lambda: Answer([], [], []))
    error: SelftuneError | None = None

    def take(self, drawn: Drawn) -> bool:
        allowed = self.drawing.allowed
        is_free = allowed is None or int.from_bytes(allowed.tobytes(), "little").bit_count() > 1
        self.answer.ids.append(drawn.id)
        self.answer.log_probs.append(drawn.logprob)
        self.answer.free.append(is_free)
        return drawn.id not in self.stops

    def end(self, error: SelftuneError | None) -> None:
        self.error = error


class Answerer:
    """Asks the model as it stands."""

    def __init__(self, learner: Learner, renderer: Renderer) -> None:
        self._learner, self._renderer = learner, renderer
        self._stops = frozenset(renderer.stop_ids)
        trainee = learner.trainee
        precision: Any = "float32" if trainee.dtype == torch.float32 else "bfloat16"
        loaded = Loaded(trainee.inner, Path(trainee.origin.folder), "", precision, trainee.device)
        # The adapter in training is a part of the model itself: the bank has none.
        network = Network(loaded, AdapterBank(trainee.inner, 0))
        room = max(1, _cache_bytes(trainee.device) // network.bytes_per_token())
        self._decoder = Decoder(network, room, MOST_ROWS[_kind(trainee.device)])

    def answers(self, asked: Sequence[tuple[Question, tuple[int, ...]]]) -> list[Answer]:
        """Return an answer to each question, drawn by its seed; every process does its share.

        Raises:
            JobFailed: the model cannot answer.
            Interrupted: passed through from the run.

        """
        peers = self._learner.peers
        mine = peers.share(range(len(asked)))
        drawn = self._drawn([asked[index] for index in mine])
        found = {
            index: Answer(*answer)
            for part in peers.gather(list(zip(mine, drawn, strict=True)))
            for index, answer in part
        }
        return [found[index] for index in range(len(asked))]

    def sampled(self, question: Question, answer: Answer) -> Sampled:
        """Return an answer as graders read it."""
        kept = [token for token in answer.ids if token not in self._stops]
        raw = b"".join(self._renderer.bytes_of(token) for token in kept).decode("utf-8", "replace")
        text, calls = self._renderer.parse(raw, question.row.get("tools") or ())
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{place}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for place, call in enumerate(calls)
            ]
        return Sampled(item=question.row, text=text, message=message)

    def _drawn(self, asked: Sequence[tuple[Question, tuple[int, ...]]]) -> list[Answer]:
        under_way = [self._begun(question, seed) for question, seed in asked]
        with _answering(self._learner):
            while self._decoder.step():
                self._learner.run.check()
        for one in under_way:
            if one.error is not None:
                raise JobFailed(
                    f"The model cannot answer the training file's prompts: {one.error.message}",
                    code=one.error.code or "model_failed",
                ) from one.error
        return [one.answer for one in under_way]

    def _begun(self, question: Question, seed: tuple[int, ...]) -> _Drawing:
        drawing = Drawing(Sampling(temperature=1.0), np.random.default_rng(seed))
        one = _Drawing(drawing, self._stops)
        row = Answering(
            ids=list(question.ids),
            limit=question.limit,
            drawing=drawing,
            take=one.take,
            end=one.end,
        )
        self._decoder.add(row)
        return one


def example_of(question: Question, answer: Answer, advantage: float) -> Example:
    """Return what is learned from an answer: its tokens, and how much better it was than others."""
    weights = np.zeros(len(question.ids) + len(answer.ids), np.float32)
    weights[len(question.ids) :] = answer.free
    ids = np.array([*question.ids, *answer.ids], np.int32)
    before = (
        value for value, is_free in zip(answer.log_probs, answer.free, strict=True) if is_free
    )
    return Example((Tokens(ids, weights),), (advantage, *before))


@contextmanager
def _answering(learner: Learner) -> Iterator[None]:
    """Let the model answer: with its cache, which it does without while layers are computed twice."""
    inner, trainee = learner.trainee.inner, learner.trainee
    was, is_short = inner.training, trainee.dtype != torch.float32
    inner.eval()
    try:
        with torch.autocast(trainee.device.type, trainee.dtype, enabled=is_short):
            yield
    finally:
        inner.train(was)


def _cache_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return CACHE_BYTES
    return int(torch.cuda.mem_get_info(device)[0] * CACHE_SHARE)


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"
