"""What is in a source, and one example as a model sees it, on a page that is safe to open."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.data.test_estimate import rows
from tests.models.test_open_tokenizer import make_model

from selftune.core.errors import InvalidInput
from selftune.data.describe import Description, describe
from selftune.data.describing.description_page import to_html

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Weather.", "parameters": {"properties": {}}},
}


def parts(found: Description, part: str) -> list[str]:
    return [one.text for one in found.example.segments if one.part == part]


def chat(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in messages]}


def test_rows_roles_turns_and_specials_are_counted() -> None:
    two = chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
    two["messages"][1]["weight"] = 0
    two["tools"] = [TOOL]
    found = describe([*rows(9), two])
    assert (found.rows, found.kinds, found.turns) == (10, {"chat": 10}, {1: 9, 2: 1})
    assert found.roles == {"assistant": 11, "user": 11, "system": 9}
    assert (found.with_tools, found.with_images, found.with_weights) == (1, 0, 1)


def test_a_closed_set_of_answers_has_its_entropy() -> None:
    answers = describe(rows(40)).answers
    assert (answers.distinct, answers.is_closed, answers.empty) == (2, True, 0)
    assert answers.entropy_bits == pytest.approx(1.0)
    assert answers.evenness == pytest.approx(1.0)
    assert {one.text: one.rows for one in answers.most} == {"billing": 20, "delivery": 20}


def test_answers_that_differ_are_no_closed_set() -> None:
    found = describe([chat(("user", "x"), ("assistant", f"text {n}")) for n in range(20)])
    assert not found.answers.is_closed


def test_one_answer_for_all_has_no_entropy_and_no_evenness() -> None:
    answers = describe([chat(("user", f"{n}"), ("assistant", "yes")) for n in range(5)]).answers
    assert (answers.entropy_bits, answers.evenness) == (0.0, None)


def test_system_prompts_are_told_apart() -> None:
    found = describe([*rows(6), *rows(3, system="Be kind."), *rows(1, system=None)]).systems
    assert (found.distinct, found.empty, found.rows) == (2, 1, 10)
    assert found.most[0].rows == 6


def test_the_longest_and_the_shortest_rows_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    made = [*rows(5), chat(("user", "word " * 400), ("assistant", "long")), *rows(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    found = describe(path)
    assert found.longest[0].line == 6
    assert found.longest[0].prompt.endswith("…")
    assert found.shortest[0].tokens == found.tokens.least
    assert sum(one.count for one in found.histogram) == found.rows


def test_learned_parts_are_marked_and_answers_of_weight_0_are_not() -> None:
    row = chat(("user", "ask"), ("assistant", "bad"), ("user", "again"), ("assistant", "good"))
    row["messages"][1]["weight"] = 0
    found = describe([row])
    assert parts(found, "learned") == ["good"]
    assert parts(found, "text") == ["ask", "bad", "again"]
    whole = "".join(one.text for one in found.example.segments)
    assert whole.startswith("<|start|>user<|message|>ask<|end|>")


def test_the_embedded_model_does_not_read_a_prompt_that_all_rows_share() -> None:
    found = describe(rows(), "ft:selftune-minilm:acme::AbC")
    assert parts(found, "unread") == ["Sort the message. " * 30]
    mixed = [*rows(5), *rows(5, system="Another one.")]
    assert parts(describe(mixed, "selftune/minilm"), "unread") == []


def test_an_open_model_shows_its_own_template_with_its_answer_marked(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    found = describe([chat(("user", "red"), ("assistant", "blue"))], str(folder))
    assert [(one.part, one.text) for one in found.example.segments] == [
        ("text", "<s>[user] red </s> "),
        ("markup", "[assistant] "),
        ("learned", "blue </s> "),
    ]


def test_a_template_that_rewrites_what_stood_before_is_shown_unmarked(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "{{ messages | length }} {{ messages[-1].content }}")
    found = describe([chat(("user", "red"), ("assistant", "blue"))], str(folder))
    assert [(one.part, one.text) for one in found.example.segments] == [("text", "2 blue")]


def test_calls_of_tools_and_definitions_are_shown() -> None:
    row: dict[str, Any] = chat(("user", "Ulm?"))
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    row["messages"].append({"role": "assistant", "content": None, "tool_calls": [call]})
    found = describe([row | {"tools": [TOOL]}])
    assert parts(found, "learned") == ["look_up{}"]
    assert '"name": "look_up"' in found.example.segments[0].text
    assert found.answers.empty == 0


@pytest.mark.parametrize(
    ("row", "learned"),
    [
        ({"prompt": "Once", "completion": " upon"}, [" upon"]),
        ({"item": {"a": "b"}}, []),
        ({"a": "b", "n": 3}, []),
        (
            {
                "input": {"messages": [{"role": "user", "content": "Hi"}]},
                "preferred_output": [{"role": "assistant", "content": "Hello"}],
                "non_preferred_output": [{"role": "assistant", "content": "Yo"}],
            },
            ["Hello", "Yo"],
        ),
    ],
)
def test_rows_of_every_kind_are_rendered(row: dict[str, Any], learned: list[str]) -> None:
    assert parts(describe([row]), "learned") == learned


def test_fields_have_their_different_values() -> None:
    found = describe([{"text": f"message {n}", "label": n % 3} for n in range(9)])
    assert {one.name: one.texts.distinct for one in found.fields} == {"text": 9, "label": 3}
    assert not found.answers.rows


def test_lines_that_are_no_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(rows(1)[0]) + "\n{broken\n", encoding="utf-8")
    found = describe(path)
    assert (found.rows, found.unreadable, found.problems[0].line) == (1, 1, 2)


def test_a_source_without_rows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no rows that can be read"):
        describe([])


class _Reading(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = "<script>alert('x')</script><img src=x onerror=1>\" ' & {{ 7 * 7 }} \x00\ud800"


def test_a_page_shows_hostile_text_as_text() -> None:
    made = [chat(("system", HOSTILE), ("user", HOSTILE), ("assistant", HOSTILE)) for _ in range(4)]
    page = to_html(describe(made)).encode("utf-8", "replace").decode()
    read = _Reading()
    read.feed(page)
    assert "script" not in read.tags
    assert "img" not in read.tags
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "alert('x')" in read.text
    assert "{{ 7 * 7 }}" in read.text


def test_field_names_are_text_too() -> None:
    page = to_html(describe([{HOSTILE: "a", "b": "c"}]))
    assert "<script" not in page


def test_a_page_needs_nothing_from_anywhere() -> None:
    page = to_html(describe(rows()))
    assert not re.search(r"https?://|src=|@import|url\(", page)
    assert '<mark class="learned">' in page


def test_a_histogram_says_what_it_shows_without_being_seen() -> None:
    page = to_html(describe(rows()))
    assert re.search(r'<svg [^>]*role="img" aria-label="Histogram of \d+ ranges from \d+', page)
