"""Cut OpenAI's OpenAPI document down to the operations that this server has.

`python -m tests.wire.spec.reduce <openapi.yaml> <revision>` rewrites `openapi.yaml` beside this
file. What only people read (descriptions, examples, `x-` keys) is left out; nothing else changes.
Run it again when a route is added: the tests say so.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from tests.wire.spec.operations import ours, shape

REDUCED = Path(__file__).parent / "openapi.yaml"
SOURCE = "https://github.com/openai/openai-openapi"
_FOR_PEOPLE = {"description", "summary", "tags", "example", "examples", "externalDocs", "title"}
_NAMES = {"properties", "schemas", "patternProperties", "$defs", "mapping"}
"""Under these keys a mapping's keys are names of things, not words of the language."""
_HEADER = """\
# Part of OpenAI's API description {version}: {source} at {revision}
# Copyright (c) OpenAI, MIT licence, see LICENSE.
# Cut on {date} by reduce.py beside it to {count} operations and the schemas that they name.
"""


def reduced(whole: dict[str, Any], wanted: set[tuple[str, str]]) -> dict[str, Any]:
    """Return the document with the wanted operations and what they refer to."""
    paths: dict[str, Any] = {}
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            if (method, shape(path)) in wanted:
                paths.setdefault(path, {})[method] = _bare(operation)
    parts: dict[str, Any] = {"schemas": {}, "responses": {}}
    todo = [*_references(paths), "#/components/schemas/ErrorResponse"]
    while todo:
        _, _, kind, name = todo.pop().split("/")
        if name not in parts[kind]:
            parts[kind][name] = _bare(whole["components"][kind][name])
            todo += _references(parts[kind][name])
    parts = {kind: dict(sorted(found.items())) for kind, found in parts.items()}
    parts["securitySchemes"] = whole["components"]["securitySchemes"]
    kept = {key: whole[key] for key in ("openapi", "servers", "security")}
    info = {key: whole["info"][key] for key in ("title", "version", "license")}
    return kept | {"info": info, "paths": paths, "components": parts}


def _bare(node: Any, *, names: bool = False) -> Any:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(value, names=not names and key in _NAMES)
        for key, value in node.items()
        if names or not (key in _FOR_PEOPLE or str(key).startswith("x-"))
    }


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for each in node.values():
            yield from _references(each)


def main(source: str, revision: str) -> None:
    """Rewrite the reduced document."""
    with Path(source).open(encoding="utf-8") as handle:
        found = reduced(yaml.load(handle, Loader=yaml.CSafeLoader), ours())
    header = _HEADER.format(
        version=found["info"]["version"],
        source=SOURCE,
        revision=revision,
        date=datetime.now(UTC).date(),
        count=sum(map(len, found["paths"].values())),
    )
    text: str = yaml.dump(found, Dumper=yaml.CSafeDumper, sort_keys=False, width=100)
    REDUCED.write_text(header + text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
