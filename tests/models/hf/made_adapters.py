"""Adapters in PEFT's format with random matrices, for models that tests make."""

import json
from pathlib import Path
from typing import Any

from selftune.models.hf.loading import fingerprint

EVERY_LINEAR = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


def make_adapter(
    base: Path,
    folder: Path,
    *,
    rank: int = 4,
    seed: int = 0,
    targets: tuple[str, ...] = EVERY_LINEAR,
    **options: Any,
) -> Path:
    """Write an adapter that changes the base's answers; `options` go into its config."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    ranks = options.get("rank_pattern", {})
    tensors = {}
    with safe_open(base / "model.safetensors", framework="pt") as weights:
        for key in weights.keys():  # noqa: SIM118 - it is no mapping
            name = key.removesuffix(".weight")
            if name.rsplit(".", 1)[-1] not in targets:
                continue
            outputs, inputs = weights.get_slice(key).get_shape()
            size = next((ranks[end] for end in ranks if name.endswith(end)), rank)
            start = f"base_model.model.{name}"
            tensors[f"{start}.lora_A.weight"] = torch.randn(size, inputs, generator=random) * 0.3
            tensors[f"{start}.lora_B.weight"] = torch.randn(outputs, size, generator=random) * 0.3
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(targets),
        **options,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    told = {"id": "tiny", "folder": str(base), "fingerprint": fingerprint(base)}
    (folder / "base.json").write_text(json.dumps(told), encoding="utf-8")
    return folder
