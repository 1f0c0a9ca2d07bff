"""Ask any endpoint that speaks OpenAI's API: many questions in, answers out as they come.

Async inside, a plain function outside. It knows nothing of money, files or resuming: who calls it
decides what is asked next (`questions` is read lazily) and keeps what comes back (`on_answer`).
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.errors import SelftuneError, Unavailable
from selftune.core.records import Record
from selftune.models.answers import Answer, Question, Status, read_completion
from selftune.models.endpoint import Endpoint, open_client, place, raise_if_hopeless
from selftune.models.pace import Pace

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI

_FAILURES_IN_A_ROW = 3
"""So many questions without an answer, each after all its attempts: the endpoint is down."""


class Limits(Record):
    """How patiently an endpoint is asked."""

    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Most requests on their way at a time; a 429 makes it fewer for a while."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 8
    """Most attempts for one question."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest wait for one answer."""
    first_wait_seconds: Annotated[float, Field(ge=0)] = 0.5
    """Wait before the second attempt; it doubles with each further one."""
    longest_wait_seconds: Annotated[float, Field(gt=0)] = 120.0
    """Longest wait between two attempts; an endpoint that asks for more is not asked again."""


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
    asking = _Asking(endpoint, on_answer, limits or Limits())
    if not _has_running_loop():
        asyncio.run(asking.drive(iter(questions)))
        return
    with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own
        thread.submit(asyncio.run, asking.drive(iter(questions))).result()


def ask_all(
    endpoint: Endpoint, questions: Iterable[Question], limits: Limits | None = None
) -> list[Answer]:
    """Return the answers in the order of the questions; raises what `ask` raises."""
    listed = list(questions)
    found: dict[str, Answer] = {}
    ask(endpoint, listed, lambda answer: found.update({answer.key: answer}), limits)
    return [found[asked.key] for asked in listed]


class _Again(NamedTuple):
    """An attempt without an answer, after which another one may help."""

    reason: str
    wait_seconds: float
    unheard: bool
    """The endpoint may have answered, and charged, without our hearing it."""


class _Asking:
    """One call of `ask`: the questions on their way and the pace they keep."""

    def __init__(
        self, endpoint: Endpoint, on_answer: Callable[[Answer], None], limits: Limits
    ) -> None:
        self._endpoint = endpoint
        self._on_answer = on_answer
        self._limits = limits
        self._failures = 0

    async def drive(self, questions: Iterator[Question | None]) -> None:
        """Keep as many questions on their way as the pace allows; stop at the first fatal error."""
        pace = Pace(self._limits.concurrency)
        fatal: SelftuneError | None = None
        running: set[asyncio.Task[Answer]] = set()
        async with open_client(self._endpoint, self._limits.timeout_seconds) as client:
            try:
                while True:
                    while fatal is None and len(running) < pace.width:
                        asked = next(questions, None)
                        if asked is None:
                            break
                        running.add(asyncio.create_task(self._settle(client, pace, asked)))
                    if not running:
                        break
                    done, running = await asyncio.wait(running, return_when="FIRST_COMPLETED")
                    for task in done:
                        fatal = self._take(task) or fatal
            finally:  # Ctrl-C, or a full disk: what is on its way is dropped before the client is
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
        if fatal is not None:
            raise fatal

    def _take(self, task: "asyncio.Task[Answer]") -> SelftuneError | None:
        """Hand over one answer; return what makes asking on useless."""
        error = task.exception()
        if isinstance(error, SelftuneError):
            return error
        answer = task.result()
        self._on_answer(answer)
        self._failures = self._failures + 1 if answer.status == "failed" else 0
        if self._failures < _FAILURES_IN_A_ROW:
            return None
        return Unavailable(f"{place(self._endpoint)} does not answer: {answer.reason}")

    async def _settle(self, client: "AsyncOpenAI", pace: Pace, asked: Question) -> Answer:
        """Ask one question until there is an answer or no attempt left."""
        dice = random.Random(asked.key)
        unheard, reason, attempt = 0, "", 0
        for attempt in range(1, self._limits.attempts + 1):
            wait = self._limits.first_wait_seconds * 2 ** (attempt - 1) * dice.uniform(0.75, 1.25)
            wait = min(wait, self._limits.longest_wait_seconds)
            came = await self._attempt(client, pace, asked, wait)
            if isinstance(came, Answer):
                return came.model_copy(update={"attempts": attempt, "unheard": unheard})
            unheard += came.unheard
            reason = came.reason
            if came.wait_seconds > self._limits.longest_wait_seconds:
                reason = f"{reason} It asks to wait for {came.wait_seconds:.0f} seconds."
                break
            if attempt < self._limits.attempts:
                await asyncio.sleep(came.wait_seconds)
        return Answer(
            key=asked.key, status="failed", reason=reason, attempts=attempt, unheard=unheard
        )

    async def _attempt(
        self, client: "AsyncOpenAI", pace: Pace, asked: Question, wait: float
    ) -> "Answer | _Again":
        from openai import APIConnectionError, APIError

        try:
            async with pace.slot(), asyncio.timeout(self._limits.timeout_seconds):
                text = await _post(client, asked)
            answer = read_completion(asked, text)
            pace.grow()
            return answer
        except TimeoutError:
            reason = f"No answer came within {self._limits.timeout_seconds:g} seconds."
            return _Again(reason, wait, unheard=True)
        except APIConnectionError as error:
            reason = f"{error.message} ({type(error.__cause__).__name__})"
            return _Again(reason, wait, unheard=not _was_never_sent(error))
        except ValueError as error:  # no JSON, or no completion: a proxy's page
            return _Again(f"The answer cannot be read: {error}", wait, unheard=True)
        except APIError as error:
            answered = self._refused_request(asked, error)
            if answered is not None:
                return answered
            wait = max(wait, _asked_wait(error))
            if getattr(error, "status_code", None) == 429:
                pace.shrink(min(wait, self._limits.longest_wait_seconds))
            return _Again(error.message, wait, unheard=False)

    def _refused_request(self, asked: Question, error: "APIError") -> Answer | None:
        """Return the answer that an error is, or None where another attempt may help."""
        raise_if_hopeless(self._endpoint, error)
        status = getattr(error, "status_code", 500)
        if status in (408, 409, 429) or status >= 500:
            return None
        what: Status = "refused" if error.code == "content_filter" else "rejected"
        return Answer(key=asked.key, status=what, reason=error.message)


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _post(client: "AsyncOpenAI", asked: Question) -> str:
    rest: dict[str, Any] = {
        name: value for name, value in asked.body.items() if name not in ("model", "messages")
    }
    raw = await client.chat.completions.with_raw_response.create(
        model=asked.body["model"],
        messages=asked.body["messages"],
        extra_body=rest,
        extra_headers={"Idempotency-Key": asked.key},
    )
    return raw.text


def _was_never_sent(error: "APIError") -> bool:
    """Return whether the connection itself failed, so that nothing can have been paid for."""
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout")


def _asked_wait(error: "APIError | APIStatusError") -> float:
    """Return the seconds that the endpoint asks to wait for (RFC 9110, 10.2.3), or 0."""
    response = getattr(error, "response", None)
    headers = {} if response is None else response.headers
    for header, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return float(headers[header]) / divisor
        except (KeyError, ValueError):
            continue
    try:
        until = parsedate_to_datetime(headers["retry-after"])
        return (until - datetime.now(UTC)).total_seconds()
    except (KeyError, ValueError, TypeError):
        return 0.0
