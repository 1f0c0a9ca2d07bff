"""What this machine has: memory and GPUs, read without loading torch."""

import os
import subprocess
from functools import cache

from selftune.core.records import Record
from selftune.models.main_memory import whole_memory

_ASK_SECONDS = 10
_MEBIBYTE = 1024**2


class Gpu(Record):
    """One NVIDIA GPU."""

    name: str
    bytes: int
    """All of its memory."""
    free_bytes: int


class Machine(Record):
    """What a training may use."""

    bytes: int
    """Of main memory."""
    cores: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def training_bytes(self) -> int:
        """Memory of the device that trains: the largest GPU's, or main memory."""
        return max((gpu.bytes for gpu in self.gpus), default=self.bytes)

    @property
    def words(self) -> str:
        """The machine in words."""
        if self.gpus:
            first = max(self.gpus, key=lambda gpu: gpu.bytes)
            more = f", {len(self.gpus)} of them" if len(self.gpus) > 1 else ""
            return f"{first.name} with {first.bytes / 1e9:.0f} GB{more}"
        return f"{self.cores} processor cores and {self.bytes / 1e9:.0f} GB of memory, no GPU"


@cache
def this_machine() -> Machine:
    """Return what is here; asked once a process."""
    return Machine(
        bytes=whole_memory(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores(),
        gpus=_gpus(),
    )


def _cores() -> int:
    return os.cpu_count() or 1


def _gpus() -> tuple[Gpu, ...]:
    """Ask NVIDIA's own tool; a machine without it has no GPU that could be used."""
    query = "--query-gpu=name,memory.total,memory.free"
    try:
        answer = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in answer.splitlines():
        name, total, free = (part.strip() for part in line.rsplit(",", 2))
        if total.isdecimal() and free.isdecimal():  # "[N/A]" where the driver does not say
            found.append(
                Gpu(name=name, bytes=int(total) * _MEBIBYTE, free_bytes=int(free) * _MEBIBYTE)
            )
    return tuple(found)
