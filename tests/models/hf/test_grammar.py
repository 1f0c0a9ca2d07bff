"""Answers held to a shape have it, whatever the model would rather say."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llguidance")

import jsonschema
from tests.made_models import make_model

from selftune.core.errors import InvalidInput
from selftune.models.hf.runtime import Runtime
from selftune.models.sampler import Prompt, Sampling
from selftune.models.samplers import hf

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"enum": ["größer", 'a "b"', None]},
        "is": {"type": "boolean"},
        "at": {"type": "array", "items": {"enum": [1, 20, -3]}, "maxItems": 3},
        "no": {"type": "string", "pattern": "^[a-c]{0,4}$"},
        "in": {"$ref": "#/$defs/pair"},
    },
    "required": ["to", "is", "at", "no", "in"],
    "additionalProperties": False,
    "$defs": {
        "pair": {
            "type": "object",
            "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}},
            "required": ["x"],
            "additionalProperties": False,
        }
    },
}
TOOL = {
    "type": "function",
    "function": {
        "name": "book",
        "parameters": {
            "properties": {"seat": {"enum": ["a", "b"]}},
            "required": ["seat"],
            "additionalProperties": False,
        },
    },
}
HOT = {"temperature": 1.0, "max_tokens": 500, "seed": 11}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = make_model(tmp_path_factory.mktemp("base") / "llama", "llama", hidden=32, layers=1)
    return hf.build(hf.Params(folder=folder, cache=folder.parent / "cache", threads=1))


def schema_format(schema: Any, *, strict: bool = True) -> dict[str, Any]:
    told = {"name": "ticket", "schema": schema, "strict": strict}
    return {"type": "json_schema", "json_schema": told}


def ask(response_format: Any, **fields: Any) -> Prompt:
    more = {name: fields.pop(name) for name in list(fields) if name in Prompt.model_fields}
    return Prompt(
        messages=({"role": "user", "content": "Which?"},),
        sampling=Sampling(**{**HOT, **fields}),
        response_format=response_format,
        **more,
    )


def test_a_thousand_of_a_thousand_samples_at_temperature_one_are_of_the_schema(
    model: Runtime,
) -> None:
    schema = SCHEMA | {"required": ["to", "no"]}
    schema["properties"] = {name: SCHEMA["properties"][name] for name in schema["required"]}
    prompts = [ask(schema_format(schema), n=100, seed=seed) for seed in range(10)]
    choices = [choice for found in model.sample(prompts) for choice in found.choices]
    for choice in choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.text), schema)
    assert len(choices) == 1000
    assert len({choice.text for choice in choices}) > 900


@pytest.mark.parametrize("shape", ["qwen", "gemma"])
def test_other_tokenizers_write_the_schema_too(shape: Any, tmp_path: Path) -> None:
    folder = make_model(tmp_path / shape, shape, hidden=32, layers=1)
    model = hf.build(hf.Params(folder=folder, cache=tmp_path / "cache", threads=1))
    for choice in model.sample([ask(schema_format(SCHEMA), n=30)])[0].choices:
        jsonschema.validate(json.loads(choice.text), SCHEMA)


def test_a_model_that_loves_white_space_cannot_write_it_for_ever(model: Runtime) -> None:
    tokenizer = model.renderer.tokenizer
    white = {
        token: 100.0
        for token in range(len(tokenizer))
        if model.renderer.bytes_of(token) and not model.renderer.bytes_of(token).strip()
    }
    assert white
    pair = SCHEMA["$defs"]["pair"]
    choice = model.sample([ask(schema_format(pair), logit_bias=white)])[0].choices[0]
    assert choice.finish_reason == "stop"
    assert "\n" in choice.text
    jsonschema.validate(json.loads(choice.text), pair)


def test_an_answer_with_too_few_tokens_ends_by_its_length(model: Runtime) -> None:
    choice = model.sample([ask(schema_format(SCHEMA), max_tokens=4)])[0].choices[0]
    assert choice.finish_reason == "length"
    assert choice.text.startswith("{")


def test_json_object_is_an_object(model: Runtime) -> None:
    found = model.sample([ask({"type": "json_object"}, n=20, max_tokens=100)])[0]
    ended = [choice for choice in found.choices if choice.finish_reason == "stop"]
    assert ended
    assert all(isinstance(json.loads(choice.text), dict) for choice in ended)


def test_answers_with_and_without_a_shape_share_a_batch(model: Runtime) -> None:
    free, held = ask({"type": "text"}, max_tokens=30), ask(schema_format(SCHEMA))
    alone = [model.sample([prompt])[0].choices[0].text for prompt in (free, held)]
    assert [found.choices[0].text for found in model.sample([free, held])] == alone


def test_logprobs_are_those_of_the_model_without_the_shape(model: Runtime) -> None:
    prompt = ask(schema_format(SCHEMA), logprobs=True, top_logprobs=1)
    tokens = model.sample([prompt])[0].choices[0].tokens
    assert any(token.top[0].logprob > token.logprob for token in tokens)
    assert all(token.top[0].logprob < -1 for token in tokens)  # of 512 nearly alike


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "if": {"required": ["a"]}}, "if"),
        ({"type": "strange"}, "strange"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"type": "string", "pattern": "("}, "regex|pattern|unclosed"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused(
    model: Runtime, schema: Any, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=r"(?s)Invalid schema for response_format 'ticket'"):
        model.sample([ask(schema_format(schema))])
    with pytest.raises(InvalidInput, match=f"(?si){reason}"):
        model.sample([ask(schema_format(schema))])


def test_a_schema_that_is_not_strict_is_enforced_as_far_as_it_can_be(model: Runtime) -> None:
    schema = {**SCHEMA, "if": {"required": ["a"]}}
    choice = model.sample([ask(schema_format(schema, strict=False))])[0].choices[0]
    jsonschema.validate(json.loads(choice.text), SCHEMA)


def test_a_callers_own_instructions_for_the_compiler_are_ignored(model: Runtime) -> None:
    schema = {**SCHEMA, "x-guidance": {"lenient": True, "whitespace_flexible": False}, "not": {}}
    with pytest.raises(InvalidInput, match="not"):
        model.sample([ask(schema_format(schema))])


def test_arguments_are_an_object_even_if_their_schema_does_not_say_so(model: Runtime) -> None:
    prompt = ask(None, tools=(TOOL,), tool_choice="required", n=20)
    for choice in model.sample([prompt])[0].choices:
        assert json.loads(choice.tool_calls[0].arguments)["seat"] in ("a", "b")


def test_a_tool_beside_a_schema_is_called_or_the_schema_answered(model: Runtime) -> None:
    seen = set()
    for choice in model.sample([ask(schema_format(SCHEMA), tools=(TOOL,), n=30)])[0].choices:
        if choice.tool_calls:
            seen.add("call")
            assert choice.text == ""
        else:
            seen.add("answer")
            jsonschema.validate(json.loads(choice.text), SCHEMA)
    assert "answer" in seen
    assert "call" in seen


def test_a_schema_of_arguments_that_cannot_be_enforced_names_the_function(model: Runtime) -> None:
    broken = {"name": "lost", "parameters": {"properties": {"a": {"$ref": "#/nowhere"}}}}
    tools = ({"type": "function", "function": broken},)
    with pytest.raises(InvalidInput, match="Invalid schema for function 'lost'"):
        model.sample([ask(None, tools=tools, tool_choice="required")])
