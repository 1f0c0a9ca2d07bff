"""Run a stranger's `grade(sample, item)` where it can reach nothing: bubblewrap, or not at all.

The program sees an empty file system with Python's own libraries to read and a small `/tmp`. It has
no network, no other processes, no environment, no rights. `inside.py` sets the limits of memory and
time and a filter of system calls before it looks at the source. Without bubblewrap it is refused.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from selftune.core.records import Record
from selftune.evaluate.scorer import Graded, errored

_PACKAGES = "/packages"
_PROGRAM = "/grader.py"
_INSIDE = Path(__file__).with_name("inside.py")
_MOST_ANSWER_BYTES = 64 * 1024
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_SLOTS = threading.BoundedSemaphore(os.cpu_count() or 1)
"""So many sandboxes at a time: each may take all the memory that its limit allows."""
_NOBODY = "65534"
_MIB = 1024 * 1024


class Limits(Record):
    """What a program may use; the numbers are OpenAI's."""

    seconds: float = 120.0
    memory_bytes: int = 2048 * _MIB
    disk_bytes: int = 1024 * _MIB
    processors: int = 2


def grade_inside(
    source: str, item: dict[str, Any], sample: dict[str, Any], limits: Limits | None = None
) -> Graded:
    """Return what a program's `grade` says of an answer; every failure is errored."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        return _unavailable("is not installed: install the package `bubblewrap`")
    limits = limits or Limits()
    task = {
        "source": source,
        "item": item,
        "sample": sample,
        "packages": _PACKAGES,
        "limits": {
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "processors": limits.processors,
            "processor_seconds": math.ceil(limits.seconds * limits.processors),
        },
    }
    with _SLOTS, tempfile.TemporaryFile() as given:
        given.write(json.dumps(task).encode())
        given.seek(0)
        return _run(_command(bubblewrap, limits), given, limits)


def _run(command: list[str], given: IO[bytes], limits: Limits) -> Graded:
    late = threading.Event()
    with subprocess.Popen(
        command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={}
    ) as process:

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limits.seconds, end)
        timer.start()
        try:
            assert process.stdout is not None
            said = process.stdout.read(_MOST_ANSWER_BYTES)
        finally:
            timer.cancel()
            process.kill()
    if late.is_set():
        return _failed(f"it took longer than {limits.seconds:g} seconds")
    return _read(said)


def _read(said: bytes) -> Graded:
    if said.startswith(b"bwrap:"):
        reason = said.decode(errors="replace").strip()[:300]
        return _unavailable(f"cannot make a sandbox here ({reason})")
    try:
        answer = json.loads(said)
        if "error" in answer:
            return _failed(str(answer["error"]).encode(errors="replace").decode())
        score = float(answer["score"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return _failed("it was ended, for what it tried or for the memory or time that it took")
    if not math.isfinite(score):
        return _failed(f"its score {score} is not a finite number")
    return Graded(status="scored", value=score)


def _command(bubblewrap: str, limits: Limits) -> list[str]:
    python = Path(sys.executable).resolve()
    readable = {*_LIBRARIES, f"{sys.base_prefix}/lib", str(python)}
    shared = [part for path in sorted(readable) for part in ("--ro-bind-try", path, path)]
    return [
        bubblewrap,
        *("--unshare-all", "--unshare-user", "--disable-userns", "--as-pid-1"),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--uid", _NOBODY, "--gid", _NOBODY),
        *("--clearenv", "--setenv", "OPENBLAS_NUM_THREADS", "1", "--hostname", "grader"),
        *shared,
        *("--ro-bind", sysconfig.get_path("purelib"), _PACKAGES),
        *("--ro-bind", str(_INSIDE), _PROGRAM),
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
        *("--size", str(limits.disk_bytes), "--tmpfs", "/tmp", "--chdir", "/tmp"),
        *("--remount-ro", "/"),
        *(str(python), "-I", "-S", "-B", _PROGRAM),
    ]


def _unavailable(reason: str) -> Graded:
    return errored(
        f"The python grader needs bubblewrap, which {reason}. Nothing was run.",
        "python_grader_server_error",
    )


def _failed(reason: str) -> Graded:
    return errored(f"the grader's program: {reason}", "python_grader_runtime_error")
