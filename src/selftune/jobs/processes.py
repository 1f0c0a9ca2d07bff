"""Child processes that die with their parent and are kept alive by it.

The parent holds the writing end of a pipe, the lifeline; nothing is ever written to it. When the
parent ends, however it ends, the operating system closes the pipe, and a thread in the child that
waits on the reading end stops the child. So a SIGKILL of any process leaves no orphan.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO

from selftune.core.errors import InvalidInput
from selftune.core.settings import read_variable

LIFELINE = "SELFTUNE_LIFELINE"
"""Environment variable with the number of the pipe's reading end."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_CALM_SECONDS = 30.0
_CHECK_SECONDS = 120.0


class Child:
    """A running child process, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self.process = process
        self._lifeline: int | None = lifeline
        self._closing = threading.Lock()

    @property
    def is_running(self) -> bool:
        """True until the process has ended."""
        return self.process.poll() is None

    def terminate(self, *, grace_seconds: float) -> None:
        """End the process: a polite signal, then, after the grace time, an impolite one."""
        if self.is_running:
            self.process.terminate()
            try:
                self.process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self.close()

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        with contextlib.suppress(ProcessLookupError):  # it may have been faster
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Let go of the lifeline; a process that is still there ends."""
        with self._closing:  # closing a number twice might close somebody else's file
            if self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None


def start(
    module: str,
    *arguments: str,
    environment: Mapping[str, str],
    log: IO[bytes] | None = None,
    python: str = "",
) -> Child:
    """Start `PYTHON -m MODULE ARGUMENTS` with a lifeline to this process, whose Python it has."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    try:
        process = subprocess.Popen(
            [python or sys.executable, "-m", module, *arguments],
            env={**environment, LIFELINE: str(reading)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log is not None else None,
            pass_fds=(reading,),
            start_new_session=True,
        )
    finally:
        os.close(reading)
    return Child(process, writing)


def check_python(python: str) -> None:
    """Check that an interpreter can run this program's children; none means this process's own.

    Raises:
        InvalidInput: there is no such program, or it does not have this version of selftune.

    """
    if not python:
        return
    asked = "from importlib.metadata import version; import selftune; print(version('selftune'))"
    wanted = version("selftune")
    try:
        told = subprocess.run(
            [python, "-c", asked], capture_output=True, text=True, timeout=_CHECK_SECONDS
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _unusable(python, f"it cannot be started: {error}") from error
    if told.returncode != 0:
        lines = told.stderr.strip().splitlines() or ["it does not say why"]
        raise _unusable(python, f"selftune cannot be imported there: {lines[-1]}")
    found = told.stdout.strip()
    if found != wanted:
        raise _unusable(python, f"it has selftune {found}, and this is {wanted}")


def _unusable(python: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"SELFTUNE_TRAIN_PYTHON is {python!r}: {why}. It must be the Python of an environment in "
        "which this version of selftune is installed with the extra of the engine.",
        code="invalid_setting",
        param="train_python",
    )


def die_with_parent() -> None:
    """In a child: stop this process and its group as soon as the parent has ended."""
    number = read_variable(LIFELINE)
    if number is None:
        return
    reading = int(number)
    os.set_inheritable(reading, False)

    def wait() -> None:
        os.read(reading, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


class KeptAlive:
    """Starts a child again whenever it ends, with growing pauses while it keeps ending."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._module, self._arguments = module, tuple(arguments)
        self._environment, self._log = environment, log
        self._stop = threading.Event()
        self._child: Child | None = None
        self._thread = threading.Thread(target=self._run, name=module, daemon=True)

    def start(self) -> None:
        """Start the child, and keep it alive from now on."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Process id of the child that runs now."""
        child = self._child
        return child.process.pid if child is not None and child.is_running else None

    def stop(self, *, grace_seconds: float = 5.0) -> None:
        """End the child and start it no more."""
        self._stop.set()
        child = self._child
        if child is not None:
            child.terminate(grace_seconds=grace_seconds)
        if self._thread.is_alive():
            self._thread.join(grace_seconds)

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        self._log.parent.mkdir(parents=True, exist_ok=True)
        while not self._stop.is_set():
            started = time.monotonic()
            with self._log.open("ab") as log:
                self._child = start(
                    self._module, *self._arguments, environment=self._environment, log=log
                )
            if self._stop.is_set():  # `stop` came too early to see this child
                self._child.kill()
            self._child.process.wait()
            self._child.close()
            calm = time.monotonic() - started > _CALM_SECONDS
            pause = _FIRST_PAUSE_SECONDS if calm else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._stop.wait(pause)
