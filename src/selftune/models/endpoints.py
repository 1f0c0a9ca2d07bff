"""Which models are answered elsewhere, and where: `endpoints.toml` in the home folder.

    [[endpoint]]
    models = ["gpt-*", "o?-*"]

    [[endpoint]]
    models = ["qwen3-*"]
    base_url = "http://127.0.0.1:8001/v1"
    api_key_variable = "LOCAL_KEY"
    concurrency = 16

    [[endpoint]]
    models = ["acme-support"]
    profile = "acme"

Keys are never in it, only the names of the environment variables that hold them. An entry that names
a profile has address and key of that account in `profiles.toml`.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import load_toml
from selftune.models.endpoint import Endpoint
from selftune.models.profiles import KEY_VARIABLE, OPENAI, Profile, load_profiles
from selftune.models.route import check_address

FILE = "endpoints.toml"


def _address(url: str) -> str:
    try:
        check_address(url)
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return url


class Place(Record):
    """An endpoint, and the models that it answers for."""

    models: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    """Names, or patterns of names: `*` is any text, `?` one character, `[ab]` one of these."""
    base_url: Annotated[str, AfterValidator(_address)] = OPENAI
    api_key_variable: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the key; absent, OpenAI gets `OPENAI_API_KEY`, and nobody else
    gets a key."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Most requests on their way to it, whoever asks."""
    profile: str | None = None
    """Account of `profiles.toml` that answers, in place of an address and a key."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.profile is not None and {"base_url", "api_key_variable"} & self.model_fields_set:
            raise ValueError("a profile has its own base_url and api_key_variable")
        return self

    @property
    def key_variable(self) -> str:
        """Name of the variable that holds the key, or nothing where there is none."""
        is_openai = self.base_url.startswith(OPENAI.removesuffix("v1"))
        return self.api_key_variable or (KEY_VARIABLE if is_openai else "")


class Places(Record):
    """All places, in the order of the file."""

    endpoint: tuple[Place, ...] = ()


class Endpoints(Record):
    """All places, and the accounts that they name."""

    places: tuple[Place, ...] = ()
    profiles: dict[str, Profile] = Field(default_factory=dict)

    def find(self, model: str) -> Endpoint | None:
        """Return the first endpoint that answers for a model, or None where the file names none."""
        for place in self.places:
            if any(fnmatchcase(model, pattern) for pattern in place.models):
                return self._endpoint(model, place)
        return None

    def _endpoint(self, model: str, place: Place) -> Endpoint:
        if place.profile is not None:
            account = self.profiles[place.profile]
            return Endpoint(model=model, concurrency=place.concurrency, profile=account)
        return Endpoint(
            model=model,
            base_url=place.base_url,
            api_key_variable=place.key_variable,
            concurrency=place.concurrency,
        )


def load_endpoints(home: Path) -> Endpoints:
    """Return what a home folder's file says; nothing where there is none.

    Raises:
        InvalidInput: the file cannot be read or a key is wrong; names the file, the key and the rule.

    """
    path = home / FILE
    if not path.exists():
        return Endpoints()
    places = load_toml(path, Places).endpoint
    if all(place.profile is None for place in places):
        return Endpoints(places=places)
    profiles = {profile.name: profile for profile in load_profiles(home)}
    for number, place in enumerate(places):
        if place.profile is not None and place.profile not in profiles:
            raise InvalidInput(
                f"{path}: endpoint.{number}.profile: there is no profile {place.profile!r}; "
                f"`selftune profiles list` names them."
            )
    return Endpoints(places=places, profiles=profiles)
