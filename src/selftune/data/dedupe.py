"""Leave out rows that say again what a row before them says, and tell of each which one that is.

A row repeats another when it is the same (`exact`), when all its words are (`normalised`), or when
users say nearly the same in it and all the rest is the same (`near`). Rows with other figures never
repeat each other. Rows that answer the same question in another way are contradictions: they are
told, and stay unless something else is asked for.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from selftune.core.records import Record
from selftune.data.leakage import shown
from selftune.data.likeness.near import THRESHOLD, clusters
from selftune.data.likeness.questions import expected_answer, questions
from selftune.data.likeness.words import figures, normal_form, similarity
from selftune.data.rows import Row, prompt_text

Repeat = Literal["exact", "normalised", "near", "contradiction"]
Contradictions = Literal["keep", "drop", "majority"]

_LOOSENESS: tuple[Repeat, ...] = ("exact", "normalised", "near")
_LOOKED_BACK = 50
"""Rows of one cluster that a row is compared with; where it is like none of them, it stays."""
_PROVENANCE = ("id", "metadata")
"""Keys of a chat that say where it comes from, not what is learned."""


class Dropped(Record):
    """A row that is left out."""

    line: int
    reason: Repeat
    repeats: int
    """Line of the row that it repeats, or contradicts."""
    text: str
    """What it asks, shortened for showing."""
    repeated_text: str


class Contradiction(Record):
    """Rows that ask the same and are answered in different ways."""

    text: str
    """What they ask, shortened for showing."""
    lines: tuple[int, ...]
    answers: tuple[str, ...]
    """The different answers, shortened, the most frequent first."""


class Deduped(Record):
    """What is left of rows, and why the others are not."""

    kept: tuple[int, ...]
    """Positions from 0."""
    dropped: tuple[Dropped, ...]
    contradictions: tuple[Contradiction, ...]


def dedupe(
    rows: Sequence[Row],
    *,
    near: float | None = THRESHOLD,
    contradictions: Contradictions = "keep",
    lines: Sequence[int] | None = None,
) -> Deduped:
    """Return which rows stay; the first of those that repeat each other does.

    `near` is the share of words in common from which questions are the same, None to compare only
    whole words in their order; `lines` says where rows stood, else they count from 1. `majority`
    keeps, of rows that contradict each other, those with an answer that more than half of them give.
    """
    numbers = lines or range(1, len(rows) + 1)
    texts = questions(rows)
    answers = [normal_form(expected_answer(row)) for row in rows]
    groups = _contradicting(rows, texts, answers)
    lost = dict(_losers(groups, answers, contradictions))
    repeated = _repeated(rows, texts, [at for at in range(len(rows)) if at not in lost], near)
    dropped = []
    for at in range(len(rows)):
        if at in lost or at in repeated:
            reason, earlier = repeated.get(at) or ("contradiction", lost[at])
            dropped.append(
                Dropped(
                    line=numbers[at],
                    reason=reason,
                    repeats=numbers[earlier],
                    text=shown(texts[at]),
                    repeated_text=shown(texts[earlier]),
                )
            )
    gone = {drop.line for drop in dropped}
    return Deduped(
        kept=tuple(at for at in range(len(rows)) if numbers[at] not in gone),
        dropped=tuple(dropped),
        contradictions=tuple(
            _contradiction(
                [rows[at] for at in group], texts[group[0]], [numbers[at] for at in group]
            )
            for group in groups
        ),
    )


def _repeated(
    rows: Sequence[Row], texts: Sequence[str], among: Sequence[int], near: float | None
) -> dict[int, tuple[Repeat, int]]:
    """Return for each row that repeats one before it, how, and the position of the one that stays."""
    found: dict[int, tuple[Repeat, int]] = {}
    whole = {at: _told(rows[at]) for at in among}
    _mark(found, "exact", whole)
    distinct = {at: text for at, text in whole.items() if at not in found}
    _mark(found, "normalised", {at: _words_and_figures(text) for at, text in distinct.items()})
    if near is not None:
        left = [at for at in distinct if at not in found]
        members: dict[int, list[int]] = defaultdict(list)
        kinds = [_all_but_question(rows[at]) for at in left]
        for at, first in zip(left, clusters([texts[at] for at in left], near, kinds), strict=True):
            members[first].append(at)
        for cluster in members.values():
            _mark_near(found, cluster, texts, near)
    return {at: _followed(found, at) for at in found}


def _followed(found: dict[int, tuple[Repeat, int]], at: int) -> tuple[Repeat, int]:
    """Return what stays of a row that repeats one which repeats another, by the loosest of the ways."""
    reason, earlier = found[at]
    while earlier in found:
        further, earlier = found[earlier]
        reason = max(reason, further, key=_LOOSENESS.index)
    return reason, earlier


def _mark(found: dict[int, tuple[Repeat, int]], reason: Repeat, keys: dict[int, str]) -> None:
    first: dict[str, int] = {}
    for at, key in keys.items():
        earlier = first.setdefault(key, at)
        if earlier != at:
            found[at] = (reason, earlier)


def _mark_near(
    found: dict[int, tuple[Repeat, int]], cluster: Sequence[int], texts: Sequence[str], near: float
) -> None:
    """Mark the rows of a cluster that are near to one before them that stays."""
    staying: list[int] = []
    for at in cluster:
        recent = staying[-_LOOKED_BACK:]
        earlier = next((e for e in recent if similarity(texts[e], texts[at]) >= near), None)
        if earlier is None:
            staying.append(at)
        else:
            found[at] = ("near", earlier)


def _told(row: Row) -> str:
    """Return all that a row teaches, as JSON."""
    kept = {k: v for k, v in row.items() if k not in _PROVENANCE} if "messages" in row else row
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)


def _words_and_figures(text: str) -> str:
    return f"{normal_form(text)}\n{sorted(figures(text))}"


def _all_but_question(row: Row) -> str:
    """Return the words of a row without what users say, and the figures of all of it."""
    question = prompt_text(row)
    silent = json.dumps(_without_users(row, question), sort_keys=True, default=str)
    return f"{_words_and_figures(silent)}\n{sorted(figures(question))}"


def _without_users(value: Any, question: str) -> Any:
    if isinstance(value, list):
        return [_without_users(entry, question) for entry in value]
    if isinstance(value, dict):
        kept = {key: _without_users(entry, question) for key, entry in value.items()}
        if value.get("role") == "user" and isinstance(value.get("content"), str):
            kept["content"] = ""
        return {key: entry for key, entry in kept.items() if key not in _PROVENANCE}
    return "" if value == question else value


def _contradicting(
    rows: Sequence[Row], texts: Sequence[str], answers: Sequence[str]
) -> list[list[int]]:
    """Return positions of rows that ask the same in the same setting, and do not answer the same."""
    asked: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if answers[at]:
            asked[
                f"{normal_form(texts[at])}\n{sorted(figures(texts[at]))}\n{_setting(row)}"
            ].append(at)
    return [same for same in asked.values() if len({answers[at] for at in same}) > 1]


def _setting(row: Row) -> str:
    """Return what stands before the answer of a chat, but for the users' words."""
    messages = row.get("messages")
    return _all_but_question({"messages": messages[:-1]}) if isinstance(messages, list) else ""


def _losers(
    groups: Sequence[Sequence[int]], answers: Sequence[str], contradictions: Contradictions
) -> Iterator[tuple[int, int]]:
    """Yield the positions that a contradiction costs, each with the first row of another answer."""
    for group in groups if contradictions != "keep" else ():
        answer, votes = Counter(answers[at] for at in group).most_common(1)[0]
        wins = contradictions == "majority" and 2 * votes > len(group)
        if contradictions == "majority" and not wins:
            continue
        for at in group:
            if not (wins and answers[at] == answer):
                yield at, next(other for other in group if answers[other] != answers[at])


def _contradiction(rows: Sequence[Row], text: str, lines: Sequence[int]) -> Contradiction:
    answers = Counter(shown(expected_answer(row)) for row in rows)
    return Contradiction(
        text=shown(text),
        lines=tuple(lines),
        answers=tuple(answer for answer, _ in answers.most_common()),
    )
