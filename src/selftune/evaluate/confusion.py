"""Which label is taken for which."""

from collections import Counter

import numpy as np

from selftune.core.records import Record
from selftune.evaluate.columns import Arm, Questions
from selftune.evaluate.truth import SOMETHING_ELSE

MOST_IN_MATRIX = 40
"""Labels that a matrix shows; of more, only the commonest mistakes are told."""
_MOST_PAIRS = 40


class Label(Record):
    """One label's figures."""

    name: str
    n: int
    """Questions whose right answer it is."""
    right: int
    given: int
    """Answers that say it."""

    @property
    def recall(self) -> float | None:
        """Return how many of its questions are answered with it; None without any."""
        return self.right / self.n if self.n else None

    @property
    def precision(self) -> float | None:
        """Return how many of the answers that say it are right; None without any."""
        return self.right / self.given if self.given else None


class Mistake(Record):
    """A right answer, and what was said."""

    right: str
    given: str
    n: int


class Confusion(Record):
    """What was said where each label was right."""

    labels: tuple[Label, ...]
    mistakes: tuple[Mistake, ...]
    """The commonest, most first."""
    matrix: tuple[tuple[int, ...], ...] | None
    """A row for each right label, a column for each said one, and a last one for anything else;
    None where there are too many labels."""
    n: int


def confusion(arm: Arm, questions: Questions) -> Confusion | None:
    """Return which labels are taken for which; None where answers are no labels."""
    truth = questions.truth
    if truth is None or truth.is_number or arm.given is None:
        return None
    scored = arm.rows.is_scored & ~np.isnan(arm.given)
    right = truth.values[arm.at[scored]].astype(np.int64)
    given = arm.given[scored].astype(np.int64)
    names, count = truth.labels, len(truth.labels)
    hits = np.bincount(right[right == given], minlength=count)
    asked = np.bincount(right, minlength=count)
    said = np.bincount(given[given < count], minlength=count)
    matrix = None
    if count <= MOST_IN_MATRIX:
        cells = right * (count + 1) + np.minimum(given, count)
        table = np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)
        matrix = tuple(tuple(row) for row in table.tolist())
    return Confusion(
        labels=tuple(
            Label(name=name, n=int(asked[at]), right=int(hits[at]), given=int(said[at]))
            for at, name in enumerate(names)
        ),
        mistakes=_mistakes(right, given, arm.texts),
        matrix=matrix,
        n=len(right),
    )


def _mistakes(
    right: "np.ndarray", given: "np.ndarray", texts: tuple[str, ...]
) -> tuple[Mistake, ...]:
    wrong = right != given
    pairs = Counter(zip(right[wrong].tolist(), given[wrong].tolist(), strict=True))
    return tuple(
        Mistake(right=texts[one], given=texts[other] if texts else SOMETHING_ELSE, n=n)
        for (one, other), n in pairs.most_common(_MOST_PAIRS)
    )
