"""A grader's JSON -> a scorer, for every face and for graders inside graders."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from selftune.core import plugins
from selftune.core.errors import InvalidInput
from selftune.core.templates import fields, roots
from selftune.evaluate import scorers
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Scorer

_ROOTS = frozenset({"item", "sample"})
_NO_TEMPLATES = frozenset({"source", "pattern", "json_schema", "calculate_output", "graders"})
"""Fields that are something else: braces in them mean nothing."""
_UNFILLED = _NO_TEMPLATES - {"graders"}
"""The same where the graders inside a grader are looked at too."""
_MOST_JSON_DEPTH = 100


def build_scorer(grader: dict[str, Any], means: Means = NO_MEANS) -> Scorer:
    """Return the scorer that a grader's JSON describes; `type` names the plugin.

    Raises:
        InvalidInput: no such type, a field is missing, unknown or wrong, or a template names
            anything but `item` and `sample`.

    """
    plugin = plugins.load(scorers, str(grader.get("type")))
    arguments = {name: value for name, value in grader.items() if name != "type"}
    try:
        params = plugin.Params(**arguments)
    except ValidationError as problem:
        raise _invalid(grader, problem) from problem
    for name, value in arguments.items():
        if name not in _NO_TEMPLATES:
            _check_templates(name, value)
    build_with = getattr(plugin, "build_with", None)
    scorer: Scorer = plugin.build(params) if build_with is None else build_with(params, means)
    return scorer


def check_graders(graders: Iterable[dict[str, Any]]) -> None:
    """Raise what `build_scorer` raises, before a model is trained or asked."""
    for grader in graders:
        build_scorer(grader)


def fields_read(graders: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Return the fields of an item that graders cannot do without, as far as templates tell."""
    found = frozenset[str]()
    return found.union(*(fields(template) for template in _texts(list(graders), leave=_UNFILLED)))


def waits(grader: dict[str, Any]) -> bool:
    """Return whether a grader asks a model, makes vectors or runs a program: it needs a thread."""
    plugin = plugins.load(scorers, str(grader.get("type")))
    return hasattr(plugin, "build_with") or bool(getattr(plugin, "WAITS", False))


def sample_of(text: str) -> dict[str, Any]:
    """Return what templates call `sample`; `output_json` is there where the text is JSON."""
    message = {"role": "assistant", "content": text}
    sample = {"output_text": text, "output_tools": [], "choices": [{"message": message}]}
    try:
        return sample | {"output_json": json.loads(text)}
    except (ValueError, RecursionError):
        return sample


def _check_templates(field: str, value: Any) -> None:
    for template in _texts(value):
        strangers = sorted(roots(template) - _ROOTS)
        if strangers:
            raise InvalidInput(
                f"{field!r} reads {strangers[0]!r}: templates of graders read only 'item' and "
                f"'sample', as in {{{{ item.{strangers[0]} }}}}.",
                code="invalid_value",
                param=field,
            )


def _texts(value: Any, depth: int = 0, leave: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the templates in a value, but for those under the names to `leave`."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield value
    elif isinstance(value, dict | list | tuple) and depth < _MOST_JSON_DEPTH:
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in inside:
            if name not in leave:
                yield from _texts(each, depth + 1, leave)


def _invalid(grader: dict[str, Any], problem: ValidationError) -> InvalidInput:
    first = problem.errors()[0]
    # pydantic names the members of a union too
    where = ".".join(part for part in map(str, first["loc"]) if "[" not in part)
    kind, what = grader["type"], f"'{where}'" if where else "it"
    if first["type"] == "missing":
        return InvalidInput(
            f"The grader of type {kind!r} lacks {what}.",
            code="missing_required_parameter",
            param=where or None,
        )
    return InvalidInput(
        f"The grader of type {kind!r} is not valid: {what}: {first['msg']}.",
        code="invalid_value",
        param=where or None,
    )
