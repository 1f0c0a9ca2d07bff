"""A training file as the embedded model sees it: texts, answers, and which answers are alike."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from selftune.models.builtin.heads import parse_number
from selftune.models.builtin.reading import Reading, choose_reading, label_descriptions, read
from selftune.models.builtin.words import words
from selftune.models.messages import content_text
from selftune.models.tokens import count_messages

Kind = Literal["labels", "passages", "numbers"]
_NUMBER_SHARE = 0.97
_LEAST_NUMBERS = 20
_DISTINCT_SHARE = 0.5
_SAME_WORDS = 0.7
_GROUPS_PER_ROW = 0.5
_MOST_COMPARED = 3000
_LEAST_WORDS = 4
"""Words of a usual answer from which on it is a text, not a label."""
_COMMON_SHARE = 0.5
_LEAST_SHARED, _SHARPNESS = 0.3, 0.1


@dataclass(frozen=True)
class Examples:
    """Everything that training needs to know of the rows."""

    texts: list[str]
    """What the encoder reads of each row."""
    targets: list[str]
    """What each row answers."""
    answers: list[str]
    """The distinct answers, sorted."""
    answer_of: np.ndarray
    """Index into `answers` of each row."""
    group_of: np.ndarray
    """Group of each answer: equal, or nearly equal, answers are one group."""
    reading: Reading
    descriptions: dict[str, str]
    """What the shared system prompts say about an answer."""
    tokens: int
    """o200k tokens of one epoch."""

    @property
    def row_groups(self) -> np.ndarray:
        """Return the group of each row."""
        groups: np.ndarray = self.group_of[self.answer_of]
        return groups

    @property
    def groups(self) -> int:
        """Return how many groups there are."""
        return int(self.group_of.max()) + 1

    @property
    def unseen(self) -> float:
        """Return the chance that a next answer is of no group seen: Good-Turing's estimate."""
        counts = np.bincount(self.row_groups)
        return float((counts == 1).sum() / len(self.texts))

    @property
    def copied(self) -> float:
        """Return how many of the words that tell answers apart stand in the question, 0 to 1."""
        bags = [words(target) for target in self.targets]
        rows = Counter(word for bag in bags for word in set(bag))
        common = len(bags) * _COMMON_SHARE
        found: list[bool] = []
        for text, bag in zip(self.texts, bags, strict=True):
            asked = frozenset(words(text))
            found += [word in asked for word in bag if rows[word] <= common]
        return float(np.mean(found)) if found else 0.0

    def alike(self) -> np.ndarray:
        """Return for each group how its answer is spread over all groups, shape (groups, groups).

        An answer that says in other words what this one says is right too. Answers are alike by
        the rare words that they share: a greeting, which all have, does not count.
        """
        bags = [frozenset(words(self._first(group))) for group in range(self.groups)]
        if not _are_few_texts(bags):
            return np.eye(self.groups, dtype=np.float32)
        rows = Counter(word for bag in bags for word in bag)
        column = {word: index for index, word in enumerate(sorted(rows))}
        rarity = np.array([np.log(len(bags) / rows[word]) for word in column])
        table = np.zeros((len(bags), len(rows)), np.float32)
        for group, bag in enumerate(bags):
            table[group, [column[word] for word in bag]] = 1
        totals = np.maximum(table @ rarity, 1e-9)
        shared = (table * rarity) @ table.T / totals[:, None]
        near = np.where(shared >= _LEAST_SHARED, np.exp((shared - 1) / _SHARPNESS), 0)
        np.fill_diagonal(near, 1)
        spread: np.ndarray = (near / near.sum(1, keepdims=True)).astype(np.float32)
        return spread

    def _first(self, group: int) -> str:
        return self.answers[int(np.flatnonzero(self.group_of == group)[0])]

    def subset(self, kept: np.ndarray) -> "Examples":
        """Return some of the rows; answers and groups keep their numbers."""
        rows = np.flatnonzero(kept)
        return replace(
            self,
            texts=[self.texts[row] for row in rows],
            targets=[self.targets[row] for row in rows],
            answer_of=self.answer_of[rows],
        )

    def group_text(self, group: int) -> str:
        """Return what describes a group: its description in the prompt, or its answer."""
        first = self._first(group)
        return self.descriptions.get(first) or first.replace("_", " ")

    def kind(self) -> Kind:
        """Return which head suits these answers."""
        if self._are_numbers():
            return "numbers"
        return "labels" if self.groups <= _GROUPS_PER_ROW * len(self.texts) else "passages"

    def _are_numbers(self) -> bool:
        """Tell amounts from labels that hold a number: amounts are mostly all different."""
        parsed = [parse_number(target) for target in self.targets]
        shapes = Counter((p[1], p[2]) for p in parsed if p is not None and p[0] > 0)
        if not shapes or len(self.answers) < _LEAST_NUMBERS:
            return False
        ((_, decimals), times) = shapes.most_common(1)[0]
        if decimals == 0 and len(self.answers) <= _DISTINCT_SHARE * len(self.targets):
            return False
        return times >= _NUMBER_SHARE * len(self.targets)


def load_examples(path: Path, reading: Reading | None = None) -> Examples:
    """Read a validated file. Every assistant message with weight 1 that ends a turn is one row."""
    chats: list[list[dict[str, Any]]] = []
    with path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if line.strip():
                chats.append(json.loads(line)["messages"])
    chosen, shared = choose_reading(chats)
    reading = reading or chosen
    texts, targets = [], []
    for chat in chats:
        for index, message in enumerate(chat):
            if message["role"] == "assistant" and message.get("weight", 1) == 1:
                texts.append(read(chat[:index], reading))
                targets.append(content_text(message))
    answers = sorted(set(targets))
    where = {answer: index for index, answer in enumerate(answers)}
    return Examples(
        texts=texts,
        targets=targets,
        answers=answers,
        answer_of=np.array([where[target] for target in targets], np.int64),
        group_of=_group(answers),
        reading=reading,
        descriptions=label_descriptions(shared, frozenset(answers)),
        tokens=sum(count_messages(chat) + 3 for chat in chats),
    )


def _group(answers: Sequence[str]) -> np.ndarray:
    """Return a group number for each answer; those that share most of their words have the same."""
    group_of = np.arange(len(answers))
    bags = [frozenset(words(answer)) for answer in answers]
    if not _are_few_texts(bags):
        return group_of
    for index, bag in enumerate(bags):
        for earlier in range(index):
            union = len(bag | bags[earlier])
            if union and len(bag & bags[earlier]) / union >= _SAME_WORDS:
                group_of[index] = group_of[earlier]
                break
    _, dense = np.unique(group_of, return_inverse=True)
    return dense.astype(np.int64)


def _are_few_texts(bags: Sequence[frozenset[str]]) -> bool:
    """Tell answers to compare by their words from too many, and from labels, which stand alone."""
    return len(bags) <= _MOST_COMPARED and sum(map(len, bags)) >= _LEAST_WORDS * len(bags)
