"""promptfoo's assertions -> graders with the same verdicts; others are refused with a reason."""

import csv
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.interchange.found import Row, name_of
from selftune.evaluate.interchange.javascript_regex import to_python
from selftune.evaluate.interchange.nunjucks import as_javascript_text, is_template, translated

OUTPUT = "{{ sample.output_text }}"
RUBRIC_TASK = (
    "Judge the answer by the rubric: 1 where it meets the rubric, 0 where it does not, and between "
    "where it meets a part.\n\nRubric:\n{rubric}\n\nAnswer:\n" + OUTPUT
)
RUBRIC_NOTE = (
    "llm-rubric became a score_model grader: its judge reads another prompt, so its verdicts must be "
    "checked anew"
)
SIMILAR_NOTE = (
    "similar became text_similarity by cosine: the vectors are of another model, so its threshold "
    "must be checked anew"
)
_SIMILAR = 0.75  # promptfoo's threshold where none is given
_KEYS = frozenset(("type", "value", "threshold", "weight", "metric", "provider", "description"))
_PYTHON = """\
import json

def check(output, context):
{body}

def grade(sample, item):
    found = check(sample["output_text"], {{"vars": item}})
    if isinstance(found, str) and found.lower() in ("true", "false"):
        found = found.lower() == "true"
    if isinstance(found, bool):
        return float(found)
    if not isinstance(found, (int, float)):
        raise TypeError("this program's results are a boolean or a number here")
    return {number}
"""


@dataclass(frozen=True)
class Mapped:
    """A grader, and the one text in it that each test may have its own of."""

    grader: Row
    literal: str | None = None
    """Stands for the grader's field `field`, in place of a template."""
    field: str = "reference"
    note: str = ""


@dataclass(frozen=True)
class Assertion:
    """One assertion, checked as far as every type shares it."""

    kind: str
    value: Any
    threshold: float | None
    judge: str | None
    """Model that judges, where this type needs one."""


def mapped(assertion: Row, judge: str | None) -> Mapped:
    """Return the grader of an assertion.

    Raises:
        InvalidInput: it has no counterpart; the message says why.

    """
    kind = str(assertion.get("type"))
    others = sorted(key for key in assertion if key not in _KEYS and assertion[key] is not None)
    if others:
        raise InvalidInput(f"its key {others[0]!r} has no counterpart")
    threshold = assertion.get("threshold")
    if threshold is not None and (
        isinstance(threshold, bool) or not isinstance(threshold, int | float)
    ):
        raise InvalidInput("its threshold is not a number")
    value = assertion.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        raise InvalidInput(f"it is the file {value!r}, which is a program or unknown")
    make = ASSERTIONS.get(kind)
    if make is None:
        raise InvalidInput(_REASONS.get(kind.removeprefix("not-"), "no grader judges so"))
    found = make(Assertion(kind, value, threshold, _model(assertion.get("provider")) or judge))
    name = name_of(assertion.get("metric"), kind)
    if is_template(name):
        raise InvalidInput("the name of its metric is a template")
    return Mapped({**found.grader, "name": name}, found.literal, found.field, found.note)


def _model(provider: Any) -> str | None:
    """Return the model that a provider names, for a judge."""
    if isinstance(provider, dict):
        provider = provider.get("id")
    if not isinstance(provider, str) or not provider.startswith("openai:"):
        return None
    return provider.removeprefix("openai:").removeprefix("chat:").removeprefix("responses:") or None


def _plain(value: Any) -> str:
    """Return a value as JavaScript writes it into a text."""
    value = as_javascript_text(value)
    if not isinstance(value, str | int | float) or value == "":
        raise InvalidInput("its value is neither a text nor a number")
    return str(value)


def _constant(value: Any) -> str:
    text = _plain(value)
    if is_template(text):
        raise InvalidInput("its value is a template, and this comparison cannot be one here")
    return text


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        rows = list(csv.reader([value], skipinitialspace=True)) if "\n" not in value else []
        value = [each.strip() for each in rows[0]] if rows else []
    if not isinstance(value, list) or not value:
        raise InvalidInput("its value is not a list")
    return [_constant(each) for each in value]


def _compared(grader: Row, value: Any, field: str = "reference") -> Mapped:
    """Return a grader whose reference is a template, or a text that each test has its own of."""
    text = _plain(value)
    if is_template(text):
        return Mapped({**grader, field: translated(text)}, field=field)
    return Mapped(grader, text, field)


def _check(operation: str) -> Callable[[Assertion], Mapped]:
    grader = {"type": "string_check", "input": OUTPUT, "operation": operation}
    return lambda found: _compared(grader, found.value)


def _equals(found: Assertion) -> Mapped:
    if isinstance(found.value, dict | list):
        if found.kind.startswith("not-"):
            raise InvalidInput("its value is not a text")
        return Mapped({"type": "json_schema", "json_schema": {"const": found.value}})
    operation = "ne" if found.kind.startswith("not-") else "eq"
    if found.value == "":
        return Mapped({"type": "string_check", "input": OUTPUT, "operation": operation}, "")
    return _check(operation)(found)


def _starts(found: Assertion) -> Mapped:
    return _compared({"type": "starts_with", "input": OUTPUT}, found.value, "phrase")


def _pattern(make: Callable[[Assertion], str]) -> Callable[[Assertion], Mapped]:
    """Return a maker of regex graders; `i` before a type's name is: whatever the case."""

    def made(found: Assertion) -> Mapped:
        flag = "(?i)" if found.kind.removeprefix("not-").startswith("i") else ""
        return Mapped({"type": "regex", "pattern": flag + make(found)})

    return made


def _without(found: Assertion) -> str:
    return rf"\A(?![\s\S]*{re.escape(_constant(found.value))})"


def _any_of(found: Assertion) -> str:
    return "|".join(re.escape(each) for each in _listed(found.value))


def _none_of(found: Assertion) -> str:
    return rf"\A(?![\s\S]*(?:{_any_of(found)}))"


def _all_of(found: Assertion) -> str:
    return r"\A" + "".join(rf"(?=[\s\S]*{re.escape(each)})" for each in _listed(found.value))


def _not_starting(found: Assertion) -> str:
    return rf"\A(?!{re.escape(_constant(found.value))})"


def _ending(found: Assertion) -> str:
    return rf"{re.escape(_constant(found.value))}\Z"


def _regex(found: Assertion) -> str:
    return to_python(_constant(found.value))


def _not_regex(found: Assertion) -> str:
    return rf"\A(?![\s\S]*?(?:{_regex(found)}))"


def _json(found: Assertion) -> Mapped:
    schema = {} if found.value in (None, "") else found.value
    if not isinstance(schema, dict):
        raise InvalidInput("its schema is not an object")
    check_schema(schema)
    return Mapped({"type": "json_schema", "json_schema": schema})


def check_schema(schema: Row) -> None:
    """Raise `InvalidInput` where promptfoo's drafts and 2020-12 read a schema differently."""
    pending: list[Any] = [schema]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending.extend(each)
        elif isinstance(each, dict):
            for word in ("dependencies", "additionalItems", "nullable", "$schema"):
                if word in each:
                    raise InvalidInput(f"its schema has `{word}`, which is read differently here")
            if isinstance(each.get("format"), str):
                raise InvalidInput("its schema has `format`, which is not checked here")
            if isinstance(each.get("items"), list):
                raise InvalidInput("its schema has a list of `items`: write `prefixItems`")
            pending.extend(each.values())


def _similar(found: Assertion) -> Mapped:
    threshold = _SIMILAR if found.threshold is None else found.threshold
    grader = {
        "type": "text_similarity",
        "input": OUTPUT,
        "evaluation_metric": "cosine",
        "pass_threshold": threshold,
    }
    made = _compared(grader, found.value)
    return Mapped(made.grader, made.literal, made.field, SIMILAR_NOTE)


def _rubric(found: Assertion) -> Mapped:
    if found.judge is None:
        raise InvalidInput("no model is named that judges: name one with --judge")
    rubric = translated(_plain(found.value))
    task = RUBRIC_TASK.replace("{rubric}", rubric)
    grader = {
        "type": "score_model",
        "model": found.judge,
        "input": [{"role": "user", "content": task}],
        "range": [0.0, 1.0],
        "pass_threshold": 0.5 if found.threshold is None else found.threshold,
    }
    return Mapped(grader, note=RUBRIC_NOTE)


def _python(found: Assertion) -> Mapped:
    source = _constant(found.value)
    lines = source.rstrip() if "\n" in source else f"return {source.strip()}"
    number = "float(found > 0)" if found.threshold is None else "float(found)"
    threshold = 1.0 if found.threshold is None else found.threshold
    program = _PYTHON.format(body=textwrap.indent(lines, "    "), number=number)
    return Mapped({"type": "python", "source": program, "pass_threshold": threshold})


ASSERTIONS: dict[str, Callable[[Assertion], Mapped]] = {
    "equals": _equals,
    "not-equals": _equals,
    "contains": _check("like"),
    "icontains": _check("ilike"),
    "not-contains": _pattern(_without),
    "not-icontains": _pattern(_without),
    "contains-any": _pattern(_any_of),
    "icontains-any": _pattern(_any_of),
    "not-contains-any": _pattern(_none_of),
    "not-icontains-any": _pattern(_none_of),
    "contains-all": _pattern(_all_of),
    "icontains-all": _pattern(_all_of),
    "starts-with": _starts,
    "not-starts-with": _pattern(_not_starting),
    "ends-with": _pattern(_ending),
    "regex": _pattern(_regex),
    "not-regex": _pattern(_not_regex),
    "is-json": _json,
    "similar": _similar,
    "similar:cosine": _similar,
    "llm-rubric": _rubric,
    "python": _python,
}
"""Makers of graders, by the type of assertion."""
_PROGRAM = "it is a program in another language, which is not run here"
_COUNTS = "it counts words in another way than text_similarity does"
_REASONS = {
    "javascript": _PROGRAM,
    "ruby": _PROGRAM,
    "webhook": "it asks a web server",
    "cost": "an eval here has a budget, and cost is in its report",
    "latency": "latency is in the report, and is no grade",
    "rouge-n": _COUNTS,
    "bleu": _COUNTS,
    "gleu": _COUNTS,
    "meteor": _COUNTS,
    "assert-set": "graders cannot be put together so",
}
