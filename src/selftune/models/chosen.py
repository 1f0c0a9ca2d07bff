"""Which base a name stands for on this machine, and why.

Names of hosted models are aliases. What the user set counts; else the setting `default_base`; else
the embedded model, which needs neither a download nor a GPU.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.settings import Settings
from selftune.models.bases import base_folder, is_here
from selftune.models.catalog import Base, Catalog, catalog
from selftune.models.machine import Machine, this_machine
from selftune.models.memory import Shape, footprint, shape_of_folder

TOKENS_AT_ONCE = 2048
"""In the model at a time when it is judged whether it can be trained: one usual row."""
_SHARE = 0.8
"""Of the memory that a training may count on: the rest is for others, and for what is not known."""
_MOST_ON_PROCESSOR = 1.7e9
"""Weights of the largest model that `auto` takes without a GPU: a core computes about 50 GFLOP a
second, so 100,000 tokens of a larger one would take days."""


class Choice(Record):
    """What a name stands for."""

    base: Base
    reason: str


def catalog_of(settings: Settings) -> Catalog:
    """Return the catalogue of a home folder, with names standing for what its settings say.

    Raises:
        InvalidInput: the home's `catalog.toml` or the default base is wrong; says what to do.

    """
    found = catalog(settings.root)
    if not settings.default_base:
        return found
    return found.with_default(_default(found, settings).base.id)


def choice(settings: Settings, name: str) -> Choice:
    """Return the base to train for a name, and why it is that one.

    Raises:
        InvalidInput: no such base, or it cannot be fine-tuned; in OpenAI's words.

    """
    found = catalog_of(settings)
    base = found.trainable(name)
    alias = next((each for each in found.alias if each.id == found.snapshot(name)), None)
    if alias is None:
        return Choice(base=base, reason="it was asked for by its own name")
    if alias.is_own:
        reason = "the home folder's catalog.toml says so"
    elif settings.default_base:
        reason = _default(catalog(settings.root), settings).reason
    else:
        reason = "nobody set another: `selftune models alias` does"
    return Choice(base=base, reason=reason)


def _default(found: Catalog, settings: Settings) -> Choice:
    if settings.default_base == "auto":
        return _best(found, settings.root, this_machine())
    base = found.find(settings.default_base)
    if base is None:
        raise InvalidInput(
            f"SELFTUNE_DEFAULT_BASE is {settings.default_base!r}: no base of the catalogue; "
            "`selftune models list --all` names them.",
            code="invalid_setting",
            param="default_base",
        )
    return Choice(base=base, reason=f"SELFTUNE_DEFAULT_BASE is {settings.default_base!r}")


@lru_cache(maxsize=64)
def _shape(folder: Path, changed: int) -> Shape:
    """Return the shape of a folder whose weights were written at this time."""
    return shape_of_folder(folder)


def _best(found: Catalog, root: Path, machine: Machine) -> Choice:
    """Return the largest base that is here and that LoRA can train within the memory."""
    limit = _SHARE * machine.training_bytes
    best: tuple[int, Base] | None = None
    for base in found.base:
        if base.engine != "hf" or base.source is None or not is_here(base, root):
            continue
        folder = base_folder(base, root)
        shape = _shape(folder, folder.stat().st_mtime_ns)
        numbers: Literal[2, 4] = 2 if machine.gpus else 4
        needed = footprint(shape, "lora", tokens=TOKENS_AT_ONCE, bytes_of_number=numbers)
        is_slow = not machine.gpus and shape.parameters > _MOST_ON_PROCESSOR
        if needed.total > limit or is_slow:
            continue
        if best is None or shape.parameters > best[0]:
            best = shape.parameters, base
    if best is None:
        return Choice(
            base=found.base[0],
            reason="SELFTUNE_DEFAULT_BASE is 'auto', and no open model is here that this machine "
            f"({machine.words}) can train",
        )
    return Choice(
        base=best[1],
        reason=f"SELFTUNE_DEFAULT_BASE is 'auto': it is the largest one here, with "
        f"{best[0] / 1e9:.2g} billion weights, that this machine ({machine.words}) can train",
    )
