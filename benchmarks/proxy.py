"""Measure what passing a request on costs: 200 clients ask a stub directly, and through a server.

`python benchmarks/proxy.py` starts a stub that answers after 100 ms (`benchmarks/endpoint.py`), and
`selftune serve --upstream` in front of it. Rounds alternate, so that a machine that is busy for a
while is busy for both; what is added is the difference of the same quantile. A client sends its next
request when it has read the last answer. Clients, stub and server share this machine's processors.
"""

import asyncio
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.request import Request, urlopen

import uvloop
from benchmarks.machine import machine

RESULT = Path(__file__).parent / "results" / "proxy.json"
ROOT = Path(__file__).parent.parent
CLIENTS, ROUNDS, SECONDS, WARM_SECONDS = 200, 3, 5.0, 2.0
RECORDER_SECONDS = 5.0
"""Without anything recorded, after which nothing more comes."""
LATENCY = 0.1
MODEL = "ft:gpt-4o-mini-2024-07-18:acme:orders:AbC"
GOALS = {"added_p50_ms": 3.0, "added_p99_ms": 10.0}


class Client(asyncio.Protocol):
    """One caller: a request, its answer, the next request."""

    def __init__(self, request: bytes, times: list[tuple[float, float]]) -> None:
        self.request, self.times = request, times
        self.data = b""
        self.ends = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.ask()

    def ask(self) -> None:
        """Send the request again."""
        self.data, self.ends = b"", 0
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.ends:
            head = self.data.find(b"\r\n\r\n")
            if head < 0:
                return
            assert self.data.startswith(b"HTTP/1.1 200"), self.data
            found = re.search(rb"content-length: (\d+)", self.data[:head].lower())
            assert found is not None, self.data
            self.ends = head + 4 + int(found[1])
        if len(self.data) >= self.ends:
            now = time.perf_counter()
            self.times.append((now, now - self.began))
            self.ask()


def load(port: int, key: str, seconds: float, connection: Any) -> None:
    """Ask for some time; tell the latencies of the second part of it."""
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "Where is order 1234? " * 20}]}
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\naccept: application/json\r\n"
        f"user-agent: benchmark\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    times: list[tuple[float, float]] = []

    async def run() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(CLIENTS):
            await loop.create_connection(
                lambda: Client(head.encode() + body, times), "127.0.0.1", port
            )
            await asyncio.sleep(LATENCY / CLIENTS)  # they did not all begin at the same moment
        await asyncio.sleep(WARM_SECONDS)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        return began

    began = uvloop.run(run())
    kept = sorted(took for at, took in times if at >= began)
    told = {"per_second": len(kept) / seconds, "seconds": kept, "answered": len(times)}
    connection.send(told)


def asked(port: int, key: str, seconds: float) -> dict[str, Any]:
    """Ask from a process of its own; return the rate and quantiles in milliseconds.

    `answered` counts the first part of it too, which is not measured.
    """
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=load, args=(port, key, seconds, theirs))
    process.start()
    found = mine.recv()
    process.join()
    took = found["seconds"]
    return {
        "requests": len(took),
        "answered": found["answered"],
        "per_second": round(found["per_second"], 1),
        **{f"p{q}_ms": round(1000 * took[int(q / 100 * len(took))], 2) for q in (50, 90, 99)},
    }


@contextmanager
def stub() -> Iterator[int]:
    """Serve what plays the provider."""
    command = [sys.executable, str(ROOT / "benchmarks" / "endpoint.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    plan = json.dumps({"latency": LATENCY}).encode()
    urlopen(Request(f"http://127.0.0.1:{port}/plan", plan, method="POST")).read()
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def proxy(upstream: int, *options: str) -> Iterator[tuple[int, int, str, Path]]:
    """Serve with the stub as upstream; give port, process id, key and home folder."""
    with tempfile.TemporaryDirectory() as folder:
        profile = f'[profile.stub]\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
        (Path(folder) / "profiles.toml").write_text(profile, encoding="utf-8")
        variables = (f"SELFTUNE_HOME={folder}", "SELFTUNE_REQUESTS_PER_MINUTE=10000000")
        command = [
            "env",
            *variables,
            sys.executable,
            "-u",
            "-m",
            "selftune",
            "serve",
            "--port",
            "0",
            "--no-worker",
        ]
        command += ["--upstream", "stub", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = ""
        while "upstream:" not in text:
            line = process.stdout.readline()
            assert line, f"the server ended: {text}"
            text += line
        port = int(re.findall(r"OPENAI_BASE_URL=http://[^:]+:(\d+)", text)[0])
        try:
            yield port, process.pid, re.findall(r"OPENAI_API_KEY=(\S+)", text)[0], Path(folder)
        finally:
            process.terminate()
            process.wait()


def answer_once(port: int, key: str) -> None:
    """Ask one question, and wait for its answer."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    urlopen(Request(url, body, headers), timeout=60).read()


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def recorded(home: Path, answered: int) -> int:
    """Return how many exchanges were kept, when as many as were answered, or no more come."""
    count, before = 0, -1
    while before < count < answered:
        before = count
        time.sleep(RECORDER_SECONDS)
        count = json.loads((home / "run" / "recorder.json").read_bytes())["recorded"]
    return count


def measured(*options: str) -> dict[str, Any]:
    """Return what both ways took, round by round; where it records, whether it lost anything."""
    rounds: list[dict[str, Any]] = []
    kept: dict[str, Any] = {}
    with stub() as upstream, proxy(upstream, *options) as (port, pid, key, home):
        answer_once(port, key)  # what is loaded at the first request is no part of an answer
        answered = 1 + asked(port, key, 1.0)["answered"]
        for _ in range(ROUNDS):
            direct = asked(upstream, key, SECONDS)
            used = processor_seconds(pid)
            through = asked(port, key, SECONDS)
            used = processor_seconds(pid) - used
            answered += through["answered"]
            through["processor_ms_per_request"] = round(1000 * used / through["answered"], 3)
            rounds.append({"direct": direct, "through": through})
            print(json.dumps(rounds[-1]), flush=True)
        if "--record" in options:
            kept = {"answered": answered, "recorded": recorded(home, answered)}
    added = {
        f"added_p{q}_ms": round(
            statistics.median(
                each["through"][f"p{q}_ms"] - each["direct"][f"p{q}_ms"] for each in rounds
            ),
            2,
        )
        for q in (50, 90, 99)
    }
    return {"options": list(options), **added, **kept, "rounds": rounds}


def main() -> None:
    """Measure passing on, and passing on with recording; write the result."""
    runs = [measured(), measured("--record")]
    holds = {
        f"{name}{' recording' if run['options'] else ''} < {goal:g}": run[name] < goal
        for run in runs
        for name, goal in GOALS.items()
    }
    result = {
        "what": f"{CLIENTS} clients, an upstream that answers after {LATENCY * 1000:g} ms: "
        "milliseconds that passing through adds, the median of rounds",
        "holds": holds | {"all answers recorded": runs[1]["recorded"] >= runs[1]["answered"]},
        "runs": runs,
        "machine": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=2))


if __name__ == "__main__":
    main()
