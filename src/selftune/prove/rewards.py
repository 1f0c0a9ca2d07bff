"""What the answers of a model in training are worth, by the grader of its job.

Replies of models that judge are kept in the job's folder: a job that was killed grades the steps that
it repeats as it did before.
"""

import asyncio
import math
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from selftune.core.errors import Conflict, InvalidInput, JobFailed, NotFound, SelftuneError
from selftune.core.records import Identity, Job, TrainSpec
from selftune.evaluate.answering import Answering
from selftune.evaluate.asked import asked_of, reply_of
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.grading import build_scorer, sample_of, waits
from selftune.evaluate.means import Asked, Means, Reply
from selftune.evaluate.responses import Responses
from selftune.evaluate.scorer import Graded, guarded
from selftune.evaluate.scorers.multi import named_graders
from selftune.evaluate.task import Backing
from selftune.evaluate.threads import Threads
from selftune.prove.backing import backing_of, endpoints_of
from selftune.prove.home import Home
from selftune.serve.upstream import upstream_endpoint
from selftune.store.accounts import default_identity
from selftune.store.store import Store
from selftune.train.engine import Reward, Sampled
from selftune.train.run import Grade

T = TypeVar("T")
_THREADS = 16
"""Graders that wait for a model or a program at a time."""
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.1
_PARAM = "method.reinforcement.grader"


@contextmanager
def rewards_of(store: Store, job: Job, spec: TrainSpec) -> Iterator[Grade | None]:
    """Give what judges the answers of a job, where it needs that."""
    if spec.grader is None:
        yield None
        return
    caller = default_identity(store).model_copy(update={"project_id": job.project_id})
    log = store.folder("runs") / job.id / "judges.jsonl"
    form = (spec.response_format or {}).get("type", "text")
    with Rewards(backing_of(store, caller), spec.grader, log, form) as rewards:
        yield rewards.grade


def check_grader(store: Store, identity: Identity, grader: dict[str, Any]) -> None:
    """Refuse a grader that is none, or that asks a model which nobody answers for.

    Raises:
        InvalidInput: names the field.

    """
    try:
        build_scorer(grader)
    except InvalidInput as error:
        param = _PARAM if error.param is None else f"{_PARAM}.{error.param}"
        raise InvalidInput(error.message, code=error.code, param=param) from error
    home, endpoints = Home(store.settings, store, identity), endpoints_of(store)
    for model in _judges(grader):
        if endpoints.find(model) or upstream_endpoint(store, identity, model):
            continue
        try:
            home.find(model)
        except NotFound as error:
            raise InvalidInput(
                f"The grader asks the model {model!r}, which this server neither has nor knows an "
                "endpoint of: name one that it has, or add it to endpoints.toml.",
                code="model_not_found",
                param=f"{_PARAM}.model",
            ) from error


class Rewards:
    """Grades answers; a context, because it may hold threads and connections."""

    def __init__(self, backing: Backing, grader: dict[str, Any], log: Path, form: str) -> None:
        """Make what grades; `form` is the type of the job's response format."""
        self._backing, self._log, self._form = backing, log, form
        self._asking: _Asking | None = None
        self._waits = waits(grader)
        self._scorer = build_scorer(grader, Means(ask=self._ask, embed=backing.embed))

    def __enter__(self) -> "Rewards":
        if self._waits:
            self._asking = _Asking(self._backing, self._log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._asking is not None:
            self._threads.shutdown()
            self._asking.close()

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        """Return what each answer is worth, in order.

        Raises:
            JobFailed: the grader's model will answer nobody any more, or its replies cannot be kept.

        """
        if not self._waits:
            return [self._judged(each) for each in answers]
        futures = [self._threads.submit(self._judged, each) for each in answers]
        rewards = [future.result() for future in futures]
        fatal = None if self._asking is None else self._asking.fatal
        if fatal is not None:
            raise JobFailed(
                f"The grader cannot be asked any more: {fatal.message}",
                code="model_grader_server_error",
                param=_PARAM,
            ) from fatal
        return rewards

    @cached_property
    def _threads(self) -> Threads:
        return Threads(_THREADS, "grading")

    def _judged(self, answer: Sampled) -> Reward:
        sample = _sample(answer)
        if self._form != "text" and "output_json" not in sample:
            reason = "the answer is not whole JSON: it was probably cut at the limit of its length"
            return Reward(value=None, error="sample_parse_error", reason=reason)
        return _reward(guarded(self._scorer, answer.item, sample))

    def _ask(self, asked: Asked) -> Reply:
        if self._asking is None:
            raise JobFailed("The grader is not open.")
        return self._asking.ask(asked)


class _Asking:
    """Asks models that judge, from any thread."""

    def __init__(self, backing: Backing, log: Path) -> None:
        self._backing = backing
        self.fatal: SelftuneError | None = None
        """Why no question will be answered any more."""
        self._responses = _opened(log)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="asking", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._answering = self._run(self._made())

    def ask(self, asked: Asked) -> Reply:
        """Return the reply to a question."""
        return self._run(self._asked(asked))

    def close(self) -> None:
        """End connections; nobody waits for replies that are on their way."""
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._responses.close()

    async def _made(self) -> Answering:
        return Answering(self._backing, Limits(), self._responses, self._stack)

    async def _asked(self, asked: Asked) -> Reply:
        endpoint = self._backing.place(asked.model)
        try:
            answer, _ = await self._answering.answer(asked_of(asked, endpoint), endpoint)
        except SelftuneError as error:
            self.fatal = error
            raise
        return reply_of(asked, answer)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _judges(grader: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the models that a grader asks."""
    if grader.get("type") == "multi":
        for _, inner in named_graders(grader["graders"]):
            yield from _judges(inner)
    elif isinstance(grader.get("model"), str):
        yield grader["model"]


def _sample(answer: Sampled) -> dict[str, Any]:
    calls = answer.message.get("tool_calls") or []
    said = {"output_tools": calls, "choices": [{"message": answer.message}]}
    return sample_of(answer.text) | said


def _reward(found: Graded) -> Reward:
    scores = {
        name: part.value
        for name, part in found.parts.items()
        if part.status == "scored" and part.value is not None
    }
    if found.status == "scored" and found.value is not None and math.isfinite(found.value):
        return Reward(value=found.value, scores=scores)
    reason = found.reason or f"the score is {found.value}"
    return Reward(value=None, scores=scores, error=found.fault or "other_error", reason=reason)


def _opened(log: Path) -> Responses:
    """Open the log of replies; a child that was just killed may hold it for a moment."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return Responses(log)
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
