"""One pass over a source, in memory that does not grow with long texts: what can be said of it.

Estimates and descriptions are both made from a survey.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

import numpy as np

from selftune.data.lengths import Lengths, Numbers, Tokenizer, join, measure
from selftune.data.pieces import dicts, image_details, sides_of, tools_of
from selftune.data.problems import Problem
from selftune.data.rows import SYSTEM_ROLES, Line, Row, answer_text, content_text, kind_of

_BATCH = 2000
_MOST_DISTINCT = 20_000
"""Different texts of a kind that are told apart; of more, the first are kept."""
_LONGEST_WHOLE = 400
"""Characters up to which an answer is kept as it is; a longer one by its beginning and its hash."""
_MOST_KEPT_PROBLEMS = 20


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
    fields: Counter[str] = field(default_factory=Counter)
    """Rows that have a field, where rows are no chats."""
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
    line_of: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    """Line of each row, counted from 1."""


def survey(
    lines: Iterable[Line],
    tokenizers: Sequence[Tokenizer],
    progress: Callable[[int], None] | None = None,
) -> Survey:
    """Read every line once; `progress` is told how many rows were read."""
    found = Survey()
    measured: dict[str, list[Lengths]] = {one.name: [] for one in tokenizers}
    system_of: list[int] = []
    numbers: list[int] = []
    stream = iter(lines)
    while batch := list(islice(stream, _BATCH)):
        rows = []
        for line in batch:
            if line.row is None:
                found.unreadable += 1
                if line.problem is not None and len(found.problems) < _MOST_KEPT_PROBLEMS:
                    found.problems.append(line.problem)
            else:
                rows.append(line.row)
                numbers.append(line.number)
        for row in rows:
            system_of.append(_note(found, row))
        for one in tokenizers:
            measured[one.name].append(measure(rows, one))
        found.rows += len(rows)
        if progress is not None:
            progress(found.rows)
    found.lengths = {name: join(parts) for name, parts in measured.items() if parts}
    found.line_of = np.array(numbers, np.int64)
    found.shared_system = _commonest(found.systems, system_of)
    return found


def system_text(row: Row) -> str:
    """Return the system messages of a row as one text."""
    sent, _ = sides_of(row)
    return "\n".join(content_text(one) for one in sent if one.get("role") in SYSTEM_ROLES)


def answer_key(row: Row) -> str:
    """Return a row's last answer, shortened where it is long, so that equal ones stay equal."""
    text = answer_text(row)
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
        found.fields.update(str(name) for name in inner)
        return 0
    sent, answers = sides_of(row)
    found.roles.update(str(one.get("role")) for one in (*sent, *answers))
    said = [one for one in (*sent, *answers) if one.get("role") == "assistant"]
    found.turns[len(said)] += 1
    found.unweighted += any(one.get("weight") == 0 for one in said)
    found.with_tools += bool(tools_of(row)) or any(dicts(one.get("tool_calls")) for one in said)
    found.with_images += bool(image_details(row))
    if answers or kind == "completion":
        found.answers.add(answer_key(row))
    text = system_text(row)
    found.systems.add(text)
    return hash(text)


def _commonest(systems: Tally, system_of: Sequence[int]) -> Numbers:
    """Return which rows have the commonest system prompt; none where most rows have no prompt."""
    shared = np.zeros(len(system_of), bool)
    text = systems.counts.most_common(1)[0][0] if systems.counts else ""
    if text:
        shared = np.asarray(np.array(system_of, np.int64) == hash(text))
    return shared
