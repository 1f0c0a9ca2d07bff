"""Who is compared with the recorded model, on which questions, by which graders."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.runfile import EvaluationSection
from selftune.data.read import ReadOptions, read_rows
from selftune.evaluate.arms import Arm, Message
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.grading import check_graders, fields_read
from selftune.evaluate.items import Item
from selftune.models.chosen import catalog_of
from selftune.models.endpoint import Endpoint
from selftune.models.messages import SYSTEM_ROLES, calls_text
from selftune.prove.home import Home
from selftune.prove.plan import Plan
from selftune.rescue.proof.graders import Measure, usual_measure
from selftune.rescue.record.asking import LOGPROBS
from selftune.rescue.record.recordings import (
    HEAT,
    SOURCE,
    Recording,
    answers_of,
    eval_name,
    recorded_arm,
)
from selftune.rescue.record.requests import message_of
from selftune.train.create import root_of

REPLACEMENT = "replacement"


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
    measure: Measure
    notes: tuple[str, ...]
    steady: Arm | None
    """The recorded model where it was asked at another time, at the temperature of production."""
    alone: frozenset[str]
    """Items whose recorded answer is the only one: it cannot be compared with itself."""


def compared(home: Home, found: Recording, choices: Choices) -> Compared:
    """Return the plan of a proof.

    Raises:
        InvalidInput: nothing was recorded, or a grader is none.
        NotFound: the replacement is not there.

    """
    usual = found.usual.read()
    steady = None if found.steady is None else found.steady.read()
    items, alone, left_out = items_of(found)
    if choices.graders:
        check_graders(choices.graders)
        measure = Measure(choices.graders, "the graders that were given")
    else:
        is_steady = steady is not None and float(steady.facts[HEAT]) == 0
        measure = usual_measure(items, "at temperature 0" if is_steady else "first")
    items, unfit = _fit(items, measure, alone)
    notes = (*_notes_of_recording(found, left_out), *unfit)
    sampling = {k: v for k, v in usual.arms[0].sampling.items() if k != LOGPROBS}
    replacement = _arm(home, REPLACEMENT, choices.replacement, sampling)
    if replacement.endpoint is None:
        home.find(choices.replacement)
    prompted, told = _prompted(home, choices, sampling)
    facts = {
        "proof": found.model,
        "replacement": choices.replacement,
        "passes": measure.words,
        "temperature": usual.facts[HEAT],
        "recording": usual.id,
    }
    plan = Plan(
        name=eval_name(found.model),
        items=items,
        arms=(recorded_arm(usual), replacement, *prompted),
        evaluation=EvaluationSection(samples=usual.samples, seed=None, graders=measure.graders),
        limits=choices.limits,
        goes_on=True,
        notes={arm.name: note for arm, note in _notes_of(prompted)},
        facts=facts,
    )
    return Compared(
        plan,
        tuple(arm.name for arm in prompted),
        measure,
        (*told, *notes),
        recorded_arm(steady) if steady and steady.facts[HEAT] == usual.facts[HEAT] else None,
        alone,
    )


def _fit(
    items: tuple[Item, ...], measure: Measure, alone: frozenset[str]
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Return the questions that can be judged, and words on the others.

    Raises:
        InvalidInput: none can.

    """
    if measure.is_recorded:
        if not alone or len(alone) == len(items):
            return items, ()
        reason = "they were answered once, and an answer cannot be compared with itself"
        return tuple(item for item in items if item.id not in alone), (_left_out(alone, reason),)
    read = fields_read(measure.graders)
    lacking = {item.id: sorted(read - item.item.keys()) for item in items}
    missing = sorted({name for names in lacking.values() for name in names})
    if not missing:
        return items, ()
    kept = tuple(item for item in items if not lacking[item.id])
    reason = f"the graders read {', '.join(missing)}, which they do not have"
    if not kept:
        raise InvalidInput(
            f"No recorded prompt can be judged: {reason}. Record prompts that have, or give other "
            "graders."
        )
    return kept, (_left_out([name for name in lacking if lacking[name]], reason),)


def _left_out(names: Collection[str], reason: str) -> str:
    return f"{len(names):,} {'prompt is' if len(names) == 1 else 'prompts are'} left out: {reason}."


def items_of(found: Recording) -> tuple[tuple[Item, ...], frozenset[str], int]:
    """Return the questions with the answer that others are compared with as `recorded`.

    That is the one at temperature 0; without it, the first of production. With them are the ids of
    those that have no other answer, and how many have none at all.

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
        shown = {
            "reference_calls": "",
            **item.item,
            "recorded": answers[0].said,
            "recorded_calls": calls_text(answers[0].message),
        }
        kept.append(item.model_copy(update={"item": shown}))
    if not kept:
        raise InvalidInput(f"The recording of {found.model!r} has no answer.")
    return tuple(kept), frozenset(item.id for item in kept if item.id not in steady), left_out


def _notes_of_recording(found: Recording, left_out: int) -> Iterator[str]:
    usual = found.usual.read()
    if left_out:
        yield f"{left_out:,} prompts have no recorded answer and are left out."
    if usual.status != "completed":
        yield "The recording was stopped before its end: what there is counts."
    if SOURCE in usual.facts:
        words = f"The recorded answers were imported from {usual.facts[SOURCE]}"
        many = "one to each prompt" if usual.samples == 1 else f"{usual.samples} to each prompt"
        yield f"{words}: {many} counts as production's."


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
    return tuple(message_of(each) for each in said if each.get("role") not in SYSTEM_ROLES)


def _notes_of(arms: Sequence[Arm]) -> Iterator[tuple[Arm, str]]:
    for arm in arms:
        shown = sum(each["role"] == "assistant" for each in arm.examples)
        yield arm, f"prompted, {shown} examples before each question" if shown else "prompted"
