"""Base models and the names that mean them, from `catalog.toml` beside this file."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record


class Base(Record):
    """A model that training can start from."""

    id: str
    engine: str
    owned_by: str
    license: str
    context: int
    """Tokens that the model reads of one prompt; the rest of a longer one is left out."""
    created: int
    for_tests: bool = False
    """Can be trained by name, and is not listed before it has been."""
    source: str | None = None
    """Folder of safetensors, or a repository of the Hugging Face hub; None has its own weights."""
    revision: str | None = None
    """Commit of the repository; None takes what the cache has, or the newest."""
    family: str | None = None
    """How its chat template writes tool calls: a name of `models/hf/families`."""
    parameters: int | None = None
    targets: tuple[str, ...] = ()
    """Modules that get adapters; none means every linear layer but the last."""
    learning_rate: dict[str, float] = Field(default_factory=dict)
    """By method: what `learning_rate_multiplier` multiplies; absent means the engine's own."""
    server: str | None = None
    """Address of the OpenAI-shaped server that answers for it, such as vLLM's."""


class Alias(Record):
    """Another name for a base, with the dates of the hosted model it is named after."""

    id: str
    base: str
    short: str | None = None
    """The undated name that resolves to this one."""
    shutdown_date: str | None = None
    created: int
    trainable: bool = True


class Catalog(Record):
    """All bases and aliases."""

    base: tuple[Base, ...]
    alias: tuple[Alias, ...]

    def snapshot(self, name: str) -> str:
        """Return the dated name that `name` stands for; unknown names come back unchanged."""
        return next((alias.id for alias in self.alias if alias.short == name), name)

    def find(self, name: str) -> Base | None:
        """Return the base that a base id, dated alias or short alias means."""
        target = self.snapshot(name)
        target = next((alias.base for alias in self.alias if alias.id == target), target)
        return next((base for base in self.base if base.id == target), None)

    def listed(self, used: Iterable[str]) -> tuple[Base, ...]:
        """Return the bases that a list of models names; `used` are bases that models came from."""
        known = set(used)
        return tuple(base for base in self.base if not base.for_tests or base.id in known)

    def trainable(self, name: str) -> Base:
        """Return the base to train for `name`.

        Raises:
            InvalidInput: no such base, or it cannot be fine-tuned; in OpenAI's words.

        """
        alias = next((a for a in self.alias if a.id == self.snapshot(name)), None)
        base = self.find(name)
        if base is None or (alias is not None and not alias.trainable):
            raise InvalidInput(
                f"Model {name} is not available for fine-tuning or does not exist.",
                code="model_not_available",
                param="model",
            )
        return base


@cache
def catalog() -> Catalog:
    """Return the catalogue that ships with this package."""
    text = files("selftune.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    return Catalog.model_validate(tomllib.loads(text))
