"""A server to measure, and a load generator: a plain asyncio loop over sockets in its own process."""

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = (
    "card",
    "cash",
    "room",
    "train",
    "bill",
    "parcel",
    "login",
    "refund",
    "order",
    "ticket",
    "seat",
    "price",
)
"""What made-up messages are made of."""


@dataclass(frozen=True)
class Serving:
    """A running `selftune serve`."""

    pid: int
    url: str
    key: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.split(":")[2].split("/")[0])

    def megabytes(self, field: str) -> float:
        """Return a field of the API process's status: `VmRSS` now, `VmHWM` at its highest."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None, field
        return round(int(found[1]) * 1024 / 1e6, 1)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return a whole request as it goes over the socket."""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@contextmanager
def serving(home: Path | None = None) -> Iterator[Serving]:
    """Start a server, and stop it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        variables = (
            f"SELFTUNE_HOME={home or folder}",
            "SELFTUNE_REQUESTS_PER_MINUTE=10000000",
        )
        command = [sys.executable, "-u", "-m", "selftune", "serve", "--port", "0"]
        process = subprocess.Popen(["env", *variables, *command], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = ""
        while "OPENAI_API_KEY" not in text:
            line = process.stdout.readline()
            assert line, f"the server ended: {text}"
            text += line
        url = re.findall(r"OPENAI_BASE_URL=(\S+)", text)[0]
        key = re.findall(r"OPENAI_API_KEY=(\S+)", text)[0]
        try:
            yield Serving(process.pid, url, key)
        finally:
            process.terminate()
            process.wait()


def measured(
    port: int, requests: Sequence[bytes], clients: int, core: int | None = None
) -> dict[str, Any]:
    """Send requests from so many keep-alive clients in a process; return the rate and latencies."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=_in_process, args=(theirs, port, requests, clients, core)
    )
    process.start()
    found: dict[str, Any] = mine.recv()
    process.join()
    return found


def _in_process(
    connection: Any, port: int, requests: Sequence[bytes], clients: int, core: int | None
) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    connection.send(_load(port, requests, clients))


def _load(port: int, requests: Sequence[bytes], clients: int) -> dict[str, Any]:
    seconds: list[float] = []

    async def run() -> float:
        started = time.perf_counter()
        shares = [requests[n::clients] for n in range(clients)]
        await asyncio.gather(*(_one(port, share, seconds) for share in shares))
        return time.perf_counter() - started

    took = asyncio.run(run())
    ordered = sorted(seconds)
    return {
        "clients": clients,
        "requests": len(requests),
        "per_second": round(len(requests) / took, 1),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
        "p95_ms": round(1000 * ordered[int(0.95 * len(ordered))], 2),
    }


async def _one(port: int, requests: Sequence[bytes], seconds: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        started = time.perf_counter()
        writer.write(request)
        header = await reader.readuntil(b"\r\n\r\n")
        assert header.startswith(b"HTTP/1.1 200"), header
        length = re.search(rb"content-length: (\d+)", header.lower())
        assert length is not None
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - started)
    writer.close()
