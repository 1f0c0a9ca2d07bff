"""How many questions it takes, and what a number of questions can show: before a run is paid for."""

import math

from selftune.core.errors import InvalidInput
from selftune.evaluate.statistics.distributions import (
    binomial_at,
    binomial_below,
    crossing,
    normal_point,
)
from selftune.evaluate.statistics.interval import need_fraction, need_some

ALPHA = 0.05
POWER = 0.8
DISCORDANT = 0.4
"""Share of questions on which two models differ, where nothing is known."""
_MOST_QUESTIONS = 10**12
_FAR = 7
"""Standard deviations from the mean beyond which an outcome does not count."""


def questions_needed(
    difference: float,
    *,
    discordant: float = DISCORDANT,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int:
    """Return how many questions, asked of both models, show a difference of shares.

    Connor (1987), Biometrics 43, given the share of questions on which the two models differ; plus
    about two over the difference, which the exact test costs at most: the correction of Fleiss
    (1981, section 3.2) for continuity. A model cannot be better by more than the two differ, so at least
    that much is assumed.

    Raises:
        InvalidInput: the difference is 0, or not between -1 and 1; or a share is none.

    """
    gap = _gap(difference)
    need_fraction(alpha, "alpha")
    need_fraction(power, "The power")
    if not 0 < discordant <= 1:
        raise InvalidInput(
            f"The share that differs is {discordant!r}: it must be above 0, at most 1."
        )
    both = max(discordant, gap)
    z, z_power = normal_point(1 - alpha / 2), normal_point(power)
    root = math.sqrt(max(both - gap * gap, 0.0))
    needed = ((z * math.sqrt(both) + z_power * root) / gap) ** 2
    return math.ceil(_continuous(needed, gap))


def unpaired_questions_needed(
    first: float, second: float, *, alpha: float = ALPHA, power: float = POWER
) -> int:
    """Return how many questions each of two models needs, when they are not the same questions.

    Fleiss (1981), Statistical Methods for Rates and Proportions, formula 3.14, without correction.

    Raises:
        InvalidInput: a share is not from 0 to 1, or the two are the same.

    """
    if not (0 <= first <= 1 and 0 <= second <= 1):
        raise InvalidInput("A share is from 0 to 1.")
    gap, middle = _gap(second - first), (first + second) / 2
    apart = math.sqrt(first * (1 - first) + second * (1 - second))
    together = math.sqrt(2 * middle * (1 - middle))
    z, z_power = normal_point(1 - alpha / 2), normal_point(power)
    return math.ceil(((z * together + z_power * apart) / gap) ** 2)


def scores_needed(
    difference: float, deviation: float, *, alpha: float = ALPHA, power: float = POWER
) -> int:
    """Return how many paired items show a difference of mean scores.

    `deviation` is that of the differences, item by item (Miller 2024, "Adding Error Bars to
    Evals", formula 9, with the variances of questions and of sampling in one).

    Raises:
        InvalidInput: the difference is 0, or the deviation not above 0.

    """
    if difference == 0 or not 0 < deviation < math.inf:
        raise InvalidInput("It takes a difference that is not 0 and a deviation above 0.")
    z = normal_point(1 - alpha / 2) + normal_point(power)
    return math.ceil((z * deviation / difference) ** 2)


def detectable_difference(
    n: int, *, discordant: float = DISCORDANT, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Return the least difference of shares that n questions show; None when they show none.

    Raises:
        InvalidInput: n is 0, or a share is none.

    """
    need_some(n)

    def spare(gap: float) -> float:
        return n - questions_needed(gap, discordant=discordant, alpha=alpha, power=power) + 0.5

    if not 0 < discordant <= 1:
        raise InvalidInput(f"The share that differs is {discordant!r}: it must be above 0.")
    return crossing(spare, 1e-9, discordant) if spare(discordant) > 0 else None


def detectable_score(
    n: int, deviation: float, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the least difference of mean scores that n paired items show (Miller 2024)."""
    need_some(n)
    z = normal_point(1 - alpha / 2) + normal_point(power)
    return z * deviation / math.sqrt(n)


def equivalence_questions_needed(
    margin: float,
    deviation: float,
    *,
    difference: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """Return how many paired items show that two models differ by less than the margin.

    `difference` is the true one, `deviation` that of the differences. None when the difference is
    not inside the margin: no number shows it (Chow, Shao and Wang 2008, section 3.2).
    """
    room = margin - abs(difference)
    if room <= 0:
        return None
    # Only without any difference do both of the two tests have to be lucky.
    z_power = normal_point((1 + power) / 2 if difference == 0 else power)
    z = normal_point(1 - alpha) + z_power
    return max(1, math.ceil((z * deviation / room) ** 2))


def paired_power(
    n: int, difference: float, *, discordant: float = DISCORDANT, alpha: float = ALPHA
) -> float:
    """Return how likely the exact McNemar test of n questions shows a true difference.

    Every outcome is counted that is not rarer than one in a billion.

    Raises:
        InvalidInput: n is 0, or the difference is larger than the share that differs.

    """
    need_some(n)
    need_fraction(discordant, "The share that differs")
    if abs(difference) > discordant:
        raise InvalidInput("The difference cannot be larger than the share that differs.")
    right = (discordant + difference) / (2 * discordant)
    likely = math.ceil(_FAR * math.sqrt(n * discordant * (1 - discordant)) + _FAR)
    middle = round(n * discordant)
    return math.fsum(
        binomial_at(m, n, discordant) * _shown(m, right, alpha)
        for m in range(max(1, middle - likely), min(n, middle + likely) + 1)
    )


def _shown(m: int, right: float, alpha: float) -> float:
    """Return how likely m differing questions reach significance, `right` the share of one side."""
    low, high = -1, m // 2
    while low < high:
        middle = (low + high + 1) // 2
        is_rare = 2 * binomial_below(middle, m, 0.5) < alpha
        low, high = (middle, high) if is_rare else (low, middle - 1)
    return binomial_below(low, m, right) + binomial_below(low, m, 1 - right)


def _continuous(n: float, gap: float) -> float:
    """Return a sample size with the correction for continuity."""
    return n / 4 * (1 + math.sqrt(1 + 4 / (n * gap))) ** 2


def _gap(difference: float) -> float:
    if not 0 < abs(difference) <= 1:
        raise InvalidInput(
            f"The difference is {difference!r}: it must be a share other than 0, such as 0.05."
        )
    return max(abs(difference), 1 / math.sqrt(_MOST_QUESTIONS))
