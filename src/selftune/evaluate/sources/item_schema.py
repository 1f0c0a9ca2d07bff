"""The shape of an eval's items: a JSON Schema that a stranger wrote.

Such a schema may not fetch anything, and may not keep a process busy for ever: its references are
counted, and its regular expressions are tried only where nobody else waits, in a run's own process.
"""

from collections.abc import Callable, Iterator
from typing import Any

from selftune.core.errors import InvalidInput

SAMPLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "message": {
                        "type": "object",
                        "properties": {
                            "role": {"type": "string", "enum": ["assistant"]},
                            "content": {"type": ["string", "array", "null"]},
                            "refusal": {"type": ["string", "null"]},
                            "tool_calls": {"type": ["array", "null"]},
                        },
                        "required": ["role"],
                    },
                    "finish_reason": {"type": "string"},
                },
                "required": ["message"],
            },
        },
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["model", "choices"],
}
"""What graders may look at of an answer."""
STORED_ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "input": {"type": "array", "items": {"type": "object"}},
        "instructions": {"type": ["string", "null"]},
        "metadata": {"type": "object"},
        "model": {"type": "string"},
    },
    "required": ["input"],
}
"""What an item made of a stored completion or response has."""
_MOST_REFERENCES = 10_000
_NAMES = ("properties", "$defs", "definitions", "dependentSchemas")
"""Under these keys a mapping's keys are names, not words of JSON Schema."""
_SHOWN = 300


def row_schema(item: dict[str, Any], *, with_sample: bool) -> dict[str, Any]:
    """Return the schema of a whole row."""
    properties = {"item": item} | ({"sample": SAMPLE_SCHEMA} if with_sample else {})
    return {"type": "object", "properties": properties, "required": list(properties)}


def check_schema(schema: dict[str, Any]) -> None:
    """Refuse what is no JSON Schema.

    Raises:
        InvalidInput: says where and why.

    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _refused(f"{error.json_path}: {error.message}"[:_SHOWN]) from error
    except RecursionError as error:
        raise _refused("it is nested too deeply") from error


def item_check(
    schema: dict[str, Any], *, with_patterns: bool
) -> Callable[[dict[str, Any]], str | None]:
    """Return what says how an item differs from a schema: None where it fits.

    Without patterns, everything but the schema's regular expressions is checked.
    """
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    used = schema if with_patterns else _without_patterns(schema)
    budget = [0]
    validator = _counting(budget)(used, registry=Registry())

    def check(item: dict[str, Any]) -> str | None:
        budget[0] = _MOST_REFERENCES
        try:
            problem = best_match(validator.iter_errors(item))
        except (Unresolvable, RecursionError, _TooMuch) as error:
            return f"the item_schema cannot be used: {str(error) or type(error).__name__}"[:_SHOWN]
        if problem is None:
            return None
        return f"{problem.json_path.replace('$', 'item', 1)}: {problem.message}"[:_SHOWN]

    return check


class _TooMuch(Exception):
    """A schema refers to itself more often than any honest one."""


def _counting(budget: list[int]) -> Any:
    """Return a validator whose references use a budget up: without them its work is bounded."""
    from jsonschema import Draft202012Validator, validators

    def counted(word: str) -> Any:
        plain = Draft202012Validator.VALIDATORS[word]

        def follow(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[Any]:
            budget[0] -= 1
            if budget[0] < 0:
                raise _TooMuch("it has too many references")
            yield from plain(validator, reference, instance, schema) or ()

        return follow

    words = {word: counted(word) for word in ("$ref", "$dynamicRef")}
    return validators.extend(Draft202012Validator, words)


def _without_patterns(schema: Any, *, names: bool = False) -> Any:
    if isinstance(schema, list):
        return [_without_patterns(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {name: _without_patterns(value) for name, value in schema.items()}
    dropped = {"pattern", "patternProperties"}
    if "patternProperties" in schema:  # which properties are additional depends on them
        dropped |= {"additionalProperties", "unevaluatedProperties"}
    return {
        word: value if word in ("enum", "const") else _without_patterns(value, names=word in _NAMES)
        for word, value in schema.items()
        if word not in dropped
    }


def _refused(what: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid value for 'data_source_config.item_schema': it is not a JSON Schema: {what}.",
        code="invalid_value",
        param="data_source_config.item_schema",
    )
