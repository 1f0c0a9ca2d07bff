"""Chats of the wire and of training files become what chat templates can show."""

from typing import Any

import pytest

from selftune.core.errors import InvalidInput
from selftune.models.hf.conversation import Habits, chat_of, tools_of

EVERYTHING = Habits()


def call(arguments: Any, call_id: str = "call_x1") -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def said(*messages: dict[str, Any], habits: Habits = EVERYTHING) -> list[dict[str, Any]]:
    return chat_of(messages, habits).messages


def test_text_parts_become_one_text_and_refusals_are_said() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    refusal = {"role": "assistant", "content": None, "refusal": "No."}
    assert said({"role": "user", "content": parts}, refusal) == [
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "No."},
    ]


def test_developers_are_systems_and_instructions_in_a_row_are_one() -> None:
    both = ({"role": "system", "content": "a"}, {"role": "developer", "content": "b"})
    assert said(*both) == [{"role": "system", "content": "a\n\nb"}]
    user = {"role": "user", "content": "c"}
    assert said(*both, user, habits=Habits(system=False)) == [
        {"role": "user", "content": "a\n\nb\n\nc"}
    ]


def test_names_reach_the_template_and_unknown_fields_do_not() -> None:
    message = {"role": "user", "content": "a", "name": "Ann", "weight": 1, "audio": None}
    assert said(message) == [{"role": "user", "content": "a", "name": "Ann"}]


def test_arguments_become_objects_or_text_as_the_template_wants_them() -> None:
    user = {"role": "user", "content": "a"}
    for given in ('{"a": "é"}', {"a": "é"}):
        made = said(user, call(given))[1]["tool_calls"][0]["function"]["arguments"]
        assert made == {"a": "é"}
        as_text = said(user, call(given), habits=Habits(arguments_as_text=True))
        assert as_text[1]["tool_calls"][0]["function"]["arguments"] == '{"a": "é"}'
    assert said(user, call(""))[1]["tool_calls"][0]["function"]["arguments"] == {}


def test_ids_of_calls_do_not_matter_and_answers_find_their_call() -> None:
    answers = [
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]
    user = {"role": "user", "content": "x"}
    made = said(user, call({}, "a"), call({}, "b"), *answers)
    ids = [message["tool_calls"][0]["id"] for message in made[1:3]]
    assert [message["tool_call_id"] for message in made[3:]] == [ids[1], ids[0]]
    assert [message["name"] for message in made[3:]] == ["f", "f"]
    others = [{**answer, "tool_call_id": answer["tool_call_id"] * 30} for answer in answers]
    assert said(user, call({}, "a" * 30), call({}, "b" * 30), *others) == made


def test_deprecated_calls_and_their_answers_are_tools() -> None:
    old: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "b"},
    ]
    answer = {"role": "tool", "tool_call_id": "call_x1", "content": "b"}
    assert said(*old) == said({"role": "user", "content": "a"}, call("{}"), answer)


def test_only_the_assistant_has_weight() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "c", "weight": 0},
    ]
    assert chat_of(messages, EVERYTHING).weights == [0, 1, 0]


def test_lone_surrogates_are_replaced_wherever_they_stand() -> None:
    made = said({"role": "user", "content": "a\ud800"}, call({"\udc00": ["\ud800"]}))
    assert made[0]["content"] == "a\ufffd"
    assert made[1]["tool_calls"][0]["function"]["arguments"] == {"\ufffd": ["\ufffd"]}
    function = {"name": "f", "description": "\ud800"}
    assert tools_of({"functions": [function]})[0]["function"]["description"] == "\ufffd"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "reads text only"),
        ({"role": "user", "content": [{"type": "text"}]}, "reads text only"),
        ({"role": "user", "content": 5}, "neither text nor a list"),
        ({"role": "critic", "content": "a"}, "'critic' is not one of"),
        ({"content": "a"}, "None is not one of"),
        ("a", "is no object"),
        (call("{"), "is no JSON object"),
        (call("[1]"), "is no JSON object"),
        ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "no function"),
        ({"role": "assistant", "content": "a", "weight": 2}, "neither 0 nor 1"),
    ],
)
def test_what_no_template_can_show_is_refused_with_its_place(message: Any, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault) as refused:
        chat_of([{"role": "user", "content": "x"}, message], EVERYTHING)
    assert (refused.value.param or "").startswith("messages[1]")


def test_an_empty_chat_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one message"):
        chat_of([], EVERYTHING)
