"""The right answers of a round, where its graders compare with a number or a label of the item."""

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selftune.core.errors import InvalidInput
from selftune.core.templates import fill
from selftune.evaluate.grading import sample_of
from selftune.evaluate.scorers.numeric_error import parse

_FIELD = re.compile(r"\{\{\s*item\.(\w+(?:\.\w+)*)\s*\}\}")
_OUTPUT = re.compile(r"\{\{\s*sample\.output_text\s*\}\}")
_MOST_LABELS, _MOST_LETTERS = 500, 80
_MOST_OTHERS = 1000
"""Different wrong texts that are told apart; further ones are "something else"."""
_FEW_NUMBERS = 10
SOMETHING_ELSE = "something else"

Texts = Callable[[str], str]
Item = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """What is right for each question: a number, or one of a few labels."""

    values: NDArray[np.float64]
    """The number, or the label's place; nan where the item has none."""
    labels: tuple[str, ...] = ()
    """Empty where the answers are numbers."""

    @property
    def is_number(self) -> bool:
        """Return whether answers are numbers, so that guesses are near or far."""
        return not self.labels


class TruthReader:
    """Collects the right answer of each item, until it is clear that there is none."""

    def __init__(self, graders: Sequence[dict[str, Any]]) -> None:
        self._path = _path(graders)
        self._numbers: array[float] | None = array("d")
        self._labels: dict[str, int] | None = {}
        self._places = array("i")

    def add(self, item: Item) -> None:
        """Read an item."""
        if self._path is None or (self._numbers is None and self._labels is None):
            return
        value: Any = item
        for name in self._path:
            value = value.get(name) if isinstance(value, dict) else None
        self._add_number(value)
        self._add_label(value)

    def done(self) -> Truth | None:
        """Return the right answers; None where they are neither numbers nor labels."""
        if self._path is None or not self._places:
            return None
        labels, numbers = self._labels, self._numbers
        is_scale = labels is not None and len(labels) <= _FEW_NUMBERS
        if numbers is not None and not (is_scale and all(n.is_integer() for n in numbers)):
            return Truth(np.frombuffer(numbers, np.float64))
        if labels is None or not 2 <= len(labels) <= max(2, len(self._places) / 2):
            return None
        names = sorted(labels, key=_rank)
        moved = np.empty(len(names))
        moved[[labels[name] for name in names]] = np.arange(len(names))
        return Truth(moved[np.frombuffer(self._places, np.int32)], tuple(names))

    def _add_number(self, value: Any) -> None:
        if self._numbers is None:
            return
        if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
            self._numbers.append(float(value))
        else:
            self._numbers = None

    def _add_label(self, value: Any) -> None:
        labels, text = self._labels, str(value)
        if labels is None:
            return
        if value is None or isinstance(value, dict | list) or len(text) > _MOST_LETTERS:
            self._labels = None
        else:
            self._places.append(labels.setdefault(text.strip(), len(labels)))
        if len(labels) > _MOST_LABELS:
            self._labels = None


class Given:
    """What one model answered, as numbers or as places in a list of labels and other texts."""

    def __init__(self, truth: Truth, graders: Sequence[dict[str, Any]]) -> None:
        self._read = _reader(graders)
        self._is_number = truth.is_number
        self._places = {label: place for place, label in enumerate(truth.labels)}
        self._loose = {_loose(label): place for label, place in self._places.items()}
        self.texts = [*truth.labels, SOMETHING_ELSE]
        self._else = len(truth.labels)

    def value(self, output: str) -> float:
        """Return the number or the place; nan where there is no number."""
        text = self._read(output)
        if self._is_number:
            found = parse(text)
            return float("nan") if found is None else found
        text = text.strip()
        place = self._places.get(text)
        if place is None:
            place = self._loose.get(_loose(text))
        return float(self._other(text) if place is None else place)

    def _other(self, text: str) -> int:
        text = text[:_MOST_LETTERS]
        if len(self.texts) - self._else > _MOST_OTHERS:
            return self._else
        self._places[text] = len(self.texts)
        self.texts.append(text or "(nothing)")
        return len(self.texts) - 1


def _path(graders: Sequence[dict[str, Any]]) -> tuple[str, ...] | None:
    """Return the item's field that the first grader with a reference compares with."""
    for grader in graders:
        named = _FIELD.fullmatch(str(grader.get("reference", "")).strip())
        if named is not None:
            return tuple(named[1].split("."))
    return None


def _reader(graders: Sequence[dict[str, Any]]) -> Texts:
    """Return how the grader that compares reads an output."""
    for grader in graders:
        if _FIELD.fullmatch(str(grader.get("reference", "")).strip()) is None:
            continue
        template = str(grader.get("input", ""))
        if template and _OUTPUT.fullmatch(template.strip()) is None:
            return lambda output: _filled(template, output)
    return lambda output: output


def _filled(template: str, output: str) -> str:
    try:
        return fill(template, {}, sample_of(output))
    except InvalidInput:
        return ""


def _rank(label: str) -> tuple[int, float, str]:
    """Return where a label stands: numbers first, by size."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _loose(text: str) -> str:
    return " ".join(text.casefold().split())
