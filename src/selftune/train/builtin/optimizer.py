"""An optimiser's moments as named tensors, so that a checkpoint is safetensors and nothing else."""

import torch
from torch import Tensor

_PREFIX = "optimizer."


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of every parameter: `optimizer.NUMBER.NAME`."""
    return {
        f"{_PREFIX}{number}.{name}": value
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give back the moments that `optimizer_state` returned; other names are left alone."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under(tensors, _PREFIX).items():
        number, _, what = name.partition(".")
        moments.setdefault(int(number), {})[what] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
