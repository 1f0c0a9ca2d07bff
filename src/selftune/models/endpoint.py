"""A model and where it answers: its address, its key, and the errors that end all asking."""

from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from selftune.core.errors import (
    AuthenticationFailed,
    InvalidInput,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from selftune.core.records import Record
from selftune.core.settings import read_variable

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
OPENAI = "https://api.openai.com/v1"


class Endpoint(Record):
    """A model, and where it answers."""

    model: str
    base_url: str | None = None
    """Absent, what `OPENAI_BASE_URL` says, else OpenAI itself."""
    api_key_variable: str = KEY_VARIABLE
    """Name of the environment variable that holds the key; the key itself is never kept. Empty:
    there is none."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most requests on their way to it; absent, who asks decides alone."""


def base_url_of(endpoint: Endpoint) -> str | None:
    """Return where the endpoint is, or None for OpenAI itself."""
    return endpoint.base_url or read_variable(URL_VARIABLE) or None


def client_arguments(endpoint: Endpoint) -> dict[str, Any]:
    """Return key and address as the SDK's clients take them.

    Raises:
        InvalidInput: there is no key where one is needed, or the URL is none.

    """
    url = base_url_of(endpoint)
    variable = endpoint.api_key_variable
    key = read_variable(variable) if variable else None
    if not key and (url is None or variable not in ("", KEY_VARIABLE)):
        raise InvalidInput(
            f"The environment variable {variable!r} is not set: put the API key "
            f"of {endpoint.model!r} into it, or name the address of an endpoint that needs none.",
            code="missing_api_key",
        )
    if key and not (key.isascii() and key.isprintable()):
        raise InvalidInput(
            f"The environment variable {variable!r} is no API key: it has a line "
            "break or another character that no header can hold.",
            code="invalid_api_key",
        )
    if url is not None and not url.startswith(("http://", "https://")):
        raise InvalidInput(f"The address {url!r} must begin with http:// or https://.")
    return {"api_key": key or "none", "base_url": url}  # the SDK wants a key, a local server none


def request_address(endpoint: Endpoint, path: str) -> str:
    """Return the URL that requests to a path such as `chat/completions` go to."""
    parts = urlsplit(base_url_of(endpoint) or OPENAI)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}", fragment=""))


def raise_if_hopeless(endpoint: Endpoint, status: int, code: str | None, message: str) -> None:
    """Raise when no question will be answered: no key, no right, no such model, no credit."""
    where = place(endpoint)
    words = f"{where} says {status}: {message}"
    if status == 401 and not endpoint.api_key_variable:
        raise AuthenticationFailed(
            f"{where} wants a key: name the environment variable that holds it, as "
            "`api_key_variable` where the endpoint is named."
        )
    if status == 401:  # the endpoint's own words may repeat the key
        raise AuthenticationFailed(
            f"{where} does not accept the key in the environment variable "
            f"{endpoint.api_key_variable!r}: check it."
        )
    if status == 403:
        raise PermissionDenied(f"{words} The key may not use this model or endpoint.")
    if status == 404 or 300 <= status < 400:
        raise NotFound(f"{words} Check the name of the model and the address.")
    if code == "insufficient_quota":
        raise Unavailable(f"{words} Add credit to the account, then run the same again.")


def place(endpoint: Endpoint) -> str:
    """Return the endpoint in words."""
    return f"{endpoint.model!r} at {address_of(endpoint) or 'OpenAI'}"


def address_of(endpoint: Endpoint) -> str | None:
    """Return where the endpoint is, without a name and password that its URL may hold."""
    url = base_url_of(endpoint)
    if url is None:
        return None
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
