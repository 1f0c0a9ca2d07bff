"""One JSON text -> a row, or what is wrong with the text and where. JSON Lines out, byte-stable."""

import json
import re
from collections import Counter
from typing import Any, NoReturn

import msgspec

from selftune.core.errors import InvalidInput
from selftune.data.problems import Problem, problem
from selftune.data.rows import Line, Row

MAX_BYTES = 64_000_000
"""Longest text of one row."""
MAX_DEPTH = 100
"""Deepest nesting; tool schemas, the deepest rows that there are, need about twenty."""
_EXCERPT = 40
_SPACED_COLON = re.compile(rb'"\s++:')


def parse_row(text: bytes, number: int) -> Line:
    """Return the row that a JSON text is; a problem beside a row is a warning."""
    try:
        value = msgspec.json.decode(text)
        keys = _count_keys(value, 1) if type(value) is dict else 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Line(number, None, _explain(text.rstrip(), number, error))
    if type(value) is not dict:
        words = f"is {_kind(value)}, not a JSON object"
        return Line(number, None, problem("row-not-object", number, words))
    # Every key ends with `":`; where there are as many as keys, none was given twice.
    if text.count(b'":') - text.count(b'\\":') != keys or _has_spaced_colon(text):
        return Line(number, value, _repeated_key(text, number))
    return Line(number, value)


def json_line(row: Row) -> bytes:
    r"""Return a row as one line of JSON: keys in their order, `, ` and `: `, UTF-8, `\n`.

    That is what `json.dumps(row, ensure_ascii=False)` writes, as most training files were written.

    Raises:
        InvalidInput: a value is not JSON.

    """
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"The row cannot be written as JSON: {error}.") from error


def _count_keys(value: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise RecursionError
    is_object = type(value) is dict
    keys = len(value) if is_object else 0
    for child in value.values() if is_object else value:
        kind = type(child)
        if kind is dict or kind is list:
            keys += _count_keys(child, depth + 1)
    return keys


def _has_spaced_colon(text: bytes) -> bool:
    # Most texts have none of these, which is quicker to see than that the pattern is not there.
    has_spaced_quote = b'" ' in text or b'"\n' in text or b'"\t' in text or b'"\r' in text
    return has_spaced_quote and _SPACED_COLON.search(text) is not None


def _repeated_key(text: bytes, number: int) -> Problem | None:
    """Return the warning about a key that stands twice in one object, if one does."""
    repeated: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(key for key, _ in pairs)
        repeated.extend(key for key, count in counts.items() if count > 1)

    json.loads(text, object_pairs_hook=check)
    if not repeated:
        return None
    return problem("duplicate-key", number, f"has the key {repeated[0][:_EXCERPT]!r} twice")


def _explain(text: bytes, number: int, error: Exception) -> Problem:
    """Return what is wrong with a text that is not JSON; its line is that of the fault."""
    try:
        decoded = text.decode()
        if not isinstance(error, RecursionError):
            json.loads(decoded, parse_constant=_refuse_constant)
    except UnicodeDecodeError as fault:
        line = number + text.count(b"\n", 0, fault.start)
        column = fault.start - text.rfind(b"\n", 0, fault.start)
        return problem("line-not-utf8", line, f"The line is not UTF-8 text: byte {column} is not.")
    except json.JSONDecodeError as fault:
        words = (
            f"The line is not valid JSON: {fault.msg} (column {fault.colno}).{_guess(text.strip())}"
        )
        return problem("line-not-json", number + fault.lineno - 1, words)
    except RecursionError as deeper:
        error = deeper
    except ValueError as fault:
        return problem("number-not-json", number, f"has {fault}")
    if isinstance(error, RecursionError):
        return problem("line-too-deep", number)
    if "out of range" in str(error):
        return problem("number-not-json", number, "has a number that is too large")
    return problem("line-not-json", number, f"The line is not valid JSON: {error}.")


def _guess(text: bytes) -> str:
    """Return what a text is that is not JSON, where that is plain."""
    if text.startswith(b"{'"):
        return " It looks like Python."
    if text.startswith(b"<"):
        return " It looks like a web page."
    if text.startswith("{“".encode()):
        return " Its quotes are typographic."
    if text in (b"{", b"[", b"}", b"]", b"},", b"],"):
        return " A row must stand on one line."
    return ""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which JSON does not know")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {list: "an array", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "a number")
