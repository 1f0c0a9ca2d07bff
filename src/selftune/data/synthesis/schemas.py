"""JSON schemas as strict structured output wants them: every field required, no other allowed."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]


def object_of(fields: dict[str, Schema]) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def list_of(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


def string(choices: Sequence[str] = ()) -> Schema:
    """Return the schema of a text, of one of the choices where there are any."""
    return {"type": "string", "enum": list(choices)} if choices else {"type": "string"}


def strings() -> Schema:
    """Return the schema of a list of texts."""
    return list_of(string())
