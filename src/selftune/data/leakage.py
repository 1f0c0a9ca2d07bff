"""Leakage: questions of a test set that the training rows ask too, with both texts to look at."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from selftune.core.records import Record
from selftune.data.likeness.near import THRESHOLD, near_pairs_between
from selftune.data.likeness.questions import expected_answer, questions
from selftune.data.likeness.words import normal_form, words
from selftune.data.rows import Row

Kind = Literal["exact", "normalised", "near", "group"]
"""`exact`: the same text; `normalised`: the same words; `near`: most words; `group`: the same group."""

_SHOWN_CHARACTERS = 200
_SHORT_ANSWER_WORDS = 5
"""Up to so many words, other words are another answer; longer answers may say one thing in two ways."""


class Leak(Record):
    """A training row and another row that ask the same, or nearly."""

    kind: Kind
    training_line: int
    other_line: int
    training_text: str
    """Shortened for showing."""
    other_text: str
    similarity: float
    """Share of words in common, from 0 to 1."""
    answers_agree: bool | None
    """None where that cannot be told: an answer is missing, or is longer than a few words."""


class Leakage(Record):
    """All that training rows and other rows share."""

    training_rows: int
    other_rows: int
    leaks: tuple[Leak, ...]
    repeats: tuple[tuple[int, ...], ...]
    """Lines of the other rows that ask the same among themselves."""

    @property
    def training_lines(self) -> frozenset[int]:
        """Return the training lines that leak."""
        return frozenset(leak.training_line for leak in self.leaks)

    @property
    def other_lines(self) -> frozenset[int]:
        """Return the other lines that are leaked."""
        return frozenset(leak.other_line for leak in self.leaks)


class _Side(NamedTuple):
    rows: Sequence[Row]
    texts: list[str]
    lines: Sequence[int]
    forms: dict[str, list[int]]
    """Positions of the rows that have each normal form."""


def leakage(
    training: Sequence[Row],
    other: Sequence[Row],
    *,
    threshold: float = THRESHOLD,
    lines: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Leakage:
    """Return what two sets of rows share; `lines` says where they stood, else they count from 1.

    Every row that leaks is in a pair; of rows with equal questions, pairs name the first.
    """
    numbers = lines or (range(1, len(training) + 1), range(1, len(other) + 1))
    ours, theirs = _side(training, numbers[0]), _side(other, numbers[1])
    found = [_leak(ours, theirs, *pair) for pair in _pairs(ours, theirs, threshold)]
    return Leakage(
        training_rows=len(training),
        other_rows=len(other),
        leaks=tuple(sorted(found, key=lambda leak: (leak.other_line, leak.training_line))),
        repeats=tuple(
            tuple(theirs.lines[at] for at in same)
            for same in theirs.forms.values()
            if len(same) > 1
        ),
    )


def shown(text: str) -> str:
    """Return a text on one line, shortened for showing, without what would move a terminal's cursor."""
    line = "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
    return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


def _side(rows: Sequence[Row], lines: Sequence[int]) -> _Side:
    texts = questions(rows)
    forms: dict[str, list[int]] = defaultdict(list)
    for at, text in enumerate(texts):
        forms[normal_form(text)].append(at)
    return _Side(rows, texts, lines, dict(forms))


def _pairs(ours: _Side, theirs: _Side, threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield positions on both sides: each row that leaks with the first that it is like."""
    our_forms, their_forms = list(ours.forms), list(theirs.forms)
    for pair in near_pairs_between(our_forms, their_forms, threshold):
        here = ours.forms[our_forms[pair.first]]
        there = theirs.forms[their_forms[pair.second]]
        yield from ((at, there[0], pair.similarity) for at in here)
        yield from ((here[0], at, pair.similarity) for at in there[1:])


def _leak(ours: _Side, theirs: _Side, here: int, there: int, similarity: float) -> Leak:
    text, other = ours.texts[here], theirs.texts[there]
    same_words = normal_form(text) == normal_form(other)
    kind: Kind = "exact" if text == other else "normalised" if same_words else "near"
    return Leak(
        kind=kind,
        training_line=ours.lines[here],
        other_line=theirs.lines[there],
        training_text=shown(text),
        other_text=shown(other),
        similarity=similarity,
        answers_agree=_agree(ours.rows[here], theirs.rows[there]),
    )


def _agree(ours: Row, theirs: Row) -> bool | None:
    """Return whether two answers say the same; None where that cannot be told."""
    shorter, longer = sorted((words(expected_answer(row)) for row in (ours, theirs)), key=len)
    if not shorter:
        return None
    if f" {' '.join(shorter)} " in f" {' '.join(longer)} ":
        return True
    return False if len(longer) <= _SHORT_ANSWER_WORDS else None
