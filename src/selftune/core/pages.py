"""One page of a listing."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Items in order, and whether more follow."""

    data: tuple[T, ...]
    has_more: bool


def page_of(items: list[T], limit: int) -> Page[T]:
    """Return a page from a query that asked for one item more than the limit."""
    return Page(tuple(items[:limit]), len(items) > limit)
