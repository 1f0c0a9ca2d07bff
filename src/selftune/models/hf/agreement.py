"""How near what serves is to what was trained: the verdict, and the figures that it rests on.

Two ways of computing the same differ by rounding, in bfloat16 by as much as a short training changes.
How much it is here and for this model is measured on the bare base, which both ways have; and which
share of the training's change is served is seen over many tokens where it is in none alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.models.hf.probe_chats import CHATS
from selftune.models.hf.probes import CODE, Precision, Scored, render

Numbers = np.ndarray[Any, Any]
Score = Callable[[list[list[int]]], list[list[float]]]
"""Log-probabilities of each token after the first, by the path that serves."""


class Served(NamedTuple):
    """What serves a folder."""

    score: Score
    bare: Score | None = None
    """The same without the adapter; None for a whole model."""


class Tolerance(Record):
    """Largest differences of log-probabilities that rounding explains."""

    mean: float
    largest: float


TOLERANCES: dict[Precision, Tolerance] = {
    "float32": Tolerance(mean=1e-4, largest=5e-3),
    "bfloat16": Tolerance(mean=0.05, largest=1.0),
}
"""Between one forward and a cache, token by token, of Llama-, Qwen- and Gemma-shaped models with 2 and
8 layers and logits as sharp as real ones, we measured up to 2.5e-6 on average and 2e-5 at most in
float32, and 0.024 and 0.31 in bfloat16; larger models round more often, hence the room."""


LEAST: dict[Precision, Tolerance] = {
    "float32": TOLERANCES["float32"],
    "bfloat16": Tolerance(mean=0.005, largest=0.1),
}
"""What is allowed however little the bare base is rounded: two units in the last of bfloat16's digits
for a log-probability of one, and of the largest that probes have."""
_NOISY = 10.0
"""How many times larger than on the bare base differences may be. An adapter is computed in another
order by PEFT than by what serves: of tiny models, that rounds up to six times as much."""
_APART = 0.25
"""How far the share of the change that is served may be from 1."""
_ERRORS = 5.0
"""How many standard errors it must be off for that: tokens of one chat are not independent."""
_CLEAR = 2.5
"""How many times larger than the rest a change must be where rounding was not measured."""


class Agreement(Record):
    """How near what is served is to what was trained."""

    tokens: int
    mean: float
    """Of the differences of log-probabilities."""
    largest: float
    share: float | None = None
    """Of what the training changed that is served: 1 is all; None where rounding hides it."""
    noise: float | None = None
    """Of the differences on the bare base, the mean: rounding; None where it was not measured."""
    noise_largest: float | None = None
    precision: Precision

    @property
    def words(self) -> str:
        """The figures in words."""
        return (
            f"log-probabilities of {self.tokens} tokens differ by {self.mean:.2g} on average and "
            f"by {self.largest:.2g} at most ({self.precision}){self._base}"
        )

    @property
    def _base(self) -> str:
        if self.noise is None:
            return ""
        return f"; on the base without what was trained, by {self.noise:.2g} on average"


def compare(
    scored: Sequence[Scored], served: Served, precision: Precision, renderer: Any = None
) -> Agreement:
    """Compare what was trained with what serves; with a renderer, how chats are written too.

    Raises:
        JobFailed: they differ by more than rounding; says what and by how much.

    """
    if renderer is not None:
        _compare_tokens({one.name: one.ids for one in scored}, render(renderer))
    agreement, gaps = measure(scored, served, precision)
    _judge(agreement, scored, gaps)
    return agreement


def measure(
    scored: Sequence[Scored], served: Served, precision: Precision
) -> tuple[Agreement, Numbers]:
    """Return how near they are, and the difference of each token.

    Raises:
        JobFailed: the numbers cannot be compared.

    """
    ids = [list(one.ids) for one in scored]
    trained, found = _flat(one.logprobs for one in scored), _flat(served.score(ids))
    if trained.shape != found.shape:
        raise JobFailed(
            f"The served model scored {found.size} tokens of {trained.size}.", code=CODE
        )
    known = _flat(one.before for one in scored)
    before = known if known.shape == trained.shape else None
    bare = None if served.bare is None or before is None else _flat(served.bare(ids))
    given = [each for each in (trained, found, before, bare) if each is not None]
    if not all(np.isfinite(each).all() for each in given):
        raise JobFailed("Log-probabilities are not finite numbers.", code=CODE)
    gaps = np.abs(found - trained)
    agreement = Agreement(
        tokens=int(gaps.size),
        mean=float(gaps.mean()),
        largest=float(gaps.max()),
        share=None if before is None else _share(trained - before, found, before, bare),
        noise=None if bare is None else float(np.abs(bare - before).mean()),
        noise_largest=None if bare is None else float(np.abs(bare - before).max()),
        precision=precision,
    )
    return agreement, gaps


def _limit(agreement: Agreement) -> Tolerance:
    """Return what rounding explains: never more than the table, less where it was measured."""
    most = TOLERANCES[agreement.precision]
    least = LEAST[agreement.precision]
    if agreement.noise is None or agreement.noise_largest is None:
        return most
    return Tolerance(
        mean=min(most.mean, max(least.mean, _NOISY * agreement.noise)),
        largest=min(most.largest, max(least.largest, _NOISY * agreement.noise_largest)),
    )


def _judge(agreement: Agreement, scored: Sequence[Scored], gaps: Numbers) -> None:
    limit, share = _limit(agreement), agreement.share
    is_near = agreement.mean <= limit.mean and agreement.largest <= limit.largest
    if is_near and (share is None or abs(share - 1) <= _APART):
        return
    lengths = [len(one.logprobs) for one in scored]
    worst = np.repeat(np.arange(len(lengths)), lengths)[int(gaps.argmax())]
    said = f", and {share:.0%} of what the training changed is served" if share is not None else ""
    raise JobFailed(
        f"What is served is not what was trained: {agreement.words}{said}; most on the probe "
        f"{scored[int(worst)].name!r}. Rounding explains {limit.mean:.2g} on average and "
        f"{limit.largest:.2g} at most. The model's files, its base or their scale differ from those "
        "of the training.",
        code=CODE,
    )


def _share(change: Numbers, found: Numbers, before: Numbers, bare: Numbers | None) -> float | None:
    """Return which share of the change by training is served; None where rounding hides it.

    It sees a wrong scale where each single difference is within rounding. Both changes are rounded
    alike, so the line through zero takes errors in both (Deming's regression); its standard error is
    that of a correlation. A change that is clear in training and not served at all has no line.
    """
    served = found - (before if bare is None else bare)
    xx, xy, yy = (float(a @ b) for a, b in ((change, change), (change, served), (served, served)))
    if not xx:
        return None
    alike = xy * xy / (xx * yy) if yy else 0.0
    noise = xx / _CLEAR**2 if bare is None else float((bare - before) @ (bare - before))
    if xy > 0:
        slope = (yy - xx + math.hypot(yy - xx, 2 * xy)) / (2 * xy)
        lost = max(0.0, 1 - alike) / alike
        error = slope * math.sqrt(lost / change.size)
        if bare is None:
            return slope if lost <= 1 / _CLEAR**2 else None
        if _ERRORS * error <= max(_APART, abs(slope - 1)):
            return slope
    is_certain = bare is not None and xx > _CLEAR**2 * noise
    return xy / xx if is_certain else None


def _flat(values: Any) -> Numbers:
    return np.array([each for one in values for each in one], dtype=np.float64)


def _compare_tokens(
    kept: Mapping[str, tuple[int, ...]], rendered: Mapping[str, tuple[int, ...]]
) -> None:
    for name, ids in kept.items():
        if name in CHATS and rendered.get(name) != ids:
            raise JobFailed(
                f"The probe chat {name!r} is written in other tokens than in training: the chat "
                "template or the tokenizer was changed.",
                code=CODE,
            )
