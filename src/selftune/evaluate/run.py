"""Ask a model every item, score every answer, keep both."""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from selftune.core.records import Record, Scored, Usage
from selftune.evaluate.grading import build_scorer, sample_of
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import Round, RoundFolder
from selftune.evaluate.scorer import Graded, guarded
from selftune.models.answers import Timing
from selftune.models.sampler import Prompt, Sampler, Sampling


class Answered(Record):
    """One answer, with its scores."""

    index: int
    output: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """From the call to the whole answer, in this process."""
    scores: tuple[Scored, ...]

    @property
    def status(self) -> str:
        """Return `errored` when any scorer could not judge, else `scored`."""
        return "errored" if any(s.status == "errored" for s in self.scores) else "scored"

    @property
    def passed(self) -> bool:
        """Return whether every scorer passed it."""
        return self.status == "scored" and all(score.passed for score in self.scores)

    @property
    def value(self) -> float | None:
        """Return the mean score, or None when it could not be scored."""
        values = [score.value for score in self.scores if score.value is not None]
        return sum(values) / len(values) if values and self.status == "scored" else None

    @property
    def credit(self) -> float:
        """Return what the answer is worth, from 0 to 1."""
        credits = [score.value if score.credit is None else score.credit for score in self.scores]
        known = [credit for credit in credits if credit is not None]
        return sum(known) / len(known) if known and self.status == "scored" else 0.0


class EvalRun(Record):
    """One model on all items."""

    model: str
    answers: tuple[Answered, ...]


class EvalTask(Record):
    """What to ask and how to judge."""

    items: tuple[Item, ...]
    graders: tuple[dict[str, Any], ...]
    sampling: Sampling


def evaluate(
    task: EvalTask, sampler: Sampler, model: str, each: Callable[[int], None] = lambda done: None
) -> EvalRun:
    """Return every answer with its scores; `each` is told how many are done."""
    judges = [build_scorer(grader) for grader in task.graders]
    answers = []
    for item in task.items:
        started = time.perf_counter()
        prompt = Prompt(messages=item.messages, sampling=task.sampling)
        completion = sampler.sample([prompt])[0]
        seconds = time.perf_counter() - started
        output = completion.choices[0].text
        sample = sample_of(output)
        answers.append(
            Answered(
                index=item.index,
                output=output,
                prompt_tokens=completion.usage.prompt_tokens,
                completion_tokens=completion.usage.completion_tokens,
                seconds=seconds,
                scores=tuple(guarded(judge, item.item, sample) for judge in judges),
            )
        )
        each(len(answers))
    return EvalRun(model=model, answers=tuple(answers))


def keep_runs(
    folder: RoundFolder, found: Round, items: Sequence[Item], runs: Sequence[EvalRun]
) -> RoundFolder:
    """Keep runs as a round, one for each of its models."""
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.items.open("w", encoding="utf-8") as file:
        file.writelines(item.model_dump_json(exclude_defaults=True) + "\n" for item in items)
    with folder.results.open("w", encoding="utf-8") as file:
        for arm, run in zip(found.arms, runs, strict=True):
            for item, answer in zip(items, run.answers, strict=True):
                file.write(_result(arm.name, item, answer).model_dump_json() + "\n")
    folder.write(found)
    return folder


def ids_sha256(items: Sequence[Item]) -> str:
    """Return the SHA-256 of the items' ids, in order."""
    return sha256("".join(f"{item.id}\n" for item in items).encode(errors="replace")).hexdigest()


def _result(arm: str, item: Item, answer: Answered) -> Result:
    tokens = {name: getattr(answer, name) for name in ("prompt_tokens", "completion_tokens")}
    return Result(
        index=item.index,
        item=item.id,
        arm=arm,
        state="scored" if answer.status == "scored" else "errored",
        output=answer.output,
        finish="answered",
        scores=tuple(
            score if isinstance(score, Graded) else Graded(**score.model_dump())
            for score in answer.scores
        ),
        usage=Usage(**tokens),
        timing=Timing(answering=answer.seconds),
    )
