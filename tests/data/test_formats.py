"""Shapes of rows: into OpenAI's and back, and nothing lost on the way without a word."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.core.runfile import Template
from selftune.data.formats.fields import Params, build
from selftune.data.rows import Row
from selftune.data.sources.format import load_format
from selftune.data.sources.openai_rows import ordered_chat, ordered_preference

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def say(role: str, content: Any, **more: Any) -> Row:
    return {"role": role, "content": content} | more


def calling(index: int, name: str, arguments: str) -> Row:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{index}", "type": "function", "function": function}


TURNS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3)
CHATS = st.builds(
    lambda system, turns: {
        "messages": ([say("system", system)] if system else [])
        + [m for q, a in turns for m in (say("user", q), say("assistant", a))]
    },
    TEXTS,
    TURNS,
)
CALLS = st.builds(
    lambda name, arguments: {
        "messages": [
            say("user", "?"),
            say("assistant", None, tool_calls=[calling(1, name, arguments), calling(2, name, "{}")]),
            say("tool", "1", tool_call_id="call_1"),
            say("tool", "2", tool_call_id="call_2"),
            say("assistant", "done", weight=0),
        ],
        "tools": [{"type": "function", "function": {"name": name, "parameters": {}}}],
    },
    TEXTS,
    TEXTS | st.sampled_from(['{"a": 1}', '{"a":1}', '"a"', '"\\"a\\""', "[1, 2]", '{"n": 1e3}']),
)  # fmt: skip


@given(CHATS | CALLS)
def test_sharegpt_holds_chats_and_calls_of_tools(chat: Row) -> None:
    shape = load_format("sharegpt")
    written = shape.write(chat)
    assert shape.read(written) == chat
    assert shape.write(shape.read(written)) == written


@given(CHATS)
def test_alpaca_holds_chats_with_their_history(chat: Row) -> None:
    shape = load_format("alpaca")
    written = shape.write(chat)
    assert shape.read(written) == chat
    assert shape.write(shape.read(written)) == written


@given(TEXTS, TEXTS)
def test_a_completion_keeps_every_blank_and_separator(prompt: str, completion: str) -> None:
    shape = load_format("completion")
    row = {"prompt": prompt, "completion": completion}
    assert shape.write(shape.read(row)) == row


@given(st.dictionaries(TEXTS, TEXTS | st.integers()))
def test_fields_become_items_and_fields_again(fields: Row) -> None:
    item = load_format("item").write({"item": fields})
    assert load_format("fields").write(item) == fields


@given(CHATS | CALLS)
def test_the_order_of_keys_is_openais_and_stays(chat: Row) -> None:
    ordered = ordered_chat(dict(reversed(chat.items())))
    assert ordered == chat
    assert (
        json.dumps(ordered_chat(ordered)) == json.dumps(ordered) == json.dumps(ordered_chat(chat))
    )


def test_null_says_nothing_except_for_the_content_of_a_call() -> None:
    message = {
        "weight": None,
        "tool_calls": [calling(1, "f", "{}")],
        "name": None,
        "role": "assistant",
    }
    row = ordered_chat({"tools": None, "messages": [message, "not a message"], "id": 1})
    assert list(row) == ["messages", "id"]
    assert list(row["messages"][0].items())[:2] == [("role", "assistant"), ("content", None)]
    assert list(row["messages"][0]) == ["role", "content", "tool_calls"]


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"conversations": [{"from": "HUMAN", "value": "a"}, {"from": "chatgpt", "value": "b"}]}, [say("user", "a"), say("assistant", "b")]),
        ({"id": "7", "conversation": [{"role": "user", "content": "a"}], "system": "s"}, [say("system", "s"), say("user", "a")]),
        ({"messages": [{"from": "user", "value": "a"}]}, [say("user", "a")]),
        ({"conversations": [{"from": "gpt", "value": "b", "weight": 0}], "tools": "[]", "system": ""}, [say("assistant", "b", weight=0)]),
        ({"conversations": [{"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'}, {"from": "observation", "value": "3"}]}, [say("assistant", None, tool_calls=[calling(1, "f", '{"x": 1}')]), say("tool", "3", tool_call_id="call_1")]),
    ],
)  # fmt: skip
def test_the_variants_of_sharegpt_are_read(row: Row, messages: list[Row]) -> None:
    shape = load_format("sharegpt")
    assert shape.recognizes(row)
    assert shape.read(row)["messages"] == messages


def test_bare_functions_become_tools() -> None:
    tools = '[{"name": "f", "parameters": {}}]'
    row = load_format("sharegpt").read({"conversations": [], "tools": tools})
    assert row["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def test_an_alpaca_input_follows_its_instruction() -> None:
    read = load_format("alpaca").read
    row = {"instruction": "Translate.", "input": "Haus", "output": "house", "history": [["a", "b"]]}
    contents = [message["content"] for message in read(row)["messages"]]
    assert contents == ["a", "b", "Translate.\n\nHaus", "house"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": [say("user", "q")], "chosen": [say("assistant", "a")], "rejected": [say("assistant", "b")]},
        {"chosen": [say("user", "q"), say("assistant", "a")], "rejected": [say("user", "q"), say("assistant", "b")]},
    ],
)  # fmt: skip
def test_preferences_of_open_sets_are_read(row: Row) -> None:
    shape = load_format("preference")
    read = shape.read(row)
    assert read == {
        "input": {"messages": [say("user", "q")]},
        "preferred_output": [say("assistant", "a")],
        "non_preferred_output": [say("assistant", "b")],
    }
    shuffled = dict(reversed(read.items()))
    assert json.dumps(ordered_preference(shuffled)) == json.dumps(shape.write(shuffled))
    assert list(shape.write(shuffled)) == ["input", "preferred_output", "non_preferred_output"]


SEVERAL = {"messages": [say("user", "a"), say("assistant", "b")] * 2}
WITH_SYSTEM = {"messages": [say("system", "s"), say("user", "a"), say("assistant", "b")]}
WITH_TOOLS = {"messages": SEVERAL["messages"][:2], "tools": []}
PREFERENCE: Row = {"input": {}, "preferred_output": []}


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("completion", SEVERAL, "several turns, which a completion cannot hold"),
        ("completion", WITH_SYSTEM, "a system message, which a completion cannot hold"),
        ("completion", WITH_TOOLS, "has tools, which a completion cannot hold"),
        ("fields", SEVERAL, "several turns"),
        ("alpaca", {"messages": [say("user", "a")]}, "does not go from user to assistant"),
        ("alpaca", {"messages": []}, "does not go from user to assistant"),
        ("alpaca", {"messages": [say("user", [{"type": "text"}])]}, "no plain text in message 1"),
        ("alpaca", {"messages": [say("user", "a"), say("assistant", "b", weight=0)]}, "'weight' in message 2"),
        ("sharegpt", {"messages": [say("user", "a", name="Ada")]}, "'name' in message 1"),
        ("sharegpt", {"messages": [say("function", "a")]}, "from 'function'"),
        ("sharegpt", {"messages": [], "metadata": {}}, "'metadata', which ShareGPT cannot hold"),
        ("chat", {"question": "a", "label": "b"}, "the fields question, label: make messages"),
        ("chat", PREFERENCE, "two answers"),
        ("prompt", WITH_SYSTEM, "its answer would be lost"),
        ("preference", WITH_SYSTEM, "has not two answers"),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_hold_a_row_says_why(name: str, row: Row, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load_format(name).write(row)


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("sharegpt", {"conversations": [{"from": "alien", "value": "a"}]}, "turn 1 from 'alien'; known are system"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": None}]}, "no text in turn 1"),
        ("sharegpt", {"conversations": [{"from": "function_call", "value": "f(x)"}]}, "turn 1 that is not JSON"),
        ("sharegpt", {"conversations": [], "tools": "{"}, "tools that are not a list in JSON"),
        ("sharegpt", {}, "no list of conversations"),
        ("alpaca", {"instruction": "a", "output": 3}, "no text in 'output'"),
        ("alpaca", {"instruction": "a", "output": "b", "history": [["x"]]}, "a history that is not"),
        ("completion", {"prompt": "a", "completion": None}, "no text in 'completion'"),
        ("preference", {"chosen": "a", "rejected": "b"}, "in 'prompt'"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_says_why(name: str, row: Row, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        load_format(name).read(row)


def test_a_template_makes_chats_of_fields_and_of_items() -> None:
    template = Template(system="Be brief.", user="{{ q }}?", assistant="{{ '%.1f' % item.price }}")
    shape = build(Params(template=template))
    contents = ["Be brief.", "Why?", "2.0"]
    for row in ({"q": "Why", "price": 2}, {"item": {"q": "Why", "price": 2}}):
        assert [message["content"] for message in shape.read(row)["messages"]] == contents
    with pytest.raises(InvalidInput, match=r"'q' is undefined\. The fields are: price"):
        shape.read({"price": 2})
