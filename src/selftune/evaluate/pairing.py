"""Which model of one round stands for which of another, whose names may have changed."""

from collections.abc import Sequence

from selftune.core.errors import InvalidInput

ENOUGH_SHARED = 0.9
"""Share of a round's questions that another one must have, to stand for it in a gate."""


def partner(name: str, own: Sequence[str], others: Sequence[str]) -> str | None:
    """Return the model of another round: of the same name, or place, or the only one there is."""
    if name in others:
        return name
    if len(own) == len(others) and name in own:
        return others[own.index(name)]
    return others[0] if len(others) == 1 else None


def need_enough(shared: int, n: int, names: tuple[str, str]) -> None:
    """Refuse a baseline that asked other questions.

    Raises:
        InvalidInput: too few are shared.

    """
    if shared < ENOUGH_SHARED * n:
        raise InvalidInput(
            f"The round {names[1]!r} has only {shared:,} of the {n:,} questions of {names[0]!r}: "
            f"it cannot be the baseline. At least {ENOUGH_SHARED:.0%} must be the same; run the "
            "baseline again on the questions of today."
        )
