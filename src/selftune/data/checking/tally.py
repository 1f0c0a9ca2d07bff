"""What is counted over all rows, and what it says about the data as a whole.

Tallies of parts of a file add up, so that parts can be counted in several processes. A tally stays
small whatever the file: sets that grow too large are given up, which means that they are not closed.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from selftune.data.checking.block import Block
from selftune.data.checking.keys import Keyed, keys_of
from selftune.data.checking.structure import Method
from selftune.data.checking.typed import ASSISTANT, SYSTEM
from selftune.data.problems import Problem, problem

MIN_EXAMPLES = 10
"""OpenAI refuses training files with fewer."""
MAX_QUESTIONS = 50_000
"""OpenAI's limit for the rows of reinforcement training."""
_FEW_EXAMPLES = 50
"""OpenAI's guide sees improvements from 50 to 100 examples."""
_LONGEST_LABEL = 100
"""Characters of an answer that may be one of a closed set."""
_MOST_LABELS = 2000
_MOST_SYSTEMS = 100
_ROWS_PER_LABEL = 5
"""Answers are a closed set where each comes so often or more, on average."""
_RARE = 5
"""Examples of one label below which it is called rare."""
_IMBALANCE = 10
"""The most frequent label is called out of balance from so many times the median."""
_LONGEST = 20
_OUTLIER = 20
"""A row is an outlier from so many times the median length."""
_LONGEST_COUNTED = (1 << 17) - 1

Counted = dict[str, tuple[int, int]]
"""How often something comes, and the line where it came first."""


class Tally:
    """Counts of some rows."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.rows = 0
        """All that are no blank lines, whatever is wrong with them."""
        self.tokens = 0
        self.lengths = np.zeros(0, np.int64)
        """How many rows have so many tokens; entry 131,071 stands for all that are longer, too."""
        self.longest: list[tuple[int, int]] = []
        """Tokens and line of the longest rows."""
        self.systems: Counted | None = {}
        self.labels: Counted | None = {} if method == "supervised" else None
        self.keys: list[Keyed] = []

    def count(self, block: Block, *, texts: bool = True) -> None:
        """Count the rows of a block; their texts too, unless that is not wanted."""
        if not block.lines:
            return
        self.tokens += int(block.tokens.sum())
        self._add_lengths(np.bincount(np.minimum(block.tokens, _LONGEST_COUNTED)))
        top = np.argsort(block.tokens)[-_LONGEST:].tolist()
        self._keep_longest([(int(block.tokens[row]), block.lines[row]) for row in top])
        if texts:
            self._count_texts(block)
            self.keys.append(keys_of(block, self.method))

    def add(self, other: "Tally") -> None:
        """Count what another tally counted."""
        self.rows += other.rows
        self.tokens += other.tokens
        self._add_lengths(other.lengths)
        self._keep_longest(other.longest)
        self.systems = _sum(self.systems, other.systems, _MOST_SYSTEMS)
        self.labels = _sum(self.labels, other.labels, _MOST_LABELS)

    def _add_lengths(self, lengths: NDArray[np.int64]) -> None:
        longer, shorter = sorted((self.lengths, lengths), key=len, reverse=True)
        self.lengths = longer.copy()
        self.lengths[: len(shorter)] += shorter

    def _keep_longest(self, rows: list[tuple[int, int]]) -> None:
        self.longest = heapq.nlargest(_LONGEST, self.longest + rows)

    def _count_texts(self, block: Block) -> None:
        ends = block.ends.tolist()
        texts, roles = block.texts, block.roles
        if self.systems is not None:
            begins = [0, *ends[:-1]]
            is_system = (roles[begins] == SYSTEM).tolist()
            said = [
                texts[at] if is_one else "" for at, is_one in zip(begins, is_system, strict=True)
            ]
            self.systems = _sum(self.systems, _counted(said, block.lines), _MOST_SYSTEMS)
        if self.labels is not None:
            is_answer = (roles[block.ends - 1] == ASSISTANT).tolist()
            answers = [texts[end - 1] for end in compress(ends, is_answer)]
            if max(map(len, answers), default=0) > _LONGEST_LABEL:
                self.labels = None
                return
            lines = list(compress(block.lines, is_answer))
            self.labels = _sum(self.labels, _counted(answers, lines), _MOST_LABELS)


def amount(tally: Tally) -> Iterator[Problem]:
    """Yield what is wrong with how many rows there are."""
    if tally.method == "evaluation" or not tally.rows:
        return  # that there are no rows, another rule says
    if tally.rows < MIN_EXAMPLES:
        words = (
            f"Training file has {tally.rows} example(s), but must have at least {MIN_EXAMPLES} "
            "examples"
        )
        yield problem("too-few-examples", None, words)
    elif tally.rows < _FEW_EXAMPLES:
        yield problem("few-examples", None, f"The file has {tally.rows} examples.")
    elif tally.method == "reinforcement" and tally.rows > MAX_QUESTIONS:
        words = f"The file has {tally.rows:,} examples; the limit is {MAX_QUESTIONS:,}."
        yield problem("too-many-examples", None, words)


def findings(tally: Tally) -> Iterator[Problem]:
    """Yield what the counts say about the data as a whole."""
    yield from _outliers(tally)
    yield from _systems(tally)
    if tally.labels is not None:
        yield from _labels(tally.labels, tally.rows)


def _counted(texts: list[str], lines: list[int]) -> Counted:
    first = dict(zip(reversed(texts), reversed(lines), strict=True))
    return {text: (count, first[text]) for text, count in Counter(texts).items()}


def _sum(first: Counted | None, second: Counted | None, most: int) -> Counted | None:
    if first is None or second is None:
        return None
    for text, (count, line) in second.items():
        seen = first.get(text)
        first[text] = (count, line) if seen is None else (seen[0] + count, min(seen[1], line))
    return first if len(first) <= most else None


def _outliers(tally: Tally) -> Iterator[Problem]:
    sums = np.cumsum(tally.lengths)
    median = int(np.searchsorted(sums, (sums[-1] + 1) // 2)) if len(sums) else 0
    for tokens, line in sorted(tally.longest, key=lambda row: row[1]):
        if tokens >= _OUTLIER * median:
            yield problem(
                "length-outlier", line, f"has {tokens:,} tokens; the median is {median:,}"
            )


def _systems(tally: Tally) -> Iterator[Problem]:
    if tally.systems is None:
        words = f"Rows begin with more than {_MOST_SYSTEMS} different system prompts."
        yield problem("system-inconsistent", None, words)
    elif len(tally.systems) > 1:
        ordered = sorted(tally.systems.items(), key=lambda seen: (-seen[1][0], seen[1][1]))
        most = ordered[0][1][0]
        line = min(line for _, (_, line) in ordered[1:])
        also = ", one of them none" if "" in tally.systems else ""
        words = (
            f"Rows begin with {len(ordered)} system prompts{also}; the most frequent stands in "
            f"{most:,} of {tally.rows:,} rows, another here first"
        )
        yield problem("system-inconsistent", line, words)


def _labels(labels: Counted, rows: int) -> Iterator[Problem]:
    if not 2 <= len(labels) <= rows / _ROWS_PER_LABEL:
        return
    yield from _spellings(labels)
    counts = sorted(count for count, _ in labels.values())
    median, most = counts[len(counts) // 2 if len(counts) > 2 else 0], counts[-1]
    for label, (count, line) in sorted(labels.items(), key=lambda seen: seen[1][1]):
        if count == most and most >= _IMBALANCE * median:
            words = f"The answer {_shown(label)} stands in {count:,} of {rows:,} rows; the median answer in {median:,}"
            yield problem("label-imbalance", line, words)
        if count < _RARE:
            yield problem("label-rare", line, f"The answer {_shown(label)} has {count} example(s)")


def _shown(label: str) -> str:
    """Return an answer as a problem may show it: not if it holds what nobody may read."""
    from selftune.data.findings.content import (
        find_content,  # its libraries take half a second to load
    )

    found = find_content([label])
    return f"with {found[0].kind}" if found else repr(label[:40])


def _spellings(labels: Counted) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for label, (_, line) in sorted(labels.items(), key=lambda seen: seen[1][1]):
        form = " ".join(label.casefold().split()).rstrip(".!")
        other = first.setdefault(form, label)
        if other != label:
            words = f"The answers {_shown(other)} and {_shown(label)} differ only in spelling"
            yield problem("label-spelling", line, words)
