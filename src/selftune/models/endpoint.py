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
from selftune.models.profiles import (
    KEY_VARIABLE,
    OPENAI,
    URL_VARIABLE,
    Profile,
    chat_address,
    key_headers,
    need_key,
)


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
    profile: Profile | None = None
    """The account that answers: address and key are then its own, not those above."""


def base_url_of(endpoint: Endpoint) -> str | None:
    """Return where the endpoint is, or None for OpenAI itself."""
    if endpoint.profile is not None:
        return chat_address(endpoint.profile, endpoint.model)
    return endpoint.base_url or read_variable(URL_VARIABLE) or None


def client_arguments(endpoint: Endpoint) -> dict[str, Any]:
    """Return key and address as the SDK's clients take them.

    Raises:
        InvalidInput: there is no key where one is needed, or the URL is none.

    """
    if endpoint.profile is not None:
        return _account_arguments(endpoint.profile)
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


def _account_arguments(profile: Profile) -> dict[str, Any]:
    given: dict[str, Any] = {
        "api_key": need_key(profile),
        "base_url": profile.address,
        "default_headers": key_headers(profile),
    }
    if profile.api_version is not None:
        given["default_query"] = {"api-version": profile.api_version}
    return given


def sender_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers that say who asks; raises what `client_arguments` raises."""
    if endpoint.profile is not None:
        return key_headers(endpoint.profile)
    return {"authorization": f"Bearer {client_arguments(endpoint)['api_key']}"}


def request_address(endpoint: Endpoint, path: str) -> str:
    """Return the URL that requests to a path such as `chat/completions` go to."""
    parts = urlsplit(base_url_of(endpoint) or OPENAI)
    version = None if endpoint.profile is None else endpoint.profile.api_version
    query = parts.query if version is None else f"api-version={version}"
    path = f"{parts.path.rstrip('/')}/{path}"
    return urlunsplit(parts._replace(path=path, query=query, fragment=""))


def connection_of(endpoint: Endpoint) -> tuple[str, str]:
    """Return what two endpoints share whose questions go over the same connections."""
    who = endpoint.api_key_variable
    if endpoint.profile is not None:
        who = f"profile {endpoint.profile.name}"  # no variable has a space
    return base_url_of(endpoint) or OPENAI, who


def raise_if_hopeless(endpoint: Endpoint, status: int, code: str | None, message: str) -> None:
    """Raise when no question will be answered: no key, no right, no such model, no credit."""
    where = place(endpoint)
    words = f"{where} says {status}: {message}"
    if status == 401 and endpoint.profile is not None:
        raise AuthenticationFailed(
            f"{where} does not accept the key of the profile {endpoint.profile.name!r}: check it."
        )
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
        raise NotFound(f"{words} Check the name of the {_asked_for(endpoint)} and the address.")
    if code == "insufficient_quota":
        raise Unavailable(f"{words} Add credit to the account, then run the same again.")


def _asked_for(endpoint: Endpoint) -> str:
    is_azure = endpoint.profile is not None and endpoint.profile.kind == "azure"
    return "deployment, which Azure answers for in place of models," if is_azure else "model"


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
