"""How much of a GPU a job needs, known before it starts, so that several share one where they fit."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import TrainSpec
from selftune.jobs.devices import find_devices
from selftune.models.bases import base_folder
from selftune.models.catalog import Base
from selftune.models.memory import RANK, TOKENS_AT_ONCE, Adapter, footprint, shape_of_folder
from selftune.store.files import get_file
from selftune.store.models import get_model
from selftune.store.store import Store

_MEBIBYTE = 1024**2
_SPARE = 1.15
"""Times the estimate: torch keeps freed memory in blocks that fit nothing else."""


def device_memory(
    store: Store, project_id: str, spec: TrainSpec, base: Base | None, *, files: tuple[str, ...]
) -> int | None:
    """Return the MiB that a job needs on each GPU; None means a whole one.

    None where the model's numbers are not known, or no GPU of this machine holds what the training
    takes at its quickest: alone on a GPU, it makes its micro-batches smaller instead.
    """
    smallest = _smallest(store.settings.devices)
    if smallest is None or base is None or spec.method == "reinforcement":
        return None  # what sampling takes beside the training is not known
    try:
        shape = shape_of_folder(base_folder(base, store.root))
        rank = _rank(store, project_id, spec)
    except (InvalidInput, NotFound, OSError, ValueError, KeyError, TypeError):
        return None  # the job itself says what is wrong with the base
    asked = spec.options
    adapter: Adapter = "lora" if asked.adapter == "auto" else asked.adapter
    numbers: Literal[2, 4] = 4 if asked.precision == "float32" else 2
    longest, all_of_it = _bounds(store, project_id, files, _most(spec, base.context))
    tokens = max(TOKENS_AT_ONCE["cuda"], longest * (2 if spec.method == "dpo" else 1))
    if asked.micro_batch != "auto":
        tokens = asked.micro_batch * longest
    tokens = min(tokens, all_of_it)
    needed = footprint(shape, adapter, tokens=tokens, rank=rank, bytes_of_number=numbers).total
    found = int(_SPARE * needed / _MEBIBYTE) + 1
    return found if found < smallest else None


@lru_cache(maxsize=8)
def _smallest(wanted: str) -> int | None:
    """Return the MiB of the smallest GPU here that jobs may use; the driver is asked once."""
    return min((device.memory for device in find_devices(wanted)), default=None)


def _rank(store: Store, project_id: str, spec: TrainSpec) -> int:
    """Return the rank of the adapters: of a model that goes on, its own."""
    if spec.base.startswith("ft:"):
        folder = store.root / str(get_model(store, project_id, spec.base).folder)
        path = Path(folder) / "adapter_config.json"
        if path.exists():
            return int(json.loads(path.read_text(encoding="utf-8"))["r"])
    return RANK if spec.options.rank == "auto" else spec.options.rank


def _most(spec: TrainSpec, context: int) -> int:
    wanted = spec.options.max_length
    return context if wanted == "auto" else min(wanted, context)


def _bounds(store: Store, project_id: str, files: tuple[str, ...], most: int) -> tuple[int, int]:
    """Return how many tokens a row has at most, and a file: a token is a byte or more.

    Files are read only where it matters.
    """
    found = [get_file(store, project_id, file_id) for file_id in files]
    largest = max(file.bytes for file in found)
    if min(most, largest) * 2 <= TOKENS_AT_ONCE["cuda"]:
        return min(most, largest), largest
    longest = 0
    for file in found:
        with store.blobs.local_path(file.sha256).open("rb") as lines:
            longest = max(longest, max(map(len, lines), default=0))
    return min(most, longest), largest
