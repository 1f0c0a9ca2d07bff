"""promptfoo's templates -> templates here: what prints a variable carries over, logic does not."""

import re
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import Row

_PRINTED = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(
    r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\.\d+|\[\d+\]|\[\"[^\"\\\]]*\"\]|\['[^'\\\]]*'\])*"
)
_STEP = re.compile(r"\.?(\w+)|\[(\d+)\]|\[[\"']([^\"']*)[\"']\]")
_OWN = ("env", "_conversation", "loop", "range", "item", "sample")
_SHOWN = 60


def translated(text: str) -> str:
    """Return a template that reads variables as fields of the item.

    Raises:
        InvalidInput: it has logic, a filter, or reads the environment, which nothing here evaluates.

    """
    if "{%" in text or "{#" in text:
        raise _refused(text, "logic or a comment")
    return _PRINTED.sub(lambda found: f"{{{{ item.{_variable(found[1], text)} }}}}", text)


def untranslated(text: str) -> str:
    """Return a template of an eval as promptfoo's; the item's fields are its variables.

    Raises:
        InvalidInput: it has logic, a filter, or reads the answer.

    """
    if "{%" in text or "{#" in text:
        raise _refused(text, "logic or a comment")
    return _PRINTED.sub(lambda found: f"{{{{{_field(found[1], text)}}}}}", text)


def is_template(text: str) -> bool:
    """Return whether a text is more than itself."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


def check_printable(text: str, fields: Row) -> None:
    """Raise `InvalidInput` where a template prints what the two template languages print differently."""
    for found in _PRINTED.finditer(text):
        value: Any = fields
        for name, number, quoted in _STEP.findall(found[1].strip()):
            key: Any = name or quoted
            if isinstance(value, list) and (number or name).isdigit():
                key = int(number or name)
                value = value[key] if key < len(value) else None
            else:
                value = value.get(key) if isinstance(value, dict) else None
        if value is None or isinstance(value, dict | list):
            what = "is not there" if value is None else "is a list or an object"
            raise InvalidInput(f"the variable {found[1].strip()[:_SHOWN]!r} is printed and {what}")


def as_javascript_text(value: Any) -> Any:
    """Return a value that prints as it does in JavaScript: `true`, and 5 for 5.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _field(inner: str, text: str) -> str:
    path = inner.strip().removeprefix("item.")
    if not _PATH.fullmatch(path) or re.split(r"[.\[]", path)[0] in _OWN:
        raise _refused(text, f"{{{{{inner[:_SHOWN]}}}}}")
    return path


def _variable(inner: str, text: str) -> str:
    path = inner.strip()
    if not _PATH.fullmatch(path):
        raise _refused(text, f"{{{{{inner[:_SHOWN]}}}}}")
    if re.split(r"[.\[]", path)[0] in _OWN:
        raise _refused(text, f"the name {path[:_SHOWN]!r}")
    return re.sub(r"\.(\d+)", r"[\1]", path)


def _refused(text: str, what: str) -> InvalidInput:
    shown = " ".join(text.split())
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    return InvalidInput(f"the template {shown!r} has {what}, which has no counterpart")
