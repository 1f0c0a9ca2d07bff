"""Who holds something: a process, named so that others on its machine can see whether it lives."""

import os
import socket
from functools import cache
from pathlib import Path


def this_process() -> str:
    """Return this process's name: host, process id, and its start, which no later one shares."""
    return f"{this_machine()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Return True when the owner ran on this machine and has ended; False when nobody can tell."""
    match owner.rsplit(":", 2):
        case [machine, pid, start] if machine == this_machine() and pid.isdigit():
            return _start_of(int(pid)) != start
        case _:
            return False


@cache
def this_machine() -> str:
    """Return what process ids are unique in: a host, and in it a container's own numbering."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:[").removesuffix("]")
    except OSError:
        space = ""
    return f"{socket.gethostname()}.{space}"


def _start_of(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty when it is not there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "" if not _exists(pid) else "?"
    return "" if fields[0] == "Z" else fields[19]  # fields 3 and 22 of proc(5)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
