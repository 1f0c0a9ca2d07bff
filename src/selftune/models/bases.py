"""Where a base's weights are: a folder, or the Hugging Face cache. Needs no torch.

Nothing is downloaded but by `pull` and where `base_folder` is told to. Only weights as safetensors,
tokenizer files and configuration are taken: nothing that could be run.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from selftune.core.errors import InvalidInput, Unavailable
from selftune.models.catalog import Base, Catalog

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
"""Weights, their index, configuration, chat template, and vocabularies of older tokenizers."""
_LEFT_OUT = ("*/*", "consolidated*")
"""Other copies of the weights, which some repositories keep beside those for transformers."""
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_repository(source: str, root: Path) -> bool:
    """Return whether a source is a repository of the hub and no folder of this machine."""
    return bool(_REPOSITORY.fullmatch(source)) and not (root / source).is_dir()


def base_folder(base: Base, root: Path, *, download: bool = False) -> Path:
    """Return the folder of a base, absolute; relative sources are seen from the home folder.

    Raises:
        InvalidInput: it is not on this machine, or not whole; says what to do.
        Unavailable: it was to be downloaded and the hub cannot be reached.

    """
    if base.source is None:
        raise InvalidInput(
            f"The base {base.id!r} has no folder: set its `source` in the home's catalog.toml.",
            code="base_not_here",
        )
    if is_repository(base.source, root):
        return _of_cache(base, base.source, download=download)
    folder = (root / Path(base.source).expanduser()).absolute()
    missing = _missing(folder)
    if missing is not None:
        raise InvalidInput(
            f"The base {base.id!r} cannot be used: {str(folder)!r} {missing}. Name another folder "
            f"with `selftune models add {base.id} --source FOLDER`.",
            code="base_not_here",
        )
    return folder


def folder_beneath(folder: Path, told: str) -> Path | None:
    """Return the folder of the base that an adapter's folder is for; None where it is not there.

    It is where `base.json` told it to be. A base that was trained here too lies beside the adapter,
    wherever the home folder has been moved since.
    """
    for place in (Path(told), folder.parent / Path(told).name):
        if told and (place / "config.json").is_file():
            return place
    return None


def is_here(base: Base, root: Path) -> bool:
    """Return whether a base can be used without a download."""
    if base.engine != "hf" or base.server is not None:
        return True
    try:
        base_folder(base, root)
    except InvalidInput:
        return False
    return True


def listed(found: Catalog, root: Path, used: Iterable[str]) -> tuple[Base, ...]:
    """Return the bases that a list of models names; `used` are bases that models came from."""
    known = set(used)
    return tuple(
        base
        for base in found.base
        if base.id in known or (not base.for_tests and is_here(base, root))
    )


def _missing(folder: Path) -> str | None:
    """Return what keeps a folder from being a model, or None."""
    if not folder.is_dir():
        return "is no folder of this machine"
    if not (folder / "config.json").is_file():
        return "has no config.json"
    names = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
    if not any((folder / name).is_file() for name in names):
        return "has no tokenizer"
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        has_weights = any(folder.glob("*.safetensors"))
        return None if has_weights else "has no weights as safetensors"
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return f"has a damaged {index.name}"
    absent = sorted(str(name) for name in shards if not (folder / str(name)).is_file())
    return f"lacks {absent[0]} ({len(absent)} of {len(shards)} files)" if absent else None


def _cached(source: str, revision: str | None) -> Path | None:
    """Return the snapshot that the cache has, as the hub's own library lays it out."""
    from huggingface_hub import constants  # the whole library takes a second to load

    folder = Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}"
    name = revision or "main"
    if (folder / "snapshots" / name).is_dir():
        return folder / "snapshots" / name
    try:
        commit = (folder / "refs" / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return folder / "snapshots" / commit


def _of_cache(base: Base, source: str, *, download: bool) -> Path:
    found = _cached(source, base.revision)
    missing = "is not in the Hugging Face cache" if found is None else _missing(found)
    if found is not None and missing is None:
        return found
    if not download:
        raise InvalidInput(
            f"The base {base.id!r} is not on this machine: {source} {missing}. Fetch it with "
            f"`selftune models pull {base.id}`, or name a folder with "
            f"`selftune models add {base.id} --source FOLDER`.",
            code="base_not_here",
        )
    return _downloaded(base, source)


def _downloaded(base: Base, source: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        raise InvalidInput(
            f"The base {base.id!r} is not on this machine and HF_HUB_OFFLINE forbids to fetch "
            f"{source}: unset it, or name a folder with `selftune models add {base.id} --source "
            "FOLDER`.",
            code="base_not_here",
        )
    try:
        path = Path(
            snapshot_download(
                source,
                revision=base.revision,
                allow_patterns=list(PATTERNS),
                ignore_patterns=list(_LEFT_OUT),
            )
        )
    except GatedRepoError as error:
        raise InvalidInput(
            f"{source} asks for its licence to be accepted: do so at "
            f"https://huggingface.co/{source}, then run `hf auth login`.",
            code="base_not_here",
        ) from error
    except RepositoryNotFoundError as error:
        raise InvalidInput(
            f"The hub has no repository {source!r}, or it is private: check the name, and log in "
            "with `hf auth login`.",
            code="base_not_here",
        ) from error
    except (HfHubHTTPError, OSError) as error:  # the cache's own errors are OSErrors too
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unavailable(f"{source} cannot be fetched: {first}", code="base_not_here") from error
    missing = _missing(path)
    if missing is not None:
        raise InvalidInput(
            f"{source} cannot be used: it {missing}. Only safetensors are taken.",
            code="base_not_here",
        )
    return path
