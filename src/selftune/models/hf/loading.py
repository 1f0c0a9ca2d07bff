"""Load a base model from its folder: safe weights only, no code of the folder is run.

Training and serving load through this file, so that both have the same numbers. Which arithmetic
`auto` means is decided here too, once.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from selftune.core.errors import InvalidInput, Unavailable
from selftune.models.main_memory import free_memory

Precision = Literal["auto", "float32", "bfloat16"]

LARGE = 2_000_000_000
"""Bytes of a model's float32 weights from which a processor that knows bfloat16 uses it: below, the
arithmetic of float32 is as fast and exact, and the memory does not matter."""
LONGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file; the format's own limit."""
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1}


@dataclass(frozen=True)
class Loaded:
    """A base model in memory."""

    model: PreTrainedModel
    folder: Path
    fingerprint: str
    precision: Literal["float32", "bfloat16"]
    device: torch.device

    @property
    def context(self) -> int:
        """Tokens that a prompt and its answer can have together."""
        config = self.model.config.get_text_config(decoder=True)
        return int(getattr(config, "max_position_embeddings", 0) or 1_000_000_000)

    @property
    def vocabulary(self) -> int:
        """Width of the logits; some tokenizers know fewer tokens than that."""
        return int(self.model.config.get_text_config(decoder=True).vocab_size)


def load_base(folder: Path, precision: Precision = "auto", device: str = "auto") -> Loaded:
    """Load a model's weights, ready for answers: in evaluation mode, without gradients.

    Raises:
        InvalidInput: the folder holds no safe weights, or no model that transformers knows.
        Unavailable: there is less memory free than its weights take.

    """
    weights = weight_files(folder)
    known_type(folder)
    place = choose_device(device)
    kind = choose_precision(folder, precision, place)
    _check_memory(folder, kind, place)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would draw into logs
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=getattr(torch, kind),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InvalidInput(
            f"The model in {folder.name!r} cannot be loaded from {weights[0].name!r}: "
            f"{_first_line(error)}",
            code="invalid_model",
        ) from error
    model.requires_grad_(False)
    torch.nn.Module.train(model, False)
    torch.nn.Module.to(model, place)
    return Loaded(model, folder, fingerprint(folder), kind, place)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the folder's safetensors of a whole model.

    Raises:
        InvalidInput: there are none; weights in pickle files are never read.

    """
    found = tuple(
        path for path in sorted(folder.glob("*.safetensors")) if not path.name.startswith("adapter")
    )
    if found:
        return found
    unsafe = [path.name for path in sorted(folder.glob("*")) if path.suffix in _PICKLES]
    if unsafe:
        raise InvalidInput(
            f"The weights in {folder.name!r} are {unsafe[0]!r}, a pickle file, which can run code "
            "when it is read. Convert them to safetensors first.",
            code="invalid_model",
        )
    raise InvalidInput(
        f"There are no weights in {folder.name!r}: a model's folder has config.json, "
        "*.safetensors and the tokenizer's files.",
        code="invalid_model",
    )


_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


def known_type(folder: Path) -> str:
    """Return the architecture that the folder's config.json names.

    Raises:
        InvalidInput: transformers has no such architecture; code in the folder is never run.

    """
    config = _config(folder)
    kind = config.get("model_type")
    if kind in CONFIG_MAPPING:
        return str(kind)
    if config.get("auto_map"):
        raise InvalidInput(
            f"The model in {folder.name!r} brings its own code, and selftune runs no code of a "
            "model's folder. Choose a model whose architecture transformers has.",
            code="invalid_model",
        )
    raise InvalidInput(
        f"The installed transformers has no architecture {kind!r}, which config.json in "
        f"{folder.name!r} names.",
        code="invalid_model",
    )


def free_bytes(device: torch.device) -> int:
    """Return the memory of a device that can be taken now."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_memory()


def _check_memory(folder: Path, precision: str, device: torch.device) -> None:
    """Refuse weights that do not fit, before the system ends this process for want of memory.

    Raises:
        Unavailable: they do not.

    """
    width = 4 if precision == "float32" else 2
    needed, free = (
        width * sum(parameters_in(path) for path in weight_files(folder)),
        free_bytes(device),
    )
    if needed > free:
        raise Unavailable(
            f"The model in {folder.name!r} needs {needed / 1e9:.1f} GB of memory for its weights, "
            f"and {free / 1e9:.1f} GB are free. Choose a smaller base, or free some memory.",
            code="out_of_memory",
        )


def choose_device(device: str = "auto") -> torch.device:
    """Return the named device, or the first GPU where there is one."""
    if device != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(
    folder: Path, precision: Precision, device: torch.device
) -> Literal["float32", "bfloat16"]:
    """Return what `auto` means for this model on this machine; anything else comes back."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    large = 4 * sum(parameters_in(path) for path in weight_files(folder)) > LARGE
    return "bfloat16" if large and _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def fingerprint(folder: Path) -> str:
    """Return what tells this base from any other: config, and names, sizes and headers of weights.

    The numbers themselves are not read, so that it takes milliseconds for any size of model.
    """
    found = hashlib.sha256((folder / "config.json").read_bytes())
    for path in weight_files(folder):
        header = header_bytes(path)
        found.update(f"{path.name}\0{path.stat().st_size}\0{len(header)}\0".encode())
        found.update(header)
    return found.hexdigest()


def header_bytes(path: Path) -> bytes:
    """Return a safetensors file's header: JSON that names its tensors.

    Raises:
        InvalidInput: the file is damaged.

    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= LONGEST_HEADER else b""
    if not header or len(header) != length:
        raise InvalidInput(
            f"{path.name!r} is damaged: it has no header of safetensors. Fetch the file again.",
            code="invalid_model",
        )
    return header


def parameters_in(path: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header."""
    try:
        tensors: dict[str, Any] = json.loads(header_bytes(path))
    except ValueError as error:
        raise InvalidInput(
            f"The header of {path.name!r} is not JSON. Fetch the file again.", code="invalid_model"
        ) from error
    return sum(
        (entry["data_offsets"][1] - entry["data_offsets"][0]) // _WIDTHS.get(entry["dtype"], 1)
        for name, entry in tensors.items()
        if name != "__metadata__"
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(
            f"There is no config.json in {folder.name!r}, so it is not a model's folder.",
            code="invalid_model",
        ) from error
    except ValueError as error:
        raise InvalidInput(
            f"config.json in {folder.name!r} is not JSON: {_first_line(error)}",
            code="invalid_model",
        ) from error
    return config if isinstance(config, dict) else {}


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
