"""An estimate with its bounds, and the refusal to estimate from nothing."""

from selftune.core.errors import InvalidInput
from selftune.core.records import Record

CONFIDENCE = 0.95


class Interval(Record):
    """An estimate with the bounds of its interval."""

    value: float
    low: float
    high: float
    n: int
    """Items that it was made from."""
    confidence: float = CONFIDENCE


def need_some(n: int) -> None:
    """Refuse to measure nothing.

    Raises:
        InvalidInput: there is no item.

    """
    if n <= 0:
        raise InvalidInput(f"There is nothing to measure: n is {n}.", code="no_items")


def need_same_items(first: int, second: int) -> None:
    """Refuse to pair what has no partner.

    Raises:
        InvalidInput: the two sides differ in length.

    """
    if first != second:
        raise InvalidInput(
            f"A paired comparison needs the same items on both sides: there are {first} and "
            f"{second}."
        )


def need_count(part: int, whole: int, name: str) -> None:
    """Refuse a count that cannot be.

    Raises:
        InvalidInput: the count is below 0, or above the whole.

    """
    if not 0 <= part <= whole:
        raise InvalidInput(f"{name} is {part}: it must be from 0 to {whole}.")


def need_fraction(value: float, name: str) -> None:
    """Refuse a share that is not strictly between 0 and 1.

    Raises:
        InvalidInput: it is not.

    """
    if not 0 < value < 1:
        raise InvalidInput(f"{name} is {value!r}: it must be above 0 and below 1.")
