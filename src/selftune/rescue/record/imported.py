"""Answers that were given before -> a recording, without a request.

It has the two rounds of every recording. Where prompts have several answers, one of each, at temperature
0 where all have such a one, is what others are compared with; all others count as production.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

from selftune.core.canonical import fingerprint
from selftune.core.settings import Settings
from selftune.evaluate.arms import Answerer, Arm, question_for
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.items import Item
from selftune.evaluate.rounds import RoundFolder
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.models.prices import FREE, Rates
from selftune.prove.home import Home
from selftune.prove.round import run_round
from selftune.rescue.record.answers import Exchange
from selftune.rescue.record.prompts import Gathering, Prompt
from selftune.rescue.record.recordings import (
    ANSWERS,
    SOURCE,
    STEADY,
    USUAL,
    Recording,
    finished_round,
)
from selftune.rescue.record.run import arm_of, drawn, items_of, plan_of

PLACE = "imported"
"""Stands where rounds have the address that answered."""
_DIGITS = 16
_AT_ONCE = 32


class Wanted(NamedTuple):
    """What to take of what there is."""

    temperature: float
    """Of production, where answers do not tell theirs."""
    repeats: int
    """Most answers to each prompt that count as production."""
    limit: int | None = None
    """Most prompts; which ones is drawn by lot, the same ones each time."""


class Imported(NamedTuple):
    """A recording that was made of answers."""

    recording: Recording
    unused: int
    """Answers that it has no place for: other prompts have fewer."""
    short: int
    """Prompts that are left out, so that the others count with more answers."""


class _Told(NamedTuple):
    prompt: Prompt
    first: tuple[Answer, ...]
    """What others are compared with; empty where there is no other."""
    rest: tuple[Answer, ...]


def keep_answers(
    settings: Settings, model: str, exchanges: Sequence[Exchange], source: str, wanted: Wanted
) -> Imported:
    """Keep answers as a recording of a model; the same ones again are kept once."""
    said = _said(exchanges)
    several = [answers for _, answers in said if len(answers) > 1]
    is_steady = all(any(is_zero for is_zero, _ in answers) for answers in several)
    there = [_told(*said[at], is_steady=is_steady) for at in drawn(len(said), wanted.limit)]
    samples = _most_telling([len(each.rest) for each in there], wanted.repeats)
    chosen = [each for each in there if len(each.rest) >= samples]
    usual = [each.rest[:samples] for each in chosen]
    first = [each.first for each in chosen]
    told = [[answer.model_dump(mode="json") for answer in each] for each in (*first, *usual)]
    facts = {SOURCE: source, ANSWERS: fingerprint(told)[:_DIGITS]}
    rounds = _Rounds(settings, model, items_of(each.prompt for each in chosen), facts)
    steady = None
    if any(first):
        steady = rounds.kept(STEADY, 0.0 if is_steady else wanted.temperature, first)
    recording = Recording(model, steady, rounds.kept(USUAL, wanted.temperature, usual))
    used = sum(len(answers) for answers in (*first, *usual))
    unused = sum(len(each.answers) for each in exchanges) - used
    return Imported(recording, unused, len(there) - len(chosen))


def _most_telling(counts: Sequence[int], most: int) -> int:
    """Return how many answers to each prompt say most; prompts that have fewer are left out.

    A share of n prompts with k answers each has a variance of (b + w / k) / n, where prompts vary by b
    and the answers to one of them by w; b = w is taken.
    """
    repeats = range(1, min(most, max(counts)) + 1)
    return max(repeats, key=lambda k: sum(count >= k for count in counts) * k / (k + 1))


def _said(exchanges: Sequence[Exchange]) -> list[tuple[Prompt, list[tuple[bool, Answer]]]]:
    """Return each prompt once with all its answers, and whether each is at temperature 0."""
    gathering = Gathering()
    found: dict[int, list[tuple[bool, Answer]]] = {}
    for each in exchanges:
        answers = found.setdefault(gathering.add(each.prompt), [])
        answers += [(each.prompt.temperature == 0, answer) for answer in each.answers]
    return [(gathering.prompts[place], answers) for place, answers in found.items()]


def _told(prompt: Prompt, answers: list[tuple[bool, Answer]], *, is_steady: bool) -> _Told:
    if len(answers) == 1:
        return _Told(prompt, (), (answers[0][1],))
    at = next((at for at, each in enumerate(answers) if each[0]), 0) if is_steady else 0
    others = [*answers[:at], *answers[at + 1 :]]
    heated = [each for each in others if not each[0]] if is_steady else others
    return _Told(prompt, (answers[at][1],), tuple(answer for _, answer in heated or others))


class _Rounds:
    """Rounds of the same questions, whose answers are there already."""

    def __init__(
        self, settings: Settings, model: str, items: tuple[Item, ...], facts: dict[str, str]
    ) -> None:
        self._settings, self._model, self._items, self._facts = settings, model, items, facts

    def kept(self, kind: str, heat: float, answers: Sequence[Sequence[Answer]]) -> RoundFolder:
        """Keep answers to the items, in their order, as a round."""
        endpoint = Endpoint(model=self._model, base_url=PLACE, api_key_variable="")
        rates = Home(self._settings).rates(self._model, endpoint)
        arm = arm_of(kind, endpoint, {"temperature": heat}, rates, self._facts[ANSWERS])
        most = max(map(len, answers))
        plan = plan_of(self._model, kind, self._items, arm, most, **self._facts)
        by_key = _by_key(arm, self._items, answers)
        root = self._settings.root
        return finished_round(root, plan, ()) or run_round(_Imports(self._settings, by_key), plan)


def _by_key(
    arm: Arm, items: Sequence[Item], answers: Sequence[Sequence[Answer]]
) -> dict[str, Answer]:
    """Return the answers by the keys of the questions that a round will ask."""
    found = {}
    for item, said in zip(items, answers, strict=True):
        for sample, answer in enumerate(said):
            key = question_for(arm, item, sample, None).key
            found[key] = answer.model_copy(update={"key": key})
    return found


class _Imports(Home):
    """A home in which nobody is asked: the answers are there, and cost nothing now."""

    def __init__(self, settings: Settings, answers: Mapping[str, Answer]) -> None:
        super().__init__(settings)
        self._answers = answers

    def rates(self, model: str, endpoint: Endpoint | None) -> Rates | None:
        return FREE

    def open(
        self, model: str, endpoint: Endpoint | None, limits: Limits
    ) -> AbstractAsyncContextManager[Answerer]:
        return nullcontext(_Known(self._answers))


class _Known:
    """Answers with what is known."""

    requests = 0
    lag = 0.0

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    async def ready(self) -> int:
        await asyncio.sleep(0)
        return _AT_ONCE

    async def answer(self, asked: Question) -> Answer:
        missing = Answer(key=asked.key, status="failed", reason="No such answer was imported.")
        return self._answers.get(asked.key, missing)
