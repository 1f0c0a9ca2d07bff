"""The ways of serving that keep one contract, each with two models of one base."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from openai import AsyncOpenAI
from tests.api.asking import over_http
from tests.jobs.test_queue import put
from tests.serve.model_server import model_server
from tests.serve.running import running
from tests.serve.test_model_servers import BASE, add_models, client_of, name_of

from selftune.api.app import create_app
from selftune.core.records import Model
from selftune.core.settings import Settings, child_environment, load_settings
from selftune.serve.client import ServingClient
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.models import insert_model
from selftune.store.store import Store, open_store

HI: list[dict[str, str]] = [{"role": "user", "content": "Say something nice"}]
ROWS = [[*HI, {"role": "assistant", "content": "Something nice, and then some more of it."}]]
CONTEXT = 512
_START_SECONDS = 300


class Served(NamedTuple):
    """A way of serving, with two models of one base."""

    base: str
    tuned: str
    other: str


Scene = Callable[[Any, Served], Coroutine[Any, Any, None]]
Serve = Callable[[Scene], None]


class OpenModels(NamedTuple):
    """A home with open models, and the socket of the process that serves them."""

    settings: Settings
    socket: Path


def asked(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": HI, "temperature": 0, "max_tokens": 6} | options


@contextmanager
def vllm(python: str, folder: Path) -> Iterator[str]:
    """Start vLLM on a tiny model; give its address."""
    make_adapters(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = f"--model {folder / 'base'} --served-model-name theirs --host 127.0.0.1 --port {port}"
    flags += f" --dtype float32 --enforce-eager --max-model-len {CONTEXT} --max-num-seqs 8"
    flags += " --enable-lora --max-loras 2 --max-lora-rank 8"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "vllm.entrypoints.openai.api_server", *flags.split()],
            env=_variables_of_vllm(),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _variables_of_vllm() -> dict[str, str]:
    return child_environment(load_settings()) | {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait for its first answer: whatever it compiles is compiled then."""
    body = {"model": "theirs", "messages": HI, "max_tokens": 2}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    end = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, log.read_text("utf-8")[-3000:]
        assert time.monotonic() < end, log.read_text("utf-8")[-3000:]
        try:
            with urllib.request.urlopen(request, timeout=_START_SECONDS):
                return
        except OSError:
            time.sleep(0.5)


def make_adapters(folder: Path) -> None:
    """Write a base and two adapters of it."""
    from tests.made_models import make_model
    from tests.models.hf.made_adapters import make_adapter

    base = make_model(folder / "base", "qwen", hidden=128, context=CONTEXT)
    for number in range(2):  # vLLM's kernels know no smaller heads
        targets = ("q_proj", "v_proj", "up_proj", "down_proj")
        make_adapter(base, folder / f"m{number}", rank=8, seed=number, targets=targets)


@contextmanager
def open_models(home: Path) -> Iterator[OpenModels]:
    """Serve a base and two adapters of it by our own runtime, in a process of its own."""
    from selftune.models.hf.renderer import Renderer

    settings = Settings(home=home, threads=1)
    store = open_store(settings)
    make_adapters(store.folder("models"))
    base = store.root / "models" / "base"
    add_models(store, "", 2, file="of_tests.json")
    text = f'[[base]]\nid = "{BASE}"\nengine = "hf"\ncontext = {CONTEXT}\nsource = "{base}"\n'
    text += 'owned_by = "tests"\nlicense = "none"\ncreated = 1700000000\n'
    (store.root / "catalog.toml").write_text(text, encoding="utf-8")
    renderer = Renderer.load(base)
    for number in range(2):
        renderer.save(store.root / "models" / f"m{number}")
    store.close()
    with tempfile.TemporaryDirectory() as short:
        path = Path(short) / "s"
        environment = child_environment(settings)
        command = [sys.executable, "-m", "selftune.serve.process", str(path)]
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        try:
            while not path.exists():
                assert process.poll() is None
                time.sleep(0.02)
            yield OpenModels(settings, path)
        finally:
            process.kill()
            process.wait()


async def by_open_models(served: OpenModels, scene: Scene) -> None:
    """Play a scene over real sockets, so that a stream is read while it is written."""
    store = open_store(served.settings)
    serving = ServingClient(served.socket, wait_seconds=120, most_waiting=1000)
    app = create_app(store, serving, without_keys=True)
    try:
        async with app.router.lifespan_context(app), over_http(app) as client:
            await scene(client, Served(BASE, name_of(0), name_of(1)))
    finally:
        await serving.close()
        store.close()


async def by_stand_in(store: Store, scene: Scene) -> None:
    with model_server() as stub:
        await by_server(store, stub.address, None, scene)


async def by_server(store: Store, address: str, adapters: Path | None, scene: Scene) -> None:
    add_models(store, address, 2)
    for number in range(2):
        if adapters is not None:
            place = store.root / "models" / f"m{number}"
            shutil.copytree(adapters / place.name, place, dirs_exist_ok=True)
    async with client_of(store) as client:
        await scene(client, Served(BASE, name_of(0), name_of(1)))


async def by_fake_models(store: Store, scene: Scene) -> None:
    names = []
    job = put(store, status="succeeded")
    for number in range(2):
        folder = store.folder("models") / f"f{number}"
        folder.mkdir()
        rows = ROWS if number == 0 else [[*HI, {"role": "assistant", "content": "Another thing."}]]
        (folder / "model.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
        names.append(f"ft:selftune-fake:org::f{number:07d}")
        model = Model(
            id=names[-1],
            project_id=DEFAULT_PROJECT,
            base="selftune/fake",
            engine="fake",
            folder=f"models/f{number}",
            job_id=job.id,
            created_at=1,
        )
        with store.db.write() as connection:
            insert_model(connection, model, is_checkpoint=False)
    async with running(store.settings) as serving, _client(store, serving) as client:
        await scene(client, Served("selftune/fake", *names))


@asynccontextmanager
async def _client(store: Store, serving: ServingClient) -> AsyncIterator[Any]:
    app = create_app(store, serving, without_keys=True)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as http,
        AsyncOpenAI(
            base_url="http://test/v1",
            api_key="none",
            http_client=http,
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client


def player(way: Callable[[Scene], Coroutine[Any, Any, None]]) -> Serve:
    return lambda scene: asyncio.run(way(scene))
