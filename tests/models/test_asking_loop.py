"""Asking inside an event loop: who may go next, what waits how long, and what a full endpoint does."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.data.synthesis.teaching import Teacher, teaching
from tests.models.sockets import answer as http
from tests.models.sockets import serving

from selftune.core import errors
from selftune.models.answers import Answer, Question, question
from selftune.models.asking import Asking, Limits, run_loop
from selftune.models.endpoint import Endpoint

QUICK = Limits(first_wait_seconds=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Teacher]:
    with teaching() as running:
        yield running


@pytest.fixture
def teacher(server: Teacher) -> Teacher:
    server.forget()
    server.reply = lambda body: f"echo {body['messages'][-1]['content']}"
    return server


def at(teacher: Teacher, **rest: Any) -> Endpoint:
    return Endpoint(model="wise", base_url=teacher.url, **rest)


def asked(text: str) -> Question:
    return question({"model": "wise", "messages": [{"role": "user", "content": text}]})


def with_asking(
    endpoint: Endpoint, limits: Limits, use: Callable[[Asking], Awaitable[None]]
) -> None:
    async def go() -> None:
        async with Asking(endpoint, limits) as asking:
            await use(asking)

    run_loop(go())


def all_answers(endpoint: Endpoint, limits: Limits, count: int) -> list[Answer]:
    """Ask as a run does: the next question when there is room for it."""
    found: list[Answer] = []

    async def use(asking: Asking) -> None:
        tasks = []
        for number in range(count):
            await asking.ready()
            tasks.append(asyncio.create_task(asking.answer(asked(str(number)))))
        found.extend(await asyncio.gather(*tasks))

    with_asking(endpoint, limits, use)
    return found


@pytest.mark.parametrize("own", [None, 2])
def test_no_more_are_begun_than_may_be_on_their_way(teacher: Teacher, own: int | None) -> None:
    teacher.delay_seconds = 0.01
    limits = Limits(concurrency=3)
    answers = all_answers(at(teacher, concurrency=own), limits, 30)
    assert [answer.text for answer in answers] == [f"echo {n}" for n in range(30)]
    assert teacher.busiest == (own or 3)


def test_a_question_that_waits_for_a_retry_gives_its_slot_to_the_next(teacher: Teacher) -> None:
    async def use(asking: Asking) -> None:
        first = asyncio.create_task(asking.answer(asked("first")))
        await asyncio.sleep(0)
        await asking.ready()  # though there is one slot only
        assert (await asking.answer(asked("second"))).text == "echo second"
        assert not first.done()
        first.cancel()

    teacher.faults = ["500"]
    with_asking(at(teacher), Limits(concurrency=1, first_wait_seconds=60.0), use)


def test_no_more_sleep_than_four_times_the_slots(teacher: Teacher) -> None:
    tasks: list[asyncio.Task[Answer]] = []

    async def begin(asking: Asking) -> None:
        while len(tasks) < 50:
            await asking.ready()
            tasks.append(asyncio.create_task(asking.answer(asked(str(len(tasks))))))

    async def use(asking: Asking) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(begin(asking), 0.5)
        for task in tasks:
            task.cancel()

    teacher.faults = ["500"] * 50
    with_asking(at(teacher), Limits(concurrency=2, first_wait_seconds=60.0), use)
    assert 8 <= len(tasks) <= 10


def test_waits_are_told_apart_from_the_answer_itself(teacher: Teacher) -> None:
    teacher.delay_seconds = 0.1
    teacher.faults = ["500"]
    found: list[Answer] = []

    async def use(asking: Asking) -> None:
        questions = [asking.answer(asked(str(number))) for number in range(3)]
        found.extend(await asyncio.gather(*questions))
        assert asking.requests == 4
        assert asking.lag >= 0

    with_asking(at(teacher), Limits(concurrency=1, first_wait_seconds=0.05), use)
    times = [answer.timing for answer in found if answer.timing is not None]
    assert len(times) == 3
    assert all(time.answering > 0.09 for time in times)
    assert all(time.first_token is None for time in times)
    again, second, third = times
    assert (again.queued > 0.05, again.retrying > 0.13) == (True, True)  # both others went first
    assert (second.queued > 0.09, second.retrying < 0.1) == (True, True)
    assert third.queued >= second.queued + 0.09


def test_what_is_no_answer_has_no_timing(teacher: Teacher) -> None:
    teacher.faults = ["400"]
    [rejected] = all_answers(at(teacher), QUICK, 1)
    assert (rejected.status, rejected.timing) == ("rejected", None)


def test_three_failures_in_a_row_end_it(teacher: Teacher) -> None:
    async def use(asking: Asking) -> None:
        for number in range(5):
            assert (await asking.answer(asked(str(number)))).status == "failed"

    teacher.faults = ["500"] * 50
    with pytest.raises(errors.Unavailable, match="does not answer"):
        with_asking(at(teacher), Limits(attempts=2, first_wait_seconds=0.0), use)
    assert len(teacher.requests) == 6


def test_an_error_names_the_model_of_its_own_question(teacher: Teacher) -> None:
    async def use(asking: Asking) -> None:
        body = {"model": "other", "messages": []}
        with pytest.raises(errors.NotFound, match="'other' at"):
            await asking.answer(question(body))

    teacher.faults = ["404"]
    with_asking(at(teacher), QUICK, use)


def test_an_address_that_has_moved_is_not_followed() -> None:
    def script(connection: Any, number: int) -> bool:
        connection.sendall(http(b"", "301 Moved Permanently", "Location: http://127.0.0.1:9/"))
        return True

    with serving(script) as server, pytest.raises(errors.NotFound, match="301"):
        all_answers(Endpoint(model="wise", base_url=server.url), QUICK, 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "too long", "code": 5}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"message": "too long", "object": "error"}', "too long"),
        (b"<html>\xff too long", "too long"),
        (b"", "400 Bad Request"),
    ],
)
def test_a_refusal_is_read_in_all_its_shapes(body: bytes, words: str) -> None:
    def script(connection: Any, number: int) -> bool:
        connection.sendall(http(body, "400 Bad Request"))
        return True

    with serving(script) as server:
        [found] = all_answers(Endpoint(model="wise", base_url=server.url), QUICK, 1)
    assert found.status == "rejected"
    assert words in found.reason


def test_an_endpoint_that_takes_four_at_a_time_is_asked_four_at_a_time() -> None:
    """Forty are allowed: after the first burst, hardly any request is refused."""
    busy, refused, late = 0, 0, 0

    def script(connection: Any, number: int) -> bool:
        nonlocal busy, refused, late
        if busy >= 4:
            refused += 1
            late += number > 200
            body = b'{"error": {"message": "too many", "code": "rate_limit_exceeded"}}'
            connection.sendall(http(body, "429 Too Many Requests", "retry-after-ms: 20"))
            return True
        busy += 1
        pause.wait(0.005)
        busy -= 1
        connection.sendall(http(json.dumps(COMPLETION).encode()))
        return True

    pause = threading.Event()
    with serving(script) as server:
        limits = Limits(concurrency=40, attempts=50, first_wait_seconds=0.01)
        answers = all_answers(Endpoint(model="wise", base_url=server.url), limits, 600)
        requests = len(server.requests)
    assert {answer.status for answer in answers} == {"answered"}
    assert requests == 600 + refused
    assert refused < 200
    assert late < 0.2 * (requests - 200)


COMPLETION = {
    "model": "wise",
    "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}


def test_cached_tokens_are_counted() -> None:
    def script(connection: Any, number: int) -> bool:
        connection.sendall(http(json.dumps(COMPLETION).encode()))
        return True

    with serving(script) as server:
        [found] = all_answers(Endpoint(model="wise", base_url=server.url), QUICK, 1)
    assert found.usage is not None
    assert (found.usage.total_tokens, found.usage.cached_tokens) == (10, 4)


def events(*deltas: dict[str, Any]) -> bytes:
    chunks = [
        *({"model": "wise", "choices": [{"index": 0, "delta": delta}]} for delta in deltas),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ]
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)


def test_a_stream_gives_the_whole_answer_and_the_time_to_its_first_token() -> None:
    def script(connection: Any, number: int) -> bool:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        body = events({"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"})
        if number == 1:  # breaks off
            connection.sendall(b"%x\r\n%s\r\n" % (len(body[:150]), body[:150]))
            return False
        for piece in (body[:150], body[150:], b"data: [DONE]\n\n"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        return True

    with serving(script) as server:
        endpoint = Endpoint(model="wise", base_url=server.url)
        limits = QUICK.model_copy(update={"stream": True})
        first, second = all_answers(endpoint, limits.model_copy(update={"concurrency": 1}), 2)
    assert [first.text, second.text] == ["ab", "ab"]
    assert (first.attempts, first.unheard, second.attempts) == (2, 1, 1)
    assert first.usage is not None
    assert first.usage.total_tokens == 5
    assert first.timing is not None
    assert first.timing.first_token is not None
    assert 0 < first.timing.first_token <= first.timing.answering
    sent = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


def test_an_endpoint_that_does_not_stream_is_understood(teacher: Teacher) -> None:
    [found] = all_answers(at(teacher), QUICK.model_copy(update={"stream": True}), 1)
    assert found.text == "echo 0"
    assert found.timing is not None
    assert found.timing.first_token is None


def test_half_a_surrogate_pair_in_a_question_is_sent_as_unknown(teacher: Teacher) -> None:
    async def use(asking: Asking) -> None:
        half = Question(key="half", body=asked("?").body | {"messages": [{"content": "a\ud800b"}]})
        assert (await asking.answer(half)).text == "echo a\ufffdb"

    with_asking(at(teacher), QUICK, use)


def test_a_key_with_a_line_break_is_never_sent(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret\r\nx: y")
    with pytest.raises(errors.InvalidInput, match="MY_KEY") as raised:
        all_answers(at(teacher, api_key_variable="MY_KEY"), QUICK, 1)
    assert "secret" not in raised.value.message
    assert teacher.requests == []
