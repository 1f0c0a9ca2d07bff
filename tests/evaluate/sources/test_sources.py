"""What a run's data source says -> items, messages and words of the chat API."""

import io
import json
from typing import Any

import pytest

from selftune.core.errors import InvalidInput
from selftune.evaluate.sources.data_source import (
    DataSource,
    ItemReference,
    Template,
    echo,
    read_data_source,
)
from selftune.evaluate.sources.item_schema import check_schema, item_check, row_schema
from selftune.evaluate.sources.items import ItemMaker, file_rows, given_sample
from selftune.evaluate.sources.messages import check_messages, messages_for
from selftune.evaluate.sources.sampling import chat_words

CONTENT = {"type": "file_content", "content": [{"item": {"a": "b"}}]}
ASK = {"type": "template", "template": [{"role": "user", "content": "{{ item.a }}"}]}
RUN = {"type": "completions", "source": CONTENT, "input_messages": ASK, "model": "m"}


def source(**changes: Any) -> DataSource:
    return read_data_source(RUN | changes)


def template(*contents: Any) -> Template:
    messages = [{"role": "user", "content": content} for content in contents]
    return Template.model_validate({"type": "template", "template": messages})


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({}, "type"),
        ({"type": "csv", "source": CONTENT}, "type"),
        ({"type": "jsonl"}, "source"),
        ({"type": "jsonl", "source": {"id": "file-1"}}, "source.type"),
        ({"type": "jsonl", "source": {"type": "file_id"}}, "source.id"),
        ({"type": "jsonl", "source": {"type": "stored_completions"}}, "source.type"),
        ({"type": "jsonl", "source": {"type": "file_content", "content": 1}}, "source.content"),
        (
            {"type": "jsonl", "source": {"type": "file_content", "content": [{}]}},
            "source.content.0.item",
        ),
        (RUN | {"model": None}, "model"),
        (RUN | {"input_messages": None}, "input_messages"),
        (RUN | {"input_messages": {"type": "template"}}, "input_messages.template"),
        (
            RUN | {"input_messages": {"type": "item_reference", "item_reference": "sample.a"}},
            "input_messages.item_reference",
        ),
        (RUN | {"source": {"type": "responses"}}, "source.type"),
        (RUN | {"sampling_params": {"temperature": 3}}, "sampling_params.temperature"),
        (RUN | {"model": "a\0b"}, "model"),
    ],
)
def test_what_is_no_data_source_is_refused_by_name(value: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_data_source(value)
    assert error.value.param == f"data_source.{param}"


def test_an_echo_has_no_null() -> None:
    given = {
        "type": "completions",
        "model": None,
        "source": {"type": "file_content", "content": [{"item": {"a": None}, "sample": None}]},
        "sampling_params": {"seed": None, "top_p": 1},
    }
    assert echo(given) == {
        "type": "completions",
        "source": {"type": "file_content", "content": [{"item": {"a": None}}]},
        "sampling_params": {"top_p": 1},
    }


@pytest.mark.parametrize("spelling", ["max_completion_tokens", "max_completions_tokens"])
def test_both_spellings_of_the_limit_are_heard(spelling: str) -> None:
    words = chat_words(source(sampling_params={spelling: 9, "temperature": 0, "seed": 7}))
    assert words == {"seed": 7, "temperature": 0, "max_completion_tokens": 9}


def test_the_words_of_responses_become_those_of_chats() -> None:
    shape = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": None}
    words = chat_words(
        source(
            type="responses",
            sampling_params={"text": {"format": shape}, "tools": [tool], "reasoning_effort": "low"},
        )
    )
    assert words == {
        "seed": 42,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        ],
    }


@pytest.mark.parametrize(
    "params",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
    ],
)
def test_what_no_chat_has_is_refused(params: Any) -> None:
    with pytest.raises(InvalidInput) as error:
        chat_words(source(sampling_params=params))
    assert str(error.value.param).startswith("data_source.sampling_params.")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Say {{ item.a }}", "Say b"),
        ({"type": "input_text", "text": "Say {{item.a}}"}, "Say b"),
        (["one", {"type": "input_text", "text": "{{ item.a }}"}], "one\nb"),
        (
            [{"type": "input_image", "image_url": "{{ item.a }}"}],
            [{"type": "image_url", "image_url": {"url": "b"}}],
        ),
    ],
)
def test_a_template_is_filled_in_every_form_of_content(content: Any, said: Any) -> None:
    messages = messages_for(template(content), {"a": "b"})
    assert messages == ({"role": "user", "content": said},)


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("hello", [{"role": "user", "content": "hello"}]),
        (
            [
                {"role": "developer", "content": "d"},
                {"role": "user", "content": [{"type": "input_text", "text": "{{ item.a }}"}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            ],
            [
                {"role": "developer", "content": "d"},
                {"role": "user", "content": "{{ item.a }}"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            ],
        ),
    ],
)
def test_messages_that_an_item_has_are_asked_as_they_are(value: Any, messages: Any) -> None:
    wanted = ItemReference(type="item_reference", item_reference="item.in.put")
    assert list(messages_for(wanted, {"in": {"put": value}})) == messages


@pytest.mark.parametrize("item", [{}, {"in": 1}, {"in": {"put": 1}}, {"in": {"put": [{}]}}])
def test_an_item_without_messages_says_so(item: Any) -> None:
    wanted = ItemReference(type="item_reference", item_reference="item.in.put")
    with pytest.raises(InvalidInput, match=r"item"):
        messages_for(wanted, item)


@pytest.mark.parametrize("text", ["{{ sample.output_text }}", "{{ a }}"])
def test_templates_read_items_only(text: str) -> None:
    with pytest.raises(InvalidInput, match="templates read only 'item'"):
        check_messages(template("fine", text))


def test_a_file_is_read_line_by_line_and_bad_lines_are_told() -> None:
    lines = ['{"item": {"a": 1}}', "", "nonsense", "[1]", '{"item": {"a": 2}, "sample": {}}']
    rows = list(file_rows(io.BytesIO("\n".join(lines).encode())))
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert [row.item for row in rows if row.problem is None] == [{"a": 1}, {"a": 2}]
    assert "is not JSON" in str(rows[1].problem)
    assert 'has no object "item"' in str(rows[2].problem)


def test_a_line_of_any_length_is_passed_over() -> None:
    long = b'{"item": {"a": "' + b"x" * (40 << 20) + b'"}}\n{"item": {}}'
    rows = list(file_rows(io.BytesIO(long)))
    assert [(row.number, row.problem is None) for row in rows] == [(0, False), (1, True)]
    assert "longer than 16 MiB" in str(rows[0].problem)


@pytest.mark.parametrize(
    ("sample", "text", "tools"),
    [
        ({"output_text": "a"}, "a", []),
        ({"choices": [{"message": {"role": "assistant", "content": "b"}}]}, "b", []),
        ({"choices": [{"message": {"content": None, "tool_calls": [{"id": 1}]}}]}, "", [{"id": 1}]),
        ({}, "", []),
        ({"choices": "x"}, "", []),
    ],
)
def test_an_answer_that_is_there_is_seen_as_one_that_was_sampled(
    sample: Any, text: str, tools: Any
) -> None:
    found = given_sample(sample)
    assert (found["output_text"], found["output_tools"]) == (text, tools)
    assert given_sample({"output_text": '{"a": 1}'})["output_json"] == {"a": 1}


def test_an_item_that_does_not_fit_says_where() -> None:
    check = item_check({"type": "object", "required": ["q"]}, with_patterns=True)
    row = next(file_rows(io.BytesIO(b'{"item": {"a": "b"}}')))
    with pytest.raises(InvalidInput, match="'q' is a required property"):
        ItemMaker(source(), check).make(row)


def test_the_schema_of_rows_has_the_sample_where_it_is_wanted() -> None:
    assert row_schema({"type": "object"}, with_sample=False)["required"] == ["item"]
    assert row_schema({"type": "object"}, with_sample=True)["required"] == ["item", "sample"]


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"properties": 1}, {"required": "a"}])
def test_what_is_no_json_schema_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidInput, match="not a JSON Schema"):
        check_schema(schema)


def test_a_schema_reaches_nothing_and_does_not_go_on_for_ever() -> None:
    remote = item_check({"$ref": "http://127.0.0.1:1/schema.json"}, with_patterns=True)
    assert "cannot be used" in str(remote({}))
    doubling = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]}
        for n in range(60)
    }
    bomb = {"$ref": "#/$defs/a0", "$defs": doubling | {"a60": {}}}
    assert "too many references" in str(item_check(bomb, with_patterns=True)({}))
    loop = item_check({"$ref": "#"}, with_patterns=True)
    assert "cannot be used" in str(loop({}))


def test_patterns_are_tried_only_where_nobody_waits() -> None:
    slow = {"properties": {"a": {"pattern": "^(a+)+$"}, "pattern": {"type": "string"}}}
    item = {"a": "a" * 40 + "!"}
    check = item_check(slow, with_patterns=False)
    assert check(item) is None
    assert check(item | {"pattern": 1}) is not None
    quick = item_check({"properties": {"a": {"pattern": "^b$"}}}, with_patterns=True)
    assert quick({"a": "c"}) is not None


def test_a_schema_of_patterned_names_is_not_made_stricter() -> None:
    schema = {"patternProperties": {"^x": {}}, "additionalProperties": False}
    assert item_check(schema, with_patterns=False)({"x1": 1}) is None
    assert item_check(schema, with_patterns=True)({"y": 1}) is not None


def test_a_data_source_is_the_same_after_a_journey_through_json() -> None:
    assert read_data_source(json.loads(json.dumps(echo(RUN)))) == source()
