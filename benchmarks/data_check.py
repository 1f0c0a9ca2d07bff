"""How fast data are checked: megabytes of a chat file for each second of one processor.

Writes `results/data_check.json`. Every figure is of a process of its own, pinned to one processor
(two, where it says so), with the tables loaded before the clock starts. `cookbook` is what OpenAI's
published notebook on data preparation does, one row at a time: parse, look for format errors, count
the tokens of all messages and of the assistant's once more.
"""

import gzip
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import bpe_openai
import tiktoken
import tiktoken.load
from benchmarks.chats import write_chats
from benchmarks.machine import machine

from selftune.data.check import CheckOptions, check
from selftune.models.tokens import prepare_many

ROWS = 500_000
LARGE_ROWS = 1_050_000
COOKBOOK_ROWS = 50_000
RESULTS = Path(__file__).parent / "results" / "data_check.json"
_MEGABYTE = 1_000_000


def main() -> None:
    """Make the files, check them in every way, write the result."""
    with tempfile.TemporaryDirectory() as folder:
        path, few, large = (Path(folder) / name for name in ("chats", "few", "large"))
        write_chats(path, ROWS)
        write_chats(few, COOKBOOK_ROWS)
        write_chats(large, LARGE_ROWS)
        cookbook = _measured(_cookbook, few, 1)
        structure = _measured(_structure, path, 1)
        content = _measured(_content, path, 1)
        two = _measured(_content_in_two, path, 2)
        limit = _measured(_structure, large, 1)
    report = {
        "what": "megabytes of a chat file checked for each second of processor time",
        "file": {"rows": ROWS, "megabytes": structure["megabytes"]},
        "cookbook": cookbook,
        "structure_and_exact_tokens": structure,
        "with_all_content_rules": content,
        "with_all_content_rules_on_two_processors": two,
        "file_of_more_than_512_megabytes": limit,
        "times_the_cookbook": round(
            structure["mb_per_cpu_second"] / cookbook["mb_per_cpu_second"], 1
        ),
        "two_processors_against_one_by_the_clock": round(
            content["wall_seconds"] / two["wall_seconds"], 2
        ),
        "machine": machine(),
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def _structure(path: Path) -> int:
    return check(path, CheckOptions(processes=1, content=False)).tokens


def _content(path: Path) -> int:
    return check(path, CheckOptions(processes=1, near=False)).tokens


def _content_in_two(path: Path) -> int:
    return check(path, CheckOptions(processes=2, near=False)).tokens


def _cookbook(path: Path) -> int:
    """Do what OpenAI's notebook does; return the tokens."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    errors: dict[str, int] = {}
    total = 0
    for row in rows:
        messages = row.get("messages") or []
        for message in messages:
            if "role" not in message or "content" not in message:
                errors["key"] = errors.get("key", 0) + 1
            if any(
                key not in ("role", "content", "name", "function_call", "weight") for key in message
            ):
                errors["unknown"] = errors.get("unknown", 0) + 1
            if message.get("role") not in ("system", "user", "assistant", "function"):
                errors["role"] = errors.get("role", 0) + 1
        if not any(message["role"] == "assistant" for message in messages):
            errors["assistant"] = errors.get("assistant", 0) + 1
        total += 3
        for message in messages:
            total += 3 + sum(
                _tiktoken(value) for value in message.values() if isinstance(value, str)
            )
        for message in messages:
            if message["role"] == "assistant":
                _tiktoken(message.get("content") or "")
    return total


def _tiktoken(text: str) -> int:
    return len(_reference().encode_ordinary(text))


@cache
def _reference() -> tiktoken.Encoding:
    """Return tiktoken itself, with the table of a package instead of one from the network."""
    packed = files("bpe_openai").joinpath("data/o200k_base.tiktoken.gz").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "o200k_base"
        table.write_bytes(gzip.decompress(packed))
        ranks = tiktoken.load.load_tiktoken_bpe(str(table))
    pattern = bpe_openai.get_encoding("o200k_base")._pat_str
    return tiktoken.Encoding("o200k", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _measured(work: Callable[[Path], int], path: Path, processors: int) -> dict[str, Any]:
    """Do work in a fresh process on so many processors; return speed, times and memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(work, path, processors, sender))
    process.start()
    figures: dict[str, Any] = receiver.recv()
    process.join()
    return figures


def _work(work: Callable[[Path], int], path: Path, processors: int, sender: Connection) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-processors:])
    if work is _cookbook:
        _tiktoken(".")
    else:
        prepare_many()
        check(path.with_name("few"), CheckOptions(processes=1, near=False))  # loads what it needs
    megabytes = path.stat().st_size / _MEGABYTE
    before, began = _processor_seconds(), time.perf_counter()
    tokens = work(path)
    wall, used = time.perf_counter() - began, _processor_seconds() - before
    peaks = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    sender.send(
        {
            "megabytes": round(megabytes, 1),
            "tokens": tokens,
            "mb_per_cpu_second": round(megabytes / used, 1),
            "cpu_seconds": round(used, 2),
            "wall_seconds": round(wall, 2),
            "peak_memory_mb": round(max(peaks) / 1024),
        }
    )


def _processor_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
