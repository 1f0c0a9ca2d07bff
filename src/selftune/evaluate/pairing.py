"""Which older round, and which model of it, one is compared with."""

from collections.abc import Sequence

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.rounds import RoundFolder, list_rounds

ENOUGH_SHARED = 0.9
"""Share of a round's questions that another one must have, to stand for it in a gate."""


def partner(name: str, own: Sequence[str], others: Sequence[str]) -> str | None:
    """Return the model of another round: of the same name, or place, or the only one there is."""
    if name in others:
        return name
    if len(own) == len(others) and name in own:
        return others[own.index(name)]
    return others[0] if len(others) == 1 else None


def round_before(folder: RoundFolder) -> RoundFolder:
    """Return the last finished round of the same eval that is older than this one.

    Raises:
        NotFound: there is none.

    """
    rounds = list_rounds(folder.path.resolve().parents[1])
    names = [each.path.name for each in rounds]
    older = rounds[: names.index(folder.path.name)] if folder.path.name in names else []
    finished = [each for each in older if each.read().status == "completed"]
    if not finished:
        raise NotFound(
            f"There is no finished round before {folder.path.name!r} to compare it with: the next "
            "one will have one."
        )
    return finished[-1]


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
