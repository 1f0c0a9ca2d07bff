"""Every family reads the calls that its grammar makes a model write, and leaves all else as text."""

import json
from typing import Any

import pytest

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.models.hf import families
from selftune.models.hf.answers import Answers
from selftune.models.hf.conversation import Habits
from selftune.models.hf.dialect import Family, ToolGrammar
from selftune.models.hf.proof import Frame, Proven

ARGUMENTS = {"city": 'São </tool> "Paulo"\n{[', "days": [1, {"a": None}]}
NAMES = plugins.available(families)
HELD = [name for name in NAMES if name not in ("qwen_xml", "gemma4")]
"""Families whose calls are JSON, so that answers can be held to them."""


def tool(name: str) -> dict[str, Any]:
    properties = {"city": {"type": "string"}, "days": {"type": "array"}}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [tool("get_weather"), tool("find.city-2")]


def family_named(name: str) -> Family:
    family: Family = plugins.load(families, name).build()
    assert family.name == name
    return family


def answers_of(family: Family | None, before: str = "") -> Answers:
    frame = Frame(before, "", "<end>")
    return Answers(Proven(Habits(), frame, trims=False, family=family, stops=("<end>",)))


def written(grammar: ToolGrammar, count: int) -> str:
    """Return an answer that a grammar allows, with one call after the other."""
    arguments = json.dumps(ARGUMENTS, ensure_ascii=False)
    calls = [shape.before + arguments + shape.after for shape in grammar.calls[:count]]
    return grammar.begin + grammar.between.join(calls) + grammar.end


@pytest.mark.parametrize("name", HELD)
def test_what_a_grammar_allows_is_read_as_calls(name: str) -> None:
    family = family_named(name)
    grammar = family.grammar(TOOLS, many=True)
    assert grammar is not None
    for count in (1, 2) if grammar.many else (1,):
        content, calls = answers_of(family).read(written(grammar, count), TOOLS)
        assert content == ""
        assert [call.name for call in calls] == ["get_weather", "find.city-2"][:count]
        assert [json.loads(call.arguments) for call in calls] == [ARGUMENTS] * count


@pytest.mark.parametrize("name", HELD)
def test_broken_and_unknown_calls_stay_text(name: str) -> None:
    family = family_named(name)
    grammar = family.grammar(TOOLS[:1], many=False)
    assert grammar is not None
    whole = written(grammar, 1)
    body = whole.index("São")
    for answer in (whole[:body], whole[: body - 3] + whole[body:], "No call.", "", "{", "[1"):
        assert answers_of(family).read(answer, TOOLS)[1] == ()
    assert answers_of(family).read(whole, TOOLS[1:])[1] == ()
    assert answers_of(family).read(whole, ())[1] == ()


def test_text_beside_calls_is_content() -> None:
    text = 'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>'
    content, calls = answers_of(family_named("hermes")).read(text, TOOLS)
    assert (content, [call.name for call in calls]) == ("Let me see.", ["get_weather"])
    broken = text + "\n<tool_call>\n{broken}\n</tool_call>"
    content, calls = answers_of(family_named("hermes")).read(broken, TOOLS)
    assert len(calls) == 1
    assert "{broken}" in content


def test_xml_values_are_what_the_schema_says() -> None:
    text = (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n3\n</parameter>\n"
        "<parameter=days>\n[1, 2]\n</parameter>\n</function>\n</tool_call>"
    )
    family = family_named("qwen_xml")
    _, (call,) = answers_of(family).read(text, TOOLS)
    assert json.loads(call.arguments) == {"city": "3", "days": [1, 2]}
    assert answers_of(family).read(text.replace("get_weather", "other"), TOOLS)[1] == ()


def test_gemmas_values_have_bare_keys_and_marked_texts() -> None:
    text = (
        '<|tool_call>call:get_weather{city:<|"|>Os"lo, {a:1}<|"|>,'
        'days:[1,<|"|>x<|"|>,{b:null}]}<tool_call|>'
    )
    family = family_named("gemma4")
    content, (call,) = answers_of(family).read(f"Well.{text}", TOOLS)
    assert content == "Well."
    assert json.loads(call.arguments) == {"city": 'Os"lo, {a:1}', "days": [1, "x", {"b": None}]}
    for broken in (text.replace("days:", "days"), text.replace("get_weather", "other")):
        assert answers_of(family).read(broken, TOOLS) == (broken, ())


@pytest.mark.parametrize("name", ["qwen_xml", "gemma4"])
def test_answers_cannot_be_held_to_calls_that_are_no_json(name: str) -> None:
    answers = answers_of(family_named(name))
    assert answers.grammar(TOOLS, "auto", parallel=True) is None
    assert answers.call_grammar(TOOLS, parallel=True) is None
    with pytest.raises(InvalidInput, match="leave tool_choice at 'auto'"):
        answers.grammar(TOOLS, "required", parallel=True)


def test_thoughts_are_left_out_of_what_is_said() -> None:
    answers = answers_of(family_named("hermes"))
    assert answers.read("<think>\nhm <b>\n</think>\n\nHello", ()).content == "Hello"
    assert answers.read("<think>\nnever ends", ()).content == ""
    assert answers.read("Hello <think>x</think>", ()).content == "Hello <think>x</think>"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "answer",
    [
        "Plain { text } with < marks > and [TOOL",
        "<think>\nhm\n</think>\n\nSaid.",
        "<th is no thought",
        'Said.\n<tool_call>\n{"name": "get_weather", "arguments": {}}\n</tool_call>',
        '{"name": "get_weather", "parameters": {}}',
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {}}]',
        "[TOOL_CALLS]get_weather[ARGS]{}",
        "<|channel|>final<|message|>Said.",
    ],
)
def test_what_is_told_early_of_an_answer_is_never_taken_back(name: str, answer: str) -> None:
    before = "<|channel|>final<|message|>" if name == "harmony" else ""
    answers = answers_of(family_named(name), before)
    for tools in ((), TOOLS):
        whole = answers.read(answer, tools).content
        told = ""
        for end in range(len(answer) + 1):
            now = answers.said_so_far(answer[:end], tools)
            assert now.startswith(told)
            assert whole.startswith(now)
            told = now


def test_plain_answers_are_told_at_once() -> None:
    assert answers_of(None).said_so_far("Hello the", ()) == "Hello the"
    assert answers_of(family_named("llama3")).said_so_far("Set {a}", TOOLS) == "Set {a}"
    harmony = answers_of(family_named("harmony"), "<|channel|>final<|message|>")
    assert harmony.said_so_far("<|channel|>final<|message|>Hel", ()) == "Hel"


def test_tool_choice_says_which_functions_an_answer_must_call() -> None:
    answers = answers_of(family_named("hermes"))
    named = {"type": "function", "function": {"name": "find.city-2"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TOOLS[0]]}}

    def asked(choice: Any) -> list[str] | None:
        grammar = answers.grammar(TOOLS, choice, parallel=False)
        return None if grammar is None else [call.name for call in grammar.calls]

    assert asked("auto") is None
    assert asked("none") is None
    assert asked("required") == ["get_weather", "find.city-2"]
    assert asked(named) == ["find.city-2"]
    assert asked(allowed) == ["get_weather"]
    for wrong in ("sometimes", {"type": "function", "function": {"name": "other"}}):
        with pytest.raises(InvalidInput, match="tool_choice"):
            asked(wrong)
    with pytest.raises(InvalidInput, match="needs 'tools'"):
        answers.grammar((), "required", parallel=False)


@pytest.mark.parametrize(
    "wrong", [{"type": "custom"}, {"function": {"name": "a b"}}, {"function": {"name": "x" * 65}}]
)
def test_tools_that_are_no_functions_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="no function"):
        answers_of(family_named("hermes")).check([wrong])
