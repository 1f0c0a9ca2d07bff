"""Measure chat through the whole server: 32 keep-alive clients and one, on a tuned embedded model.

The load generator is a plain asyncio loop over sockets in its own process, on the same processors as
the server. Training rows and questions are generated here: short messages, 40 labels.
"""

import asyncio
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from openai import OpenAI

RESULT = Path(__file__).parent / "results" / "chat_load.json"
LABELS, ROWS, REQUESTS = 40, 400, 4000
_WORDS = [
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
]


def message(draw: random.Random, label: int) -> str:
    """Return a short message about one label."""
    return (
        f"{draw.choice(_WORDS)} {_WORDS[label % 12]} number {label} {draw.choice(_WORDS)} please?"
    )


def rows() -> bytes:
    """Return the training file."""
    draw = random.Random(0)
    chats = [
        {
            "messages": [
                {"role": "user", "content": message(draw, index % LABELS)},
                {"role": "assistant", "content": f"label_{index % LABELS}"},
            ]
        }
        for index in range(ROWS)
    ]
    return "\n".join(json.dumps(chat) for chat in chats).encode()


def tune(client: OpenAI) -> str:
    """Train a model and return its name."""
    file = client.files.create(file=("rows.jsonl", rows()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=file.id, hyperparameters={"n_epochs": 1}
    )
    while job.status not in ("succeeded", "failed"):
        time.sleep(0.5)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return str(job.fine_tuned_model)


async def _one(port: int, head: str, bodies: list[bytes], seconds: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        started = time.perf_counter()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        header = await reader.readuntil(b"\r\n\r\n")
        assert header.startswith(b"HTTP/1.1 200"), header
        length = re.search(rb"content-length: (\d+)", header.lower())
        assert length is not None
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - started)
    writer.close()


def load(port: int, key: str, model: str, clients: int, requests: int) -> dict[str, Any]:
    """Send requests from so many clients; return the rate and the latencies."""
    draw = random.Random(clients)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    )
    bodies = [
        json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": message(draw, n % LABELS)}],
                "temperature": 0,
            }
        ).encode()
        for n in range(requests)
    ]
    seconds: list[float] = []

    async def run() -> float:
        started = time.perf_counter()
        shares = [bodies[n::clients] for n in range(clients)]
        await asyncio.gather(*(_one(port, head, share, seconds) for share in shares))
        return time.perf_counter() - started

    took = asyncio.run(run())
    ordered = sorted(seconds)
    return {
        "clients": clients,
        "requests": requests,
        "per_second": round(requests / took, 1),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
        "p95_ms": round(1000 * ordered[int(0.95 * len(ordered))], 2),
    }


def _in_process(connection: Any, arguments: tuple[int, str, str, int, int]) -> None:
    connection.send(load(*arguments))


def measured(*arguments: Any) -> dict[str, Any]:
    """Run the load in a process of its own."""
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_in_process, args=(theirs, arguments))
    process.start()
    found: dict[str, Any] = mine.recv()
    process.join()
    return found


def main() -> None:
    """Start a server, tune, measure, write the result."""
    home = tempfile.mkdtemp()
    server = subprocess.Popen(
        [
            "env",
            f"SELFTUNE_HOME={home}",
            "SELFTUNE_REQUESTS_PER_MINUTE=10000000",
            sys.executable,
            "-u",
            "-m",
            "selftune",
            "serve",
            "--port",
            "0",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    text = ""
    while "OPENAI_API_KEY" not in text:
        text += server.stdout.readline()
    url = re.findall(r"OPENAI_BASE_URL=(\S+)", text)[0]
    key = re.findall(r"OPENAI_API_KEY=(\S+)", text)[0]
    port = int(url.split(":")[2].split("/")[0])
    try:
        model = tune(OpenAI(base_url=url, api_key=key))
        measured(port, key, model, 4, 200)  # warm
        many = measured(port, key, model, 32, REQUESTS)
        one = measured(port, key, model, 1, 500)
        memory = _resident_megabytes(server.pid)
    finally:
        server.terminate()
        server.wait()
    result = {
        "what": "chat completions of a tuned embedded model through the whole server",
        "runs": [many, one],
        "api_process_mb": memory,
        "machine": machine(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return round(pages * os.sysconf("SC_PAGESIZE") / 1e6, 1)


if __name__ == "__main__":
    main()
