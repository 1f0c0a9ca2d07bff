"""promptfoo's tests and prompts -> eval files: one for each prompt and each set of assertions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput
from selftune.evaluate.evalfile import Model
from selftune.evaluate.interchange.criteria import checked_graders
from selftune.evaluate.interchange.found import FoundEval, Options, Row, different, name_of
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.nunjucks import check_printable
from selftune.evaluate.interchange.promptfoo_assertions import Mapped, mapped
from selftune.evaluate.interchange.promptfoo_config import Prompt, Test, chat_of
from selftune.evaluate.interchange.questions import (
    Question,
    filled,
    lay_out,
    named,
    plain_messages,
    usable,
)

_MOST_SETS = 20
_OWN_FIELD = "expected"


@dataclass
class _Set:
    """Tests that are judged alike, but for the texts they expect."""

    threshold: float | None
    weights: tuple[float, ...]
    graders: tuple[Mapped, ...]
    tests: list[tuple[Test, tuple[str | None, ...]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Whole:
    """What all eval files of a config share."""

    ids: dict[int, str]
    """By the identity of the test."""
    models: tuple[Model, ...]
    options: Options
    gaps: Gaps


def evals_of(
    name: str,
    tests: Sequence[Test],
    prompts: Sequence[Prompt],
    models: tuple[Model, ...],
    options: Options,
    gaps: Gaps,
) -> list[FoundEval]:
    """Return the eval files; a row that cannot be asked is a gap."""
    usual = [t for t in tests if usable(t.fields, options.id_field, t.place, gaps)]
    ids = named([test.fields for test in usual], options.id_field)
    whole = _Whole(dict(zip(map(id, usual), ids, strict=True)), models, options, gaps)
    sets = _sets(usual, options, gaps)
    if len(sets) > 1:
        gaps.note(
            f"the tests have {len(sets)} different sets of assertions: each set is an eval of its own"
        )
    found = []
    for number, each in enumerate(sets[:_MOST_SETS], start=1):
        part = "" if number == 1 else f" part {number}"
        for prompt in prompts:
            label = f" {prompt.label}" if len(prompts) > 1 else ""
            made = _eval(f"{name}{part}{label}", each, prompt, whole)
            found += [made] if made is not None else []
    for each in sets[_MOST_SETS:]:
        for test, _ in each.tests:
            gaps.row(f"there are more than {_MOST_SETS} different sets of assertions", test.place)
    return found


def _sets(tests: Sequence[Test], options: Options, gaps: Gaps) -> list[_Set]:
    found: dict[str, _Set] = {}
    for test in tests:
        graders, weights = _graders(test, options, gaps)
        if graders is None:
            continue
        shape = [[each.grader, each.field, each.literal is None] for each in graders]
        key = canonical_json([shape, weights, test.threshold])
        group = found.setdefault(key, _Set(test.threshold, tuple(weights), tuple(graders)))
        group.tests.append((test, tuple(each.literal for each in graders)))
    return list(found.values())


def _graders(test: Test, options: Options, gaps: Gaps) -> tuple[list[Mapped] | None, list[float]]:
    """Return the graders of a test; None where its verdict would be another without what is missing."""
    graders, weights, missing = [], [], 0
    judge = _judge(test.judge) or options.judge
    for number, assertion in enumerate(test.assertions, start=1):
        place = f"{test.place}.assert[{number}]"
        weight = assertion.get("weight", 1)
        if weight == 0:
            gaps.note("an assertion of weight 0 decides nothing and was left out", place)
            continue
        try:
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
                raise InvalidInput("its weight is not a number above 0")
            made = mapped(assertion, judge)
        except InvalidInput as error:
            kind = name_of(assertion.get("type"), "without a type")
            gaps.part(f"assertion {kind!r}: {error.message.removesuffix('.')}", place)
            missing += 1
            continue
        if made.note:
            gaps.note(made.note)
        graders.append(made)
        weights.append(float(weight))
    if test.threshold is not None and missing:
        gaps.row("it passes by a threshold over assertions of which some are missing", test.place)
        return None, []
    return graders, weights


def _judge(provider: Any) -> str | None:
    id = provider.get("id") if isinstance(provider, dict) else provider
    if isinstance(id, str) and id.startswith("openai:"):
        return id.removeprefix("openai:").removeprefix("chat:") or None
    return None


def _eval(name: str, group: _Set, prompt: Prompt, whole: _Whole) -> FoundEval | None:
    fields = _fields_for_literals(group)
    questions = []
    for test, literals in group.tests:
        own = {
            key: literal
            for key, literal in zip(fields, literals, strict=True)
            if key is not None and literal is not None
        }
        try:
            for source in prompt.sources:
                check_printable(source, test.fields)
            chat = _chat_in(prompt, test)
        except InvalidInput as error:
            whole.gaps.row(error.message, test.place)
            continue
        questions.append(
            Question(
                whole.ids[id(test)],
                {**test.fields, **own},
                test.place,
                messages=chat,
            )
        )
    if not questions:
        return None
    graders = _weighed(group, _with_references(group, fields))
    layout = lay_out(questions, prompt.messages, whole.options.id_field, whole.gaps)
    if not layout.rows:
        return None
    return FoundEval(
        name=name,
        rows=layout.rows,
        evaluation=layout.evaluation,
        graders=checked_graders([(grader, name) for grader in graders], whole.gaps),
        models=whole.models,
        description="Imported from promptfoo.",
    )


def _chat_in(prompt: Prompt, test: Test) -> tuple[Row, ...] | None:
    """Return the chat that a variable holds: promptfoo reads the filled text as one."""
    if len(prompt.messages) > 1:
        return None
    text = filled(prompt.messages, test.fields)[0]["content"]
    chat = chat_of(text)
    return None if chat == plain_messages(text) else chat


def _fields_for_literals(group: _Set) -> list[str | None]:
    """Return the name of a field for each grader whose expected text differs between tests."""
    taken = {key for test, _ in group.tests for key in test.fields}
    found: list[str | None] = []
    for column in zip(*(literals for _, literals in group.tests), strict=True):
        if column[0] is None or all(each == column[0] for each in column):
            found.append(None)
            continue
        name, number = _OWN_FIELD, 1
        while name in taken:
            number += 1
            name = f"{_OWN_FIELD}_{number}"
        taken.add(name)
        found.append(name)
    return found


def _with_references(group: _Set, fields: list[str | None]) -> list[Row]:
    graders = []
    for made, key, literal in zip(group.graders, fields, group.tests[0][1], strict=True):
        if key is not None:
            graders.append({**made.grader, made.field: f"{{{{ item.{key} }}}}"})
        elif literal is not None:
            graders.append({**made.grader, made.field: literal})
        else:
            graders.append(made.grader)
    return graders


def _weighed(group: _Set, graders: list[Row]) -> list[Row]:
    """Return the graders, or one that weighs their scores where a threshold decides."""
    if group.threshold is None or not graders:
        return graders
    names = [f"part_{number}" for number in range(1, len(graders) + 1)]
    weighed = " + ".join(f"{w:g} * {n}" for w, n in zip(group.weights, names, strict=True))
    return [
        {
            "type": "multi",
            "name": different([str(each["name"]) for each in graders])[0],
            "graders": dict(zip(names, graders, strict=True)),
            "calculate_output": f"({weighed}) / {sum(group.weights):g}",
            "pass_threshold": group.threshold,
        }
    ]
