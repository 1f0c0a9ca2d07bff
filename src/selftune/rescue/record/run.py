"""Ask a model everything once at temperature 0, and several times as in production; keep it all.

Both are rounds of one eval without graders: an answer is on disk before it counts, the same command
goes on where it was ended, and what was answered is never paid for twice.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from selftune.core.errors import BudgetSpent
from selftune.core.runfile import EvaluationSection
from selftune.evaluate.arms import Arm, place_of
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item, to_items
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.task import Progress
from selftune.models.endpoint import Endpoint
from selftune.models.profiles import Profile
from selftune.prove.plan import Plan
from selftune.prove.round import run_round
from selftune.rescue.record.asking import LOGPROBS, RecordingHome
from selftune.rescue.record.prompts import Prompt
from selftune.rescue.record.recordings import (
    ACCOUNT,
    ARM,
    HEAT,
    KIND,
    MODEL,
    PROMPTS,
    SALT,
    STEADY,
    USUAL,
    Recording,
    eval_name,
    find_round_of,
)

Tell = Callable[[str, str, Progress], None]
"""Hears the model, which of the two rounds, and how far it is."""


class Ungraded(EvaluationSection):
    """A recording judges nothing: what was said is kept."""

    graders: tuple[dict[str, Any], ...] = ()
    seed: int | None = None
    """Repeated answers must differ as they do in production."""
    category: str | None = "prompt_source"


class Wanted(NamedTuple):
    """How to record a model."""

    profile: Profile
    temperature: float
    repeats: int
    max_tokens: int | None = None
    logprobs: bool = True
    response_format: dict[str, Any] | None = None
    limit: int | None = None
    """Most prompts; which ones is drawn by lot, the same ones each time."""


def items_of(prompts: Sequence[Prompt], limit: int | None) -> tuple[Item, ...]:
    """Return the items of a recording."""
    chosen = range(len(prompts))
    if limit is not None and limit < len(prompts):
        chosen = sorted(random.Random(0).sample(chosen, limit))  # type: ignore[assignment]  # numbers in order, either way
    rows = [
        {
            **prompts[at].fields,
            # The answer of the row becomes the item's `reference`.
            "messages": [
                *prompts[at].messages,
                {"role": "assistant", "content": prompts[at].reference},
            ],
            "prompt_source": prompts[at].source,
        }
        for at in chosen
    ]
    return tuple(to_items(rows, Ungraded()))


def record(
    home: RecordingHome,
    model: str,
    prompts: Sequence[Prompt],
    wanted: Wanted,
    limits: Limits,
    tell: Tell = lambda model, kind, progress: None,
) -> tuple[Recording, float | None]:
    """Record a model, or go on with it; return where it is, and what was spent now.

    Raises:
        BudgetSpent: before all was asked; what was answered is kept.
        SelftuneError: the account refuses, or does not answer any more.

    """
    items = items_of(prompts, wanted.limit)
    spent: float | None = 0.0
    found: dict[str, RoundFolder] = {}
    for kind in (STEADY, USUAL):
        plan = _plan(home, model, items, wanted, kind)
        done = _finished(home, plan)
        if done is None:
            last: list[Progress] = []

            def hear(progress: Progress, kind: str = kind, last: list[Progress] = last) -> None:
                last[:] = [progress]
                tell(model, kind, progress)

            done = run_round(home, _within(plan, limits, spent), hear)
            now = last[0].totals.dollars if last else 0.0
            spent = None if spent is None or now is None else spent + now
        found[kind] = done
    return Recording(model, found[STEADY], found[USUAL]), spent


def _plan(
    home: RecordingHome, model: str, items: tuple[Item, ...], wanted: Wanted, kind: str
) -> Plan:
    heat = 0.0 if kind == STEADY else wanted.temperature
    endpoint = Endpoint(model=model, profile=wanted.profile)
    sampling: dict[str, Any] = {"temperature": heat}
    if wanted.max_tokens is not None:
        sampling["max_tokens"] = wanted.max_tokens
    if wanted.response_format is not None:
        sampling["response_format"] = wanted.response_format
    if wanted.logprobs:
        sampling[LOGPROBS] = True
    return Plan(
        name=eval_name(model),
        items=items,
        arms=(
            Arm(
                name=ARM if kind == USUAL else f"{ARM} at temperature 0",
                model=model,
                endpoint=endpoint,
                sampling=sampling,
                rates=home.rates(model, endpoint),
                salt=SALT if kind == USUAL else "",
            ),
        ),
        evaluation=Ungraded(samples=1 if kind == STEADY else wanted.repeats),
        facts={
            MODEL: model,
            KIND: kind,
            HEAT: f"{heat:g}",
            ACCOUNT: place_of(endpoint) or "",
            PROMPTS: _digest(items),
        },
    )


def _finished(home: RecordingHome, plan: Plan) -> RoundFolder | None:
    """Return the round that has all of a plan already."""
    folder = find_round_of(
        home.settings.root, plan.facts[MODEL], plan.facts[KIND], plan.facts[PROMPTS]
    )
    if folder is None:
        return None
    found = folder.read()
    same = found.facts == plan.facts and found.arms[0].sampling == plan.arms[0].sampling
    whole = found.status == "completed" and not found.totals.unanswered
    return folder if same and whole and found.samples == plan.evaluation.samples else None


def _within(plan: Plan, limits: Limits, spent: float | None) -> Plan:
    """Return the plan with what is left of the budget."""
    most = limits.budget_dollars
    if most is not None and spent is not None:
        if spent >= most:
            raise BudgetSpent("The budget is spent. The same command again goes on.")
        limits = limits.model_copy(update={"budget_dollars": most - spent})
    return replace(plan, limits=limits)


def _digest(items: Sequence[Item]) -> str:
    """Return a short name of all prompts in their order."""
    return sha256("\n".join(item.id for item in items).encode()).hexdigest()[:16]
