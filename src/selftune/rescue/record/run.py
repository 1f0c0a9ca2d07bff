"""Ask a model everything once at temperature 0, and several times as in production; keep it all.

Both are rounds of one eval without graders: an answer is on disk before it counts, the same command
goes on where it was ended, and what was answered is never paid for twice.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

from selftune.core.errors import BudgetSpent, NotFound
from selftune.core.runfile import EvaluationSection
from selftune.evaluate.arms import Arm, place_of
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item, to_items, with_request
from selftune.evaluate.results import read_results
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.task import Progress
from selftune.models.endpoint import Endpoint
from selftune.models.prices import Rates
from selftune.prove.plan import Plan
from selftune.prove.round import run_round
from selftune.rescue.record.asking import LOGPROBS, RecordingHome
from selftune.rescue.record.prompts import Prompt
from selftune.rescue.record.recordings import (
    ACCOUNT,
    ANSWERS,
    ARM,
    HEAT,
    KIND,
    MODEL,
    PROMPTS,
    STEADY,
    USUAL,
    Recording,
    eval_name,
    finished_round,
    salt_of,
)
from selftune.rescue.record.requests import LIMITS

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

    endpoint: Endpoint
    """Where it answers, and under which name."""
    temperature: float
    repeats: int
    max_tokens: int | None = None
    """In place of what production had."""
    logprobs: bool = True
    limit: int | None = None
    """Most prompts; which ones is drawn by lot, the same ones each time."""


def drawn(count: int, limit: int | None) -> Sequence[int]:
    """Return the places of what is taken: all, or so many by lot, the same ones each time."""
    if limit is None or limit >= count:
        return range(count)
    return sorted(random.Random(0).sample(range(count), limit))


def items_of(prompts: Iterable[Prompt]) -> tuple[Item, ...]:
    """Return the items of a recording."""
    asked = tuple(prompts)
    rows = [
        {
            **each.fields,
            **({"reference_calls": each.reference_calls} if each.reference_calls else {}),
            # The answer of the row becomes the item's `reference`.
            "messages": [*each.messages, {"role": "assistant", "content": each.reference}],
            "prompt_source": each.source,
        }
        for each in asked
    ]
    return tuple(
        with_request(item, each.request)
        for item, each in zip(to_items(rows, Ungraded()), asked, strict=True)
    )


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
        NotFound: it answered nothing.
        SelftuneError: the account refuses, or does not answer any more.

    """
    chosen = [prompts[at] for at in drawn(len(prompts), wanted.limit)]
    items = items_of(_limited(each, wanted) for each in chosen)
    spent: float | None = 0.0
    found: dict[str, RoundFolder] = {}
    for kind in (STEADY, USUAL):
        heat = 0.0 if kind == STEADY else wanted.temperature
        samples = 1 if kind == STEADY else wanted.repeats
        rates = home.rates(model, wanted.endpoint)
        arm = arm_of(kind, wanted.endpoint, _sampling(heat, wanted), rates)
        plan = plan_of(model, kind, items, arm, samples)
        done = finished_round(home.settings.root, plan, {arm.name})
        if done is None:
            last: list[Progress] = []

            def hear(progress: Progress, kind: str = kind, last: list[Progress] = last) -> None:
                last[:] = [progress]
                tell(model, kind, progress)

            done = run_round(home, _within(plan, limits, spent), hear)
            _need_answers(done, model)
            now = last[0].totals.dollars if last else 0.0
            spent = None if spent is None or now is None else spent + now
        found[kind] = done
    return Recording(model, found[STEADY], found[USUAL]), spent


def _need_answers(folder: RoundFolder, model: str) -> None:
    reason = ""
    for each in read_results(folder.results):
        if each.state != "unanswered":
            return
        reason = each.reason
    raise NotFound(f"{model!r} answers none of the prompts: {reason}")


def arm_of(
    kind: str, endpoint: Endpoint, sampling: dict[str, Any], rates: Rates | None, salt: str = ""
) -> Arm:
    """Return who answers in one of the two rounds."""
    return Arm(
        name=ARM if kind == USUAL else f"{ARM} at temperature {sampling['temperature']:g}",
        model=endpoint.model,
        endpoint=endpoint,
        sampling=sampling,
        rates=rates,
        salt=salt_of({KIND: kind, ANSWERS: salt}),
    )


def plan_of(
    model: str, kind: str, items: tuple[Item, ...], arm: Arm, samples: int, **facts: str
) -> Plan:
    """Return the plan of one of the two rounds."""
    known = {
        MODEL: model,
        KIND: kind,
        HEAT: f"{arm.sampling['temperature']:g}",
        ACCOUNT: place_of(arm.endpoint) or "",
        PROMPTS: _digest(items),
    }
    return Plan(
        name=eval_name(model),
        items=items,
        arms=(arm,),
        evaluation=Ungraded(samples=samples),
        facts=known | facts,
    )


def _limited(prompt: Prompt, wanted: Wanted) -> Prompt:
    """Return a prompt without production's own limit where another was chosen."""
    if wanted.max_tokens is None:
        return prompt
    left = {name: value for name, value in prompt.request.items() if name not in LIMITS}
    return prompt.model_copy(update={"request": left})


def _sampling(heat: float, wanted: Wanted) -> dict[str, Any]:
    sampling: dict[str, Any] = {"temperature": heat}
    if wanted.max_tokens is not None:
        sampling["max_tokens"] = wanted.max_tokens
    if wanted.logprobs:
        sampling[LOGPROBS] = True
    return sampling


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
