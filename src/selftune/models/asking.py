"""Ask any endpoint that speaks OpenAI's API: questions in, answers out, with all their attempts.

`Asking` is for callers with an event loop; `ask` and `ask_all` are plain functions around it. It
knows nothing of money, files or resuming: who calls it decides what is asked next (`questions` is
read lazily) and keeps what comes back (`on_answer`).
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from statistics import median
from time import perf_counter
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from pydantic import Field

from selftune.core.errors import SelftuneError, Unavailable
from selftune.core.records import Record
from selftune.models.answers import Answer, Question, Status, Timing, answer_of, load_json
from selftune.models.connections import Connections
from selftune.models.endpoint import (
    Endpoint,
    place,
    raise_if_hopeless,
    request_address,
    sender_headers,
)
from selftune.models.events import EventStream
from selftune.models.exchange import NeverSent, NoAnswer, Reply, Untrusted
from selftune.models.lateness import Lateness
from selftune.models.manners import Turns
from selftune.models.pace import Pace
from selftune.models.requests import asked_wait, body_bytes, refusal_of
from selftune.models.route import route_to

T = TypeVar("T")

_FAILURES_IN_A_ROW = 3
"""So many questions without an answer, each after all its attempts: the endpoint is down."""
_REMEMBERED = 2048
"""Latencies of which the median is taken."""
_LONGEST_WAIT_OF_OUR_OWN = 8.0
"""Seconds, as in OpenAI's own clients."""
_SPREAD = 0.1
"""A wait that the endpoint asks for becomes longer by up to this share, so that not all end at once."""


class Limits(Record):
    """How patiently an endpoint is asked."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Most requests on their way at a time; many 429s make it fewer for a while."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 12
    """Most attempts for one question: a minute of them, and at 30 % errors one failure in a million."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait for one answer."""
    first_wait_seconds: Annotated[float, Field(ge=0)] = 0.5
    """Wait before the second attempt; it doubles with each further one, up to eight seconds."""
    longest_wait_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Longest wait that is granted to an endpoint; one that asks for more is not asked again."""
    stream: bool = False
    """Whether answers are streamed: only then the time to the first token is known."""


class _Again(NamedTuple):
    """An attempt without an answer, after which another one may help."""

    reason: str
    unheard: bool
    """The endpoint may have answered, and charged, without our hearing it."""
    asked_seconds: float = 0.0
    """The wait that the endpoint asks for."""


class Asking:
    """An endpoint that is being asked: its connections, its pace, and how late we are ourselves."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None) -> None:
        self._endpoint = endpoint
        self._limits = limits or Limits()
        most = self._limits.concurrency
        self._pace = Pace(min(most, endpoint.concurrency or most))
        self._turns = Turns(
            None if endpoint.profile is None else endpoint.profile.requests_per_minute
        )
        self._lateness = Lateness()
        self._latencies: deque[float] = deque(maxlen=_REMEMBERED)
        self._failures = 0

    async def __aenter__(self) -> Self:
        """Begin; raises InvalidInput without a key where one is needed, or for a bad address."""
        route = route_to(request_address(self._endpoint, "chat/completions"))
        headers = {
            "user-agent": f"selftune/{version('selftune')}",
            "accept": "text/event-stream" if self._limits.stream else "application/json",
            "content-type": "application/json",
            **sender_headers(self._endpoint),
        }
        self._connections = Connections(route, headers, self._limits.timeout_seconds)
        self._lateness.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        self._lateness.stop()
        await self._connections.close()

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._connections.requests

    @property
    def lag(self) -> float:
        """How late this process looks at what has come, as a share of the median latency.

        Above 0.1, latencies say more about this process than about the endpoint.
        """
        if not self._latencies:
            return 0.0
        return self._lateness.seconds / max(median(self._latencies), 1e-9)

    async def ready(self) -> int:
        """Wait until one more question would be sent at once; return how many would be."""
        return await self._pace.room()

    async def answer(self, asked: Question) -> Answer:
        """Ask one question until there is an answer or no attempt left.

        Raises:
            AuthenticationFailed, PermissionDenied, NotFound: no question will ever be answered.
            Unavailable: the endpoint is down, or the account has no credit left.

        """
        answer = await self.try_all(asked)
        self.raise_if_down(answer)
        return answer

    def raise_if_down(self, answer: Answer) -> None:
        """Take note of an answer; raise Unavailable at the third failure in a row."""
        self._failures = self._failures + 1 if answer.status == "failed" else 0
        if self._failures >= _FAILURES_IN_A_ROW:
            raise Unavailable(f"{place(self._endpoint)} does not answer: {answer.reason}")

    async def try_all(self, asked: Question) -> Answer:
        """Ask one question as `answer` does, but leave it to the caller to give the endpoint up."""
        limits = self._limits
        body = body_bytes(asked, stream=limits.stream)
        began, queued, unheard, attempt, reason = perf_counter(), 0.0, 0, 0, ""
        unasked = 0
        for attempt in range(1, limits.attempts + 1):
            ready_at = perf_counter()
            number = await self._pace.take()
            await self._turns.wait()
            started = perf_counter()
            queued += started - ready_at
            came = await self._attempt(asked, body, number)
            if isinstance(came, Answer):
                timing = came.timing and came.timing.model_copy(
                    update={"queued": queued, "retrying": started - began - queued}
                )
                return came.model_copy(
                    update={"attempts": attempt, "unheard": unheard, "timing": timing}
                )
            unheard += came.unheard
            reason = came.reason
            if came.asked_seconds > limits.longest_wait_seconds:
                reason = f"{reason} It asks to wait for {came.asked_seconds:.0f} seconds."
                break
            unasked += came.asked_seconds == 0
            if attempt < limits.attempts:
                times = attempt if came.asked_seconds else unasked
                await self._pace.sleep(self._wait(f"{asked.key} {attempt}", times, came))
        return Answer(
            key=asked.key, status="failed", reason=reason, attempts=attempt, unheard=unheard
        )

    def _endpoint_for(self, asked: Question) -> Endpoint:
        """Return the endpoint with the model that a question names: one place may have several."""
        model = str(asked.body.get("model") or self._endpoint.model)
        return self._endpoint.model_copy(update={"model": model})

    def _wait(self, seed: str, times: int, came: _Again) -> float:
        """Return the seconds until the next attempt, after so many that ended in this way."""
        limits, dice = self._limits, random.Random(seed)
        own = min(_LONGEST_WAIT_OF_OUR_OWN, limits.first_wait_seconds * 2.0 ** (times - 1))
        own *= dice.uniform(0.75, 1.25)
        if came.asked_seconds > 0:  # it knows better, but not that this is the fifth time
            own = max(own / 2, came.asked_seconds * dice.uniform(1.0, 1.0 + _SPREAD))
        return min(own, limits.longest_wait_seconds)

    async def _attempt(self, asked: Question, body: bytes, number: int) -> "Answer | _Again":
        """Send a request in the slot that was taken for it, and give the slot back."""
        stream = EventStream() if self._limits.stream else None
        try:
            reply = await self._connections.post(
                body, {"idempotency-key": asked.key}, None if stream is None else stream.feed
            )
            return self._read(asked, reply, stream, number)
        except Untrusted as error:
            raise Unavailable(
                f"{place(self._endpoint_for(asked))} cannot be asked: {error}"
            ) from error
        except NoAnswer as error:
            return _Again(str(error), unheard=not isinstance(error, NeverSent))
        except ValueError as error:  # no JSON, or no completion: a proxy's page
            return _Again(f"The answer cannot be read: {error}", unheard=True)
        finally:
            self._pace.give_back()

    def _read(
        self, asked: Question, reply: Reply, stream: EventStream | None, number: int
    ) -> "Answer | _Again":
        if reply.status != 200:
            return self._read_refusal(asked, reply, number)
        self._pace.answered(number)
        first: float | None = None
        if stream is None or reply.body:
            completion = load_json(reply.body)
        else:
            completion, first = stream.completion(), stream.first_token_at
        answer = answer_of(asked, completion)
        self._latencies.append(reply.seconds)
        timing = Timing(
            answering=reply.seconds, first_token=None if first is None else first - reply.sent
        )
        return answer.model_copy(update={"timing": timing})

    def _read_refusal(self, asked: Question, reply: Reply, number: int) -> "Answer | _Again":
        """Return the answer that an error is, or why another attempt may help."""
        status = reply.status
        code, message = refusal_of(reply)
        raise_if_hopeless(self._endpoint_for(asked), status, code, message)
        if status in (408, 409, 429) or status >= 500 or status < 300:
            wait = asked_wait(reply.headers)
            if status == 429:
                self._pace.refused(number, min(wait, self._limits.longest_wait_seconds))
            return _Again(message, unheard=False, asked_seconds=wait)
        what: Status = "refused" if code == "content_filter" else "rejected"
        return Answer(key=asked.key, status=what, reason=message)


def ask(
    endpoint: Endpoint,
    questions: Iterable[Question | None],
    on_answer: Callable[[Answer], None],
    limits: Limits | None = None,
) -> None:
    """Ask every question; hand over each answer when it comes.

    `None` among the questions means: nothing more may be asked until an answer comes. With no
    answer on its way it means the end.

    Raises:
        AuthenticationFailed, PermissionDenied, NotFound, InvalidInput: no answer will ever come.
        Unavailable: the endpoint is down, or the account has no credit left.

    """
    run_loop(_drive(endpoint, iter(questions), on_answer, limits or Limits()))


def ask_all(
    endpoint: Endpoint, questions: Iterable[Question], limits: Limits | None = None
) -> list[Answer]:
    """Return the answers in the order of the questions; raises what `ask` raises."""
    listed = list(questions)
    found: dict[str, Answer] = {}
    ask(endpoint, listed, lambda answer: found.update({answer.key: answer}), limits)
    return [found[asked.key] for asked in listed]


def run_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on the faster event loop where there is one; return its result."""
    if not _has_running_loop():
        return _run(coroutine)
    with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own
        return thread.submit(_run, coroutine).result()


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        from uvloop import new_event_loop
    except ImportError:  # there is none for Windows
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


async def _drive(
    endpoint: Endpoint,
    questions: Iterator[Question | None],
    on_answer: Callable[[Answer], None],
    limits: Limits,
) -> None:
    """Keep as many questions going as allowed; begin no more after the first fatal error."""
    fatal: SelftuneError | None = None
    running: set[asyncio.Task[Answer]] = set()
    async with Asking(endpoint, limits) as asking:
        try:
            while True:
                while fatal is None and len(running) < limits.concurrency:
                    asked = next(questions, None)
                    if asked is None:
                        break
                    running.add(asyncio.create_task(asking.try_all(asked)))
                if not running:
                    break
                done, running = await asyncio.wait(running, return_when="FIRST_COMPLETED")
                for task in done:
                    fatal = _take(asking, task, on_answer) or fatal
        finally:  # Ctrl-C, or a full disk: what is on its way is dropped before the connections are
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    if fatal is not None:
        raise fatal


def _take(
    asking: Asking, task: "asyncio.Task[Answer]", on_answer: Callable[[Answer], None]
) -> SelftuneError | None:
    """Hand over one answer; return what makes asking on useless."""
    error = task.exception()
    if isinstance(error, SelftuneError):
        return error
    answer = task.result()
    on_answer(answer)
    try:
        asking.raise_if_down(answer)
    except Unavailable as down:
        return down
    return None


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
