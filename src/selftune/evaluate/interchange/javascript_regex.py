"""Regular expressions between JavaScript and Python, with the same matches or not at all."""

import re
from collections.abc import Callable, Iterator

from selftune.core.errors import InvalidInput

_SPACE = "\\t\\n\\v\\f\\r \\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"
_LINE_ENDS = "\\n\\r\\u2028\\u2029"
_TOKEN = re.compile(r"\(\?a:\\[bB]\)|\\[\s\S]|\(\?P?<?[:=!<]?|[\s\S]")
_CLASS = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_PLAIN_ESCAPES = frozenset("tnrfv0123456789xu.*+?^$()[]{}|/\\-\"' #&,:;<=>@_`~%!")
_TO_PYTHON = {
    "\\d": "[0-9]",
    "\\D": "[^0-9]",
    "\\w": "[A-Za-z0-9_]",
    "\\W": "[^A-Za-z0-9_]",
    "\\s": f"[{_SPACE}]",
    "\\S": f"[^{_SPACE}]",
    "\\b": "(?a:\\b)",
    "\\B": "(?a:\\B)",
    ".": f"[^{_LINE_ENDS}]",
    "$": "\\Z",
    "^": "\\A",
    "(?<": "(?P<",
    "\\/": "/",
}
_TO_PYTHON_IN_CLASS = {"\\d": "0-9", "\\w": "A-Za-z0-9_", "\\s": _SPACE, "[": "\\[", "\\b": "\\x08"}
_TO_JAVASCRIPT = {
    ".": "[^\\n]",
    "$": "(?=\\n?$)",
    "\\Z": "$",
    "\\A": "^",
    "(?P<": "(?<",
    "(?a:\\b)": "\\b",
    "(?a:\\B)": "\\B",
}


def to_python(pattern: str) -> str:
    """Return a pattern that finds in Python what JavaScript's finds without flags.

    Raises:
        InvalidInput: it has what Python lacks.

    """
    found = "".join(_mapped(pattern, _TO_PYTHON, _TO_PYTHON_IN_CLASS, _check_javascript))
    try:
        re.compile(found)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidInput(f"the regular expression {pattern!r}: {error}") from error
    return found


def to_javascript(pattern: str) -> str:
    """Return a pattern that finds in JavaScript what Python's finds, but for what `is_ascii_only` says.

    Raises:
        InvalidInput: it has what JavaScript lacks.

    """
    return "".join(_mapped(pattern, _TO_JAVASCRIPT, {}, _check_python))


def is_ascii_only(pattern: str) -> bool:
    """Return whether JavaScript reads the pattern's digits, letters and spaces as ASCII only."""
    return re.search(r"\\[dDwWsSbB]", pattern) is not None


def _mapped(
    pattern: str,
    outside: dict[str, str],
    inside: dict[str, str],
    check: Callable[[str, bool, str], None],
) -> Iterator[str]:
    in_class = False
    for token in _TOKEN.findall(pattern):
        if in_class and token == "]":
            in_class = False
        elif not in_class and token == "[":
            in_class = True
            yield token
            continue
        check(token, in_class, pattern)
        table = inside if in_class else outside
        yield table.get(token, token)


def _check_javascript(token: str, in_class: bool, pattern: str) -> None:
    known = _TO_PYTHON_IN_CLASS if in_class else _TO_PYTHON
    if token.startswith("\\") and token not in known and token[1] not in _PLAIN_ESCAPES:
        raise _refused(pattern, token)
    if token in ("(?", "(?P", "(?P<", "(?P=") or "[]" in pattern or "[^]" in pattern:
        raise _refused(pattern, token)
    if re.search(r"\\u\{|\\x(?![0-9a-fA-F]{2})|\\u(?![0-9a-fA-F]{4})|\\0\d", pattern):
        raise _refused(pattern, "an escape of its own")
    if re.search(r"[*+?}]\+|\{,", _CLASS.sub("x", pattern)):
        raise _refused(pattern, "a repeat of its own")


def _check_python(token: str, in_class: bool, pattern: str) -> None:
    letters = "dDwWsSbBtnrfv123456789xu" + ("" if in_class else "AZ")
    if token.startswith("\\") and token[1].isalnum() and token[1] not in letters:
        raise _refused(pattern, token)
    if token in ("(?", "(?P", "(?P="):
        raise _refused(pattern, token)
    if re.search(r"[*+?}]\+|\{,|\(\?[#(>]", _CLASS.sub("x", pattern)):
        raise _refused(pattern, "a repeat or a group of its own")


def _refused(pattern: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"the regular expression {pattern!r} has {what!r}, which has no counterpart"
    )
