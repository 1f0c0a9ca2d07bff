"""Rows to items: what is asked of a model besides its messages."""

from typing import Any

from selftune.core.runfile import EvaluationSection
from selftune.evaluate.arms import Arm, question_for
from selftune.evaluate.items import to_items

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "track", "parameters": {"type": "object"}},
}
CALL: dict[str, Any] = {"id": "call_1", "type": "function"}
CALL |= {"function": {"name": "track", "arguments": '{"number": 7, "by": "post"}'}}
ASKED = {"role": "user", "content": "Where is parcel 7?"}
ROW: dict[str, Any] = {
    "name": "parcel",
    "messages": [ASKED, {"role": "assistant", "tool_calls": [CALL]}],
    "tools": [TOOL],
    "parallel_tool_calls": False,
}
GRADERS = ({"type": "same_calls", "reference": "{{ item.reference_calls }}"},)


def test_a_chat_with_tools_is_asked_with_them_and_its_calls_are_the_reference() -> None:
    [item] = to_items([ROW], EvaluationSection(graders=GRADERS))
    body = question_for(Arm(name="tuned", model="m"), item, 0, None).body
    assert body["messages"] == [ASKED]
    assert (body["tools"], body["parallel_tool_calls"]) == ([TOOL], False)
    assert item.item["reference_calls"] == 'track {"by": "post", "number": 7}'
    assert item.item["reference"] == ""


def test_the_older_words_for_tools_ask_the_same() -> None:
    old = {name: ROW[name] for name in ("name", "messages")}
    old |= {"functions": [TOOL["function"]], "function_call": {"name": "track"}}
    [item] = to_items([old], EvaluationSection(graders=GRADERS))
    choice = {"type": "function", "function": {"name": "track"}}
    asked = {"tools": [TOOL], "parallel_tool_calls": False, "tool_choice": choice}
    assert item.request == asked


def test_tools_tell_rows_apart_unless_the_data_names_them() -> None:
    bare = {name: ROW[name] for name in ("name", "messages")}
    first, second = to_items([ROW, bare], EvaluationSection(graders=GRADERS))
    assert first.id != second.id
    [named] = to_items([ROW], EvaluationSection(graders=GRADERS, id="name"))
    assert named.id == "parcel"
    assert named.request["tools"] == [TOOL]
