"""The first value that a JSON schema allows: what a fake model answers where a form is asked for."""

from typing import Any

_PLAIN: dict[str, Any] = {
    "string": "a",
    "integer": 1,
    "number": 0.5,
    "boolean": True,
    "null": None,
}


def first_value(schema: dict[str, Any]) -> Any:
    """Return a value of a schema of objects, arrays, enums, alternatives and plain types."""
    return _value(schema, schema)


def _value(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    if "$ref" in schema:
        found = whole
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _value(found, whole)
    if "const" in schema:
        return schema["const"]
    for among in ("anyOf", "oneOf", "allOf"):
        if among in schema:
            return _value(schema[among][0], whole)
    return schema["enum"][0] if "enum" in schema else _of_type(schema, whole)


def _of_type(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: _value(each, whole) for name, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(schema["items"], whole)] if "items" in schema else []
    return _PLAIN[kind]
