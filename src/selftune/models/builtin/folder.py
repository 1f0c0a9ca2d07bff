"""A model on disk: one folder that needs no database, with a hash for every file.

model.json            what it is and how it reads; SHA-256 of the others
head.safetensors      the head's arrays
answers.json          the answers it can give, and texts it compares with
decoder.safetensors   only when it writes answers of its own
encoder.safetensors   only when the encoder was tuned
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from safetensors.numpy import load_file, save_file

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.models.builtin.reading import Reading
from selftune.models.builtin.weights import SHA256, Arrays

MANIFEST = "model.json"
Kind = Literal["labels", "passages", "numbers", "written"]
"""Which head chooses among trained answers; `written` is a decoder alone."""


class Manifest(Record):
    """What `model.json` says."""

    format: Literal[1] = 1
    base: Literal["selftune/minilm"] = "selftune/minilm"
    base_sha256: str = SHA256
    tokenizer: Literal["o200k_base"] = "o200k_base"
    kind: Kind
    reading: Reading
    answers_weight: float = 1.0
    """Chance that the answer is one of the trained ones; the rest is the decoder's."""
    longest: int = 0
    """Tokens after which the decoder must end."""
    precision: Literal["int8", "float32"]
    """Of the encoder while serving: int8 where it changed no answer of the training file."""
    sha256: dict[str, str]


class ModelFiles(Record):
    """A model in memory."""

    model_config = Record.model_config | {"arbitrary_types_allowed": True}

    kind: Kind
    reading: Reading
    precision: Literal["int8", "float32"] = "float32"
    head: Arrays = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    encoder: Arrays | None = None
    decoder: Arrays | None = None
    longest: int = 0
    answers_weight: float = 1.0


def save_model(folder: Path, model: ModelFiles) -> None:
    """Write a model into an empty folder."""
    save_file(model.head, folder / "head.safetensors")
    text = json.dumps(model.config, ensure_ascii=False)
    (folder / "answers.json").write_text(text, encoding="utf-8")
    for name, arrays in (("encoder", model.encoder), ("decoder", model.decoder)):
        if arrays is not None:
            save_file(arrays, folder / f"{name}.safetensors")
    hashes = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    manifest = Manifest(
        kind=model.kind,
        reading=model.reading,
        answers_weight=model.answers_weight,
        longest=model.longest,
        precision=model.precision,
        sha256=hashes,
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
    parts = {
        name: load_file(folder / f"{name}.safetensors")
        for name in ("encoder", "decoder")
        if f"{name}.safetensors" in manifest.sha256
    }
    return ModelFiles(
        kind=manifest.kind,
        reading=manifest.reading,
        precision=manifest.precision,
        head=load_file(folder / "head.safetensors"),
        config=json.loads((folder / "answers.json").read_text(encoding="utf-8")),
        encoder=parts.get("encoder"),
        decoder=parts.get("decoder"),
        longest=manifest.longest,
        answers_weight=manifest.answers_weight,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
