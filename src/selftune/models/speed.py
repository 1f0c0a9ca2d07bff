"""How fast this machine multiplies matrices, measured now; `python -m selftune.models.speed`.

What trains does the same. A GPU is measured in a child process, by torch where that is installed.
"""

import json
import subprocess
import sys
import time

import numpy as np

from selftune.core.records import Record
from selftune.models.machine import Machine

_SIDE, _GPU_SIDE = 1024, 8192
_SECONDS = 0.3
_CHILD_SECONDS = 120


class Speed(Record):
    """What was measured."""

    flops: float
    """Floating-point operations a second."""
    source: str


def measure(machine: Machine) -> Speed | None:
    """Return the speed of what trains here; None where there is a GPU and no torch to ask it."""
    if not machine.gpus:
        return Speed(flops=_processor(), source="float32 matrix products on the processor, now")
    command = [sys.executable, "-m", "selftune.models.speed"]
    try:
        said = subprocess.run(command, capture_output=True, timeout=_CHILD_SECONDS, check=True)
        return Speed(
            flops=float(json.loads(said.stdout)["flops"]),
            source="bfloat16 matrix products on the GPU, now",
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def _processor() -> float:
    draw = np.random.default_rng(0)
    left = draw.standard_normal((_SIDE, _SIDE), np.float32)
    right = draw.standard_normal((_SIDE, _SIDE), np.float32)
    np.matmul(left, right)  # the first one starts threads
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        np.matmul(left, right)
        done += 1
    return 2 * _SIDE**3 * done / (time.perf_counter() - started)


def _gpu() -> float:
    import torch

    left = torch.randn(_GPU_SIDE, _GPU_SIDE, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        left @ left
    torch.cuda.synchronize()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        left @ left
        torch.cuda.synchronize()
        done += 1
    return 2.0 * _GPU_SIDE**3 * done / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"flops": _gpu()}))
