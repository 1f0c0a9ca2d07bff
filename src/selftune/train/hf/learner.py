"""Gradients of a batch, in micro-batches that fit into memory.

How a batch is cut has no influence on the result: losses are summed, and divided by the weight of
the whole batch. Where memory runs out, the micro-batch is halved and the batch begins again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from selftune.core.errors import JobFailed
from selftune.train.engine import TrainingRun
from selftune.train.hf.adapters import Trainee
from selftune.train.hf.forward import Forward
from selftune.train.hf.objective import Example, Objective, Scores, Totals
from selftune.train.hf.peers import Peers

Found = TypeVar("Found")
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass
class Limit:
    """The largest micro-batch."""

    sequences: int
    tokens: int
    """With padding; a single example may have more."""
    frugal: bool = False
    """Whether layers are computed twice instead of being kept for the gradient."""


class Learner:
    """The model in training, and what goes through it."""

    def __init__(self, trainee: Trainee, run: TrainingRun, limit: Limit, peers: Peers) -> None:
        self.trainee, self.run, self.limit, self.peers = trainee, run, limit, peers
        self.forward = Forward(trainee.inner, trainee.device, trainee.dtype)
        self._parameters = [parameter for _, parameter in trainee.parameters()]
        if limit.frugal:
            trainee.be_frugal()

    def learn(self, objective: Objective, batch: Sequence[Example]) -> Totals:
        """Leave the gradient of the batch's mean loss in the parameters; return its sums."""
        weight = objective.weight(batch)
        mine = self._mine(batch)
        sums = self._fitting(lambda: self._accumulate(objective, mine, weight))
        gradients = [self._gradient(parameter) for parameter in self._parameters]
        self.peers.add([*gradients, sums])
        return _named(objective, sums)

    def totals(self, objective: Objective, examples: Sequence[Example]) -> Totals:
        """Return the sums over some examples that are not learned from."""
        mine = self._mine(examples)
        with torch.no_grad():
            sums = self._fitting(lambda: self._accumulate(objective, mine, None))
        self.peers.add([sums])
        return _named(objective, sums)

    def scores(self, examples: Sequence[Example]) -> list[tuple[Scores, ...]]:
        """Return the scores of each example, in order, without gradients."""
        with torch.no_grad():
            return self._fitting(lambda: self._score(examples))

    def _accumulate(
        self, objective: Objective, examples: Sequence[Example], weight: float | None
    ) -> Tensor:
        sums = torch.zeros(1 + len(objective.measures), device=self.trainee.device)
        for parameter in self._parameters:
            parameter.grad = None
        for chosen in cut(examples, self.limit, packing=self.forward.packing):
            self.run.check()
            part = [examples[index] for index in chosen]
            loss, measured = objective.losses(part, self._scores_of(part))
            if weight is not None and loss.requires_grad:
                (loss / weight).backward()  # type: ignore[no-untyped-call]  # torch ships no type
            sums += torch.cat([loss.detach().reshape(1), measured.detach()])
        return sums

    def _score(self, examples: Sequence[Example]) -> list[tuple[Scores, ...]]:
        found: dict[int, tuple[Scores, ...]] = {}
        for chosen in cut(examples, self.limit, packing=self.forward.packing):
            self.run.check()
            part = self._scores_of([examples[index] for index in chosen])
            found.update(zip(chosen, part, strict=True))
        return [found[index] for index in range(len(examples))]

    def _scores_of(self, examples: Sequence[Example]) -> list[tuple[Scores, ...]]:
        flat = iter(self.forward.scores([one for each in examples for one in each.sequences]))
        return [tuple(next(flat) for _ in example.sequences) for example in examples]

    def _mine(self, examples: Sequence[Example]) -> list[Example]:
        """Return this process's part; neighbours in length go to different processes."""
        if self.peers.size == 1:
            return list(examples)
        return self.peers.share(sorted(examples, key=lambda example: -example.longest))

    def _gradient(self, parameter: torch.nn.Parameter) -> Tensor:
        if parameter.grad is None:  # nothing of this process's share led here
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad

    def _fitting(self, work: Callable[[], Found]) -> Found:
        """Return what the work gives, with ever smaller micro-batches until there is room."""
        while True:
            try:
                return work()
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_memory(error):
                    raise
                reason = str(error).splitlines()[0][:200] if str(error) else "out of memory"
            for parameter in self._parameters:
                parameter.grad = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._shrink(reason)

    def _shrink(self, reason: str) -> None:
        limit = self.limit
        if limit.sequences > 1:
            limit.sequences = limit.sequences // 2
            limit.tokens = max(1, limit.tokens // 2)
            said = (
                f"Memory ran out: the step is taken again with micro-batches of {limit.sequences}, "
                "which changes nothing in the result"
            )
        elif not limit.frugal and self.trainee.be_frugal():
            limit.frugal = True
            said = (
                "Memory ran out with one sequence at a time: the step is taken again, with layers "
                "computed twice instead of being kept, which changes nothing in the result"
            )
        else:
            raise JobFailed(
                "There is not enough memory for one sequence of the training file. Set a smaller "
                f"max_length, or train on a machine with more memory. ({reason})",
                code="out_of_memory",
            )
        key = f"memory-{self.peers.rank}-{limit.sequences}-{limit.frugal}"
        self.run.note(key, said, {"micro_batch": limit.sequences, "reason": reason})


def cut(examples: Sequence[Example], limit: Limit, *, packing: bool) -> Iterator[list[int]]:
    """Yield the indices of each micro-batch, examples of like length together, longest first."""
    order = sorted(range(len(examples)), key=lambda index: (-examples[index].longest, index))
    chosen: list[int] = []
    sequences = tokens = widest = 0
    for index in order:
        example = examples[index]
        wide = max(widest, example.longest)
        more = sequences + len(example.sequences)
        size = tokens + example.tokens if packing else wide * more
        if chosen and (more > limit.sequences or size > limit.tokens):
            yield chosen
            chosen, tokens, wide, more = [], 0, example.longest, len(example.sequences)
        chosen.append(index)
        sequences, tokens, widest = more, tokens + example.tokens, wide
    if chosen:
        yield chosen


def _named(objective: Objective, sums: Tensor) -> Totals:
    return dict(zip(("loss", *objective.measures), sums.tolist(), strict=True))


def is_memory(error: BaseException) -> bool:
    """Return whether memory ran out: Python's, a GPU's, or a processor's in torch's words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _NO_MEMORY)
