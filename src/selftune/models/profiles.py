"""Accounts elsewhere: `profiles.toml` in the home folder.

    [profile.acme]
    kind = "azure"
    base_url = "https://acme.openai.azure.com"
    api_key_variable = "ACME_KEY"

    [profile.gpu]
    base_url = "http://10.0.0.5:8000/v1"
    requests_per_minute = 600

A profile is an account that files, jobs and models are kept in; which models are asked where, is in
`endpoints.toml`, whose entries may name a profile. Keys are in neither: a key comes from an
environment variable, or from the system's keyring (service `selftune`, user: the profile's name).
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, model_validator

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Record
from selftune.core.runfile import load_toml
from selftune.core.settings import read_variable
from selftune.models.route import check_address

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FILE = "profiles.toml"
OPENAI = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
KEYRING_SERVICE = "selftune"
NO_KEY = "none"
"""Stands for the key where a provider needs none: the official client wants one."""
_AZURE_KEY_VARIABLE = "AZURE_OPENAI_API_KEY"
_RETRIES = 5
_AZURE_PATHS = ("/openai/v1", "/openai")

Kind = Literal["openai", "azure", "compatible"]


class Profile(Record):
    """An account at a provider with OpenAI's API. It never holds the key."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
    kind: Kind = "compatible"
    base_url: str | None = None
    """Its address; only `openai` has one of its own: what `OPENAI_BASE_URL` says, else OpenAI. Azure's
    is the resource's, https://NAME.openai.azure.com."""
    api_key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the key; absent, `OPENAI_API_KEY` of `openai`,
    `AZURE_OPENAI_API_KEY` of `azure`, and none of others."""
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    """Of Azure's dated API, such as 2024-10-21; absent, Azure's API `v1`."""
    organization: str | None = None
    project: str | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Most requests that selftune sends to it in a minute."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.base_url is None and self.kind != "openai":
            raise ValueError(f"base_url is missing: {self.kind} has no address of its own")
        if self.base_url is not None:
            _check_url(self.base_url)
        if self.api_version is not None and self.kind != "azure":
            raise ValueError("api_version is only of kind azure")
        return self

    @property
    def key_variable(self) -> str:
        """Name of the environment variable that may hold the key; empty where there is none."""
        own = {"openai": KEY_VARIABLE, "azure": _AZURE_KEY_VARIABLE, "compatible": ""}
        return self.api_key_variable or own[self.kind]

    @property
    def address(self) -> str:
        """Where requests go: the address that paths such as `/models` are put behind."""
        if self.kind == "azure":
            shape = "openai" if self.api_version else "openai/v1"
            return f"{_resource(self.base_url or '')}/{shape}"
        own = read_variable(URL_VARIABLE) if self.kind == "openai" else None
        return (self.base_url or own or OPENAI).rstrip("/")


class Profiles(Record):
    """What the file says, by name, and `openai`, which is always there."""

    profile: dict[str, Profile] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name(cls, given: Any) -> Any:
        """Write the name of each table into it."""
        tables = given.get("profile") if isinstance(given, dict) else None
        if not isinstance(tables, dict):
            return given
        named = {
            name: {"name": name} | each if isinstance(each, dict) else each
            for name, each in tables.items()
        }
        return {**given, "profile": named}


def load_profiles(home: Path) -> tuple[Profile, ...]:
    """Return all profiles of a home folder, by name; `openai` is one unless the file has its own.

    Raises:
        InvalidInput: the file cannot be read or a key is wrong; names the file, the key and the rule.

    """
    path = home / FILE
    found = load_toml(path, Profiles).profile if path.exists() else {}
    known = {"openai": Profile(name="openai", kind="openai")} | found
    return tuple(known[name] for name in sorted(known))


def find_profile(home: Path, name: str) -> Profile:
    """Return one profile.

    Raises:
        NotFound: there is none of this name.
        InvalidInput: the file is wrong.

    """
    profiles = load_profiles(home)
    for profile in profiles:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in profiles)
    raise NotFound(
        f"There is no profile {name!r}: {home / FILE} knows {known}. "
        f"`selftune profiles add {name}` makes one.",
        param="profile",
    )


def read_key(profile: Profile) -> str | None:
    """Return a profile's key, from its variable, else from the keyring; None where there is none.

    Raises:
        InvalidInput: what is there is no key that a header can hold.

    """
    variable = profile.key_variable
    key = (read_variable(variable) if variable else None) or _from_keyring(profile.name)
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidInput(
            f"The key of the profile {profile.name!r} is no API key: it has a space, a line break "
            "or another character that no header can hold.",
            code="invalid_api_key",
        )
    return key


def need_key(profile: Profile) -> str:
    """Return a profile's key, or a placeholder where its provider may need none.

    Raises:
        InvalidInput: there is no key, and one is needed.

    """
    key = read_key(profile)
    if key is None and (profile.kind == "azure" or profile.api_key_variable or is_openai(profile)):
        where = f"the environment variable {profile.key_variable}"
        raise InvalidInput(
            f"There is no key for the profile {profile.name!r}: put it into {where}, or into the "
            f"keyring: `keyring set {KEYRING_SERVICE} {profile.name}`.",
            code="missing_api_key",
        )
    return key or NO_KEY


def key_headers(profile: Profile) -> dict[str, str]:
    """Return the headers that say who asks.

    Raises:
        InvalidInput: there is no key where one is needed.

    """
    key = need_key(profile)
    headers = {"api-key": key} if profile.api_version else {"authorization": f"Bearer {key}"}
    own = {"openai-organization": profile.organization, "openai-project": profile.project}
    return headers | {name: value for name, value in own.items() if value is not None}


def chat_address(profile: Profile, model: str) -> str:
    """Return the address that chats with a model go to: of dated Azure, its deployment's."""
    if profile.api_version is None:
        return profile.address
    return f"{profile.address}/deployments/{quote(model, safe='')}"


def is_openai(profile: Profile) -> bool:
    """Return whether requests go to OpenAI itself."""
    return (urlsplit(profile.address).hostname or "").endswith("api.openai.com")


def is_readable(profile: Profile) -> bool:
    """Return whether others on the network can read what is sent."""
    parts = urlsplit(profile.address)
    host = parts.hostname or ""
    here = host in ("localhost", "::1") or host.startswith("127.")
    return parts.scheme == "http" and not here


def open_client(profile: Profile, *, retries: int = _RETRIES) -> "AsyncOpenAI":
    """Return the official client for a profile; close it after use.

    It retries by the SDK's own rules, keeps to the profile's requests per minute, and is quiet for
    as long as an answer 429 or 503 asks, with all requests. It follows no redirects, and takes no
    organisation, key or header for OpenAI from the environment to anyone else.

    Raises:
        InvalidInput: there is no key where one is needed.

    """
    from selftune.models.manners import open_politely

    return open_politely(profile, retries)


def _check_url(url: str) -> None:
    try:
        parts, _ = check_address(url)
    except InvalidInput as error:
        raise ValueError(error.message) from error
    if "@" in parts.netloc:
        raise ValueError("base_url holds a name or password: keys are not kept in this file")
    if parts.query or parts.fragment:
        raise ValueError("base_url must end with its path: it holds a ? or a #")


def _resource(url: str) -> str:
    """Return the address of an Azure resource, whichever path was copied with it."""
    url = url.rstrip("/")
    for path in _AZURE_PATHS:
        url = url.removesuffix(path)
    return url


def _from_keyring(name: str) -> str | None:
    """Return what the system's keyring holds for a profile; None without keyring or entry."""
    try:
        keyring = import_module("keyring")
    except ImportError:
        return None
    try:
        found = keyring.get_password(KEYRING_SERVICE, name)
    except keyring.errors.KeyringError:  # locked, or no place that keeps keys
        return None
    return str(found) if found else None
