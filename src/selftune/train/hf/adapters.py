"""What is trained: low-rank adapters on a base, the same on a 4-bit base, or every weight.

Training goes on from a base, or from a folder that this engine wrote: an adapter goes on as it is,
and a whole model is a base like any other.
"""

import contextlib
import importlib.util
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

from selftune.core.canonical import canonical_json
from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.models.bases import folder_beneath
from selftune.models.hf.loading import Loaded, choose_device, fingerprint, load_base
from selftune.train.engine import TrainRequest

Kind = Literal["lora", "qlora", "full"]
ADAPTER, ADAPTER_CONFIG, BASE = "adapter_model.safetensors", "adapter_config.json", "base.json"


class Origin(Record):
    """The base that an adapter is for; `base.json` of its folder."""

    id: str
    folder: str
    fingerprint: str


@dataclass(frozen=True)
class Start:
    """Where training starts from."""

    origin: Origin
    adapter: Path | None
    """Folder of the adapter to go on with."""


@dataclass
class Trainee:
    """A model in training."""

    model: Any
    """What PEFT made of the transformers model, or that model itself."""
    inner: Any
    """The transformers model, which PEFT's layers are put into."""
    kind: Kind
    origin: Origin
    device: torch.device
    dtype: torch.dtype
    """Of the arithmetic."""

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """Of the arithmetic, as the records name it."""
        return "float32" if self.dtype == torch.float32 else "bfloat16"

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return what is trained, in an order that is always the same."""
        return [(name, value) for name, value in self.model.named_parameters() if _learns(value)]

    def be_frugal(self) -> bool:
        """Compute layers twice instead of keeping them; return whether the model can."""
        if not self.inner.supports_gradient_checkpointing:
            return False
        self.inner.activation_checkpointing_enable()
        self.inner.train()  # transformers computes twice only then; nothing is dropped, see below
        return True

    def save_weights(self, folder: Path) -> None:
        """Write the model as it stands, in PEFT's format or as a whole model."""
        if self.kind == "full":
            config = self.inner.config
            config.dtype = self.dtype
            whole = {k: v.detach().to(self.dtype) for k, v in self.inner.state_dict().items()}
            self.inner.save_pretrained(folder, state_dict=whole)
            return
        from peft import get_peft_model_state_dict

        # Embeddings are never trained; left open, PEFT would ask the hub whether they changed.
        found = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        tensors = {name: found[name].detach().cpu().contiguous() for name in sorted(found)}
        save_file(tensors, folder / ADAPTER, metadata={"format": "pt"})
        config = self.model.peft_config["default"].to_dict()
        config |= {
            "base_model_name_or_path": self.origin.id,
            "inference_mode": True,
            "target_modules": sorted(config["target_modules"]),
        }
        plain = json.loads(json.dumps(config, default=_listed))
        (folder / ADAPTER_CONFIG).write_text(canonical_json(plain), encoding="utf-8")
        (folder / BASE).write_text(self.origin.model_dump_json(indent=1), encoding="utf-8")


def find_start(request: TrainRequest) -> Start:
    """Return what the request's folder is: a base, or an adapter with the base it was made for.

    Raises:
        JobFailed: there is no base, or it is another one than the adapter was made for.

    """
    folder = request.base_folder
    if folder is None:
        raise JobFailed(
            "This engine trains a model from its folder, and the job names none.",
            code="model_not_available",
            param="model",
        )
    if not (folder / BASE).exists():
        name = request.base or folder.name
        return Start(Origin(id=name, folder=str(folder), fingerprint=fingerprint(folder)), None)
    origin = Origin.model_validate_json((folder / BASE).read_text("utf-8"))
    base = folder_beneath(folder, origin.folder)
    if base is None or fingerprint(base) != origin.fingerprint:
        raise JobFailed(
            f"The base {origin.id!r} that the model was trained on is not there any more, or was "
            "changed since. Put the same files back to go on from this model.",
            code="model_not_available",
            param="model",
        )
    return Start(origin.model_copy(update={"folder": str(base)}), folder)


def adapter_settings(folder: Path) -> tuple[int, float]:
    """Return rank and alpha of an adapter."""
    config = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))
    return int(config["r"]), float(config["lora_alpha"])


def load_trainee(
    request: TrainRequest, start: Start, kind: Kind, rank: int, alpha: float
) -> Trainee:
    """Load the base and put on it what is to be trained.

    Raises:
        JobFailed: this machine cannot train it so.
        InvalidInput: the base's folder is not a model's.

    """
    loaded = _load(request, start, kind)
    inner: Any = loaded.model
    dtype = getattr(torch, loaded.precision)
    _drop_nothing(inner)
    if kind != "full":
        targets = _named_layers(inner, request.targets) or linear_layers(inner)
        model = _with_adapter(inner, start, targets, (rank, alpha, request.seed))
        return Trainee(model, inner, kind, start.origin, loaded.device, dtype)
    if start.adapter is not None:
        inner = _merged(inner, start.adapter)
    inner.float().requires_grad_(True)  # small steps are lost in bfloat16, so weights are float32
    return Trainee(inner, inner, kind, start.origin, loaded.device, dtype)


def linear_layers(model: Any) -> tuple[str, ...]:
    """Return the layers that get adapters: all linear ones but the head and experts.

    Their last names, where these mean no other layer: that is what other programs understand.
    """
    head = model.get_output_embeddings()
    found, others = [], set()
    for name, module in model.named_modules():
        if module is head or ".experts." in name:
            others.add(name.rpartition(".")[2])
        elif isinstance(module, nn.Linear):
            found.append(name)
    short = {name.rpartition(".")[2] for name in found}
    return tuple(sorted(found if short & others else short))


def _named_layers(model: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the catalogue's layers.

    Raises:
        JobFailed: the model has no layer of such a name.

    """
    for wanted in names:
        if not any(f".{name}".endswith(f".{wanted}") for name, _ in model.named_modules()):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear_layers(model)}))
            raise JobFailed(
                f"The catalogue gives adapters to {wanted!r}, and the model has no layer of that "
                f"name, but these linear ones: {known}. Change `targets` of the base in the home's catalog.toml.",
                code="invalid_value",
                param="model",
            )
    return names


def _load(request: TrainRequest, start: Start, kind: Kind) -> Loaded:
    folder = Path(start.origin.folder)
    if kind == "qlora":
        return _load_quantized(folder, start.origin.fingerprint)
    return load_base(folder, request.options.precision)


def _load_quantized(folder: Path, mark: str) -> Loaded:
    device = choose_device()
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise JobFailed(
            "QLoRA needs an NVIDIA GPU and the package bitsandbytes. Choose adapter lora, or "
            "install bitsandbytes on a machine with a GPU.",
            code="qlora_not_available",
            param="adapter",
        )
    from transformers import BitsAndBytesConfig

    # 4-bit NormalFloat with double quantisation: Dettmers et al. 2023 (QLoRA), section 3.
    quantized = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # transformers'
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        quantization_config=quantized,
        dtype=torch.bfloat16,
        device_map={"": 0},
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    model.requires_grad_(False)
    return Loaded(model, folder, mark, "bfloat16", device)


def _with_adapter(
    inner: Any, start: Start, targets: Sequence[str], drawn: tuple[int, float, int]
) -> Any:
    from peft import LoraConfig, PeftModel, get_peft_model

    if start.adapter is not None:
        with _quiet():
            return PeftModel.from_pretrained(inner, str(start.adapter), is_trainable=True)
    rank, alpha, seed = drawn
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # a fraction is as good
        target_modules=list(targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)  # the first matrix of each pair begins at random
    with _quiet():
        return get_peft_model(inner, config)


def _merged(inner: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with _quiet():
        return PeftModel.from_pretrained(inner.float(), str(adapter)).merge_and_unload()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log free of what PEFT does by names that transformers has given up."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def _drop_nothing(model: Any) -> None:
    """Switch dropout off: with it, the result would depend on how batches are cut."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _learns(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad


def _listed(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
