"""Files that a promptfoo config names: inside its own folder only, and never programs."""

import csv
import io
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import Row
from selftune.evaluate.interchange.untrusted import parse_json, read_text, read_yaml

_FILE = "file://"
_DATA = (".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml")
_EXPECTED = re.compile(
    r"(?P<kind>(?:not-)?[a-z][a-z-]*(?::cosine)?)(?:\((?P<threshold>[0-9.]+)\))?"
    r"(?::\s*(?P<value>.*))?",
    re.DOTALL,
)
_KINDS = frozenset(
    (
        "contains",
        "icontains",
        "contains-any",
        "icontains-any",
        "contains-all",
        "icontains-all",
        "equals",
        "regex",
        "starts-with",
        "ends-with",
        "similar",
        "is-json",
        "contains-json",
        "is-xml",
        "is-sql",
        "llm-rubric",
        "javascript",
        "python",
        "factuality",
        "model-graded-closedqa",
        "answer-relevance",
        "context-recall",
        "context-relevance",
        "levenshtein",
        "rouge-n",
        "bleu",
        "gleu",
        "meteor",
        "latency",
        "cost",
        "perplexity",
        "webhook",
        "g-eval",
        "is-refusal",
        "classifier",
        "moderation",
    )
)
_ALIASES = {"grade": "llm-rubric", "fn": "javascript", "eval": "javascript"}
_COLUMN = re.compile(r"__(?:expected|assert)\d*")
_MOST_FIELD = 10_000_000


def is_file(value: Any) -> bool:
    """Return whether a text names a file."""
    return isinstance(value, str) and (
        value.startswith(_FILE) or ("\n" not in value and value.lower().endswith(_DATA))
    )


def resolved(base: Path, name: str) -> Path:
    """Return where a file is that a config in the folder `base` names.

    Raises:
        InvalidInput: it is outside the folder, or several files.

    """
    relative = name.removeprefix(_FILE)
    if any(mark in relative for mark in "*{}[]\0") or "://" in relative:
        raise InvalidInput(f"{name!r} is not the name of one file: name one file.")
    path = (base / relative).resolve()
    if not path.is_relative_to(base.resolve()):
        raise InvalidInput(
            f"{name!r} is outside the folder of the config, and is not read: copy it there."
        )
    return path


def load_rows(base: Path, name: str) -> list[Any]:
    """Return the tests of a file.

    Raises:
        InvalidInput: it is a program, is outside the folder, or cannot be read.

    """
    path = resolved(base, name)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _table(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".jsonl":
        lines = read_text(path).split("\n")
        return [
            parse_json(line, f"{path}:{number}")
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
    value = load_value(base, name)
    return value if isinstance(value, list) else [value]


def load_value(base: Path, name: str) -> Any:
    """Return the value of a JSON or YAML file; raises what `load_rows` raises."""
    path = resolved(base, name)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return parse_json(read_text(path), str(path))
    if suffix in (".yaml", ".yml"):
        return read_yaml(read_text(path), path)
    raise InvalidInput(f"{name!r} is a program or unknown, and is not read.")


def load_text(base: Path, name: str) -> str:
    """Return the text of a file; raises what `load_rows` raises."""
    path = resolved(base, name)
    if path.suffix.lower() not in (".txt", ".md", ".json", ".yaml", ".yml"):
        raise InvalidInput(f"{name!r} is a program or unknown, and is not read.")
    return read_text(path).strip()


def _table(path: Path, delimiter: str) -> list[Row]:
    csv.field_size_limit(_MOST_FIELD)
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path)), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InvalidInput(f"{path} is not a table: {error}.") from error
    if any(None in row or None in row.values() for row in rows):
        raise InvalidInput(f"{path}: a row has more or fewer fields than the header.")
    return [_test_of(row) for row in rows]


def _test_of(row: dict[str, str]) -> Row:
    """Return a test; columns that begin with two underscores are not variables."""
    own = {name.strip(): value for name, value in row.items() if name.strip().startswith("__")}
    test: Row = {"vars": {n.strip(): v for n, v in row.items() if n.strip() not in own}}
    expected = [value for name, value in own.items() if _COLUMN.fullmatch(name) and value.strip()]
    test["assert"] = [_assertion_of(value.strip()) for value in expected]
    for name, value in own.items():
        if name == "__threshold" and value.strip():
            test["threshold"] = _number(value)
        elif name == "__description":
            test["description"] = value
        elif name == "__metric" and value.strip():
            test["assert"] = [each | {"metric": value.strip()} for each in test["assert"]]
        elif not _COLUMN.fullmatch(name) and not name.startswith("__metadata") and value.strip():
            test[name] = value  # what reads tests names it as having no counterpart
    return test


def _assertion_of(text: str) -> Row:
    """Return the assertion that a cell means: `type(threshold): value`, or a text that is equal."""
    found = _EXPECTED.fullmatch(text)
    kind = found["kind"] if found else ""
    inverse, plain = ("not-", kind[4:]) if kind.startswith("not-") else ("", kind)
    plain = _ALIASES.get(plain, plain)
    if found is None or plain not in _KINDS or (found["value"] is None and plain != "is-json"):
        return {"type": "equals", "value": text}
    value: Any = found["value"]
    if plain == "is-json" and value:
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    assertion = {"type": inverse + plain, "value": value}
    return assertion | ({"threshold": _number(found["threshold"])} if found["threshold"] else {})


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
