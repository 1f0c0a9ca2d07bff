"""Who is compared with the recorded model, on which questions, by which graders."""

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.runfile import EvaluationSection
from selftune.data.read import ReadOptions, read_rows
from selftune.evaluate.arms import Arm, Message
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.grading import check_graders
from selftune.evaluate.interchange.criteria import checked_graders
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.items import Item
from selftune.models.chosen import catalog_of
from selftune.models.endpoint import Endpoint
from selftune.models.messages import SYSTEM_ROLES
from selftune.prove.home import Home
from selftune.prove.plan import Plan
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.asking import LOGPROBS
from selftune.rescue.record.recordings import (
    ARM,
    HEAT,
    Recording,
    answers_of,
    eval_name,
    recorded_arm,
)
from selftune.train.create import root_of

REPLACEMENT = "replacement"
_LABEL_LETTERS = 32
"""Answers no longer than this, in one line, are labels: they are right or wrong as a whole."""
_ALIKE = 0.9
"""Least cosine at which two longer answers count as alike, where no grader says what is right."""


class Choices(NamedTuple):
    """What the user chose to compare with."""

    replacement: str
    base: str | None = None
    """A prompted base; None takes the one that the replacement was trained from."""
    with_base: bool = True
    examples: Path | None = None
    n_examples: int = 8
    also: tuple[tuple[str, Endpoint | None], ...] = ()
    """Further models, prompted, with where they answer."""
    graders: tuple[dict[str, Any], ...] = ()
    limits: Limits = Limits()
    judge: str | None = None
    """Model that judges each answer beside the recorded one."""
    requests_per_day: float | None = None
    """For the cost of a year."""


class Compared(NamedTuple):
    """What will be asked."""

    plan: Plan
    prompted: tuple[str, ...]
    """Names of the arms that are only prompted."""
    measure: str
    """What counts as passing, in words."""
    notes: tuple[str, ...]
    steady: Arm | None
    """The recorded model at temperature 0, where that is production's."""


def compared(home: Home, found: Recording, choices: Choices) -> Compared:
    """Return the plan of a proof.

    Raises:
        InvalidInput: nothing was recorded, or a grader is none.
        NotFound: the replacement is not there.

    """
    usual = found.usual.read()
    items, left_out = items_of(found)
    graders, measure = choices.graders, "the graders that were given"
    if graders:
        check_graders(graders)
    else:
        graders, measure = _usual_graders(items)
    sampling = {k: v for k, v in usual.arms[0].sampling.items() if k != LOGPROBS}
    replacement = _arm(home, REPLACEMENT, choices.replacement, sampling)
    if replacement.endpoint is None:
        home.find(choices.replacement)
    prompted, notes = _prompted(home, choices, sampling)
    if left_out:
        notes = (*notes, f"{left_out:,} prompts have no recorded answer and are left out.")
    if usual.status != "completed":
        notes = (*notes, "The recording was stopped before its end: what there is counts.")
    plan = Plan(
        name=eval_name(found.model),
        items=items,
        arms=(recorded_arm(usual), replacement, *prompted),
        evaluation=EvaluationSection(samples=usual.samples, seed=None, graders=graders),
        limits=choices.limits,
        notes={arm.name: note for arm, note in _notes_of(prompted)},
        facts={
            "proof": found.model,
            "replacement": choices.replacement,
            "passes": measure,
            "temperature": usual.facts["temperature"],
            "recording": usual.id,
        },
    )
    steady = None
    if found.steady is not None and float(usual.facts[HEAT]) == 0:
        steady = recorded_arm(found.steady.read())
    return Compared(plan, tuple(arm.name for arm in prompted), measure, notes, steady)


def items_of(found: Recording) -> tuple[tuple[Item, ...], int]:
    """Return the questions with the answer at temperature 0 as `recorded`, and how many have none.

    Raises:
        InvalidInput: none has one.

    """
    usual = answers_of(found.usual)
    steady = {} if found.steady is None else answers_of(found.steady)
    kept, left_out = [], 0
    for item in found.usual.read_items():
        answers = steady.get(item.id) or usual.get(item.id)
        if not answers or item.id not in usual:
            left_out += 1
            continue
        shown = item.item | {"recorded": answers[0].output}
        kept.append(item.model_copy(update={"item": shown}))
    if not kept:
        raise InvalidInput(f"The recording of {found.model!r} has no answer.")
    return tuple(kept), left_out


def graders_of_file(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the graders of an eval file or a run file, or of a file with `[[graders]]` alone.

    Raises:
        InvalidInput: it cannot be read, or has none.

    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as TOML: {error}.") from error
    inner = document.get("evaluation")
    graders = (inner if isinstance(inner, dict) else document).get("graders")
    if not isinstance(graders, list) or not graders:
        raise InvalidInput(f"{path} has no graders: write [[evaluation.graders]] tables.")
    return tuple(graders)


def graders_of_eval(archive: Archive, name: str) -> tuple[dict[str, Any], ...]:
    """Return the testing criteria of an archived eval.

    Raises:
        NotFound: the archive has no such eval.
        InvalidInput: one of them cannot be judged here; half of the criteria would be another eval.

    """
    entry = archive.get("eval", name)
    if entry is None or not isinstance(entry.object, dict):
        raise NotFound(f"The archive has no eval {name!r}.")
    criteria = entry.object.get("testing_criteria") or []
    gaps = Gaps()
    found = checked_graders(
        (({k: v for k, v in each.items() if k != "id"}, name) for each in criteria), gaps
    )
    if not found or len(found) < len(criteria):
        why = "; ".join(str(each) for each in gaps.told()) or "it has none"
        raise InvalidInput(f"Not all criteria of {name!r} can be used here: {why}.")
    return found


def _usual_graders(items: Sequence[Item]) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return what judges where nobody said: references that are labels, else the recorded answers."""
    references = [str(each.item.get("reference") or "") for each in items]
    same = {"type": "string_check", "name": "same", "operation": "eq"}
    if all(_is_label(each) for each in references):
        return (
            {**same, "reference": "{{ item.reference }}"},
        ), "the answer is the row's own answer"
    if all(_is_label(str(each.item["recorded"])) for each in items):
        return (
            {**same, "reference": "{{ item.recorded }}"},
        ), "the answer is the one that was recorded at temperature 0"
    near = {"type": "semantic", "name": "alike", "references": ["{{ item.recorded }}"]}
    return (
        {**near, "threshold": _ALIKE},
    ), "the answer means what was recorded at temperature 0, by the embedded encoder"


def _is_label(text: str) -> bool:
    return 0 < len(text.strip()) <= _LABEL_LETTERS and "\n" not in text.strip()


def _arm(
    home: Home,
    name: str,
    model: str,
    sampling: dict[str, Any],
    endpoint: Endpoint | None = None,
    examples: tuple[Message, ...] = (),
) -> Arm:
    where = endpoint or home.place(model)
    return Arm(
        name=name,
        model=model,
        endpoint=where,
        examples=examples,
        sampling=sampling,
        rates=home.rates(model, where),
    )


def _prompted(
    home: Home, choices: Choices, sampling: dict[str, Any]
) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """Return the arms that are only prompted, and what to say where the base is not among them."""
    examples = _examples(choices)
    arms, notes = [], []
    base = choices.base or (_base_of(home, choices.replacement) if choices.with_base else None)
    if base is not None and base != choices.replacement:
        try:
            if home.place(base) is None:
                home.find(base)
            arms.append(_arm(home, "prompted base", base, sampling, examples=examples))
        except (NotFound, InvalidInput) as error:
            notes.append(f"The prompted base is not compared: {error.message}")
    elif choices.with_base and base is None:
        notes.append("The prompted base is not compared: nothing tells what the base is (--base).")
    arms += [
        _arm(home, f"prompted {model}", model, sampling, endpoint, examples)
        for model, endpoint in choices.also
    ]
    return tuple(arms), tuple(notes)


def _base_of(home: Home, replacement: str) -> str | None:
    """Return the base that a model of this machine was trained from."""
    if not replacement.startswith("ft:") or home.place(replacement) is not None:
        return None
    store = home.store
    named = root_of(store, home.identity.project_id, replacement)
    base = catalog_of(store.settings).find(named)
    return None if base is None else base.id


def _examples(choices: Choices) -> tuple[Message, ...]:
    """Return chats of the training file, without system messages: what a prompt can show."""
    if choices.examples is None or choices.n_examples == 0:
        return ()
    rows = read_rows(choices.examples, ReadOptions(limit=choices.n_examples))
    said = (message for row in rows for message in row.get("messages") or ())
    return tuple(
        {"role": str(each["role"]), "content": each.get("content") or ""}
        for each in said
        if each.get("role") not in SYSTEM_ROLES
    )


def _notes_of(arms: Sequence[Arm]) -> Iterator[tuple[Arm, str]]:
    for arm in arms:
        shown = sum(each["role"] == "assistant" for each in arm.examples)
        yield arm, f"prompted, {shown} examples before each question" if shown else "prompted"


__all__ = [
    "ARM",
    "REPLACEMENT",
    "Choices",
    "Compared",
    "compared",
    "graders_of_eval",
    "graders_of_file",
]
