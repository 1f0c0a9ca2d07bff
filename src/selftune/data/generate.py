"""A teacher writes new examples: balanced over labels, unlike each other, and unlike the test set.

Questions are asked in rounds, and each round is made only from the answers of those before it and
the seed. So a run that was killed begins again, finds its answers in the journal, and goes on.
"""

from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.records import Record
from selftune.data.rows import prompt_text
from selftune.data.synthesis.diversity import Diversity, diversity
from selftune.data.synthesis.labels import plain_label
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.orders import Generation, Order, Orders, system_of
from selftune.data.synthesis.outputs import Made, Outcome, write_made, write_report
from selftune.data.synthesis.prompting import version_of
from selftune.data.synthesis.run import Asking, Means, Progress, Run, plan_of
from selftune.data.synthesis.terms import terms_note
from selftune.models.answers import Answer, load_structured

__all__ = ["Generated", "Generation", "Round", "generate"]
_MOST_WASTED = 8
"""So many answers without one example: something is wrong with how the teacher is asked."""
_DRY_ROUNDS = 3
_DRY_SHARE = 0.05
"""A teacher of whose examples fewer are new, for so many rounds, has nothing more to say."""


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
        self._orders = Orders(asking, wanted, is_batch=run.means.is_batch)
        self._seen = Novelty(prompt_text(row) for row in (*wanted.test, *wanted.seeds))
        self._names = {plain_label(label.name): label.name for label in wanted.labels}
        self._system = system_of(wanted)
        self.made: list[Made] = []
        self._texts: list[str] = []
        self._per_label: Counter[str] = Counter({label.name: 0 for label in wanted.labels})
        self._dropped: Counter[str] = Counter()
        self._unusable: Counter[str] = Counter()
        self._rounds: list[Round] = []

    def do_round(self) -> None:
        """Ask for what is missing, and keep what is new of it."""
        usable = sum(part.requests for part in self._rounds) - self._unusable.total()
        orders = self._orders.next_round(self._texts, self._per_label, usable)
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

    def _read(self, order: Order, answer: Answer) -> list[_Example]:
        """Return the examples of one answer that have the right shape."""
        if answer.status != "answered":
            self._unusable[answer.status] += 1
            return []
        found = load_structured(answer.text)
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
            "style": order.style.model_dump(),
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
        if self._names and self._per_label[example.answer] >= self._orders.each:
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
        if self._run.stopped is not None or len(self.made) >= self._wanted.count:
            return
        empty = takewhile(lambda part: part.written == 0, reversed(self._rounds))
        wasted = sum(part.requests for part in empty)
        if wasted >= _MOST_WASTED:
            self._run.stopped = (
                f"None of the last {wasted} answers could be used ({self._faults()}). "
                "Look at --max-tokens where answers are cut, at --json-mode where they are "
                "malformed, and at the task; then give another --out."
            )
        elif len(last) == _DRY_ROUNDS and kept < _DRY_SHARE * asked:
            self._run.stopped = (
                f"In the last {_DRY_ROUNDS} rounds only {kept} of about {asked} examples could be "
                f"used ({self._faults()}): the teacher has little new to say. {len(self.made)} were "
                "kept. Change the task, the seeds or the teacher, and give another --out."
            )

    def _faults(self) -> str:
        counts = self._unusable + self._dropped
        return ", ".join(f"{times} {what}" for what, times in counts.most_common(3))

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
            seeds_left_out=self._orders.seeds_left_out,
            rounds=tuple(self._rounds),
            diversity=diversity(self._texts, self._wanted.seed),
        )
