"""Measure the serving of open models: one base, eight adapters, a model that is made here.

Rates are tokens per second of processor time on one thread, since other work on the machine has no
part in them. What HTTP adds is told at the median of one client's waits, which is right on a quiet
machine only (see `load_average`), and in processor time of all the server's processes.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.machine import machine
from benchmarks.serving import WORDS, Serving, measured, serving
from tests.made_models import make_model
from tests.models.hf.made_adapters import make_adapter

from selftune.models.hf.engine import engine_for
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.runtime import Runtime
from selftune.models.sampler import Prompt, Sampling
from selftune.models.samplers import hf

RESULT = Path(__file__).parent / "results" / "open_serving.json"
CLIENTS, ADAPTERS, TOKENS, ROUNDS = 32, 8, 16, 2
REQUESTS = 100
SIZES = {"hidden": 256, "layers": 4, "vocabulary": 2048, "context": 1024}
CATALOG = """
[[base]]
id = "made"
engine = "hf"
owned_by = "benchmarks"
license = "none"
context = 1024
created = 1700000000
source = {folder}
"""


def messages(number: int) -> tuple[dict[str, Any], ...]:
    """Return a short chat."""
    text = f"{WORDS[number % 12]} {WORDS[number * 5 % 12]} number {number} please?"
    return ({"role": "user", "content": text},)


def prompt(runtime: Runtime, number: int, tokens: int) -> Prompt:
    """Return a question whose answer has exactly so many tokens."""
    never = dict.fromkeys(runtime.renderer.stop_ids, -100.0)
    sampling = Sampling(temperature=0, max_tokens=tokens, logit_bias=never)
    return Prompt(messages=messages(number), sampling=sampling)


def load(folder: Path) -> Runtime:
    """Return a model on one thread."""
    return hf.build(hf.Params(folder=folder, cache=folder.parent / "cache", threads=1))


def rates(works: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Return tokens per second of processor time; the works take turns, the best round counts."""
    best = dict.fromkeys(works, 0.0)
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.process_time()
            tokens = work()
            best[name] = max(best[name], tokens / (time.process_time() - started))
    return {name: round(rate, 1) for name, rate in best.items()}


def together(models: Sequence[Runtime]) -> int:
    """Answer all clients in one batch, and return the tokens."""
    told: list[Any] = []
    for number in range(CLIENTS):
        model = models[number % len(models)]
        model.start(prompt(model, number, TOKENS), told.append)
    while models[0].step():
        pass
    return CLIENTS * TOKENS


def one_by_one(models: Sequence[Runtime]) -> int:
    """Answer one client after the other, and return the tokens."""
    for number in range(CLIENTS):
        model = models[number % len(models)]
        model.sample([prompt(model, number, TOKENS)])
    return CLIENTS * TOKENS


def generated(folder: Path, rows: int) -> Callable[[], int]:
    """Return the same work by transformers' own `generate`, in one batch that nobody leaves."""
    model: Any = engine_for(folder, None).loaded.model
    renderer = Renderer.load(folder)
    ids = [renderer.prompt(messages(number)) for number in range(rows)]
    longest = max(map(len, ids))
    padded = torch.tensor([[0] * (longest - len(row)) + row for row in ids])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids])

    def work() -> int:
        model.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=TOKENS,
            min_new_tokens=TOKENS,
            do_sample=False,
            pad_token_id=0,
        )
        return rows * TOKENS

    return work


def runtime_rates(root: Path) -> dict[str, Any]:
    """Measure the runtime, called directly."""
    torch.set_num_threads(1)
    base = make_model(root / "base", "llama", **SIZES)  # type: ignore[arg-type]
    folders = [make_adapter(base, root / f"adapter{n}", rank=16, seed=n) for n in range(ADAPTERS)]
    for folder in folders:
        Renderer.load(base).save(folder)
    plain, tuned = load(base), [load(folder) for folder in folders]
    works: dict[str, Callable[[], int]] = {
        "one_by_one_8_adapters": lambda: one_by_one(tuned),
        "32_clients_8_adapters": lambda: together(tuned),
        "32_clients_base": lambda: together([plain]),
        "1_client_base": lambda: one_by_one([plain]),
        "transformers_generate_32_base": generated(base, CLIENTS),
        "transformers_generate_1_base": generated(base, 1),
    }
    found = rates(works)
    gain = found["32_clients_8_adapters"] / found["one_by_one_8_adapters"]
    return {"tokens_per_cpu_second": found, "gain_of_32_clients_on_8_adapters": round(gain, 2)}


def overhead(root: Path) -> dict[str, Any]:
    """Measure what the way through the server adds to an answer of one token."""
    base = root / "base"
    home = root / "home"
    home.mkdir()
    catalog = CATALOG.format(folder=json.dumps(str(base)))
    (home / "catalog.toml").write_text(catalog, encoding="utf-8")
    model = load(base)
    direct, cpu = [], time.process_time()
    for number in range(REQUESTS):
        started = time.perf_counter()
        model.sample([prompt(model, number, 1)])
        direct.append(1000 * (time.perf_counter() - started))
    used = time.process_time() - cpu
    with serving(home) as server:
        measured(server.port, questions(server, model), 1)  # loads it
        before = processor_seconds(server.pid)
        found = measured(server.port, questions(server, model), 1)
        used_by_server = processor_seconds(server.pid) - before
    middle = statistics.median(direct)
    return {
        "direct_p50_ms": round(middle, 2),
        "http_p50_ms": found["p50_ms"],
        "added_p50_ms": round(found["p50_ms"] - middle, 2),
        "direct_cpu_ms": round(1000 * used / REQUESTS, 2),
        "server_cpu_ms": round(1000 * used_by_server / REQUESTS, 2),
        "added_cpu_ms": round(1000 * (used_by_server - used) / REQUESTS, 2),
    }


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of all it has started."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    mine = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime
    lists = [
        path.read_text(encoding="utf-8") for path in Path(f"/proc/{pid}/task").glob("*/children")
    ]
    children = {int(child) for text in lists for child in text.split()}
    return mine + sum(processor_seconds(child) for child in children)


def questions(server: Serving, model: Runtime) -> list[bytes]:
    """Return requests for answers of one token."""
    never = {str(token): -100 for token in model.renderer.stop_ids}
    bodies = [
        {
            "model": "made",
            "messages": messages(number),
            "temperature": 0,
            "max_tokens": 1,
            "logit_bias": never,
        }
        for number in range(REQUESTS)
    ]
    return [
        server.request("POST", "/v1/chat/completions", json.dumps(body).encode()) for body in bodies
    ]


def main() -> None:
    """Measure, and write the result."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        result = {
            "what": f"a Llama-shaped model of random weights, {SIZES}, float32, {TOKENS} tokens an "
            "answer, adapters of rank 16 on every linear layer",
            **runtime_rates(root),
            "through_http": overhead(root),
            "load_average": round(os.getloadavg()[0], 1),
            "machine": machine(),
        }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
