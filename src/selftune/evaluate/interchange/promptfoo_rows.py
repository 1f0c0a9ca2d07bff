"""Rows of promptfoo's results -> items and results of a round."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate.interchange.found import (
    Options,
    Row,
    different,
    name_of,
    object_at,
    rows_in,
    usage_of,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.nunjucks import as_javascript_text, is_template
from selftune.evaluate.interchange.promptfoo_config import chat_of
from selftune.evaluate.interchange.questions import named, usable
from selftune.evaluate.interchange.scores import score_of, state_of
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord
from selftune.evaluate.scorer import Graded
from selftune.models.answers import Timing

_ERROR = 2  # promptfoo's failureReason of an answer that never came
_OVERALL = "promptfoo"
_MOST_REASON = 2_000


@dataclass(frozen=True)
class Rows:
    """A round's parts."""

    arms: tuple[ArmRecord, ...] = ()
    graders: tuple[Row, ...] = ()
    items: tuple[Item, ...] = ()
    results: tuple[Result, ...] = ()
    tests: tuple[Row, ...] = ()
    """Each test once, as a config has it."""

    @property
    def samples(self) -> int:
        """Return how often each test was asked."""
        return 1 + max((result.sample for result in self.results), default=0)

    @property
    def is_timed(self) -> bool:
        """Return whether latencies are known."""
        return any(result.timing is not None for result in self.results)


def read_rows(placed: Sequence[tuple[Any, str]], options: Options, gaps: Gaps) -> Rows:
    """Return what the rows hold; one that is none is a gap."""
    rows = [(row, _fields(row)) for row, place in placed if _is_row(row, place, options, gaps)]
    tests: dict[str, tuple[Row, Row]] = {}
    for row, fields in rows:
        tests.setdefault(_test_key(row, fields), (row, fields))
    names = named([fields for _, fields in tests.values()], options.id_field)
    numbers = {key: number for number, key in enumerate(tests, start=1)}
    items = tuple(
        Item(index=number, id=name, item=fields, messages=_asked(row))
        for number, ((row, fields), name) in enumerate(
            zip(tests.values(), names, strict=True), start=1
        )
    )
    arms = _arms([row for row, _ in rows])
    components = _components([row for row, _ in rows])
    samples: Counter[tuple[str, int]] = Counter()
    results = []
    for row, fields in rows:
        arm, item = arms[_arm_key(row)], items[numbers[_test_key(row, fields)] - 1]
        sample = samples[arm.name, item.index]
        samples[arm.name, item.index] += 1
        results.append(_result(row, item, arm.name, sample, components))
    kinds = components or [("promptfoo", _OVERALL)]
    return Rows(
        arms=tuple(arms.values()),
        graders=tuple({"type": kind, "name": name} for kind, name in kinds),
        items=items,
        results=tuple(results),
        tests=tuple(_as_test(row, fields) for row, fields in tests.values()),
    )


def _is_row(row: Any, place: str, options: Options, gaps: Gaps) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("vars"), dict):
        gaps.row("a result has no variables", place)
        return False
    return usable(_fields(row), options.id_field, place, gaps)


def _fields(row: Row) -> Row:
    """Return the variables; promptfoo's own begin with an underscore."""
    given = {str(k): v for k, v in object_at(row, "vars").items() if not str(k).startswith("_")}
    return {key: as_javascript_text(value) for key, value in given.items()}


def _test_key(row: Row, fields: Row) -> str:
    return canonical_json([fields, [_plain(a) for a in rows_in(_case(row).get("assert"))]])


def _plain(assertion: Row) -> str:
    return json.dumps(assertion, sort_keys=True)


def _case(row: Row) -> Row:
    return object_at(row, "testCase")


def _as_test(row: Row, fields: Row) -> Row:
    case = _case(row)
    options = {"disableVarExpansion": True, **object_at(case, "options")}
    kept: Row = {key: case[key] for key in ("assert", "threshold") if key in case}
    return {**kept, "vars": fields, "options": options}


def _asked(row: Row) -> tuple[Row, ...]:
    try:
        return chat_of(str(object_at(row, "prompt").get("raw") or ""))
    except InvalidInput:
        return ()


def _arms(rows: Sequence[Row]) -> dict[str, ArmRecord]:
    """Return an arm for each provider and prompt."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(_arm_key(row), row)
    labels = list(dict.fromkeys(_prompt_label(row) for row in first.values()))
    shown = {
        label: f"prompt {number}" if is_template(label) else label
        for number, label in enumerate(labels, start=1)
    }
    names = [
        _provider(row)[0] + (f", {shown[_prompt_label(row)]}" if len(labels) > 1 else "")
        for row in first.values()
    ]
    return {
        key: ArmRecord(name=name, model=_provider(row)[1], note=_prompt_label(row))
        for (key, row), name in zip(first.items(), different(names), strict=True)
    }


def _arm_key(row: Row) -> str:
    index = row.get("promptIdx")
    return canonical_json(
        [index if isinstance(index, int) else None, _provider(row), _prompt_label(row)]
    )


def _provider(row: Row) -> tuple[str, str]:
    """Return how a provider is called, and its model."""
    given = row.get("provider")
    id = given.get("id") if isinstance(given, dict) else given
    model = name_of(id, "unknown").removeprefix("openai:").removeprefix("chat:")
    return name_of(given.get("label") if isinstance(given, dict) else None, model), model


def _prompt_label(row: Row) -> str:
    prompt = object_at(row, "prompt")
    return name_of(prompt.get("label") or prompt.get("display"), "prompt")


def _components(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return type and name of each assertion, where all rows have the same and each must pass."""
    found: list[tuple[str, str]] | None = None
    for row in rows:
        if _is_unanswered(row):
            continue
        parts = rows_in(object_at(row, "gradingResult").get("componentResults"))
        kinds = [_kind(part) for part in parts]
        passes = all(part.get("pass") is True for part in parts)
        if not parts or passes != (row.get("success") is True) or found not in (None, kinds):
            return []
        found = kinds
    names = different([name for _, name in found or []])
    return [(kind, name) for (kind, _), name in zip(found or [], names, strict=True)]


def _kind(part: Row) -> tuple[str, str]:
    assertion = object_at(part, "assertion")
    kind = name_of(assertion.get("type"), "assertion")
    return kind, name_of(assertion.get("metric"), kind)


def _is_unanswered(row: Row) -> bool:
    """Return whether no answer came: a failed assertion is an error too, in promptfoo's words."""
    if row.get("failureReason") == _ERROR:
        return True
    output = object_at(row, "response").get("output")
    return bool(row.get("error")) and output is None and not object_at(row, "gradingResult")


def _result(
    row: Row, item: Item, arm: str, sample: int, components: Sequence[tuple[str, str]]
) -> Result:
    response = object_at(row, "response")
    is_unanswered = _is_unanswered(row)
    is_cached = response.get("cached") is True
    scores = () if is_unanswered else _scores(row, components)
    seconds = score_of(row.get("latencyMs")).value
    return Result(
        index=item.index,
        item=item.id,
        arm=arm,
        sample=sample,
        state="unanswered" if is_unanswered else state_of(scores),
        output=_text(response.get("output")),
        finish="failed" if is_unanswered else _finish(response),
        reason=str(row.get("error") or "")[:_MOST_REASON] if is_unanswered else "",
        scores=scores,
        usage=None if is_cached else _usage(response),
        timing=Timing(answering=seconds / 1000) if seconds and not is_cached else None,
        reused=is_cached,
    )


def _scores(row: Row, components: Sequence[tuple[str, str]]) -> tuple[Graded, ...]:
    grading = object_at(row, "gradingResult")
    parts = rows_in(grading.get("componentResults"))
    if components:
        return tuple(_graded(part) for part in parts)
    names = different([_kind(part)[1] for part in parts])
    passed = row.get("success") is True
    overall = score_of(row.get("score", grading.get("score")), passed, grading.get("reason"))
    inner = {name: _graded(part) for name, part in zip(names, parts, strict=True)}
    return (overall.model_copy(update={"parts": inner}),)


def _graded(part: Row) -> Graded:
    if object_at(part, "metadata").get("graderError") is True:
        return score_of(None, reason=part.get("reason"))
    return score_of(part.get("score"), part.get("pass") is True, part.get("reason"))


def _finish(response: Row) -> str:
    if response.get("isRefusal") is True:
        return "refused"
    return "cut" if response.get("finishReason") == "length" else "answered"


def _usage(response: Row) -> Usage | None:
    used = object_at(response, "tokenUsage")
    return usage_of(used.get("prompt"), used.get("completion"))


def _text(output: Any) -> str:
    if output is None or isinstance(output, str):
        return output or ""
    return json.dumps(output, ensure_ascii=False)
