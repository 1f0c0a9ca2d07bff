"""Running an eval: what is asked once, what is kept, what ends it, and what never counts as wrong."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import AT, EXACT, JUDGE, Scripted, echo, items, run, said

from selftune.core import errors
from selftune.core.records import Scored
from selftune.evaluate import runner
from selftune.evaluate.arms import Arm
from selftune.evaluate.items import Item
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result
from selftune.evaluate.runner import run_evaluation
from selftune.evaluate.scorer import Scorer
from selftune.evaluate.scorers import string_check
from selftune.evaluate.task import Backing, Progress, Task
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "responses.jsonl"


def test_every_item_is_asked_once_of_every_model_and_graded(log: Path) -> None:
    endpoint = Scripted(echo)
    arms = tuple(Arm(name=name, model=name, endpoint=AT) for name in ("base", "tuned"))
    found = run(endpoint, log, items(50, wrong=10), arms=arms)
    assert Counter((r.arm, r.passed) for r in found.results) == {
        ("base", True): 40,
        ("base", False): 10,
        ("tuned", True): 40,
        ("tuned", False): 10,
    }
    assert [q.body["model"] for q in endpoint.asked[:4]] == ["base", "tuned"] * 2  # by turns
    assert (found.totals.asked, found.totals.reused, found.totals.requests) == (100, 0, 100)
    last = found.progress[-1]
    assert (last.done, last.total, last.seconds_left) == (100, 100, 0)


def test_the_same_again_asks_nothing_and_finds_the_same(log: Path) -> None:
    first = run(Scripted(echo), log, items(20, wrong=3))
    endpoint = Scripted(echo)
    second = run(endpoint, log, items(20, wrong=3))
    assert endpoint.asked == []
    assert second.totals.reused == 20
    plain = {(r.index, r.output, r.passed) for r in first.results}
    assert {(r.index, r.output, r.passed) for r in second.results} == plain
    assert all(r.reused for r in second.results)


def test_other_questions_samples_and_places_are_asked(log: Path) -> None:
    run(Scripted(echo), log, items(5))
    for change in (
        {"samples": 2},
        {"seed": 7},
        {"arms": (Arm(name="a", model="m", endpoint=AT, system="Be brief."),)},
        {"arms": (Arm(name="a", model="m", endpoint=AT, sampling={"temperature": 0.5}),)},
        {"arms": (Arm(name="a", model="m", endpoint=AT, salt="anew"),)},
        {"arms": (Arm(name="a", model="m", endpoint=Endpoint(model="m", base_url="http://b/v1")),)},
    ):
        endpoint = Scripted(echo)
        run(endpoint, log, items(5), **change)
        assert len(endpoint.asked) == 5, change


def test_samples_have_seeds_that_count_on(log: Path) -> None:
    endpoint = Scripted(echo)
    found = run(endpoint, log, items(3), samples=4, seed=100)
    assert sorted(q.body["seed"] for q in endpoint.asked) == sorted([100, 101, 102, 103] * 3)
    assert sorted((r.index, r.sample) for r in found.results) == [
        (at, sample) for at in (1, 2, 3) for sample in range(4)
    ]


def test_examples_and_a_system_message_stand_before_the_question(log: Path) -> None:
    endpoint = Scripted(echo)
    example = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"})
    arm = Arm(name="few", model="m", endpoint=AT, system="Sing.", examples=example)
    own = {"role": "developer", "content": "Own."}
    asked = tuple(i.model_copy(update={"messages": (own, *i.messages)}) for i in items(1))
    run(endpoint, log, asked, arms=(arm,))
    assert [m["content"] for m in endpoint.asked[0].body["messages"]] == [
        "Sing.",
        "hi",
        "ho",
        "say t1",
    ]


def test_what_was_answered_before_a_fault_is_not_asked_again(log: Path) -> None:
    def until_ten(asked: Question) -> Answer:
        if asked.body["messages"][-1]["content"] == "say t10":
            raise errors.AuthenticationFailed("no such key")
        return echo(asked)

    broken = Scripted(until_ten)
    with pytest.raises(errors.AuthenticationFailed, match="no such key"):
        run(broken, log, items(40))
    heard = {q.key for q in broken.asked if q.body["messages"][-1]["content"] != "say t10"}
    again = Scripted(echo)
    found = run(again, log, items(40))
    assert {q.key for q in again.asked}.isdisjoint(heard)
    assert len(again.asked) == 40 - len(heard)
    assert len(found.results) == 40


def test_no_answer_is_no_wrong_answer(log: Path) -> None:
    def some(asked: Question) -> Answer:
        if asked.body["messages"][-1]["content"] in ("say t2", "say t3"):
            status = "failed" if asked.body["messages"][-1]["content"] == "say t2" else "rejected"
            return Answer(key=asked.key, status=status, reason="the line is dead")
        return echo(asked)

    found = run(Scripted(some), log, items(4))
    by_index = {r.index: r for r in found.results}
    assert [by_index[at].state for at in (1, 2, 3, 4)] == [
        "scored",
        "unanswered",
        "unanswered",
        "scored",
    ]
    assert (by_index[2].value, by_index[2].scores, by_index[2].reason) == (
        None,
        (),
        "the line is dead",
    )
    assert found.totals.unanswered == 2
    once_more = Scripted(echo)
    assert len(run(once_more, log, items(4)).results) == 4
    assert len(once_more.asked) == 2  # only those without an answer


def test_a_grader_that_asks_a_model_asks_once_for_each_answer(log: Path) -> None:
    endpoint = Scripted(echo)
    found = run(endpoint, log, items(30), graders=(EXACT, JUDGE))
    assert Counter(q.body["model"] for q in endpoint.asked) == {"m": 30, "judge": 30}
    assert {(r.scores[0].value, r.scores[1].value) for r in found.results} == {(1.0, 7.0)}
    again = Scripted(echo)
    run(again, log, items(30), graders=(EXACT, JUDGE))
    assert again.asked == []


def test_a_judge_that_does_not_answer_makes_no_score(log: Path) -> None:
    def silent(asked: Question) -> Answer:
        if asked.body["model"] == "judge":
            return Answer(key=asked.key, status="failed", reason="asleep")
        return echo(asked)

    found = run(Scripted(silent), log, items(3), graders=(JUDGE,))
    assert {r.state for r in found.results} == {"errored"}
    assert {r.scores[0].fault for r in found.results} == {"model_grader_server_error"}
    assert found.totals.errored == 3


def test_a_judge_that_will_never_answer_ends_the_run(log: Path) -> None:
    def keyless(asked: Question) -> Answer:
        if asked.body["model"] == "judge":
            raise errors.AuthenticationFailed("no key for the judge")
        return echo(asked)

    endpoint = Scripted(keyless)
    with pytest.raises(errors.AuthenticationFailed, match="for the judge"):
        run(endpoint, log, items(1000), graders=(JUDGE,))
    assert len(endpoint.asked) < 1000
    again = Scripted(echo)
    found = run(again, log, items(1000), graders=(JUDGE,))
    assert {r.state for r in found.results} == {"scored"}
    assert len([q for q in endpoint.asked + again.asked if q.body["model"] == "m"]) == 1000


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_fault_in_a_grader_is_no_wrong_answer_and_ends_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    def build(_params: string_check.Params) -> Scorer:
        def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
            del sample
            return Scored(status="scored", value=1 / (item["truth"] != "t2"), passed=True)

        return score

    monkeypatch.setattr(string_check, "build", build)
    monkeypatch.setattr(string_check, "WAITS", is_slow, raising=False)
    found = run(Scripted(echo), log, items(3))
    by_index = {r.index: r for r in found.results}
    assert [by_index[at].state for at in (1, 2, 3)] == ["scored", "errored", "scored"]
    assert "ZeroDivisionError" in str(by_index[2].scores[0].reason)


def test_a_grader_that_does_not_end_keeps_nobody_waiting(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, enough = threading.Event(), threading.Event()

    def build(_params: string_check.Params) -> Scorer:
        def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
            del item, sample
            begun.set()
            enough.wait()
            return Scored(status="scored", value=1.0, passed=True)

        return score

    def until_graded(asked: Question) -> Answer:
        if asked.body["messages"][-1]["content"] == "say t2":
            begun.wait()
            raise errors.AuthenticationFailed("no such key")
        return echo(asked)

    monkeypatch.setattr(string_check, "build", build)
    monkeypatch.setattr(string_check, "WAITS", True, raising=False)
    monkeypatch.setattr(runner, "_GRACE_SECONDS", 0.0)

    class Later(Scripted):
        async def answer(self, asked: Question) -> Answer:
            return await asyncio.to_thread(self.reply, asked)

    try:
        with pytest.raises(errors.AuthenticationFailed):
            run(Later(until_graded), log, items(2))
        grading = [each for each in threading.enumerate() if each.name == "grading"]
        assert grading
        assert all(each.daemon for each in grading)
    finally:
        enough.set()


def test_a_cut_answer_and_a_refusal_are_answers(log: Path) -> None:
    def short(asked: Question) -> Answer:
        status = "cut" if asked.body["messages"][-1]["content"] == "say t1" else "refused"
        return said(asked, "t1").model_copy(update={"status": status})

    found = run(Scripted(short), log, items(2))
    assert {(r.index, r.state, r.passed) for r in found.results} == {
        (1, "scored", True),
        (2, "scored", False),
    }


def test_answers_that_the_data_has_are_graded_and_nobody_is_asked(log: Path) -> None:
    endpoint = Scripted(echo)
    given = tuple(
        i.model_copy(update={"given": {"output_text": i.item["truth"]}, "messages": ()})
        for i in items(3)
    )
    found = run(endpoint, log, given, arms=())
    assert endpoint.asked == []
    assert {(r.arm, r.passed, r.finish) for r in found.results} == {("given", True, "given")}


def test_items_that_are_alike_are_one_question(log: Path) -> None:
    [item] = items(1)
    alike = tuple(item.model_copy(update={"index": at, "id": f"q{at}"}) for at in range(1, 6))
    endpoint = Scripted(echo)
    found = run(endpoint, log, alike)
    assert len(endpoint.asked) == 1
    assert sorted((r.index, r.passed) for r in found.results) == [(at, True) for at in range(1, 6)]
    assert found.totals.reused == 4


def test_a_bad_grader_is_refused_before_anybody_is_asked(log: Path) -> None:
    endpoint = Scripted(echo)
    with pytest.raises(errors.InvalidInput, match="string_check"):
        run(endpoint, log, items(3), graders=({"type": "string_check"},))
    assert endpoint.asked == []


def test_a_fault_of_who_listens_ends_the_run(log: Path) -> None:
    responses = Responses(log)
    backing = Backing(open=Scripted(echo).open, place=lambda model: AT)

    def full(_result: Result) -> None:
        raise OSError(28, "No space left on device")

    task = Task(
        items=lambda: items(3), arms=(Arm(name="a", model="m", endpoint=AT),), graders=(EXACT,)
    )
    with pytest.raises(OSError, match="No space"):
        run_evaluation(task, backing, responses, full)
    responses.close()


def test_a_fault_of_who_watches_ends_the_run(log: Path) -> None:
    class Slow(Scripted):
        async def answer(self, asked: Question) -> Answer:
            await asyncio.sleep(0.01)
            return await super().answer(asked)

        async def ready(self) -> int:
            await asyncio.sleep(0.01)
            return 1

    endpoint, responses = Slow(echo), Responses(log)
    backing = Backing(open=endpoint.open, place=lambda model: AT)

    def lost(_progress: Progress) -> None:
        raise errors.LeaseLost("it belongs to another worker now")

    arms = (Arm(name="a", model="m", endpoint=AT),)
    task = Task(items=lambda: items(100_000), arms=arms, graders=(EXACT,))
    with closing(responses), pytest.raises(errors.LeaseLost):
        run_evaluation(task, backing, responses, lambda result: None, lost)
    assert len(endpoint.asked) < 100_000


def test_what_is_on_its_way_arrives_when_items_break(log: Path) -> None:
    def broken() -> Iterator[Item]:
        yield from items(4)
        raise errors.InvalidInput("row 5 is none")

    endpoint, responses = Scripted(echo), Responses(log)
    backing = Backing(open=endpoint.open, place=lambda model: AT)
    task = Task(items=broken, arms=(Arm(name="a", model="m", endpoint=AT),), graders=(EXACT,))
    heard: list[Result] = []
    with closing(responses), pytest.raises(errors.InvalidInput, match="row 5"):
        run_evaluation(task, backing, responses, heard.append)
    assert len(heard) == 4


def test_tool_calls_reach_the_graders(log: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}

    def calls(asked: Question) -> Answer:
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return Answer(key=asked.key, status="answered", message=message)

    grader = EXACT | {
        "input": "{{ sample.output_tools[0].function.name }}",
        "reference": "look",
    }
    [result] = run(Scripted(calls), log, items(1), graders=(grader,)).results
    assert result.passed
    assert result.message["tool_calls"] == [call]
