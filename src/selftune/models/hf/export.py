"""Write a trained model as others read it: PEFT's adapter, merged safetensors, or GGUF.

An export is written beside its place and renamed when it is whole. What was a user's data is never
in it, nor a path of this machine.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from pydantic import ValidationError

from selftune.core.canonical import canonical_json
from selftune.core.errors import Conflict, InvalidInput, MissingExtra
from selftune.core.records import Record
from selftune.models.card import Format
from selftune.models.hf.adapter_files import CONFIG, WEIGHTS, read_adapter
from selftune.models.hf.kept import NAME as RENDERER
from selftune.models.hf.loading import Precision, fingerprint, load_base, weight_files
from selftune.models.hf.probes import FILE as PROBES

FILE = "export.json"
BASE = "base.json"
CARD = "README.md"
GGUF = "model.gguf"
_SHARD = "5GB"
_OWN = ("selftune.json", BASE, FILE, WEIGHTS, CONFIG, CARD)
"""Files of a model's folder that are written anew, or not at all."""
_CONVERTER_SECONDS = 6 * 3600
_SHOWN = 2000


class Export(Record):
    """What `export.json` says of an export."""

    format: Format
    model: str
    base: str
    files: dict[str, str]
    """SHA-256 of every other file."""


class Source(Record):
    """What is exported."""

    model: str
    """Its name."""
    folder: Path
    base_id: str
    base_folder: Path | None = None
    """None for a model that was trained whole."""
    base_name: str | None = None
    """Repository of the base, or else its id: what stands in the adapter's configuration."""


def is_adapter(folder: Path) -> bool:
    """Return whether a model's folder holds an adapter, not a whole model."""
    return (folder / WEIGHTS).is_file()


def export(
    source: Source, target: Path, kind: Format, card: str, converter: Path | None = None
) -> Export:
    """Write an export into a folder that is not there yet, whole or not at all.

    Raises:
        Conflict: the folder is there already.
        InvalidInput: the model has no such form, or its base is another one now.
        MissingExtra: llama.cpp's converter is not set, or failed.

    """
    target = target.expanduser().absolute()
    if target.exists():
        raise Conflict(f"{str(target)!r} is there already: name a new folder, or remove it first.")
    _check_source(source, kind)
    if kind == "gguf":
        converter = _checked_converter(converter)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    try:
        if kind == "peft":
            _write_adapter(source, partial)
        elif kind == "merged":
            _write_merged(source, partial)
        else:
            _write_gguf(source, partial, converter)
        (partial / CARD).write_text(card, encoding="utf-8")
        files = {path.name: _hash(path) for path in sorted(partial.iterdir())}
        made = Export(format=kind, model=source.model, base=source.base_id, files=files)
        (partial / FILE).write_text(canonical_json(made.model_dump(mode="json")), encoding="utf-8")
        for path in partial.iterdir():
            _synchronise(path)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def read_export(folder: Path) -> Export | None:
    """Return what an export says of itself; None for a folder that is none.

    Raises:
        InvalidInput: it is damaged.

    """
    try:
        return Export.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidInput(f"{str(folder / FILE)!r} is damaged.") from error


def check_files(folder: Path, made: Export) -> None:
    """Compare every file with what was written.

    Raises:
        InvalidInput: a file is missing or was changed; names it.

    """
    for name, written in made.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise InvalidInput(f"{str(folder)!r} lacks {name!r}: export the model again.")
        if _hash(path) != written:
            raise InvalidInput(f"{str(path)!r} was changed since it was exported.")


def _check_source(source: Source, kind: Format) -> None:
    if not is_adapter(source.folder):
        if kind == "peft":
            raise InvalidInput(
                f"{source.model!r} was trained whole and has no adapter: export it as merged.",
                param="format",
            )
        weight_files(source.folder)
        return
    if source.base_folder is None:
        raise InvalidInput(f"The base {source.base_id!r} of {source.model!r} is not here.")
    if kind == "peft" and (source.base_folder / RENDERER).exists():
        raise InvalidInput(
            f"{source.model!r} is an adapter on a model that was trained here, which nobody else "
            "has: export it as merged.",
            param="format",
        )
    told = json.loads((source.folder / BASE).read_text(encoding="utf-8"))
    if fingerprint(source.base_folder) != told["fingerprint"]:
        raise InvalidInput(
            f"{str(source.base_folder)!r} is not the base that {source.model!r} was trained on: "
            "its configuration or weights are others."
        )


def _write_adapter(source: Source, folder: Path) -> None:
    _copy_rest(source.folder, folder)
    shutil.copyfile(source.folder / WEIGHTS, folder / WEIGHTS)
    config = json.loads((source.folder / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = source.base_name or source.base_id
    (folder / CONFIG).write_text(canonical_json(config), encoding="utf-8")
    told = json.loads((source.folder / BASE).read_text(encoding="utf-8"))
    told |= {"folder": ""}  # a path of this machine is nobody else's business
    (folder / BASE).write_text(canonical_json(told), encoding="utf-8")


def _write_merged(source: Source, folder: Path) -> None:
    _copy_rest(source.folder, folder)
    if not is_adapter(source.folder):
        for path in weight_files(source.folder):
            shutil.copyfile(path, folder / path.name)
        return
    assert source.base_folder is not None
    model = load_base(source.base_folder, _stored_precision(source.base_folder), "cpu").model
    with torch.no_grad():
        for name, pair in read_adapter(source.folder, model).items():
            weight = model.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            change = pair.b @ pair.a
            if change.shape != weight.shape:  # GPT-2 keeps its matrices the other way round
                change = change.T
            weight.copy_(weight.float() + change)
    model.config._name_or_path = source.base_name or source.base_id
    model.save_pretrained(folder, max_shard_size=_SHARD)


def _stored_precision(folder: Path) -> Precision:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    inner = config.get("text_config", config)
    kind = inner.get("dtype") or inner.get("torch_dtype") or config.get("dtype")
    return "float32" if kind == "float32" else "bfloat16"


def _write_gguf(source: Source, folder: Path, converter: Path | None) -> None:
    assert converter is not None
    whole = folder / "whole"
    whole.mkdir()
    _write_merged(source, whole)
    start = [sys.executable, str(converter)] if converter.suffix == ".py" else [str(converter)]
    command = [*start, str(whole), "--outfile", str(folder / GGUF), "--outtype", "auto"]
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CONVERTER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingExtra(f"llama.cpp's converter cannot be run: {error}.") from error
    made = folder / GGUF
    if run.returncode or not made.is_file() or not _is_gguf(made):
        said = (run.stderr or run.stdout).strip()[-_SHOWN:]
        raise MissingExtra(f"llama.cpp's converter wrote no GGUF file; it said: {said}")
    for name in (PROBES, RENDERER):
        if (whole / name).is_file():
            shutil.copyfile(whole / name, folder / name)
    shutil.rmtree(whole)


def _checked_converter(converter: Path | None) -> Path:
    if converter is None or not converter.expanduser().is_file():
        where = "is not set" if converter is None else f"is {str(converter)!r}, which is no file"
        raise MissingExtra(
            f"GGUF is written by llama.cpp's converter, and SELFTUNE_GGUF_CONVERTER {where}: set it "
            "to the path of convert_hf_to_gguf.py in a checkout of llama.cpp, or export as merged."
        )
    return converter.expanduser().absolute()


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"GGUF"


def _copy_rest(folder: Path, target: Path) -> None:
    """Copy the tokenizer, the template, the renderer and the probes."""
    for path in sorted(folder.iterdir()):
        is_text = path.suffix in (".json", ".jinja", ".model", ".txt")
        if path.is_file() and is_text and path.name not in _OWN:
            shutil.copyfile(path, target / path.name)


def _hash(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _synchronise(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
