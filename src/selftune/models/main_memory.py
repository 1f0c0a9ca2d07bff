"""Memory that this process may use: the machine's, or its container's where that is less."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_UNKNOWN = 2 * 1024**3
"""Taken to be free where the system does not say."""
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By the version of control groups: the limit, what is used, and what of it may be given back at
once, a line of `memory.stat` (the kernel's documentation, admin-guide/cgroup-v1 and cgroup-v2)."""


class _Limit(NamedTuple):
    """What a control group may use, and has left."""

    whole: int
    free: int


def whole_memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Return the bytes of main memory, or of the container's where that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(limit.whole for limit in _limits(proc, groups))])


def free_memory(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Return the bytes of main memory that can be taken now without others losing any."""
    available = _line(proc / "meminfo", "MemAvailable:")
    machine = _UNKNOWN if available is None else 1024 * available
    return max(0, min([machine, *(limit.free for limit in _limits(proc, groups))]))


def _limits(proc: Path, groups: Path) -> Iterator[_Limit]:
    """Yield the limits of this process's groups and of those around them."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        top = groups / "memory" if controllers else groups
        # In a container the path may be the host's: what is not there is passed over.
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            limit = _limit(top / folder, version)
            if limit is not None:
                yield limit


def _limit(folder: Path, version: int) -> _Limit | None:
    whole_name, used_name, returned_name = _FILES[version]
    try:
        whole, used = (
            (folder / name).read_text("ascii").strip() for name in (whole_name, used_name)
        )
    except OSError:
        return None
    if not whole.isdecimal():  # "max"
        return None
    returned = _line(folder / "memory.stat", returned_name) or 0
    return _Limit(int(whole), int(whole) - int(used) + returned)


def _line(path: Path, name: str) -> int | None:
    """Return the number in the line that begins with a name."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), None)
