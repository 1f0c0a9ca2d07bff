"""One pass over a source, in memory that does not grow with long texts: what can be said of it.

Estimates and descriptions are both made from a survey.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selftune.core.errors import InvalidInput
from selftune.data.counting.lengths import Lengths, Numbers, Tokenizer, join, measure
from selftune.data.counting.pieces import IMAGES, dicts, said, sides_of, tools_of
from selftune.data.problems import Problem
from selftune.data.read import ReadOptions, read_lines
from selftune.data.rows import Line, Row, answer_text, kind_of
from selftune.models.messages import SYSTEM_ROLES, content_text

_BATCH = 2000
_MOST_DISTINCT = 20_000
"""Different texts of a kind that are told apart; of more, the first are kept."""
_LONGEST_WHOLE = 400
"""Characters up to which an answer is kept as it is; a longer one by its beginning and its hash."""
_MOST_KEPT_PROBLEMS = 20
_EXTREMES = 3


@dataclass
class Tally:
    """Texts and how often each occurred; bounded."""

    counts: Counter[str] = field(default_factory=Counter)
    others: int = 0
    """Occurrences of texts that came after the first 20,000 different ones."""

    def add(self, text: str) -> None:
        """Count one occurrence."""
        if text in self.counts or len(self.counts) < _MOST_DISTINCT:
            self.counts[text] += 1
        else:
            self.others += 1

    @property
    def total(self) -> int:
        """Return all occurrences."""
        return self.counts.total() + self.others


class Example(NamedTuple):
    """A row that stands out."""

    tokens: int
    line: Line


@dataclass
class Survey:
    """What one pass found."""

    rows: int = 0
    unreadable: int = 0
    """Lines that are no rows."""
    problems: list[Problem] = field(default_factory=list)
    """The first of them."""
    kinds: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    """Messages by role."""
    fields: dict[str, Tally] = field(default_factory=dict)
    """Values by the name of the field, where rows are no chats."""
    turns: Counter[int] = field(default_factory=Counter)
    """Rows by how many answers they hold."""
    systems: Tally = field(default_factory=Tally)
    """System prompts, one a row; empty where a row has none."""
    answers: Tally = field(default_factory=Tally)
    """Last answers."""
    with_tools: int = 0
    with_images: int = 0
    unweighted: int = 0
    """Rows of which some answer has weight 0."""
    lengths: dict[str, Lengths] = field(default_factory=dict)
    """By the tokenizer's name."""
    shared_system: Numbers = field(default_factory=lambda: np.zeros(0, bool))
    """Which rows have the commonest system prompt."""
    first: Line | None = None
    """The first row that is a chat or the like, else the first row."""
    shortest: list[Example] = field(default_factory=list)
    longest: list[Example] = field(default_factory=list)
    """By the first tokenizer, the most extreme first."""


def lines_of(source: str | Path | Sequence[Row], read: ReadOptions | None) -> Iterable[Line]:
    """Return the lines of a source, or of rows that are there already."""
    if isinstance(source, str | Path):
        return read_lines(source, read)
    return (Line(number, row) for number, row in enumerate(source, start=1))


def survey(
    lines: Iterable[Line],
    tokenizers: Sequence[Tokenizer],
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Read every line once; `progress` is told how many rows were read."""
    found = Survey()
    measured: dict[str, list[Lengths]] = {one.name: [] for one in tokenizers}
    system_of: list[int] = []
    stream = iter(lines)
    while batch := list(islice(stream, _BATCH)):
        kept = [line for line in batch if line.row is not None]
        _note_unreadable(found, batch)
        rows = [line.row for line in kept if line.row is not None]
        system_of += [_note(found, row) for row in rows]
        _keep_first(found, kept)
        for one in tokenizers:
            measured[one.name].append(measure(rows, one))
        if tokenizers and kept:
            newest = measured[tokenizers[0].name][-1]
            _keep_extremes(found, kept, newest.total)
            found.with_images += int(((newest.parts[:, IMAGES] > 0) | (newest.images > 0)).sum())
        found.rows += len(rows)
        if progress is not None:
            progress(found.rows)
    found.lengths = {name: join(parts) for name, parts in measured.items() if parts}
    found.shared_system = _commonest(found.systems, system_of)
    return found


def _note_unreadable(found: Survey, batch: Sequence[Line]) -> None:
    for line in batch:
        if line.row is None:
            found.unreadable += 1
            if line.problem is not None and len(found.problems) < _MOST_KEPT_PROBLEMS:
                found.problems.append(line.problem)


def _keep_first(found: Survey, lines: Sequence[Line]) -> None:
    if found.first is None or not _is_chat(found.first):
        chat = next((line for line in lines if _is_chat(line)), None)
        found.first = chat or found.first or (lines[0] if lines else None)


def _is_chat(line: Line) -> bool:
    return line.row is not None and kind_of(line.row) not in ("fields", "item")


def _keep_extremes(found: Survey, lines: Sequence[Line], totals: Numbers) -> None:
    """Merge the shortest and longest rows of a batch into those of the batches before."""
    order = np.argsort(totals, kind="stable")
    shortest = [Example(int(totals[at]), lines[at]) for at in order[:_EXTREMES]]
    longest = [Example(int(totals[at]), lines[at]) for at in order[::-1][:_EXTREMES]]
    by_tokens = attrgetter("tokens")
    found.shortest = sorted(found.shortest + shortest, key=by_tokens)[:_EXTREMES]
    found.longest = sorted(found.longest + longest, key=by_tokens, reverse=True)[:_EXTREMES]


def refuse_without_rows(found: Survey, source: str) -> None:
    """Raise InvalidInput where there is nothing to say anything about."""
    if found.rows == 0:
        first = f" {found.problems[0].message}" if found.problems else ""
        raise InvalidInput(f"{source or 'The source'} has no rows that can be read.{first}")


def _shortened(text: str) -> str:
    """Return a text whole or, where it is long, as its beginning and its hash."""
    if len(text) <= _LONGEST_WHOLE:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{text[:_LONGEST_WHOLE]}… [{digest}]"


def _note(found: Survey, row: Row) -> int:
    """Count what is in a row; return a number that stands for its system prompt."""
    kind = kind_of(row)
    found.kinds[kind] += 1
    if kind in ("fields", "item"):
        inner = row["item"] if kind == "item" else row
        for name, value in inner.items():
            found.fields.setdefault(str(name), Tally()).add(_shortened(str(value)))
        return 0
    sent, answers = sides_of(row)
    found.roles.update(str(one.get("role")) for one in (*sent, *answers))
    written = [one for one in (*sent, *answers) if one.get("role") == "assistant"]
    found.turns[len(written)] += 1
    found.unweighted += any(one.get("weight") == 0 for one in written)
    found.with_tools += bool(tools_of(row)) or any(dicts(one.get("tool_calls")) for one in written)
    if answers or kind == "completion":
        found.answers.add(_shortened(said(answers[0]) if answers else answer_text(row)))
    text = "\n".join(content_text(one) for one in sent if one.get("role") in SYSTEM_ROLES)
    found.systems.add(text)
    return hash(text)


def _commonest(systems: Tally, system_of: Sequence[int]) -> Numbers:
    """Return which rows have the commonest system prompt; none where most rows have no prompt."""
    shared = np.zeros(len(system_of), bool)
    text = systems.counts.most_common(1)[0][0] if systems.counts else ""
    if text:
        shared = np.asarray(np.array(system_of, np.int64) == hash(text))
    return shared
