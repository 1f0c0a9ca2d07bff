"""A model on disk: one folder that needs no database, with a hash for every file.

model.json            what it is and how it reads; SHA-256 of the others
head.safetensors      the head's arrays
answers.json          the answers it can give, and texts it compares with
encoder.safetensors   only when the encoder was tuned
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.models.builtin.reading import Reading
from selftune.models.builtin.weights import SHA256, Arrays

MANIFEST = "model.json"


class Manifest(Record):
    """What `model.json` says."""

    format: Literal[1] = 1
    base: Literal["selftune/minilm"] = "selftune/minilm"
    base_sha256: str = SHA256
    tokenizer: Literal["o200k_base"] = "o200k_base"
    kind: Literal["labels", "passages", "numbers"]
    reading: Reading
    precision: Literal["int8", "float32"]
    """Of the encoder while serving: int8 where it changed no answer of the training file."""
    sha256: dict[str, str]


class ModelFiles(Record):
    """A model in memory."""

    model_config = Record.model_config | {"arbitrary_types_allowed": True}

    kind: Literal["labels", "passages", "numbers"]
    reading: Reading
    precision: Literal["int8", "float32"]
    head: Arrays
    config: dict[str, Any]
    encoder: Arrays | None


def save_model(folder: Path, model: ModelFiles) -> None:
    """Write a model into an empty folder."""
    save_file(model.head, folder / "head.safetensors")
    text = json.dumps(model.config, ensure_ascii=False)
    (folder / "answers.json").write_text(text, encoding="utf-8")
    if model.encoder is not None:
        save_file(model.encoder, folder / "encoder.safetensors")
    hashes = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = Manifest(
        kind=model.kind, reading=model.reading, precision=model.precision, sha256=hashes
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def load_model(folder: Path) -> ModelFiles:
    """Read a model folder.

    Raises:
        InvalidInput: it is not a model of this format, or a file is not what was written.

    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as problem:
        raise InvalidInput(
            f"{folder} is not a model of this version of selftune: {problem}", code="invalid_model"
        ) from problem
    for name, expected in manifest.sha256.items():
        path = folder / name
        if Path(name).name != name or not path.is_file() or _sha256(path) != expected:
            raise InvalidInput(
                f"The file {name!r} of the model in {folder} is missing or was changed: its "
                "SHA-256 is not the one in model.json. Restore it, or train the model again.",
                code="model_corrupt",
            )
    tuned = "encoder.safetensors" in manifest.sha256
    return ModelFiles(
        kind=manifest.kind,
        reading=manifest.reading,
        precision=manifest.precision,
        head=load_file(folder / "head.safetensors"),
        config=json.loads((folder / "answers.json").read_text(encoding="utf-8")),
        encoder=load_file(folder / "encoder.safetensors") if tuned else None,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
