"""How often a model says what was recorded, beside how often the recorded model does so itself.

The recorded model's answers at its production temperature, against its own answer at temperature 0,
are the yardstick: nobody can agree with a model more than it agrees with itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from selftune.core.records import Record
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.scorer import Graded
from selftune.evaluate.statistics import Interval, bootstrap_mean
from selftune.evaluate.units import SEED, Units
from selftune.rescue.record.run import drawn

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
Said = Mapping[str, Mapping[str, Sequence[str]]]
"""Answers by arm, then by item."""
MOST_NEAR = 1000
"""Prompts whose answers are made vectors of: a long one takes 0.05 s, and the mean of so many is known
to about 0.01."""
_Vectors = Mapping[str, NDArray[np.float64]]
"""Of length 1, by their texts."""
_UNIT = (0.0, 1.0)
_TEXTS_AT_ONCE = 64
_TWO_SIDED = 1.96
"""Standard normal point of 95 %."""


class Alike(Record):
    """How alike one model's answers are to the recorded ones."""

    arm: str
    same: Interval
    """Share of answers with the same words as the recorded one."""
    near: Interval | None
    """Mean cosine to the recorded one, by the embedded encoder, of `MOST_NEAR` prompts at most; None
    where there is none."""
    judged: Interval | None = None
    """Share that a judge finds as good as the recorded one."""
    behind: Interval | None = None
    """How much less often it says the same than the recorded model itself; None for that one, and
    where that one gave each answer once."""


class Noise(Record):
    """What the recorded model does when it is asked the same again."""

    answers: int
    """To each prompt."""
    same: float | None
    """Share of answers that are the one which others are compared with; None with one answer only."""
    moves: float | None
    """How far its own share that passes moves from one run to the next, in 95 of 100 cases; None
    with one answer to each prompt."""


def said_by(results: Iterable[Result]) -> dict[str, dict[str, list[str]]]:
    """Return what each arm answered to each item, in the order in which it was asked."""
    asked = sorted(
        (each.index, each.sample, each.arm, each.item, each.said)
        for each in results
        if each.state != "unanswered"
    )
    found: dict[str, dict[str, list[str]]] = {}
    for _, _, arm, item, text in asked:
        found.setdefault(arm, {}).setdefault(item, []).append(text)
    return found


def alike(
    items: Sequence[Item], said: Said, arms: Sequence[str], embed: Embed | None
) -> tuple[Alike, ...]:
    """Return for each arm how alike it is to the recorded answers; the first is the recorded model."""
    recorded = arms[0]
    wanted = {item.id: str(item.item["recorded"]) for item in items}
    near = {items[at].id: wanted[items[at].id] for at in drawn(len(items), MOST_NEAR)}
    vectors = {} if embed is None else _vectors(_texts(near, said), embed)
    shares = {
        arm: {
            name: _mean([_plain(text) == _plain(wanted[name]) for text in texts])
            for name, texts in answers.items()
            if name in wanted and texts
        }
        for arm, answers in said.items()
    }
    own = shares.get(recorded, {})
    found = []
    for arm in arms:
        mine = shares.get(arm)
        if not mine:
            continue
        both = [name for name in mine if name in own]
        gaps = np.array([mine[name] - own[name] for name in both])
        found.append(
            Alike(
                arm=arm,
                same=_interval(list(mine.values())),
                near=_nearness(said[arm], near, vectors) if vectors else None,
                behind=None if arm == recorded or not both else _difference(gaps),
            )
        )
    return tuple(found)


def noise_of(runs: Sequence[Units], samples: int, same: float | None) -> Noise:
    """Return how much a recorded model's own share moves when it is asked all again."""
    moves = None
    scored = np.sum([each.scored for each in runs], axis=0)
    passes = np.sum([each.passes for each in runs], axis=0)
    known = scored > 1
    if known.any():
        k = scored[known]
        share = passes[known] / k
        variances = share * (1 - share) * k / (k - 1)  # unbiased, of one answer
        # Two runs, one answer to each prompt: the variances of both add.
        moves = _TWO_SIDED * math.sqrt(2 * float(variances.mean()) / int(known.sum()))
    return Noise(answers=samples, same=same, moves=moves)


def judged_share(scores: Iterable[Graded]) -> Interval | None:
    """Return the share that a judge passed; None where it could judge nothing."""
    passed = [bool(each.passed) for each in scores if each.status == "scored"]
    return _interval(passed) if passed else None


def _texts(wanted: Mapping[str, str], said: Said) -> list[str]:
    found = dict.fromkeys(wanted.values())
    for answers in said.values():
        for name in wanted:
            found.update(dict.fromkeys(answers.get(name, ())))
    return [text for text in found if text.strip()]


def _vectors(texts: Sequence[str], embed: Embed) -> _Vectors:
    found: dict[str, NDArray[np.float64]] = {}
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        batch = texts[start : start + _TEXTS_AT_ONCE]
        vectors = np.asarray(embed(batch), np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        found.update(zip(batch, vectors / np.where(lengths > 0, lengths, 1.0), strict=True))
    return found


def _nearness(
    answers: Mapping[str, Sequence[str]],
    wanted: Mapping[str, str],
    vectors: _Vectors,
) -> Interval | None:
    values = []
    for name, texts in answers.items():
        right = vectors.get(wanted.get(name, ""))
        if right is not None and (
            near := [float(vectors[text] @ right) for text in texts if text in vectors]
        ):
            values.append(_mean(near))
    return _interval(values) if values else None


def _interval(values: Sequence[float]) -> Interval:
    random = np.random.default_rng(SEED)
    clipped = np.clip(np.array(values, np.float64), *_UNIT)
    return bootstrap_mean(clipped, random, bounds=_UNIT)


def _difference(gaps: "np.ndarray") -> Interval:
    return bootstrap_mean(gaps, np.random.default_rng(SEED), bounds=(-1.0, 1.0))


def _mean(values: Sequence[float]) -> float:
    return float(sum(values)) / len(values)


def _plain(text: str) -> str:
    return " ".join(text.split())
