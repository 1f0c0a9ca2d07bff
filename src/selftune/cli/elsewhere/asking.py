"""What these commands share: one client for one command, and the provider's refusals in words."""

import time
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from selftune.core.settings import load_settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
PAGE = 100
"""Most that OpenAI answers at a time of jobs and events."""

Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="At this provider, not here (`profiles list`)."),
]


def ask(name: str, question: "Callable[[AsyncOpenAI], Awaitable[T]]") -> T:
    """Return what an account answers to a question.

    Raises:
        NotFound: there is no such profile.
        SelftuneError: what the provider's refusal means.

    """
    from selftune.models.asking import run_loop
    from selftune.models.profiles import find_profile, open_client
    from selftune.models.refusals import told

    profile = find_profile(load_settings().root, name)

    async def answered() -> T:
        async with open_client(profile) as client:
            with told(profile):
                return await question(client)

    return run_loop(answered())


async def first(items: AsyncIterable[Any], limit: int | None = None) -> list[Any]:
    """Return the first items of a list, page after page, as the provider wrote them."""
    found: list[Any] = []
    async for item in items:
        if limit is not None and len(found) == limit:
            break
        found.append(as_written(item))
    return found


def as_written(item: Any) -> Any:
    """Return an object as JSON, with what the official client has no name for."""
    return item.to_dict(mode="json")


def when(seconds: object) -> str:
    """Return a time in words."""
    if not isinstance(seconds, int | float):
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
