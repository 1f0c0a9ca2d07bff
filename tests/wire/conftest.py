"""A real server: `selftune serve` with its worker and serving process, on a free port."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmarks.kills import Service
from tests.wire.model_stub import ModelStub, name_models

from selftune.core.settings import child_environment, load_settings

_START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """Where it listens, and the key that it printed."""

    base_url: str
    key: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a user would export."""
        return child_environment(load_settings()) | {
            "OPENAI_BASE_URL": self.base_url,
            "OPENAI_API_KEY": self.key,
        }

    def selftune(self, *arguments: str) -> str:
        """Run a command on the server's home folder; return what it printed."""
        command = [sys.executable, "-m", "selftune", *arguments]
        environment = child_environment(load_settings(home=self.home))
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return run.stdout.strip()


def _start(home: Path, *flags: str, **settings: str) -> tuple[subprocess.Popen[str], Server]:
    environment = child_environment(load_settings(home=home))
    environment |= {"PYTHONUNBUFFERED": "1"} | settings
    process = subprocess.Popen(
        [sys.executable, "-m", "selftune", "serve", "--port", "0", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    text, deadline = "", time.monotonic() + _START_SECONDS
    while "OPENAI_API_KEY" not in text:
        line = process.stdout.readline()
        assert line, f"the server ended: {text}"
        assert time.monotonic() < deadline, text
        text += line
    url = re.search(r"OPENAI_BASE_URL=(\S+)", text)
    key = re.search(r"OPENAI_API_KEY=(\S+)", text)
    assert url is not None
    assert key is not None
    return process, Server(url[1], key[1], home)


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    processes = []

    def start(*flags: str, **settings: str) -> Server:
        process, server = _start(tmp_path_factory.mktemp("home"), *flags, **settings)
        processes.append(process)
        return server

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def service(tmp_path: Path, stub: ModelStub) -> Iterator[Service]:
    """Give a server whose processes can be killed, with the test's own `stub` as its model."""
    made = Service(tmp_path, 0.0)
    name_models(made.home, stub, "hosted")
    yield made
    made.stop()
