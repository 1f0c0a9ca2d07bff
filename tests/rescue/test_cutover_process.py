"""The command as a user runs it: `selftune serve --upstream`, switched and killed under load."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.models.sockets import answer, serving
from tests.rescue.beside import entry, made_archive
from tests.rescue.proxied import FAKE, MODEL, eventually

from selftune.core.settings import Settings, child_environment

_BODY = json.dumps(
    {
        "object": "chat.completion",
        "id": "chatcmpl-up",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "from upstream"},
                "finish_reason": "stop",
            }
        ],
    }
).encode()


def selftune(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "selftune", *arguments]
    environment = child_environment(Settings(home=home))
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@contextlib.contextmanager
def server(home: Path, archive: Path) -> Iterator[tuple[int, httpx.Client]]:
    environment = child_environment(Settings(home=home))
    command = [sys.executable, "-u", "-m", "selftune", "serve", "--port", "0", "--no-auth"]
    command += ["--no-worker", "--upstream", "stub", "--record"]
    command += ["--archive", str(archive)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    while "upstream: stub" not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    url = re.findall(r"OPENAI_BASE_URL=(\S+)", text)[0]
    try:
        with process.stdout, httpx.Client(base_url=url, timeout=30, verify=False) as client:
            yield process.pid, client
    finally:
        process.terminate()
        process.wait()


def child(parent: int, module: str) -> int | None:
    """Return the process id of a child that runs a module."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent and module in (folder / "cmdline").read_text():
                return int(folder.name)
    return None


@pytest.mark.slow
def test_kills_of_what_answers_and_of_what_records_lose_no_request(tmp_path: Path) -> None:
    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(answer(_BODY, "200 OK", "Content-Type: application/json"))
        return True

    home = tmp_path / "home"
    home.mkdir()
    with serving(script) as stub:
        profile = f'[profile.stub]\nbase_url = "{stub.url}"\n'
        (home / "profiles.toml").write_text(profile, encoding="utf-8")
        made_archive(tmp_path / "archive", entry("file", "file-old", filename="a.jsonl"))
        with server(home, tmp_path / "archive") as (pid, client):
            assert client.get("/files/file-old").json()["filename"] == "a.jsonl"
            sides: Counter[str] = Counter()

            def ask(number: int) -> None:
                messages = [{"role": "user", "content": f"question {number}"}]
                found = client.post(
                    "/chat/completions", json={"model": MODEL, "messages": messages}
                )
                assert found.status_code == 200, found.text
                sides[found.headers["x-selftune-answered-by"]] += 1

            def kill(module: str) -> None:
                eventually(lambda: child(pid, module) is not None)
                os.kill(child(pid, module) or 0, signal.SIGKILL)

            ask(0)
            assert sides == {"upstream": 1}
            told = selftune(
                "rescue", "switch", MODEL, "--to", "replacement", "--replacement", FAKE,
                "--no-fallback", home=home,
            )  # fmt: skip
            assert "upstream -> replacement" in told.stdout
            ask(1)
            assert sides["replacement"] == 1
            with ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(ask, number) for number in range(2, 200)]
                kill("selftune.serve.process")
                kill("selftune.rescue.recorder")
                for each in asked:
                    each.result()
            assert sides == {"upstream": 1, "replacement": 199}
            shown = selftune("rescue", "routes", home=home).stdout
    assert re.search(rf"{re.escape(MODEL)} +replacement +{FAKE}", shown)
