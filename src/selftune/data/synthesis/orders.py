"""What to ask a teacher for next: labels that lack most, in a style and beside examples drawn by seed.

Everything here follows from the wish, the seed and what was kept so far, so that a run that begins
again asks the same questions.
"""

import random
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.records import Record
from selftune.data.rows import Row, answer_text, prompt_text
from selftune.data.synthesis.labels import Label, Want, missing_most, plain_label
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.prompting import Style, drawn_style, messages_of, quoted
from selftune.data.synthesis.run import Asking, body_of
from selftune.data.synthesis.schemas import Schema, list_of, object_of, string
from selftune.models.answers import Question, question
from selftune.models.messages import SYSTEM_ROLES

_ROUND = 32
"""Requests of one round. Larger rounds wait less, smaller ones steer better."""
_FIRST_ROUND = 4
"""Requests of the first, and for each usable answer of a later one: little is spent when something
is wrong."""
_SEEDS_SHOWN = 6
_TAKEN_SHOWN = 12
_TAKEN_FROM = 200
_BATCH_SURPLUS = 1.2
"""How much more than is missing a batch asks for: some will be duplicates."""


class Generation(Record):
    """What to write."""

    task: Annotated[str, Field(min_length=1)]
    """What the model that is trained has to do, in words."""
    count: Annotated[int, Field(ge=1)]
    labels: tuple[Label, ...] = ()
    """The right answers, where they are a closed set; without them the teacher answers freely."""
    seeds: tuple[Row, ...] = ()
    """Real examples that show what messages are like."""
    test: tuple[Row, ...] = ()
    """Rows that neither the prompts nor the output may hold."""
    system: str | None = None
    """System message of every row; absent, the one that all seeds share."""
    seed: int = 0
    per_request: Annotated[int, Field(ge=1, le=100)] = 10


class Order(NamedTuple):
    """One request, and what it is made from."""

    asked: Question
    style: Style
    parents: list[int]
    """Seeds that it shows, by their rows, counted from 1."""


class Orders:
    """Makes the requests of each round. Its dice move with every request."""

    def __init__(self, asking: Asking, wanted: Generation, *, is_batch: bool) -> None:
        self._asking = asking
        self._wanted = wanted
        self._is_batch = is_batch
        self._dice = random.Random(wanted.seed)
        self._asked = 0
        self.each = ceil(wanted.count / max(1, len(wanted.labels)))
        """Examples that every label is to have."""
        test = Novelty(prompt_text(row) for row in wanted.test)
        held = test.holds([prompt_text(row) for row in wanted.seeds])
        self._seeds = [n for n, is_held in enumerate(held, start=1) if not is_held]
        self._label_of = {n: plain_label(answer_text(self._seed(n))) for n in self._seeds}
        self.seeds_left_out = len(wanted.seeds) - len(self._seeds)

    def next_round(self, texts: Sequence[str], per_label: Counter[str], usable: int) -> list[Order]:
        """Return requests for what is missing, given what was kept and how many answers had use."""
        missing, size = self._wanted.count - len(texts), self._wanted.per_request
        number = min(_ROUND, _FIRST_ROUND * max(1, usable), ceil(missing / size))
        if self._is_batch:
            number = ceil(missing * _BATCH_SURPLUS / size)
        have = per_label.copy()
        orders = []
        for _ in range(number):
            want = self._lacking(have)
            if self._wanted.labels and not want:
                have = per_label.copy()  # more than is missing, as a batch asks for it
                want = self._lacking(have)
            have.update({part.label: part.count for part in want})
            orders.append(self._order(want, min(missing, size), texts[-_TAKEN_FROM:]))
        return orders

    def _lacking(self, have: Counter[str]) -> tuple[Want, ...]:
        """Return the labels that lack most; which come first of equal ones is drawn."""
        labels = self._dice.sample(self._wanted.labels, len(self._wanted.labels))
        return missing_most(labels, have, self.each, self._wanted.per_request)

    def _order(self, want: tuple[Want, ...], count: int, taken: Sequence[str]) -> Order:
        style = drawn_style(self._dice)
        parents = self._shown(want)
        messages = messages_of(
            "generate",
            task=self._wanted.task,
            system="\n".join(message["content"] for message in system_of(self._wanted)),
            labels=[label.model_dump() for label in self._wanted.labels],
            wanted=[part.model_dump() for part in want],
            count=count,
            style=style.model_dump(),
            seeds=[quoted(_as_example(self._seed(number))) for number in parents],
            taken=[quoted(t) for t in self._dice.sample(taken, min(len(taken), _TAKEN_SHOWN))],
        )
        self._asked += 1
        body = body_of(self._asking, messages, _schema([part.label for part in want]))
        return Order(question(body, sample=self._asked), style, parents)

    def _shown(self, want: tuple[Want, ...]) -> list[int]:
        """Draw seeds to show: of the wanted labels where there are enough, else of any."""
        names = {plain_label(part.label) for part in want}
        fitting = [n for n in self._seeds if self._label_of[n] in names]
        pool = fitting if len(fitting) >= _SEEDS_SHOWN else self._seeds
        return sorted(self._dice.sample(pool, min(_SEEDS_SHOWN, len(pool))))

    def _seed(self, number: int) -> Row:
        return self._wanted.seeds[number - 1]


def system_of(wanted: Generation) -> list[dict[str, Any]]:
    """Return the system message of every row: the given one, or the one that all seeds share."""
    if wanted.system is not None:
        return [{"role": "system", "content": wanted.system}]
    shared = [
        [message for message in row.get("messages", ()) if message.get("role") in SYSTEM_ROLES]
        for row in wanted.seeds
    ]
    is_one = shared and all(found == shared[0] for found in shared)
    return [said for said in shared[0] if isinstance(said.get("content"), str)] if is_one else []


def _as_example(row: Row) -> dict[str, str]:
    return {"text": prompt_text(row), "answer": answer_text(row)}


def _schema(labels: Sequence[str]) -> Schema:
    answer = {"label": string(labels)} if labels else {"answer": string()}
    return object_of({"examples": list_of(object_of({"text": string(), **answer}))})
