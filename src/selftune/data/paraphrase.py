"""Other ways to say what rows ask, with the same answers: by a teacher, or by small damage.

A paraphrase must keep every figure of the original; one that does not is dropped. The answer of a
row never changes.
"""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.likeness.words import normal_form, words
from selftune.data.rows import Row, prompt_text
from selftune.data.synthesis.chats import (
    Messages,
    answered,
    asked_messages,
    expected_answer,
    said,
    tools_of,
)
from selftune.data.synthesis.noise import Noise, with_noise
from selftune.data.synthesis.novelty import Novelty
from selftune.data.synthesis.outputs import Made, Outcome, write_made, write_report
from selftune.data.synthesis.prompting import drawn_style, messages_of, quoted, version_of
from selftune.data.synthesis.run import Asking, Means, Progress, Run, body_of, plan_of
from selftune.data.synthesis.schemas import object_of, strings
from selftune.data.synthesis.terms import terms_note
from selftune.models.answers import Answer, Question, load_structured, question


class Paraphrasing(Record):
    """What to vary."""

    rows: tuple[Row, ...]
    test: tuple[Row, ...] = ()
    """Rows that no variant may be, or nearly be."""
    variants: Annotated[int, Field(ge=0, le=50)] = 3
    """Paraphrases of each row that the teacher is asked for."""
    noise: tuple[Noise, ...] = ()
    """Kinds of damage; each gives one more variant of a row, without a teacher."""
    with_originals: bool = False
    """Whether the rows themselves are in the result too, before their variants."""
    label_field: str | None = None
    """Field that holds the right answer, for rows that are not chats."""
    seed: int = 0


class Paraphrased(Outcome):
    """What came out."""

    by_kind: dict[str, int]
    """Rows by what made them: original, teacher, or a kind of damage."""
    dropped: dict[str, int]
    """Variants that were not kept, by reason."""
    left_out: int
    """Rows that are in the test set, or nearly: a variant of one would give it away."""


class _Source(NamedTuple):
    """One row that is varied."""

    number: int
    before: Messages
    text: str
    """Its last user message, which varies."""
    after: Messages
    answer: str
    tools: dict[str, Any]

    def row(self, text: str) -> Row:
        """Return the row with its last user message said in another way."""
        asked = [*self.before, {"role": "user", "content": text}, *self.after]
        return answered(asked, said(self.answer), self.tools)


class _Variant(NamedTuple):
    source: _Source
    kind: str
    text: str
    origin: dict[str, Any]


def paraphrase(
    out: Path,
    teacher: Asking | None,
    wanted: Paraphrasing,
    means: Means | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Paraphrased:
    """Write variants as `train.jsonl` with provenance; return the report.

    Raises:
        SelftuneError: it can never work: no teacher for paraphrases, a wrong key, model or request.

    """
    if teacher is None and wanted.variants:
        raise InvalidInput(
            "Paraphrases need a teacher (--teacher); without one, ask for 0 of them (--variants 0) "
            "and for kinds of noise (--noise)."
        )
    test = Novelty(prompt_text(row) for row in wanted.test)
    sources = _far_from(test, list(_sources(wanted)))
    plan = plan_of("paraphrase", teacher, **wanted.model_dump(mode="json"))
    with Run(out, plan, means or Means(), progress) as run:
        work = _Work(wanted, teacher, test)
        if teacher is not None and wanted.variants:
            work.ask(run, teacher, sources)
        made = list(work.kept(sources))
        write_made(out, made)
        outcome = Paraphrased(
            rows=len(made),
            folder=str(out),
            requests=work.requests,
            fresh_requests=run.fresh,
            unusable=dict(work.unusable),
            spent=run.spent(),
            note=terms_note(teacher.endpoint) if teacher is not None else None,
            stopped=run.stopped,
            by_kind=dict(Counter(str(one.origin["kind"]) for one in made)),
            dropped=dict(work.dropped),
            left_out=len(wanted.rows) - len(sources),
        )
        write_report(out, outcome)
        return outcome


class _Work:
    """The variants of all rows, and what was wrong with others."""

    def __init__(self, wanted: Paraphrasing, teacher: Asking | None, test: Novelty) -> None:
        self._wanted = wanted
        self._test = test
        self._teacher = teacher
        self._written: dict[int, list[_Variant]] = {}
        self.requests = 0
        self.unusable: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def ask(self, run: Run, teacher: Asking, sources: list[_Source]) -> None:
        """Ask the teacher for paraphrases of every row."""
        questions = {source.number: self._question(teacher, source) for source in sources}
        found = run.ask(teacher.endpoint, list(questions.values()), "rows")
        self.requests = len(found)
        for source in sources:
            answer = found.get(questions[source.number].key)
            if answer is not None:
                self._written[source.number] = self._read(source, answer)

    def kept(self, sources: list[_Source]) -> Iterator[Made]:
        """Yield rows: of each source the original where wanted, paraphrases, then damage."""
        variants = [variant for source in sources for variant in self._variants(source)]
        held = self._test.holds([variant.text for variant in variants])
        forms = {normal_form(source.text) for source in sources}
        exact = {source.text for source in sources}
        for variant, is_held in zip(variants, held, strict=True):
            reason = "in the test set, or nearly" if is_held else _fault(variant, forms, exact)
            if reason:
                self.dropped[reason] += 1
                continue
            forms.add(normal_form(variant.text))
            exact.add(variant.text)
            origin = {"verb": "paraphrase", "kind": variant.kind, **variant.origin}
            parents = [{"row": variant.source.number}]
            yield Made(variant.source.row(variant.text), origin | {"parents": parents})

    def _variants(self, source: _Source) -> Iterator[_Variant]:
        if self._wanted.with_originals:
            yield _Variant(source, "original", source.text, {})
        yield from self._written.get(source.number, ())
        for noise in self._wanted.noise:
            dice = random.Random(f"{self._wanted.seed} {source.number} {noise}")
            origin = {"seed": self._wanted.seed}
            yield _Variant(source, noise, with_noise(source.text, noise, dice), origin)

    def _question(self, teacher: Asking, source: _Source) -> Question:
        style = drawn_style(random.Random(f"{self._wanted.seed} {source.number}"))
        messages = messages_of(
            "paraphrase",
            count=self._wanted.variants,
            text=quoted(source.text),
            answer=quoted(source.answer),
            style=style.model_dump(),
        )
        schema = object_of({"paraphrases": strings()})
        return question(body_of(teacher, messages, schema))

    def _read(self, source: _Source, answer: Answer) -> list[_Variant]:
        if answer.status != "answered":
            self.unusable[answer.status] += 1
            return []
        found = load_structured(answer.text)
        texts = found.get("paraphrases") if isinstance(found, dict) else None
        if not isinstance(texts, list):
            self.unusable["malformed"] += 1
            return []
        origin = {
            "teacher": self._teacher.endpoint.model if self._teacher is not None else "",
            "answered_by": answer.model,
            "request": answer.key,
            "prompt": version_of("paraphrase"),
            "seed": self._wanted.seed,
        }
        usable = (text.strip() for text in texts if isinstance(text, str))
        return [_Variant(source, "teacher", text, origin) for text in usable if text]


def _fault(variant: _Variant, forms: set[str], exact: set[str]) -> str | None:
    """Return why a variant is of no use, or None."""
    if variant.kind == "original":
        return None
    if variant.kind != "teacher":
        return "the same as another row" if variant.text in exact else None
    if normal_form(variant.text) in forms:
        return "the same as another row"
    if _figures(variant.text) != _figures(variant.source.text):
        return "changes a figure"
    return None


def _far_from(test: Novelty, sources: list[_Source]) -> list[_Source]:
    held = test.holds([source.text for source in sources])
    return [source for source, is_held in zip(sources, held, strict=True) if not is_held]


def _figures(text: str) -> set[str]:
    return {word for word in words(text) if any(map(str.isdigit, word))}


def _sources(wanted: Paraphrasing) -> Iterator[_Source]:
    for number, row in enumerate(wanted.rows, start=1):
        messages = asked_messages(row)
        answer = expected_answer(row, wanted.label_field)
        asked = [at for at, message in enumerate(messages) if message.get("role") == "user"]
        text = messages[asked[-1]].get("content") if asked else None
        if not isinstance(text, str) or not text.strip() or not answer:
            raise InvalidInput(
                f"Row {number} has no user message of text with an answer: give chats that end with "
                "the assistant, or name the field of the answer (--label-field)."
            )
        before, after = messages[: asked[-1]], messages[asked[-1] + 1 :]
        yield _Source(number, before, text, after, answer, tools_of(row))
