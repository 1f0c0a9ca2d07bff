"""Ask an account at a provider: lists to their ends, single objects, contents of files.

The official client sends and repeats; what comes back is kept as it came, not as the client
understands it. What the provider refuses becomes a `Refused` that says what kind of no it was.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from selftune.core.errors import AuthenticationFailed, NotFound, Unavailable
from selftune.models.profiles import NO_KEY
from selftune.models.refusals import is_out_of_scope
from selftune.rescue.archive.format import State

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CHUNK_BYTES = 1 << 20
_GONE = (404, 405, 410, 501)
"""Not there, or not there any more; with 405 and 501 some servers say that a list is not theirs."""
_ATTEMPTS = 5
"""For a content that breaks off, and for an answer that is not JSON."""
_PAUSE_SECONDS = 0.2
_LONGEST_REASON = 500
_MOST_SILENT = 8
"""Requests one after the other, each repeated by the client, that nothing answers."""
Object = dict[str, Any]


class Refused(Exception):
    """The provider gave no answer that could be kept; it never leaves this package."""

    def __init__(self, state: State, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.state, self.reason, self.status = state, reason[:_LONGEST_REASON], status


class Asking:
    """Asks through the official client, a few things at a time."""

    def __init__(self, client: "AsyncOpenAI", *, at_once: int = 8) -> None:
        self._client = client
        self._turn = asyncio.Semaphore(at_once)
        self._patience = 1
        """Requests without an answer after which nobody seems to be there; more once one was."""
        self._silent = 0

    async def one(self, path: str, **query: str | int | None) -> Object:
        """Return the object at a path.

        Raises:
            Refused: there is none for us.
            AuthenticationFailed: the key is not accepted.
            Unavailable: nothing answers any more.

        """
        given = {name: value for name, value in query.items() if value is not None}
        for attempt in range(1, _ATTEMPTS + 1):
            async with self._turn, self._answers():
                body = await self._client.get(path, cast_to=bytes, options={"params": given})
            found = _parsed(body)
            if found is not None:
                return found
            if body.lstrip().startswith(b"<"):
                raise Refused("deleted", f"{path} answers with a web page: it is no API")
            if attempt < _ATTEMPTS:
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
        raise Refused("failed", f"{path} does not answer with a JSON object")

    async def pages(
        self, path: str, *, limit: int = 100, after: str | None = None, **query: str
    ) -> AsyncIterator[list[Object]]:
        """Yield the pages of a list, from after a cursor to its end. Raises what `one` raises."""
        most: int | None = limit
        seen = {after}
        while True:
            try:
                page = await self.one(path, limit=most, after=after, **query)
            except Refused as refused:
                if refused.status != 400 or most is None:
                    raise
                most = None  # it may not like so long a page
                continue
            data = page.get("data")
            if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
                raise Refused("failed", f"{path} does not answer with a list")
            yield data
            if not data or not page.get("has_more"):
                return
            after = str(data[-1].get("id"))
            if after in seen:
                raise Refused("failed", f"{path} says that more follows and gives the same again")
            seen.add(after)

    async def content(self, file_id: str, take: Callable[[bytes], None]) -> None:
        """Hand the content of a file on, piece by piece. Raises what `one` raises.

        Raises:
            Broken: it broke off; what was handed on is not all.

        """
        async with self._turn, self._answers(breaks=True):
            reading = self._client.files.with_streaming_response.content(file_id)
            async with reading as response:
                async for chunk in response.iter_bytes(CHUNK_BYTES):
                    take(chunk)

    @asynccontextmanager
    async def _answers(self, *, breaks: bool = False) -> AsyncIterator[None]:
        """Turn the client's errors into ours.

        Raises:
            Unavailable: nothing answers any more.

        """
        import openai

        transport: type[Exception] = import_module(_http_library()).TransportError
        try:
            yield
        except openai.AuthenticationError as error:
            said = self._said(error)
            if is_out_of_scope(401, said):
                self._heard()
                raise Refused("forbidden", f"401: {said}", 401) from None
            has_key = self._client.api_key != NO_KEY
            problem = f"does not accept the key: {said}" if has_key else "wants a key."
            raise AuthenticationFailed(
                f"{self._address} {problem} `selftune profiles list` shows where each profile's key is "
                "looked for.",
                code="invalid_api_key",
            ) from None  # its own words may hold the key
        except openai.APIStatusError as error:
            self._heard()
            status = error.status_code
            raise Refused(_state_of(status), f"{status}: {self._said(error)}", status) from None
        except openai.APIConnectionError as error:
            raise self._unheard(str(error.__cause__ or error.message)) from error
        except transport as error:
            if breaks:
                raise Broken(str(error)) from error
            raise self._unheard(str(error)) from error
        else:
            self._heard()

    @property
    def _address(self) -> str:
        return str(self._client.base_url).rstrip("/")

    def _said(self, error: "APIStatusError") -> str:
        """Return what the provider says, without the client's words around it, and without the key."""
        body = error.body
        message = body.get("message") if isinstance(body, dict) else None
        said, key = str(message or error.message), self._client.api_key
        return (said if key == NO_KEY else said.replace(key, "…"))[:_LONGEST_REASON]

    def _heard(self) -> None:
        self._patience, self._silent = _MOST_SILENT, 0

    def _unheard(self, problem: str) -> Exception:
        self._silent += 1
        if self._silent < self._patience:
            return Refused("failed", f"no answer: {problem}")
        return Unavailable(
            f"{self._address} does not answer: {problem.rstrip('.')}. Check the address, or run it "
            "again when it does.",
            code="no_answer",
        )


class Broken(Exception):
    """A content broke off: ask again, from the start."""


def path_of(*parts: str) -> str:
    """Return a path of ids: they are somebody else's text."""
    return "".join("/" + quote(part, safe=":") for part in parts)


def no_lists(address: str) -> NotFound:
    """Return the error of an address where nothing of an account is."""
    return NotFound(
        f"{address.rstrip('/')} has none of the lists of OpenAI's API: check the profile's base_url, which mostly "
        "ends with /v1."
    )


def _state_of(status: int) -> State:
    if status in _GONE:
        return "deleted"
    return "forbidden" if status == 403 else "failed"


@cache
def _http_library() -> str:
    """Return what the client sends with: it has changed between its versions."""
    return "httpx2" if find_spec("httpx2") else "httpx"


def _parsed(body: bytes) -> Object | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
