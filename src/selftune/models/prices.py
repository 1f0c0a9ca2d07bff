"""What models cost, from `prices.toml` beside this file and from a file of the user's own.

A price that nobody stated is None: unknown, never zero. Models whose weights ship with selftune
run on your own machine and are billed by nobody; who asks an open model elsewhere may be billed.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.models.catalog import catalog
from selftune.models.listed import base_of, is_tuned

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rates(Record):
    """US dollars for 1,000,000 tokens of requests; None is unknown."""

    input: Dollars | None = None
    cached_input: Dollars | None = None
    output: Dollars | None = None
    batch_input: Dollars | None = None
    batch_cached_input: Dollars | None = None
    batch_output: Dollars | None = None


FREE = Rates(input=0, cached_input=0, output=0, batch_input=0, batch_cached_input=0, batch_output=0)


class Price(Record):
    """What one model and its fine-tunes cost."""

    id: str
    names: tuple[str, ...] = ()
    """Other names that mean it."""
    as_of: str
    """The day or month that the figures were true."""
    source: str
    note: str | None = None
    """What to know before relying on them."""
    training: Dollars | None = None
    """US dollars for 1,000,000 tokens of the training file in one epoch."""
    reinforcement_per_hour: Dollars | None = None
    """US dollars for an hour of reinforcement's core loop."""
    base: Rates | None = None
    """Requests to the model itself."""
    tuned: Rates | None = None
    """Requests to its fine-tunes."""
    trains_on: Literal["chat", "completion"] = "chat"
    """Rows of messages, or rows of a prompt and its completion."""
    example_limit: Annotated[int, Field(ge=1)] | None = None
    """Tokens of one training example; None is unknown."""
    is_local: bool = False
    """Runs on your own machine."""

    def rates(self, model: str) -> Rates:
        """Return what requests to `model` cost: this model by any name, or a fine-tune of it."""
        return (self.tuned if is_tuned(model) else self.base) or Rates()


class Prices(Record):
    """Every price that is known."""

    price: tuple[Price, ...]

    def find(self, model: str) -> Price | None:
        """Return the price behind a short name, a dated name or a tuned model's, or None."""
        name = base_of(model)
        for price in self.price:
            if name == price.id or name in price.names:
                return price
        local = catalog().root(model)
        return None if local is None or local.source is not None else _local(local.id)

    def trainable(self) -> tuple[Price, ...]:
        """Return the models with a known price of training by the token."""
        return tuple(price for price in self.price if price.training is not None)


def load(path: Path | None = None) -> Prices:
    """Return the prices that ship with this package, with those of a file of your own over them.

    Raises:
        InvalidInput: the file cannot be read or breaks a rule; names file, entry and rule.

    """
    text = files("selftune.models").joinpath("prices.toml").read_text(encoding="utf-8")
    entries = {entry["id"]: entry for entry in _entries(tomllib.loads(text), "prices.toml")}
    for own in _entries(_own(path), path.name) if path is not None else ():
        entries[own["id"]] = entries.get(own["id"], {}) | own
    return Prices(price=tuple(_price(entry, path) for entry in entries.values()))


def find(model: str, path: Path | None = None) -> Price | None:
    """Return the price of a model by any of its names, or None where nothing is known."""
    return load(path).find(model)


def _own(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"Prices {str(path)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"Prices {str(path)!r} are not TOML: {error}.") from error


def _entries(document: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """Return the entries of a document, each with its date, its source and its note in words."""
    found, notes = document.get("price"), document.get("notes", {})
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise InvalidInput(f"Prices {source!r}: write a [[price]] table for each model.")
    for entry in found:
        if "id" not in entry or "as_of" not in entry:
            raise InvalidInput(
                f"Prices {source!r}: {entry.get('id', 'an entry')!r} needs id and as_of, "
                "the day that its figures were true."
            )
    return [
        {"source": source, **entry, "note": notes.get(entry.get("note"), entry.get("note"))}
        for entry in found
    ]


def _price(entry: dict[str, Any], path: Path | None) -> Price:
    try:
        return Price.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"Prices {str(path)!r}: {entry['id']!r}, {what}: {first['msg']}."
        ) from error


def _local(name: str) -> Price:
    return Price(
        id=name,
        as_of="always",
        source="runs on your own machine",
        training=0,
        base=FREE,
        tuned=FREE,
        is_local=True,
    )
