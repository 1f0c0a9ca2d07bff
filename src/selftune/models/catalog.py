"""Base models and the names that mean them: `catalog.toml` beside this file, and a home folder's own.

The own file has the same tables. An entry of an id that ships changes the keys that it names; other
entries are added. Only the own file has `[[replacement]]` tables: what answers for a model that was
tuned elsewhere, under the name that programs know.
"""

import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Method, Record
from selftune.models.listed import base_of

FILE = "catalog.toml"
_KEPT = 16
"""Home folders whose catalogue stays in memory."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")]
"""No colon: names of trained models have five parts between colons."""
Asked = Annotated[str, Field(pattern=r"^[A-Za-z0-9][^\x00-\x20\x7f]{0,299}$")]
"""A name that programs ask a provider for: a tuned model's or, at Azure, a deployment's."""
T = TypeVar("T", bound=Record)
KINDS = ("base", "alias", "replacement")
Tables = dict[str, dict[str, dict[str, Any]]]
"""Entries by the kind of table, then by id."""


class Base(Record):
    """A model that training can start from."""

    id: Name
    engine: str = "hf"
    owned_by: str = "you"
    license: str = "unknown"
    context: Annotated[int, Field(ge=8)]
    """Tokens that the model reads of one prompt; the rest of a longer one is left out."""
    created: int = 0
    for_tests: bool = False
    """Can be trained by name, and is not listed before it has been."""
    methods: tuple[Method, ...] = ("supervised", "dpo", "reinforcement")
    """Ways in which it can be trained."""
    source: str | None = None
    """Folder of safetensors, or a repository of the Hugging Face hub; None has its own weights."""
    revision: str | None = None
    """Commit of the repository; None takes what the cache has, or the newest."""
    family: str | None = None
    """How its chat template writes tool calls: a name of `models/hf/families`."""
    parameters: Annotated[int, Field(ge=1)] | None = None
    """All its weights, to three digits; those that two layers share are counted once."""
    layers: Annotated[int, Field(ge=1)] | None = None
    width: Annotated[int, Field(ge=1)] | None = None
    """Numbers of a token inside the model: `hidden_size` of its configuration."""
    targets: tuple[str, ...] = ()
    """Modules that get adapters; none means every linear layer but the last."""
    learning_rate: dict[str, float] = Field(default_factory=dict)
    """By method, for adapters: what `learning_rate_multiplier` multiplies; full training takes a tenth.
    Absent means the engine's own."""
    server: str | None = None
    """Address of the OpenAI-shaped server that answers for it, such as vLLM's."""
    note: str | None = None
    """What to know before choosing it."""


class Alias(Record):
    """Another name for a base, with the dates of the hosted model it is named after."""

    id: Name
    base: str
    short: str | None = None
    """The undated name that resolves to this one."""
    shutdown_date: str | None = None
    created: int = 0
    trainable: bool = True
    is_own: bool = False
    """True where the user said what it stands for."""


class Replacement(Record):
    """What answers for a model that was tuned elsewhere."""

    id: Asked
    """The old name, which programs go on using."""
    model: Annotated[str, Field(min_length=1, max_length=300)]
    """A model that was tuned here, or a base."""


class Catalog(Record):
    """All bases and aliases."""

    base: tuple[Base, ...]
    alias: tuple[Alias, ...]
    replacement: tuple[Replacement, ...] = ()

    def answering(self, name: str) -> str:
        """Return the model that answers for a name: its replacement, where it has one."""
        return next((each.model for each in self.replacement if each.id == name), name)

    def snapshot(self, name: str) -> str:
        """Return the dated name that `name` stands for; unknown names come back unchanged."""
        return next((alias.id for alias in self.alias if alias.short == name), name)

    def find(self, name: str) -> Base | None:
        """Return the base that a base id, dated alias or short alias means."""
        target = self.snapshot(name)
        target = next((alias.base for alias in self.alias if alias.id == target), target)
        return next((base for base in self.base if base.id == target), None)

    def root(self, name: str) -> Base | None:
        """Return the base of a name as it is, or of a tuned model's: its slash is a dash there."""
        base = base_of(name)
        return next((b for b in self.base if base in (b.id, b.id.replace("/", "-"))), None)

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

    def with_default(self, base: str) -> "Catalog":
        """Return it with every trainable alias that nobody set standing for one base."""
        alias = tuple(
            each.model_copy(update={"base": base}) if each.trainable and not each.is_own else each
            for each in self.alias
        )
        return self.model_copy(update={"alias": alias})


def catalog(root: Path | None = None) -> Catalog:
    """Return the catalogue that ships with this package, with a home folder's own laid over it.

    Raises:
        InvalidInput: the own file cannot be read or breaks a rule; names file, place and rule.

    """
    path = None if root is None else root / FILE
    try:
        found = None if path is None else path.stat()
    except FileNotFoundError:
        found = None
    if path is None or found is None:
        return _shipped()
    return _laid_over(path, found.st_mtime_ns, found.st_size)


def own_tables(path: Path) -> Tables:
    """Return the entries of a home folder's file; nothing where there is none.

    Raises:
        InvalidInput: it cannot be read, is not TOML, or an entry has no id.

    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = {}
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid TOML: {error}.") from error
    for key in document:
        if key not in KINDS:
            known = ", ".join(f"[[{kind}]]" for kind in KINDS)
            raise InvalidInput(f"{path}: {key}: it has tables {known} only.")
    return {kind: _by_id(path, kind, document.get(kind, [])) for kind in KINDS}


def merged(path: Path, own: Tables) -> Catalog:
    """Return the shipped catalogue with own entries over it.

    Raises:
        InvalidInput: an entry breaks a rule; names file, entry, key and rule.

    """
    shipped = _shipped_tables()
    for entry in own["alias"].values():
        entry["is_own"] = True
    tables = {kind: _over(shipped[kind], own[kind]) for kind in shipped}
    both = [name for name in tables["base"] if name in tables["alias"]]
    if both:
        raise InvalidInput(f"{path}: {both[0]!r} is a base and an alias: a name means one thing.")
    found = Catalog(
        base=tuple(_entry(path, Base, each) for each in tables["base"].values()),
        alias=tuple(_entry(path, Alias, each) for each in tables["alias"].values()),
        replacement=tuple(_entry(path, Replacement, e) for e in own["replacement"].values()),
    )
    known = {base.id for base in found.base}
    for alias in found.alias:
        if alias.base not in known:
            raise InvalidInput(
                f"{path}: [[alias]] {alias.id!r}, base: {alias.base!r} is no base of the "
                "catalogue: add it with `selftune models add`."
            )
    for each in found.replacement:
        if found.find(each.id) is not None:
            raise InvalidInput(
                f"{path}: [[replacement]] {each.id!r} is a base or an alias: a name means one thing."
            )
    return found


def _over(
    shipped: Mapping[str, dict[str, Any]], own: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys((*shipped, *own))
    return {name: shipped.get(name, {}) | own.get(name, {}) for name in names}


def _by_id(
    path: Path, kind: Literal["base", "alias"] | str, entries: object
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise InvalidInput(f"{path}: {kind}: write a [[{kind}]] table with an id for each.")
        if entry["id"] in found:
            raise InvalidInput(f"{path}: [[{kind}]] {entry['id']!r} is there twice.")
        found[entry["id"]] = entry
    return found


def _entry(path: Path, kind: type[T], entry: dict[str, Any]) -> T:
    try:
        return kind.model_validate(entry)
    except ValidationError as problem:
        unknown = (each for each in problem.errors() if each["type"] == "extra_forbidden")
        first = next(unknown, problem.errors()[0])
        key = ".".join(str(part) for part in first["loc"])
        what = "is not a known key" if first["type"] == "extra_forbidden" else first["msg"]
        table = kind.__name__.lower()
        raise InvalidInput(f"{path}: [[{table}]] {entry['id']!r}, {key}: {what}.") from problem


def _shipped_tables() -> Tables:
    text = files("selftune.models").joinpath(FILE).read_text(encoding="utf-8")
    document = tomllib.loads(text)
    return {kind: {entry["id"]: entry for entry in document[kind]} for kind in ("base", "alias")}


@cache
def _shipped() -> Catalog:
    return Catalog.model_validate({k: tuple(v.values()) for k, v in _shipped_tables().items()})


@lru_cache(maxsize=_KEPT)
def _laid_over(path: Path, changed: int, size: int) -> Catalog:
    """Return the catalogue with the file as it is at this time and size."""
    return merged(path, own_tables(path))
