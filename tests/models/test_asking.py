"""Asking an endpoint that fails in every way: what is tried again, what is not, what it is called."""

import json
from collections.abc import Iterator

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.core import errors
from selftune.models.answers import Answer, Question, load_json, question, read_completion
from selftune.models.asking import Limits, ask, ask_all
from selftune.models.endpoint import Endpoint

QUICK = Limits(first_wait_seconds=0.01)
JSON = {"response_format": {"type": "json_object"}}


@pytest.fixture
def teacher(teacher: Teacher) -> Teacher:
    teacher.reply = lambda body: f"echo {body['messages'][-1]['content']}"
    return teacher


def at(teacher: Teacher) -> Endpoint:
    return Endpoint(model="wise", base_url=teacher.url)


def asked(text: str, **rest: object) -> Question:
    return question({"model": "wise", "messages": [{"role": "user", "content": text}], **rest})


def test_answers_come_in_the_order_of_the_questions(teacher: Teacher) -> None:
    answers = ask_all(at(teacher), [asked(str(n)) for n in range(30)], QUICK)
    assert [answer.text for answer in answers] == [f"echo {n}" for n in range(30)]
    assert {answer.status for answer in answers} == {"answered"}
    assert answers[0].usage is not None
    assert answers[0].usage.total_tokens == 70
    assert answers[0].model == "wise-2026-01-01"


@pytest.mark.parametrize("fault", ["429", "500", "503", "cut", "a page", "cut after paying"])
def test_what_may_pass_is_asked_again_under_the_same_key(teacher: Teacher, fault: str) -> None:
    teacher.faults = [fault, fault]
    [answer] = ask_all(at(teacher), [asked("a")], QUICK)
    assert (answer.text, answer.attempts) == ("echo a", 3)
    assert len(set(teacher.keys)) == 1
    assert teacher.paid[answer.key] == 1
    assert answer.unheard == (0 if fault.isdigit() else 2)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", errors.AuthenticationFailed, "'OPENAI_API_KEY'"),
        ("403", errors.PermissionDenied, "may not use"),
        ("404", errors.NotFound, "name of the model"),
        ("quota", errors.Unavailable, "Add credit"),
    ],
)
def test_what_will_never_work_is_asked_once_and_said(
    teacher: Teacher, fault: str, error: type[errors.SelftuneError], words: str
) -> None:
    teacher.faults = [fault]
    with pytest.raises(error, match=words) as raised:
        ask(at(teacher), [asked("a")], lambda answer: None, QUICK)
    assert len(teacher.requests) == 1
    assert "secret" not in raised.value.message


def test_an_endpoint_that_wants_a_key_though_none_is_named_says_where_to_name_one(
    teacher: Teacher,
) -> None:
    teacher.faults = ["401"]
    keyless = at(teacher).model_copy(update={"api_key_variable": ""})
    with pytest.raises(errors.AuthenticationFailed, match=r"wants a key: .*`api_key_variable`"):
        ask(keyless, [asked("a")], lambda answer: None, QUICK)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("400", "rejected"),
        ("filtered", "refused"),
        ("refusal", "refused"),
        ("malformed", "malformed"),
        ("too long", "cut"),
    ],
)
def test_an_answer_without_use_is_a_value_of_its_own(
    teacher: Teacher, fault: str, status: str
) -> None:
    teacher.faults = [fault]
    [answer] = ask_all(at(teacher), [asked("a", **JSON)], QUICK)
    assert answer.status == status
    assert answer.reason
    assert len(teacher.requests) == 1


def test_a_wait_that_is_too_long_is_not_waited_for(teacher: Teacher) -> None:
    teacher.faults = ["429 for an hour"]
    [answer] = ask_all(at(teacher), [asked("a")], QUICK)
    assert answer.status == "failed"
    assert "3600 seconds" in answer.reason
    assert len(teacher.requests) == 1


def test_a_wait_until_a_date_is_understood(teacher: Teacher) -> None:
    teacher.faults = ["429 until 2100"]
    [answer] = ask_all(at(teacher), [asked("a")], QUICK)
    assert (answer.status, answer.attempts) == ("failed", 1)
    teacher.faults = ["429 until 1990", "429 some day"]
    [answer] = ask_all(at(teacher), [asked("a")], QUICK)
    assert (answer.status, answer.attempts) == ("answered", 3)


def test_parts_of_a_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    choice = {"message": {"role": "assistant", "content": parts}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"prompt_tokens": "many"}}
    answer = read_completion(asked("a"), json.dumps(body))
    assert (answer.text, answer.message["content"], answer.usage) == ("one two", "one two", None)


def test_a_call_needs_no_words_though_json_is_asked_for() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    told = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    assert read_completion(asked("a", **JSON), told).status == "answered"
    silent = json.dumps({"choices": [{"message": {"role": "assistant", "content": ""}}]})
    assert read_completion(asked("a", **JSON), silent).status == "malformed"


def test_an_empty_answer_is_no_answer(teacher: Teacher) -> None:
    teacher.reply = lambda body: "  "
    [answer] = ask_all(at(teacher), [asked("a")], QUICK)
    assert (answer.status, answer.reason) == ("malformed", "The answer is empty.")


def test_a_slow_answer_may_have_been_paid_for(teacher: Teacher) -> None:
    teacher.delay_seconds = 0.5
    limits = Limits(timeout_seconds=0.05, attempts=2, first_wait_seconds=0.0)
    [answer] = ask_all(at(teacher), [asked("a")], limits)
    assert (answer.status, answer.unheard) == ("failed", 2)


def test_an_endpoint_that_is_down_is_given_up() -> None:
    nowhere = Endpoint(model="wise", base_url="http://127.0.0.1:9/v1")
    answers: list[Answer] = []
    limits = Limits(attempts=2, first_wait_seconds=0.0, concurrency=2)
    with pytest.raises(errors.Unavailable, match="does not answer"):
        ask(nowhere, (asked(str(n)) for n in range(1000)), answers.append, limits)
    assert len(answers) < 10
    assert {answer.unheard for answer in answers} == {0}  # nothing was ever sent


def test_no_more_questions_are_on_their_way_than_allowed(teacher: Teacher) -> None:
    teacher.delay_seconds = 0.01
    ask_all(at(teacher), [asked(str(n)) for n in range(40)], Limits(concurrency=3))
    assert teacher.busiest <= 3


def test_none_waits_for_an_answer_and_ends_when_none_is_on_its_way(teacher: Teacher) -> None:
    answers: list[Answer] = []

    def questions() -> Iterator[Question | None]:
        yield asked("first")
        while not answers:
            yield None
        yield asked(f"second after {answers[0].text}")
        while len(answers) < 2:
            yield None
        yield None
        yield asked("never")

    ask(at(teacher), questions(), answers.append, QUICK)
    assert [answer.text for answer in answers] == ["echo first", "echo second after echo first"]


def test_a_missing_key_is_said_before_anything_is_sent(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for endpoint, name in (
        (Endpoint(model="gpt-4.1"), "OPENAI_API_KEY"),
        (Endpoint(model="wise", base_url=teacher.url, api_key_variable="MY_KEY"), "MY_KEY"),
    ):
        with pytest.raises(errors.InvalidInput, match=name):
            ask_all(endpoint, [asked("a")], QUICK)
    assert teacher.requests == []
    with pytest.raises(errors.InvalidInput, match="http"):
        ask_all(Endpoint(model="wise", base_url="localhost"), [asked("a")], QUICK)


def test_the_key_comes_from_the_named_variable(
    teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    endpoint = Endpoint(model="wise", base_url=teacher.url, api_key_variable="MY_KEY")
    ask_all(endpoint, [asked("a")], QUICK)
    assert teacher.headers[0]["authorization"] == "Bearer sk-mine"


def test_half_a_surrogate_pair_becomes_something_that_files_can_hold() -> None:
    assert load_json(r'{"a": "\ud800 \ud83d\ude00"}') == {"a": "? \U0001f600"}
    deep = "[" * 100_000
    with pytest.raises(ValueError, match="deep"):
        load_json(deep)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"choices": [{}]}', '{"choices": [null]}', "nul"]
)
def test_what_is_no_completion_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_completion(asked("a"), text)
