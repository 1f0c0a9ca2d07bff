"""Who is compared with the recorded model, on which questions, by which graders."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.runfile import EvaluationSection
from selftune.data.read import read_lines
from selftune.evaluate.arms import Arm, Message
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.grading import check_graders
from selftune.evaluate.items import Item
from selftune.evaluate.rounds import Round
from selftune.models.catalog import catalog
from selftune.models.chosen import catalog_of
from selftune.models.endpoint import Endpoint
from selftune.models.messages import SYSTEM_ROLES
from selftune.prove.home import Home
from selftune.prove.plan import Plan
from selftune.rescue.proof.graders import Measure, usual_measure
from selftune.rescue.proof.questions import fit, items_of
from selftune.rescue.record.asking import LOGPROBS
from selftune.rescue.record.recordings import HEAT, SOURCE, Recording, eval_name, recorded_arm
from selftune.rescue.record.requests import message_of
from selftune.rescue.record.trained import answered_in, asked_at
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
    """The recorded model where it was asked at another time, at the temperature of production; None
    where those answers are what others are compared with."""
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
    items, unfit = fit(items, measure, alone)
    notes = (*_notes_of_recording(found, left_out), *unfit)
    sampling = {k: v for k, v in usual.arms[0].sampling.items() if k != LOGPROBS}
    replacement = _arm(home, REPLACEMENT, choices.replacement, sampling)
    if replacement.endpoint is None:
        home.find(choices.replacement)
    prompted, told = _prompted(home, choices, sampling, _examples(choices, items))
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
        _asked_before(steady, usual, measure),
        alone,
    )


def _asked_before(steady: Round | None, usual: Round, measure: Measure) -> Arm | None:
    if steady is None or measure.is_recorded or steady.facts[HEAT] != usual.facts[HEAT]:
        return None
    return recorded_arm(steady)


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
    home: Home, choices: Choices, sampling: dict[str, Any], examples: tuple[Message, ...]
) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """Return the arms that are only prompted, and what to say where the base is not among them."""
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
    """Return the base that a model of this machine was trained from, whatever name it answers to."""
    model = catalog(home.settings.root).answering(replacement)
    if not model.startswith("ft:") or home.place(replacement) is not None:
        return None
    store = home.store
    named = root_of(store, home.identity.project_id, model)
    base = catalog_of(store.settings).find(named)
    return None if base is None else base.id


def _examples(choices: Choices, items: Sequence[Item]) -> tuple[Message, ...]:
    """Return what a prompt can show: chats of a file, without those that answer what is asked."""
    if choices.examples is None or choices.n_examples == 0:
        return ()
    asked = {asked_at(item.messages)[-1] for item in items}
    chats = (_chat(line.row) for line in read_lines(choices.examples))
    shown = islice(
        (chat for chat in chats if chat and asked.isdisjoint(answered_in(chat))), choices.n_examples
    )
    said = (message for chat in shown for message in chat)
    return tuple(message_of(each) for each in said if each.get("role") not in SYSTEM_ROLES)


def _chat(row: dict[str, Any] | None) -> list[Message]:
    messages = None if row is None else row.get("messages")
    said = messages if isinstance(messages, list) else []
    return [each for each in said if isinstance(each, dict)]


def _notes_of(arms: Sequence[Arm]) -> Iterator[tuple[Arm, str]]:
    for arm in arms:
        shown = sum(each["role"] == "assistant" for each in arm.examples)
        yield arm, f"prompted, {shown} examples before each question" if shown else "prompted"
