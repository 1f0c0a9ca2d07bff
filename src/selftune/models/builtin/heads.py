"""Vectors -> a distribution over answers. Three kinds, chosen when the model is trained.

labels    closed answers, or groups of near-equal ones: softmax over groups
passages  free answers: which trained question and answer is this question nearest to
numbers   one number in a template: a distribution on a logarithmic scale
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from selftune.models.builtin.tree import AnswerDistribution, Paths
from selftune.models.builtin.weights import WIDTH, Arrays
from selftune.models.builtin.words import Bm25, features

Config = dict[str, Any]


class Head(Protocol):
    """The part of a model that is always trained."""

    def distributions(self, vectors: np.ndarray, texts: Sequence[str]) -> list[AnswerDistribution]:
        """Return one distribution over answers for each text and its unit vector."""
        ...


def load_head(kind: str, arrays: Arrays, config: Config) -> Head:
    """Return the head of a model folder."""
    return _KINDS[kind](arrays, config)


class LabelHead:
    """Softmax over groups of answers, then the shares of the answers within a group."""

    def __init__(self, arrays: Arrays, config: Config) -> None:
        self._weight, self._bias = arrays["head.weight"], arrays["head.bias"]
        self._frequencies = arrays["head.frequencies"]
        self._scale = float(arrays["head.scale"][0])
        self._uses_words = self._weight.shape[1] > WIDTH
        self._groups = arrays["answers.group"]
        self._shares = arrays["answers.share"].astype(np.float64)
        self._paths = Paths(config["answers"])

    def distributions(self, vectors: np.ndarray, texts: Sequence[str]) -> list[AnswerDistribution]:
        """Return one distribution over answers for each text and its unit vector."""
        wide = features(vectors, texts, self._frequencies) if self._uses_words else vectors
        groups = softmax(self._scale * (wide @ self._weight.T) + self._bias)
        return [self._paths.with_probabilities(row[self._groups] * self._shares) for row in groups]


class PassageHead:
    """Nearest trained example: by its question, its answer, and the words of both."""

    def __init__(self, arrays: Arrays, config: Config) -> None:
        self._questions, self._answers = arrays["passages.questions"], arrays["passages.answers"]
        self._owner = arrays["passages.owner"]
        self._mix = arrays["passages.mix"].astype(np.float64)
        documents = config["documents"]
        self._documents = Bm25(documents)
        answers = config["answers"]
        self._answer_words = Bm25([answers[owner] for owner in self._owner])
        self._count = len(answers)
        self._paths = Paths(answers)

    def distributions(self, vectors: np.ndarray, texts: Sequence[str]) -> list[AnswerDistribution]:
        """Return one distribution over answers for each text and its unit vector."""
        by_question, by_answer = vectors @ self._questions.T, vectors @ self._answers.T
        found = []
        for row, text in enumerate(texts):
            columns = (
                by_question[row],
                by_answer[row],
                self._documents.scores(text),
                self._answer_words.scores(text),
            )
            scores = sum(weight * column for weight, column in zip(self._mix, columns, strict=True))
            rows = softmax(np.asarray(scores)[None, :])[0]
            answers = np.bincount(self._owner, weights=rows, minlength=self._count)
            found.append(self._paths.with_probabilities(answers))
        return found


class NumberHead:
    """Ridge regression of the number's logarithm, written through a template."""

    def __init__(self, arrays: Arrays, config: Config) -> None:
        self._weight = arrays["numbers.weight"]
        self._frequencies = arrays["head.frequencies"]
        self._mean, self._spread = (float(value) for value in arrays["numbers.fit"])
        self._low, self._high = (float(value) for value in arrays["numbers.range"])
        self._template: str = config["template"]
        self._decimals: int = config["decimals"]

    def distributions(self, vectors: np.ndarray, texts: Sequence[str]) -> list[AnswerDistribution]:
        """Return one distribution over numbers for each text and its unit vector."""
        wide = features(vectors, texts, self._frequencies, weight=NUMBER_WORDS)
        return [self._around(self._mean + float(value)) for value in wide @ self._weight]

    def _around(self, center: float) -> AnswerDistribution:
        """Return a Laplace distribution on the log scale, with weight on its centre.

        The centre is the median, the guess with the least absolute error; the weight on it makes
        the likeliest tokens spell it out.
        """
        center = float(np.clip(center, self._low, self._high))
        offsets = np.concatenate([[0.0], _OFFSETS]) * self._spread
        masses = np.concatenate([[CENTER_MASS], (1 - CENTER_MASS) * _MASSES])
        texts: dict[str, float] = {}
        for offset, mass in zip(offsets, masses, strict=True):
            text = write_number(float(np.exp(center + offset)), self._template, self._decimals)
            texts[text] = texts.get(text, 0.0) + float(mass)
        return Paths(list(texts)).with_probabilities(np.array(list(texts.values())))


NUMBER_WORDS = 1.0
"""Length of the word vector for numbers: brands and sizes say as much as the meaning does."""
CENTER_MASS = 0.5
_STEPS = np.array([-3.0, -2.0, -1.4, -1.0, -0.7, -0.45, -0.25, -0.1])
_OFFSETS = np.concatenate([_STEPS, -_STEPS[::-1]])
_MASSES = np.exp(-np.abs(_OFFSETS)) / np.exp(-np.abs(_OFFSETS)).sum()
_NUMBER = re.compile(r"\d+(?:\.\d+)?")

PLACE = "{number}"


def write_number(value: float, template: str, decimals: int) -> str:
    """Return the number in its template: `$12.50`."""
    return template.replace(PLACE, f"{value:.{decimals}f}")


def parse_number(text: str) -> tuple[float, str, int] | None:
    """Return the one number of a text, the text around it and its decimals; else None."""
    found = _NUMBER.findall(text)
    if len(found) != 1 or PLACE in text:
        return None
    template = text.replace(found[0], PLACE, 1)
    return float(found[0]), template, len(found[0].partition(".")[2])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return probabilities along the last axis, in double precision."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


_KINDS: dict[str, type[LabelHead] | type[PassageHead] | type[NumberHead]] = {
    "labels": LabelHead,
    "passages": PassageHead,
    "numbers": NumberHead,
}
