"""Which GPUs this machine has, and which of them a job gets.

A job that needs GPUs holds shares of their memory under its lease, so they are free again when the
lease is, however its worker ended. A job that does not fit now is overtaken by smaller ones, but
only so often; then nothing that needs a GPU and stands behind it starts before it does.
"""

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.settings import read_variable
from selftune.store.owners import this_machine

MOST_OVERTAKEN = 8
"""How often a job that does not fit is overtaken before the devices are kept free for it."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""What CUDA reads: the devices that a process sees."""
_QUERY = ("--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
_TIMEOUT_SECONDS = 30.0
_MIB_PER_GIB = 1024


class Device(Record):
    """One GPU."""

    key: str
    """Its name, which no other device of any machine has."""
    memory: int
    """MiB."""

    @property
    def visible(self) -> str:
        """What CUDA calls it on its machine."""
        return visible([self.key])


class Waiting(Record):
    """A job that waits for devices."""

    id: str
    devices: int
    memory: int | None
    """MiB on each device; None means all of it."""
    passed_over: int = 0


class Choice(Record):
    """Who is next, with what it gets, and whom it overtakes."""

    id: str | None = None
    shares: dict[str, int] = Field(default_factory=dict)
    overtaken: tuple[str, ...] = ()
    too_large: tuple[str, ...] = ()
    """Jobs that this machine can never take."""


def find_devices(wanted: str) -> tuple[Device, ...]:
    """Return the devices that a setting means: `auto`, `none`, or a list as `0,1` or `0:40` (GiB).

    Raises:
        InvalidInput: the setting cannot be read.

    """
    if wanted.strip().lower() == "none":
        return ()
    if wanted.strip().lower() == "auto":
        return _allowed(_of_this_machine(), read_variable(VISIBLE))
    found = dict(_of_this_machine())
    return tuple(_listed(part.strip(), found) for part in wanted.split(",") if part.strip())


def visible(keys: Iterable[str]) -> str:
    """Return the value of `CUDA_VISIBLE_DEVICES` that shows these devices and no others."""
    return ",".join(key.rpartition("/")[2] for key in keys)


def choose(
    waiting: Sequence[Waiting], devices: Sequence[Device], held: Mapping[str, int]
) -> Choice:
    """Return the first job that may start now; `waiting` is in the order of the queue."""
    free = {device.key: device.memory - held.get(device.key, 0) for device in devices}
    empty = {device.key: device.memory for device in devices}
    overtaken: list[str] = []
    too_large: list[str] = []
    found = Choice()
    for job in waiting:
        shares = _shares(job, devices, free)
        if shares is not None:
            found = Choice(id=job.id, shares=shares, overtaken=tuple(overtaken))
            break
        if _shares(job, devices, empty) is None:
            too_large.append(job.id)
        elif job.passed_over >= MOST_OVERTAKEN:
            break
        else:
            overtaken.append(job.id)
    return found.model_copy(update={"too_large": tuple(too_large)})


def _shares(
    job: Waiting, devices: Sequence[Device], free: Mapping[str, int]
) -> dict[str, int] | None:
    """Return what a job gets: of the devices with room, those with least, to keep whole ones."""
    needs = {device.key: device.memory if job.memory is None else job.memory for device in devices}
    fitting = sorted((free[key], key) for key in needs if 0 < needs[key] <= free[key])
    if len(fitting) < job.devices:
        return None
    return {key: needs[key] for _, key in fitting[: job.devices]}


def _of_this_machine() -> list[tuple[str, Device]]:
    """Return each GPU with its number."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        told = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []  # a driver that does not answer has no devices to train on
    rows = [[part.strip() for part in line.split(",")] for line in told.splitlines()]
    return [
        (row[0], Device(key=row[1], memory=int(row[2])))
        for row in rows
        if len(row) == 3 and row[2].isdigit()
    ]


def _allowed(found: list[tuple[str, Device]], names: str | None) -> tuple[Device, ...]:
    """Return the devices that the environment of the server lets it see."""
    if names is None:
        return tuple(device for _, device in found)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    return tuple(
        device
        for number, device in found
        if any(name == number or device.key.startswith(name) for name in wanted)
    )


def _listed(text: str, found: Mapping[str, Device]) -> Device:
    """Return a device by its number; a memory that is given stands for what the driver tells."""
    number, _, gib = text.partition(":")
    known = found.get(number)
    key = f"{this_machine()}/{number}" if known is None else known.key
    try:
        memory = int(float(gib) * _MIB_PER_GIB) if gib else 0 if known is None else known.memory
    except (ValueError, OverflowError):
        memory = 0
    if not number.isalnum() or memory < 1:
        raise InvalidInput(
            f"SELFTUNE_DEVICES has {text!r}: it must be 'auto', 'none', or numbers of GPUs that "
            "nvidia-smi lists, such as '0,1'; with GiB to use less of their memory, as in '0:40'.",
            code="invalid_setting",
            param="devices",
        )
    return Device(key=key, memory=memory)
