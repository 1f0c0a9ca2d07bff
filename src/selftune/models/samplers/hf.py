"""Open models on transformers, many of one base at once."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.records import Record
from selftune.models.bases import base_folder, folder_beneath
from selftune.models.catalog import catalog

if TYPE_CHECKING:
    from selftune.models.hf.runtime import Runtime


class Params(Record):
    """Which model, and how to run it."""

    folder: Path
    """A base's folder, or one that training wrote."""
    cache: Path
    """In the home folder, whose catalogue names bases."""
    threads: int = 0
    """Processor threads; 0 means all cores."""


def build(params: Params) -> "Runtime":
    """Load the model, and its base where no other model has done so.

    Raises:
        InvalidInput: the folder is no model, or its base is not there, or changed since.

    """
    from selftune.models.hf.engine import engine_for
    from selftune.models.hf.renderer import Renderer
    from selftune.models.hf.runtime import Runtime

    told = _json(params.folder / "base.json")
    precision = _json(params.folder / "probes.json").get("precision", "auto")
    try:
        renderer = Renderer.load(params.folder)
    except JobFailed as error:  # in its words, which fit here too
        raise InvalidInput(error.message, code=error.code) from error
    if not told:
        return Runtime(engine_for(params.folder, None, precision), renderer, None, params.threads)
    base = _base(params.folder, told, params.cache.parent)
    engine = engine_for(base, str(told.get("fingerprint")), precision)
    return Runtime(engine, renderer, params.folder, params.threads)


def _base(model: Path, told: dict[str, Any], root: Path) -> Path:
    """Return the folder of the base that a model was trained on."""
    folder = folder_beneath(model, str(told.get("folder", "")))
    if folder is not None:
        return folder
    base = catalog(root).find(str(told.get("id")))
    if base is None:
        raise InvalidInput(
            f"The model's base {told.get('id')!r} is neither in its folder nor in the catalogue. "
            "Add it with `selftune models add`.",
            code="base_not_here",
        )
    return base_folder(base, root)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InvalidInput(
            f"{path.name} of the model {path.parent.name!r} is damaged; take the folder from a "
            "backup.",
            code="invalid_model",
        ) from error
    return found if isinstance(found, dict) else {}
