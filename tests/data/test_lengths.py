"""Tokens of rows: OpenAI's published rules, and an open model's own template."""

from functools import cache
from pathlib import Path
from typing import Any

import bpe_openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.test_open_tokenizer import make_model

from selftune.data.counting.lengths import Lengths, join, measure, tokenizer_of
from selftune.data.counting.pieces import PARTS

GPT = tokenizer_of("gpt-4o-mini")


def part(found: Lengths, name: str, row: int = 0) -> int:
    return int(found.parts[row, PARTS.index(name)])


def count(text: str, encoding: str = "o200k_base") -> int:
    """Count with another library than the one that is tested."""
    return len(other(encoding).encode_ordinary(text))


@cache
def other(encoding: str) -> Any:
    return bpe_openai.get_encoding(encoding)


def chat(*messages: tuple[str, Any], **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in messages], **extra}


def test_a_message_costs_three_and_its_role_and_a_reply_three() -> None:
    found = measure([chat(("system", "Be kind."), ("user", "Hi!"), ("assistant", "Hello."))], GPT)
    texts = count("Be kind.") + count("Hi!") + count("Hello.")
    assert found.total[0] == texts + 3 * (3 + 1) + 3
    assert found.prompt[0] == count("Be kind.") + count("Hi!") + 2 * (3 + 1) + 3
    assert found.answer[0] == found.trained[0] == count("Hello.")
    assert found.system[0] == count("Be kind.") + 3 + 1


def test_a_developer_is_a_system_and_a_name_costs_one_more() -> None:
    row = chat(("developer", "Be kind."), ("assistant", "Yes."))
    plain = measure([row], GPT)
    row["messages"][0]["name"] = "Ada"
    assert part(plain, "system") == count("Be kind.")
    assert measure([row], GPT).total[0] == plain.total[0] + count("Ada") + 1


def test_older_models_have_the_older_encoding() -> None:
    row = chat(("user", "Überraschung 你好"), ("assistant", "🎉"))
    found = measure([row], tokenizer_of("gpt-3.5-turbo-0125"))
    assert part(found, "user") == count("Überraschung 你好", "cl100k_base")
    assert part(found, "assistant") == count("🎉", "cl100k_base")


def test_tools_cost_what_the_cookbook_says() -> None:
    """7 a function, 3 for its properties, 3 a property, -3 and 3 a choice for enums, 12 at the end."""
    function = {
        "name": "paint",
        "description": "Paint a wall.",
        "parameters": {
            "type": "object",
            "properties": {
                "color": {"type": "string", "description": "Which.", "enum": ["red", "blue"]},
                "coats": {"type": "integer", "description": "How many"},
            },
        },
    }
    row = chat(("user", "Hi"), tools=[{"type": "function", "function": function}])
    lines = ("paint:Paint a wall", "color:string:Which", "red", "blue", "coats:integer:How many")
    wanted = sum(map(count, lines)) + 7 + 3 + 3 - 3 + 3 + 3 + 3 + 12
    assert part(measure([row], GPT), "tools") == wanted
    older = chat(("user", "Hi"), functions=[function])
    assert part(measure([older], GPT), "tools") == wanted


def test_an_image_of_low_detail_has_85_tokens_and_others_are_unknown() -> None:
    content = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://e.x/1.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://e.x/2.png"}},
    ]
    found = measure([chat(("user", content), ("assistant", "A cat"))], GPT)
    assert (part(found, "images"), int(found.images[0])) == (85, 1)
    assert part(found, "user") == count("Look")


def test_only_answers_of_weight_one_are_learned() -> None:
    row = chat(("user", "a"), ("assistant", "no no"), ("user", "b"), ("assistant", "yes"))
    row["messages"][1]["weight"] = 0
    found = measure([row], GPT)
    assert found.trained[0] == count("yes")
    assert part(found, "assistant") == count("no no") + count("yes")


def test_a_call_of_a_tool_is_learned_with_its_name_and_arguments() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "paint", "arguments": '{"a":1}'}}
    row = chat(("user", "Hi"), ("assistant", None))
    row["messages"][1]["tool_calls"] = [call]
    assert measure([row], GPT).trained[0] == count('paint{"a":1}')


def test_a_preference_row_has_both_answers_and_one_prompt() -> None:
    row = {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello there."}],
        "non_preferred_output": [{"role": "assistant", "content": "Yo"}],
    }
    found = measure([row], GPT)
    assert found.trained[0] == count("Hello there.") + count("Yo")
    assert found.answer[0] == count("Hello there.")
    assert found.prompt[0] == count("Hi") + (3 + 1) + 3


def test_a_completion_row_has_no_overhead() -> None:
    found = measure([{"prompt": "Once upon", "completion": " a time"}], tokenizer_of("davinci-002"))
    assert found.total[0] == count("Once upon", "cl100k_base") + count(" a time", "cl100k_base")


def test_the_prompt_of_a_row_without_an_answer_is_all_of_it() -> None:
    found = measure([chat(("user", "What is it?"))], GPT)
    assert found.prompt[0] == found.total[0]
    assert found.trained[0] == 0


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"messages": None},
        {"messages": [5, None, {"role": 7, "content": 8, "name": 3}]},
        {"messages": [{"role": ["user"], "content": {"a": 1}}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": 3}]}]},
        {"messages": [], "tools": [{"function": {"parameters": {"properties": [1]}}}]},
        {"messages": [], "tools": [{"function": {"parameters": {"properties": {"a": 1}}}}]},
        {"preferred_output": 3, "input": []},
        {"prompt": 1, "completion": None},
        {"item": {"a": [1], "b": "text"}},
    ],
)
def test_a_malformed_row_is_counted_as_far_as_it_goes(row: dict[str, Any]) -> None:
    assert measure([row], GPT).total[0] >= 0


def test_rows_are_the_same_together_and_one_by_one() -> None:
    rows = [chat(("user", "a b c"), ("assistant", "d")), {}, chat(("assistant", "e f"))]
    together, apart = measure(rows, GPT), join([measure([row], GPT) for row in rows])
    assert (together.parts == apart.parts).all()
    assert (together.prompt == apart.prompt).all()


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS), max_size=5)
)
def test_a_chat_is_counted_as_the_cookbook_counts_it(said: list[tuple[str, str]]) -> None:
    wanted = 3 + sum(3 + count(role) + count(text) for role, text in said)
    assert measure([chat(*said)], GPT).total[0] == (wanted if said else 3)


def test_an_open_model_counts_by_its_own_template(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(str(make_model(tmp_path / "model")))
    found = measure([chat(("user", "red blue"), ("assistant", "green"))], tokenizer)
    # "<s>[user] red blue </s> [assistant] green </s> " are seven words
    assert found.total[0] == 7
    assert (part(found, "user"), part(found, "assistant"), part(found, "overhead")) == (2, 1, 4)
    assert found.prompt[0] == 5  # "<s>[user] red blue </s> [assistant] "
    assert found.trained[0] == 1


def test_an_open_model_without_a_template_counts_texts_only(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(str(make_model(tmp_path / "model", None)))
    assert measure([chat(("user", "red blue"), ("assistant", "green"))], tokenizer).total[0] == 3
