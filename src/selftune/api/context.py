"""What every handler can reach: the store, the serving process, and who is calling."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

import msgspec
import orjson
from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.archive.shelf import Shelf
from selftune.core.errors import InvalidInput
from selftune.core.records import Identity
from selftune.models.relay import Relay
from selftune.serve.client import ServingClient
from selftune.store.store import Store

__all__ = [
    "Context",
    "Storable",
    "answer",
    "body_of",
    "checked",
    "context",
    "identity",
    "is_count",
    "json_of",
    "limit_of",
    "request_id",
    "run_in_threadpool",
]

T = TypeVar("T", bound=BaseModel)
_MOST_DIGITS = 10


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "it has a NUL character, which cannot be stored")
    return text


Storable = Annotated[str, AfterValidator(_without_nul)]
"""Text that every database can keep and look up: Postgres has no NUL character."""


@dataclass(frozen=True)
class Context:
    """The parts of the server."""

    store: Store
    serving: ServingClient
    relay: Relay
    shelf: Shelf | None = None
    """An archived account that is served beside the store."""

    @property
    def is_spec_profile(self) -> bool:
        """True when the SDKs' own tests are talking."""
        return self.store.settings.profile == "spec"

    async def close(self) -> None:
        """End the connections to other processes and servers."""
        await self.relay.close()
        await self.serving.close()


def context(request: Request) -> Context:
    """Return the server's parts."""
    return cast(Context, request.app.state.context)


def identity(request: Request) -> Identity:
    """Return who is calling; the middleware has checked the key."""
    return cast(Identity, request.scope["selftune.identity"])


def request_id(request: Request) -> str:
    """Return what the answer's headers call this request."""
    return cast(str, request.scope["selftune.request_id"])


def answer(value: Any, status: int = 200) -> Response:
    """Return JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")


async def json_of(request: Request) -> dict[str, Any]:
    """Return the body's JSON object without what is null: null means "not given".

    Raises:
        InvalidInput: it is not a JSON object.

    """
    body = await request.body()
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "We could not parse the JSON body of your request. (HINT: This likely means you "
            f"aren't using your HTTP library correctly. {error})"
        ) from error
    if not isinstance(value, dict):
        raise InvalidInput("The JSON body must be an object.")
    return {name: found for name, found in value.items() if found is not None}


async def body_of(request: Request, kind: type[T]) -> T:
    """Return the body as a checked value."""
    return checked(await json_of(request), kind)


def checked(body: dict[str, Any], kind: type[T]) -> T:
    """Return a checked value; unknown fields are ignored, as OpenAI ignores them."""
    try:
        return kind.model_validate(body)
    except ValidationError as problem:
        raise invalid(problem) from problem


def invalid(problem: ValidationError) -> InvalidInput:
    """Return the first problem in OpenAI's form."""
    first = problem.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return InvalidInput(
            f"Missing required parameter: '{where}'.",
            code="missing_required_parameter",
            param=where,
        )
    return InvalidInput(
        f"Invalid value for '{where}': {first['msg']}.", code="invalid_value", param=where
    )


def is_count(text: str) -> bool:
    """Return whether a text is a whole number of a size that anybody would write."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def limit_of(request: Request, default: int, most: int) -> int:
    """Return the query's `limit`, at least 1 and at most `most`."""
    text = request.query_params.get("limit")
    if text is None:
        return default
    try:
        return min(max(int(text), 1), most)
    except ValueError as error:
        raise InvalidInput(
            f"Invalid value for 'limit': {text!r} is not an integer.",
            code="invalid_value",
            param="limit",
        ) from error
