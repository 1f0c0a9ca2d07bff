"""A teacher writes new examples: balanced over labels, unlike each other, and unlike the test set.

Questions are asked in rounds, and each round is made only from the answers of those before it and
the seed. So a run that was killed begins again, finds its answers in the journal, and goes on.
"""

import random
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.records import Record
from selftune.data.rows import SYSTEM_ROLES, Row, answer_text, prompt_text
from selftune.data.synthesis.diversity import Diversity, diversity
from selftune.data.synthesis.labels import Label, Want, missing_most, plain_label
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.outputs import Made, Outcome, write_made, write_report
from selftune.data.synthesis.prompting import drawn_style, messages_of, quoted, version_of
from selftune.data.synthesis.run import Asking, Means, Progress, Run, body_of, plan_of
from selftune.data.synthesis.terms import terms_note
from selftune.models.answers import Answer, Question, load_json, question

_ROUND = 32
"""Requests of one round. Larger rounds wait less, smaller ones steer better."""
_SEEDS_SHOWN = 6
_TAKEN_SHOWN = 12
_DRY_ROUNDS = 3
_DRY_SHARE = 0.05
"""A teacher of whose examples fewer are new, for so many rounds, has nothing more to say."""
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


class Round(Record):
    """How one round went."""

    requests: int
    written: int
    """Examples that the teacher wrote."""
    kept: int


class Generated(Outcome):
    """What came out."""

    per_label: dict[str, int]
    dropped: dict[str, int]
    """Examples that were not kept, by reason."""
    seeds_left_out: int
    """Seeds that are nearly in the test set, and were not shown."""
    rounds: tuple[Round, ...]
    """How the share of new examples falls tells how much more the teacher has to say."""
    diversity: Diversity


class _Order(NamedTuple):
    """One request, and what it is made from."""

    asked: Question
    style: str
    parents: list[int]


class _Example(NamedTuple):
    text: str
    answer: str
    origin: dict[str, Any]


def generate(
    out: Path,
    asking: Asking,
    wanted: Generation,
    means: Means | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Generated:
    """Write `train.jsonl`, `provenance.jsonl` and `report.json` into `out`; return the report.

    The same call again goes on where a killed or stopped one ended.

    Raises:
        SelftuneError: it can never work: a wrong key, model or request, or another run's folder.

    """
    with Run(out, _plan(asking, wanted), means or Means(), progress) as run:
        work = _Work(run, asking, wanted)
        while run.stopped is None and len(work.made) < wanted.count:
            work.do_round()
        outcome = work.outcome()
        write_made(out, work.made)
        write_report(out, outcome)
        return outcome


def _plan(asking: Asking, wanted: Generation) -> dict[str, Any]:
    parts = wanted.model_dump(mode="json")
    return plan_of("generate", asking, prompt=version_of("generate"), **parts)


class _Work:
    """The state of a run, which follows from the answers so far."""

    def __init__(self, run: Run, asking: Asking, wanted: Generation) -> None:
        self._run = run
        self._asking = asking
        self._wanted = wanted
        self._dice = random.Random(wanted.seed)
        test = Novelty(prompt_text(row) for row in wanted.test)
        held = test.holds([prompt_text(row) for row in wanted.seeds])
        self._seeds = [n for n, is_held in enumerate(held, start=1) if not is_held]
        self._seen = Novelty(prompt_text(row) for row in (*wanted.test, *wanted.seeds))
        self._names = {plain_label(label.name): label.name for label in wanted.labels}
        self._each = ceil(wanted.count / max(1, len(wanted.labels)))
        self._system = _system_of(wanted)
        self.made: list[Made] = []
        self._texts: list[str] = []
        self._per_label: Counter[str] = Counter({label.name: 0 for label in wanted.labels})
        self._dropped: Counter[str] = Counter()
        self._unusable: Counter[str] = Counter()
        self._rounds: list[Round] = []
        self._asked = 0

    def do_round(self) -> None:
        """Ask for what is missing, and keep what is new of it."""
        orders = self._orders()
        questions = [order.asked for order in orders]
        answers = self._run.ask(self._asking.endpoint, questions, "requests")
        examples = [
            example
            for order in orders
            if order.asked.key in answers
            for example in self._read(order, answers[order.asked.key])
        ]
        before = len(self.made)
        new = self._seen.sift([example.text for example in examples])
        for example, is_new in zip(examples, new, strict=True):
            reason = self._keep(example) if is_new else "already there, or nearly"
            self._dropped.update([reason] if reason else [])
        kept = len(self.made) - before
        self._rounds.append(Round(requests=len(answers), written=len(examples), kept=kept))
        self._run.progress("examples", len(self.made), self._wanted.count)
        self._stop_when_dry()

    def _orders(self) -> list[_Order]:
        missing = self._wanted.count - len(self.made)
        per_request = self._wanted.per_request
        if self._run.means.is_batch:
            number = ceil(missing * _BATCH_SURPLUS / per_request)
        else:
            number = min(_ROUND, ceil(missing / per_request))
        have = self._per_label.copy()
        orders = []
        for _ in range(number):
            want = missing_most(self._wanted.labels, have, self._each, per_request)
            if self._wanted.labels and not want:
                have = self._per_label.copy()  # more than is missing, as a batch asks for it
                want = missing_most(self._wanted.labels, have, self._each, per_request)
            have.update({part.label: part.count for part in want})
            orders.append(self._order(want, min(missing, per_request)))
        return orders

    def _order(self, want: tuple[Want, ...], count: int) -> _Order:
        style = drawn_style(self._dice)
        parents = self._shown(want)
        taken = self._texts[-200:]
        messages = messages_of(
            "generate",
            task=self._wanted.task,
            labels=[label.model_dump() for label in self._wanted.labels],
            wanted=[part.model_dump() for part in want],
            count=count,
            style=style.model_dump(),
            seeds=[quoted(_shown_row(self._wanted.seeds[n - 1])) for n in parents],
            taken=[quoted(t) for t in self._dice.sample(taken, min(len(taken), _TAKEN_SHOWN))],
        )
        body = body_of(self._asking, messages, _schema([part.label for part in want]))
        self._asked += 1
        words = f"{style.persona}; {style.wording}; {style.length}"
        return _Order(question(body, sample=self._asked), words, parents)

    def _shown(self, want: tuple[Want, ...]) -> list[int]:
        """Draw seeds to show: of the wanted labels first, then any, so that there is variety."""
        names = {plain_label(part.label) for part in want}
        fitting = [n for n in self._seeds if plain_label(answer_text(self._seed(n))) in names]
        pool = fitting if len(fitting) >= _SEEDS_SHOWN else self._seeds
        return sorted(self._dice.sample(pool, min(_SEEDS_SHOWN, len(pool))))

    def _seed(self, number: int) -> Row:
        return self._wanted.seeds[number - 1]

    def _read(self, order: _Order, answer: Answer) -> list[_Example]:
        """Return the examples of one answer that have the right shape."""
        if answer.status != "answered":
            self._unusable[answer.status] += 1
            return []
        found = load_json(answer.text)
        entries = found.get("examples") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            self._unusable["malformed"] += 1
            return []
        origin = {
            "verb": "generate",
            "teacher": self._asking.endpoint.model,
            "answered_by": answer.model,
            "request": answer.key,
            "prompt": version_of("generate"),
            "seed": self._wanted.seed,
            "style": order.style,
            "parents": [{"seed_row": number} for number in order.parents],
        }
        examples = []
        for entry in entries:
            example = self._example(entry, origin)
            if isinstance(example, str):
                self._dropped[example] += 1
            else:
                examples.append(example)
        return examples

    def _example(self, entry: Any, origin: dict[str, Any]) -> _Example | str:
        """Return an example, or why it is none."""
        fields = entry if isinstance(entry, dict) else {}
        text, said = fields.get("text"), fields.get("label" if self._names else "answer")
        if not isinstance(text, str) or not text.strip() or not isinstance(said, str | int):
            return "empty or without its fields"
        answer = self._names.get(plain_label(said)) if self._names else str(said).strip()
        if not answer:
            return (
                "a label that is not in the list" if self._names else "empty or without its fields"
            )
        label = {"label": answer} if self._names else {}
        return _Example(text.strip(), answer, origin | label)

    def _keep(self, example: _Example) -> str | None:
        """Take an example, or return why it is not wanted."""
        if self._names and self._per_label[example.answer] >= self._each:
            return "more than its label needs"
        if len(self.made) >= self._wanted.count:
            return "more than was asked for"
        messages = [
            *self._system,
            {"role": "user", "content": example.text},
            {"role": "assistant", "content": example.answer},
        ]
        self.made.append(Made({"messages": messages}, example.origin))
        self._texts.append(example.text)
        if self._names:
            self._per_label[example.answer] += 1
        return None

    def _stop_when_dry(self) -> None:
        last = self._rounds[-_DRY_ROUNDS:]
        asked = sum(part.requests for part in last) * self._wanted.per_request
        kept = sum(part.kept for part in last)
        if self._run.stopped is None and len(last) == _DRY_ROUNDS and kept < _DRY_SHARE * asked:
            self._run.stopped = (
                f"In the last {_DRY_ROUNDS} rounds only {kept} of about {asked} examples could be "
                f"used: the teacher has little new to say. {len(self.made)} were kept; see "
                "report.json for why others were not. Change the task, the seeds or the teacher, "
                "and give another --out."
            )

    def outcome(self) -> Generated:
        """Return the report."""
        return Generated(
            rows=len(self.made),
            folder=str(self._run.folder),
            requests=sum(part.requests for part in self._rounds),
            fresh_requests=self._run.fresh,
            unusable=dict(self._unusable),
            spent=self._run.spent(),
            note=terms_note(self._asking.endpoint),
            stopped=self._run.stopped,
            per_label=dict(self._per_label),
            dropped=dict(self._dropped),
            seeds_left_out=len(self._wanted.seeds) - len(self._seeds),
            rounds=tuple(self._rounds),
            diversity=diversity(self._texts, self._wanted.seed),
        )


def _system_of(wanted: Generation) -> list[dict[str, Any]]:
    """Return the system message of every row: the given one, or the one that all seeds share."""
    if wanted.system is not None:
        return [{"role": "system", "content": wanted.system}]
    shared = [
        [message for message in row.get("messages", ()) if message.get("role") in SYSTEM_ROLES]
        for row in wanted.seeds
    ]
    return shared[0] if shared and all(found == shared[0] for found in shared) else []


def _shown_row(row: Row) -> dict[str, str]:
    return {"text": prompt_text(row), "answer": answer_text(row)}


def _schema(labels: Sequence[str]) -> dict[str, Any]:
    answer = {"label": {"type": "string", "enum": list(labels)}} if labels else {}
    fields = {"text": {"type": "string"}, **(answer or {"answer": {"type": "string"}})}
    example = _object(fields)
    return _object({"examples": {"type": "array", "items": example}})


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
