"""Models that call tools: they are recorded and replaced with the tools that production has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import Scripted, said

from selftune.core.settings import Settings
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.verdict import Policy
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.models.profiles import Profile
from selftune.rescue.proof.plan import Choices
from selftune.rescue.proof.run import Proof, prove
from selftune.rescue.record.asking import Purse, RecordingHome
from selftune.rescue.record.prompts import Found, Prompt, prompt_of, together
from selftune.rescue.record.recordings import find_recording
from selftune.rescue.record.requests import carried, request_in
from selftune.rescue.record.run import Wanted, record

OLD = "ft:gpt-4o-mini-2024-07-18:acme:calls:AbC"
ACCOUNT = Profile(name="openai", kind="openai", base_url="http://127.0.0.1:1/v1")
TOOLS = [
    {"type": "function", "function": {"name": "refund", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}},
]
JSON = {"response_format": {"type": "json_object"}}
Says = Callable[[int], "dict[str, Any] | str"]
"""A question's number -> what is called, or what is said."""


def right(number: int) -> dict[str, Any] | str:
    if number % 3 == 0:
        return json.dumps({"order": number})
    return {"name": "refund", "arguments": {"order": number, "reason": "broken"}}


def spaced(number: int) -> dict[str, Any] | str:
    """Return the same calls, with arguments in another order."""
    called = right(number)
    if isinstance(called, str):
        return called
    return called | {"arguments": dict(reversed(called["arguments"].items()))}


def often_wrong(number: int) -> dict[str, Any] | str:
    called = right(number)
    if isinstance(called, str) or number % 2:
        return called
    return called | {"arguments": {"order": number + 1, "reason": "broken"}}


def talks(number: int) -> dict[str, Any] | str:
    return f"I would refund {number}"


class Desk:
    """A home with models that call."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.models: dict[str, Says] = {OLD: right, "base": talks}
        self.asked: list[Question] = []
        self.refused: tuple[str, ...] = ()
        """Words that the model `new` does not take."""

    def answer(self, asked: Question) -> Answer:
        self.asked.append(asked)
        model = str(asked.body["model"])
        refused = next(
            (word for word in self.refused if word in asked.body and model == "new"), None
        )
        if refused is not None:
            words = f"Unsupported parameter: '{refused}' is not supported with this model."
            return Answer(key=asked.key, status="rejected", reason=words)
        if model == "judge":
            return said(asked, json.dumps({"explanation": "fine", "score": 5}))
        number = int(str(asked.body["messages"][-1]["content"]).split()[-1])
        told = self.models[model](number)
        if isinstance(told, str):
            return said(asked, told)
        gap = "  " if model == OLD else ""
        arguments = json.dumps(told["arguments"], separators=(f"{gap},", f":{gap}"))
        call = {
            "id": f"c{number}{model}",
            "type": "function",
            "function": told | {"arguments": arguments},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return Answer(key=asked.key, status="answered", message=message)

    def record(self, rows: list[dict[str, Any]], **more: Any) -> None:
        found = [prompt_of(row, "made") for row in rows]
        prompts = [each for each in found if isinstance(each, Prompt)]
        assert len(prompts) == len(rows)
        wanted = Wanted(Endpoint(model=OLD, profile=ACCOUNT), 0.7, 2, logprobs=False, **more)
        home = RecordingHome(self.settings, Purse())
        record(home, OLD, prompts, wanted, Limits(concurrency=64))

    def proof(self, model: str, **chosen: Any) -> Proof:
        choices = Choices(replacement=model, base="base", **chosen)
        return prove(self.settings, OLD, choices, Policy(margin=0.05)).proof


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    endpoint = Scripted(made.answer)
    opened = "selftune.prove.home.Home.open"
    monkeypatch.setattr(opened, lambda self, model, place, limits: endpoint.open(model, place))
    monkeypatch.setattr("selftune.prove.home.Home.embed", lambda self, texts: [[1.0]] * len(texts))
    return made


def rows(count: int) -> list[dict[str, Any]]:
    """Return requests: with tools, and each third for JSON, as production sent them."""
    return [
        {
            "messages": [{"role": "user", "content": f"Question {number}"}],
            **(JSON if number % 3 == 0 else {"tools": TOOLS, "tool_choice": "auto"}),
        }
        for number in range(count)
    ]


def test_calls_are_recorded_and_proven_with_the_tools_of_production(desk: Desk) -> None:
    desk.models |= {"new": spaced, "bad": often_wrong}
    desk.record(rows(90))
    found = desk.proof("new", judge="judge")
    assert (found.conclusion.outcome, found.conclusion.status) == ("switch", 0)
    assert [each.same.value for each in found.alike] == [1.0, 1.0, 0.0]
    assert found.measure == "the answer is the one that was recorded at temperature 0"
    worse = desk.proof("bad")
    assert (worse.conclusion.outcome, worse.conclusion.status) == ("keep", 1)
    gap = worse.report.comparisons[0].difference
    assert gap is not None
    assert gap.value == pytest.approx(-1 / 3, abs=0.01)
    for asked in desk.asked:
        last = str(asked.body["messages"][-1]["content"])
        if asked.body["model"] != "judge":
            has_tools = int(last.split()[-1]) % 3 > 0
            assert (asked.body.get("tools") == TOOLS) is has_tools
            assert ("response_format" in asked.body) is not has_tools
    judged = [str(each.body["messages"]) for each in desk.asked if each.body["model"] == "judge"]
    calling = [text for text in judged if "refund" in text and "I would" not in text]
    assert all(text.count('refund {"order"') == 2 for text in calling)
    assert len(calling) == 60  # two models call the same: it is one question


def test_a_validation_row_that_ends_with_a_call_says_what_is_right(desk: Desk) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "refund", "arguments": '{"reason":"broken","order":1.0}'}}  # fmt: skip
    end = {"role": "assistant", "tool_calls": [call]}
    asked = [{"role": "user", "content": "Question 1"}]
    shown = [{"messages": [*asked, end], "tools": TOOLS}]
    desk.models["new"] = spaced
    desk.record([*shown, *({"messages": [{"role": "user", "content": f"{at} Question 1"}, end], "tools": TOOLS} for at in range(9))])  # fmt: skip
    found = desk.proof("new")
    assert found.measure == "the answer is the row's own answer"
    recorded, replacement, base = (each.summary.accuracy for each in found.report.arms)
    assert recorded
    assert replacement
    assert base
    assert (recorded.value, replacement.value, base.value) == (1.0, 1.0, 0.0)


def test_the_same_question_with_other_tools_is_another_one() -> None:
    asked = {"messages": [{"role": "user", "content": "a"}]}
    given: list[dict[str, Any]] = [
        {**asked, "tools": TOOLS[:1]},
        {**asked, "tools": TOOLS[1:]},
        asked,
        {**asked, **JSON},
    ]
    prompts = [each for row in given if isinstance(each := prompt_of(row, "made"), Prompt)]
    found = together([Found(prompts=tuple(prompts))]).prompts
    assert [each.request for each in found] == [{"tools": TOOLS[:1], **JSON}, {"tools": TOOLS[1:]}]


def test_production_s_own_limit_is_kept_unless_another_is_chosen(desk: Desk) -> None:
    [row] = rows(2)[1:]
    desk.record([row | {"max_completion_tokens": 7, "stop": ["."]}])
    assert {each.body["max_completion_tokens"] for each in desk.asked} == {7}
    assert all(each.body["stop"] == ["."] for each in desk.asked)
    before = len(desk.asked)
    desk.record([row | {"max_completion_tokens": 7}], max_tokens=9)
    assert all("max_completion_tokens" not in each.body for each in desk.asked[before:])
    assert {each.body["max_tokens"] for each in desk.asked[before:]} == {9}


def test_a_contender_is_asked_in_words_that_it_takes(desk: Desk) -> None:
    desk.models["new"] = spaced
    desk.record([row | {"max_tokens": 7, "stop": ["."]} for row in rows(4)])
    desk.refused = ("temperature", "max_tokens", "stop")
    found = desk.proof("new")
    assert found.alike[1].same.value == 1.0
    last = next(each.body for each in reversed(desk.asked) if each.body["model"] == "new")
    assert last["max_completion_tokens"] == 7
    assert not set(desk.refused) & last.keys()


def test_a_recording_with_tools_goes_on_and_is_not_paid_for_twice(desk: Desk) -> None:
    desk.record(rows(6))
    assert len(desk.asked) == 18
    desk.record(rows(9))
    assert len(desk.asked) == 27
    desk.record(rows(9))
    assert len(desk.asked) == 27
    kept = [item.request for item in find_recording(desk.settings.root, OLD).usual.read_items()]
    assert kept[1] == {"tools": TOOLS, "tool_choice": "auto"}


@pytest.mark.parametrize(
    ("row", "text", "request_"),
    [
        (
            {"body": {"messages": [{"role": "user", "content": "a"}], "functions": [{"name": "f"}], "function_call": {"name": "f"}}},
            "a",
            {
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {"body": {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "b"}]}], "tools": [{"type": "function", "name": "f"}], "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}}, "max_output_tokens": 20}},
            [{"type": "text", "text": "b"}],
            {
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
                "max_completion_tokens": 20,
            },
        ),
        ({"request": {"body": {"messages": [{"role": "user", "content": "c"}], "response_format": {"type": "text"}, "tools": [], "tool_choice": "auto"}}}, "c", {}),
        ({"model": "m", "input": "d", "instructions": "Be brief."}, "d", {}),
    ],
    ids=["functions", "responses", "nothing said", "a text"],
)  # fmt: skip
def test_requests_of_all_kinds_are_asked_as_chats(
    row: dict[str, Any], text: Any, request_: dict[str, Any]
) -> None:
    asked = request_in(row)
    assert asked is not None
    assert asked["messages"][-1]["content"] == text
    assert carried(asked) == request_


def test_a_response_that_goes_on_from_another_cannot_be_asked() -> None:
    assert (
        request_in({"body": {"model": "m", "input": "a", "previous_response_id": "resp_1"}}) is None
    )
