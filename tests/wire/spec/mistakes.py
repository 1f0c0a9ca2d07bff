"""Where OpenAI's description is wrong about OpenAI's own API, or is not valid OpenAPI 3.1.

Each entry says what is changed and why. An entry that has nothing to change any more is an error.
"""

import copy
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator


@dataclass(frozen=True)
class Mistake:
    """A schema of the document that is too narrow."""

    where: tuple[str, ...]
    """Keys from the document's schemas to the one."""
    also: dict[str, Any]
    """What it must allow besides."""
    example: Any
    """What it refuses."""
    reason: str


_TEMPLATE = {
    "type": "object",
    "required": ["type", "template"],
    "properties": {
        "type": {"const": "template"},
        "template": {"type": "array", "items": {"$ref": "#/components/schemas/EvalItem"}},
    },
}
_PLAIN = {"type": "template", "template": [{"role": "user", "content": "a"}]}
_BOTH = "A message whose content is a text is of both kinds, and the schema wants exactly one."
MISTAKES = (
    Mistake(
        ("FineTuningJob", "properties", "status"),
        {"enum": ["paused", "pausing"]},
        "paused",
        "The operations pause and resume exist, and OpenAI's reference lists both states.",
    ),
    Mistake(
        ("OpenAIFile", "properties", "purpose"),
        {"enum": ["evals"]},
        "evals",
        "CreateFileRequest takes this purpose, so a file can have it.",
    ),
    Mistake(
        ("Embedding", "properties", "embedding"),
        {"type": "string"},
        "AACAPw==",
        "CreateEmbeddingRequest takes encoding_format base64, and OpenAI answers it with a string.",
    ),
    Mistake(
        ("ChatCompletionMessageList", "properties", "data", "items"),
        {
            "type": "object",
            "required": ["id", "role", "content", "name", "content_parts"],
            "properties": {"id": {"type": "string"}, "role": {"not": {"const": "assistant"}}},
        },
        {"id": "a-0", "role": "user", "content": "a", "name": None, "content_parts": None},
        "It lists what the model was asked, as its own example shows; the schema has answers only.",
    ),
    Mistake(
        ("CreateEvalCompletionsRunDataSource", "properties", "input_messages"),
        _TEMPLATE,
        _PLAIN,
        _BOTH,
    ),
    Mistake(
        ("CreateEvalResponsesRunDataSource", "properties", "input_messages"),
        _TEMPLATE,
        _PLAIN,
        _BOTH,
    ),
    *(
        Mistake(
            ("Batch", "properties", name),
            {"type": "null"},
            None,
            "OpenAI answers null for what is not known yet, as the description's own example shows.",
        )
        for name in (
            *("model", "errors", "output_file_id", "error_file_id", "in_progress_at"),
            *("finalizing_at", "completed_at", "failed_at", "expired_at"),
            *("cancelling_at", "cancelled_at"),
        )
    ),
)

NEWER = {
    "/evals/{eval_id}/runs/{run_id}/cancel": ("/evals/{eval_id}/runs/{run_id}", "post"),
}
"""Paths that clients have asked for since October 2026, and what the description has instead."""

UNDESCRIBED = {
    ("get", "/files/{}/content"): "Described as a JSON string; it is the file's own bytes.",
}
"""Operations whose answer is not checked."""

STREAMS = {
    ("post", "/completions"): "CompletionChunk",
    ("get", "/responses/{}"): "ResponseStreamEvent",
}
"""Operations that stream though the description does not say so, and the schema of a chunk."""


def repaired(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document as JSON Schema 2020-12 understands it, without the known mistakes."""
    schemas = document["components"]["schemas"]
    for mistake in MISTAKES:
        *owners, name = mistake.where
        owner = schemas
        for key in owners:
            owner = owner[key]
        whole = owner[name] | {"components": document["components"]}
        stale = Draft202012Validator(whole).is_valid(mistake.example)
        assert not stale, f"no longer a mistake: {mistake}"
        owner[name] = {"anyOf": [owner[name], mistake.also]}
    for path, (older, method) in NEWER.items():
        assert path not in document["paths"], f"described by now: {path}"
        operation = copy.deepcopy(document["paths"][older][method])
        operation["operationId"] += "Newer"
        document["paths"][path] = {method: operation}
    schemas["CompletionChunk"] = _chunk(schemas["CreateCompletionResponse"])
    modern: dict[str, Any] = _modern(document)
    return modern


def _chunk(completion: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a legacy completion's chunk: what only the last one has is null."""
    chunk = copy.deepcopy(completion)
    for owner in (chunk, chunk["properties"]["choices"]["items"]):
        for name in {"usage", "finish_reason"} & owner["properties"].keys():
            owner["properties"][name] = {"anyOf": [owner["properties"][name], {"type": "null"}]}
    return chunk


def _modern(node: Any) -> Any:
    """Replace words of OpenAPI 3.0: `nullable`, and limits that are said to be exclusive.

    Discriminators go: some tell no difference between two alternatives that they name alike.
    """
    if isinstance(node, list):
        return [_modern(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _modern(value) for key, value in node.items()}
    for exclusive, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if found.get(exclusive) is True:
            found[exclusive] = found.pop(limit)
    if "propertyName" in (found.get("discriminator") or ()):
        del found["discriminator"]
    if found.pop("nullable", False) is True:
        return {"anyOf": [found, {"type": "null"}]} if found else {"type": "null"}
    if {"type": "null"} in found.get("allOf", ()):
        rest = [each for each in found.pop("allOf") if each != {"type": "null"}]
        return {"anyOf": [{"allOf": rest, **found}, {"type": "null"}]}
    return found
