"""What the model in training answers, by all that serves models: decoder, grammar, tools.

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
from selftune.models.hf.asking import prepare
from selftune.models.hf.decoding import Decoder
from selftune.models.hf.decoding import Row as Answering
from selftune.models.hf.grammar import Shapes
from selftune.models.hf.loading import Loaded
from selftune.models.hf.lora import AdapterBank
from selftune.models.hf.network import Network
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.sampling import Drawn
from selftune.models.sampler import Piece, Prompt, Sampling
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
MOST_SEEDS = 64
"""Answers of one request; the chat API's `n` ends at 128."""

Seed = tuple[int, ...]
Format = dict[str, Any] | None


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
class _UnderWay:
    """The answers to one question."""

    answers: list[Answer] = field(default_factory=list)
    error: SelftuneError | None = None

    def hear(self, piece: Piece | SelftuneError) -> None:
        """Keep why there is no answer; what a client would read is not needed."""
        if isinstance(piece, SelftuneError):
            self.error = piece

    def follow(self, row: Answering, seed: Seed) -> None:
        """Let a row draw by its own seed, and write down what it draws."""
        answer, take = Answer([], [], []), row.take
        row.drawing.random = np.random.default_rng(seed)
        self.answers.append(answer)

        def record(drawn: Drawn) -> bool:
            allowed = row.drawing.allowed
            is_free = allowed is None or int.from_bytes(allowed.tobytes(), "little").bit_count() > 1
            answer.ids.append(drawn.id)
            answer.log_probs.append(drawn.logprob)
            answer.free.append(is_free)
            return take(drawn)

        row.take = record


class Answerer:
    """Asks the model as it stands."""

    def __init__(self, learner: Learner, renderer: Renderer, response_format: Format) -> None:
        """Make it.

        Raises:
            InvalidInput: answers cannot be held to the format.

        """
        self._learner, self._renderer, self._format = learner, renderer, response_format
        self._stops = frozenset(renderer.stop_ids)
        trainee = learner.trainee
        precision: Any = "float32" if trainee.dtype == torch.float32 else "bfloat16"
        folder = Path(trainee.origin.folder)
        self._loaded = Loaded(trainee.inner, folder, "", precision, trainee.device)
        # The adapter in training is a part of the model itself: the bank has none.
        network = Network(self._loaded, AdapterBank(trainee.inner, 0))
        room = max(1, _cache_bytes(trainee.device) // network.bytes_per_token())
        self._decoder = Decoder(network, room, MOST_ROWS[_kind(trainee.device)])
        self._shapes = Shapes(renderer.tokenizer, self._loaded.vocabulary, renderer.stop_ids)
        self._shapes.answer(response_format, renderer.proven.frame.before)

    def answers(self, asked: Sequence[tuple[Question, Sequence[Seed]]]) -> list[list[Answer]]:
        """Return an answer for each seed of each question; every process does its share.

        Raises:
            JobFailed: the model cannot answer.
            Interrupted: passed through from the run.

        """
        peers = self._learner.peers
        mine = peers.share(range(len(asked)))
        drawn = self._drawn([asked[index] for index in mine])
        found = {
            index: [Answer(*answer) for answer in answers]
            for part in peers.gather(list(zip(mine, drawn, strict=True)))
            for index, answers in part
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

    def _drawn(self, asked: Sequence[tuple[Question, Sequence[Seed]]]) -> list[list[Answer]]:
        under_way = [self._begun(question, seeds) for question, seeds in asked]
        with _answering(self._learner):
            while self._decoder.step():
                self._learner.run.check()
        for one in under_way:
            if one.error is not None:
                raise JobFailed(
                    f"The model cannot answer the file's prompts: {one.error.message}",
                    code=one.error.code or "model_failed",
                ) from one.error
        return [one.answers for one in under_way]

    def _begun(self, question: Question, seeds: Sequence[Seed]) -> _UnderWay:
        row, found = question.row, _UnderWay()
        for start in range(0, len(seeds), MOST_SEEDS):
            part = seeds[start : start + MOST_SEEDS]
            prompt = Prompt(
                messages=tuple(row["messages"]),
                sampling=Sampling(temperature=1.0, n=len(part), logprobs=True),
                tools=tuple(row.get("tools") or ()),
                parallel_tool_calls=row.get("parallel_tool_calls") is not False,
                response_format=self._format,
            )
            asked = prepare(
                prompt, self._renderer, self._shapes, self._loaded.vocabulary, found.hear
            )
            for one, seed in zip(asked.rows(None, question.limit), part, strict=True):
                found.follow(one, seed)
                self._decoder.add(one)
        return found


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
