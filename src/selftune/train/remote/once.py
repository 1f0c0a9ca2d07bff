"""Make a thing at a provider once, whatever becomes of the answer.

OpenAI knows no key for repeats. So nothing is asked for by blind retries: where the answer was not
heard, the provider's list is looked at before asking again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import APIError

_ATTEMPTS = 8
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 30.0
_OF_TODAY = ("insufficient_quota", "daily_rate_limit_exceeded")
"""Codes of refusals with 429 that no wait of minutes changes."""


async def once(
    make: Callable[[], Awaitable[str]], find: Callable[[], Awaitable[str | None]]
) -> str:
    """Return the id of what was made; `find` returns it where an answer was lost.

    Raises:
        openai.APIError: it was refused, or the provider has not answered for a minute.

    """
    from openai import APIError

    for attempt in range(_ATTEMPTS):
        try:
            return await make()
        except APIError as error:
            if not may_be_made(error) or attempt + 1 == _ATTEMPTS:
                raise
        await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**attempt))
        if (found := await find()) is not None:
            return found
    raise AssertionError("the last attempt returns or raises")


def may_be_made(error: "APIError") -> bool:
    """Return whether the thing may be there, or may be made by asking again."""
    from openai import APIStatusError

    if not isinstance(error, APIStatusError):
        return True
    if error.code in _OF_TODAY:
        return False
    return error.status_code in (408, 409, 429) or error.status_code >= 500
