"""Whether an answer calls the right function with the right arguments."""

import json
from typing import Any

from pydantic import Field

from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer, passed


class Params(Record):
    """Which call."""

    name: str = "tool_call"
    function: str
    """Template of the function's name."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What it must be called with; texts are templates, and match the text of any plain value."""
    others: bool = False
    """Further arguments, and further calls, are allowed."""


def build(params: Params) -> Scorer:
    """Make the scorer; it reads `sample.output_tools`."""

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        wanted = {name: _filled(value, item, sample) for name, value in params.arguments.items()}
        function = fill(params.function, item, sample)
        calls = sample.get("output_tools") or []
        right = [_matches(call, function, wanted, params.others) for call in calls]
        return passed(float(any(right) and (params.others or len(right) == 1)))

    return score


def _filled(value: Any, item: dict[str, Any], sample: dict[str, Any]) -> Any:
    return fill(value, item, sample) if isinstance(value, str) else value


def _matches(call: Any, function: str, wanted: dict[str, Any], others: bool) -> bool:
    called = call.get("function") if isinstance(call, dict) else None
    if not isinstance(called, dict) or called.get("name") != function:
        return False
    given = _arguments(called.get("arguments"))
    if given is None or not (others or given.keys() == wanted.keys()):
        return False
    return all(name in given and _equal(given[name], value) for name, value in wanted.items())


def _arguments(given: Any) -> dict[str, Any] | None:
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except (ValueError, RecursionError):
            return None
    return given if isinstance(given, dict) else None


def _equal(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and not isinstance(given, str | dict | list):
        return json.dumps(given) == wanted
    return bool(given == wanted) and isinstance(given, bool) == isinstance(wanted, bool)
