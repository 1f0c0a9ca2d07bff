"""The official client, made polite: one pace for all requests, and nothing sent that is not meant.

The SDK takes organisation, project, admin key and headers for OpenAI from the environment whoever is
asked, and again with each `with_options`. So what leaves is put right where it leaves: in a hook of
the HTTP client, which all copies share.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from selftune.core.settings import read_variable

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

    from selftune.models.profiles import Profile

_OF_THE_CALLER = ("authorization", "api-key", "openai-organization", "openai-project")
_TELLING_TO_WAIT = (429, 503)
_LONGEST_WAIT_SECONDS = 120.0
"""Longest wait that the SDK grants before a retry; beyond it, it gives up."""


def open_politely(profile: "Profile", retries: int) -> "AsyncOpenAI":
    """Return the official client for a profile."""
    from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

    from selftune.models.profiles import key_headers, need_key

    key = need_key(profile)
    outgoing = _Outgoing(profile, key_headers(profile))
    given: dict[str, Any] = {
        "api_key": key,
        "base_url": profile.address,
        "organization": profile.organization,
        "project": profile.project,
        "max_retries": retries,
        "http_client": DefaultAsyncHttpxClient(
            follow_redirects=False,
            event_hooks={"request": [outgoing.send], "response": [outgoing.hear]},
        ),
    }
    if profile.api_version is not None:
        return AsyncAzureOpenAI(**given, api_version=profile.api_version)
    return AsyncOpenAI(**given)


class Turns:
    """Requests one after the other, so many a minute, and none while the provider asks for quiet."""

    def __init__(
        self,
        per_minute: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = self._quiet_until = 0.0

    async def wait(self) -> None:
        """Wait for a turn."""
        while (at := max(self._next, self._quiet_until)) > (now := self._clock()):
            await self._sleep(at - now)
        self._next = now + self._gap

    def pause(self, seconds: float) -> None:
        """Let nothing begin for this long."""
        until = self._clock() + min(seconds, _LONGEST_WAIT_SECONDS)
        self._quiet_until = max(self._quiet_until, until)


class _Outgoing:
    """What is done with each request and each answer."""

    def __init__(self, profile: "Profile", headers: dict[str, str]) -> None:
        self._headers = headers
        self._is_foreign = profile.kind != "openai"
        self._ambient = _ambient_headers()
        self._turns = Turns(profile.requests_per_minute)

    async def send(self, request: "httpx2.Request") -> None:
        """Put the headers right, and wait for a turn."""
        if self._is_foreign:
            for name, value in self._ambient:
                if request.headers.get(name) == value:
                    del request.headers[name]
            for name in _OF_THE_CALLER:
                request.headers.pop(name, None)
            request.headers.update(self._headers)
        await self._turns.wait()

    async def hear(self, response: "httpx2.Response") -> None:
        """Keep all quiet for as long as the answer asks."""
        if response.status_code in _TELLING_TO_WAIT:
            self._turns.pause(asked_seconds(response.headers))


def asked_seconds(headers: Any) -> float:
    """Return how long an answer asks to wait: `retry-after-ms`, else `retry-after`; 0 if not at all."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers.get(name)) / unit)
        except (TypeError, ValueError):
            continue
    try:
        when = parsedate_to_datetime(str(headers.get("retry-after")))
    except ValueError:
        return 0.0
    return max(0.0, when.timestamp() - time.time())


def _ambient_headers() -> tuple[tuple[str, str], ...]:
    """Return the headers that the SDK takes from the environment for all that it sends."""
    lines = (read_variable("OPENAI_CUSTOM_HEADERS") or "").split("\n")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return tuple((name.strip(), value.strip()) for name, _, value in pairs if name.strip())
