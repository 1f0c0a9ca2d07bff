"""Read an adapter in PEFT's format.

What the format can say and the runtime cannot do is refused by name, never left out in silence.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from selftune.core.errors import InvalidInput

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."
_UNSUPPORTED = (
    "use_dora",
    "modules_to_save",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "velora_config",
    "monteclora_config",
)
"""Options of PEFT's LoRA that change what a layer computes, or which layers there are."""
_CHANGES_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")
"""Ways to begin an adapter that also change the base's own weights."""


@dataclass(frozen=True)
class Pair:
    """One layer's matrices; the scale is in `b`."""

    a: torch.Tensor
    """Shape (rank, inputs)."""
    b: torch.Tensor
    """Shape (outputs, rank)."""


def adapter_key(folder: Path) -> tuple[str, int, int]:
    """Return what tells an adapter's folder, as it is now, from any other.

    Raises:
        InvalidInput: there are no weights.

    """
    try:
        found = (folder / WEIGHTS).stat()
    except FileNotFoundError as error:
        raise _refused(
            folder,
            f"there is no {WEIGHTS}; adapters in pickle files are never read, because they can "
            "run code",
        ) from error
    return str(folder), found.st_size, found.st_mtime_ns


def read_adapter(folder: Path, model: torch.nn.Module) -> dict[str, Pair]:
    """Read an adapter in PEFT's format for this model, by the name of the layer.

    Raises:
        InvalidInput: it needs what selftune does not serve, or does not fit the model.

    """
    config = _checked_config(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise _refused(folder, f"{WEIGHTS} is damaged ({error})") from error
    where = next(model.parameters()).device
    layers = {}
    for name in sorted({_layer(folder, key) for key in tensors}):
        a, b = (tensors.get(f"{_PREFIX}{name}.lora_{which}.weight") for which in "AB")
        if a is None or b is None:
            raise _refused(folder, f"layer {name!r} has one of its two matrices only")
        _check_layer(folder, model, name, a, b)
        scaled = b.float() * _scale(config, name, a.shape[0])
        layers[name] = Pair(a.float().contiguous().to(where), scaled.contiguous().to(where))
    if not layers:
        raise _refused(folder, "it has no matrices")
    return layers


def _checked_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(folder, f"{CONFIG} cannot be read ({error})") from error
    if config.get("peft_type") != "LORA":
        raise _refused(folder, f"it is {config.get('peft_type')!r}, and only LORA is served")
    for name in _UNSUPPORTED:
        if config.get(name):
            raise _refused(folder, f"it uses {name}, which is not served")
    if config.get("bias", "none") != "none":
        raise _refused(folder, f"it trains biases (bias={config['bias']!r}), which is not served")
    begun = str(config.get("init_lora_weights", True)).lower()
    if begun.startswith(_CHANGES_BASE):
        raise _refused(folder, f"it began as {begun!r}, which changes the base's own weights")
    return dict(config)


def _layer(folder: Path, key: str) -> str:
    found = re.fullmatch(re.escape(_PREFIX) + r"(.+)\.lora_[AB]\.weight", key)
    if found is None:
        raise _refused(folder, f"it holds {key!r}; only low-rank matrices of layers are served")
    if ".experts." in found[1]:
        raise _refused(folder, f"it trains an expert, {found[1]!r}, which is not served")
    return found[1]


def _check_layer(
    folder: Path, model: torch.nn.Module, name: str, a: torch.Tensor, b: torch.Tensor
) -> None:
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise _refused(folder, f"its base has no layer {name!r}") from error
    sizes = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if sizes == (None, None) and hasattr(module, "nx") and hasattr(module, "nf"):
        sizes = module.nx, module.nf  # GPT-2's own kind of linear layer
    if sizes != (a.shape[1], b.shape[0]) or a.shape[0] != b.shape[1]:
        raise _refused(
            folder,
            f"its matrices for {name!r} are {tuple(a.shape)} and {tuple(b.shape)}, "
            f"and the base's layer has (inputs, outputs) {sizes}",
        )
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise _refused(folder, f"layer {name!r} holds numbers that are not finite")


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """Return alpha / rank, or alpha / sqrt(rank) for rslora (arXiv 2312.03732)."""
    patterns = config.get("alpha_pattern") or {}
    try:
        matching = (key for key in patterns if re.match(rf"(.*\.)?({key})$", name))  # as PEFT does
        key = next(matching, None)
    except re.error as error:
        raise InvalidInput(f"alpha_pattern of an adapter is no pattern: {error}.") from error
    alpha = float(config.get("lora_alpha", 8) if key is None else patterns[key])
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _refused(folder: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The adapter in {folder.name!r} cannot be served: {reason}.", code="invalid_model"
    )
