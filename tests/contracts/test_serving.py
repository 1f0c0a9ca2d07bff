"""What every way of serving must do alike, by the official client.

The serving process with the fake model, and a stand-in for vLLM; a real vLLM too, where the variable
SELFTUNE_TEST_VLLM names the Python of an environment that has it.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from openai import APIStatusError, AsyncOpenAI
from tests.conftest import OpenStore
from tests.jobs.test_queue import put
from tests.serve.model_server import model_server
from tests.serve.running import running
from tests.serve.test_model_servers import BASE, add_models, client_of, name_of

from selftune.api.app import create_app
from selftune.core.records import Model
from selftune.core.settings import load_settings, read_variable
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.models import insert_model
from selftune.store.store import Store

HI: list[dict[str, str]] = [{"role": "user", "content": "Say something nice"}]
ROWS = [[*HI, {"role": "assistant", "content": "Something nice, and then some more of it."}]]
VARIABLE = "SELFTUNE_TEST_VLLM"
_START_SECONDS = 300


class Served(NamedTuple):
    """A way of serving, with two models of one base."""

    base: str
    tuned: str
    other: str


Scene = Callable[[Any, Served], Coroutine[Any, Any, None]]
Serve = Callable[[Scene], None]


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Start vLLM on a tiny model; give its address, and a folder of adapters."""
    python = read_variable(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} names no Python with vLLM")
    folder = tmp_path_factory.mktemp("vllm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers the old way
        make_adapters(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = f"--model {folder / 'base'} --served-model-name theirs --host 127.0.0.1 --port {port}"
    flags += " --dtype float32 --enforce-eager --max-model-len 512 --max-num-seqs 8"
    flags += " --enable-lora --max-loras 2 --max-lora-rank 8"
    environment = child_variables()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "vllm.entrypoints.openai.api_server", *flags.split()],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_up(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def child_variables() -> dict[str, str]:
    from selftune.core.settings import child_environment

    return child_environment(load_settings()) | {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
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
    import torch
    from peft import LoraConfig, get_peft_model
    from tests.made_models import make_model
    from transformers import AutoModelForCausalLM

    base = make_model(folder / "base", "qwen", hidden=128)  # its kernels know no smaller heads
    for number in range(2):
        plain: Any = AutoModelForCausalLM.from_pretrained(base)
        targets = ["q_proj", "v_proj", "up_proj", "down_proj"]
        model: Any = get_peft_model(plain, LoraConfig(r=8, lora_alpha=64, target_modules=targets))
        torch.manual_seed(number)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        model.save_pretrained(folder / f"m{number}")


@pytest.fixture(params=["process", "stand-in", "vllm"])
def serve(request: pytest.FixtureRequest, open_sqlite: OpenStore) -> Serve:
    """Return what plays a scene against one way of serving."""
    store = open_sqlite()
    if request.param == "process":
        return lambda scene: asyncio.run(_by_process(store, scene))
    if request.param == "vllm":
        address, folder = request.getfixturevalue("real_server")
        return lambda scene: asyncio.run(_by_server(store, address, folder, scene))

    def by_stand_in(scene: Scene) -> None:
        with model_server() as stub:
            asyncio.run(_by_server(store, stub.address, None, scene))

    return by_stand_in


async def _by_server(store: Store, address: str, adapters: Path | None, scene: Scene) -> None:
    add_models(store, address, 2)
    for number in range(2):
        if adapters is not None:
            place = store.root / "models" / f"m{number}"
            shutil.copytree(adapters / place.name, place, dirs_exist_ok=True)
    async with client_of(store) as client:
        await scene(client, Served(BASE, name_of(0), name_of(1)))


async def _by_process(store: Store, scene: Scene) -> None:
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
    async with running(store.settings) as serving:
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
            await scene(client, Served("selftune/fake", *names))


def asked(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "messages": HI, "temperature": 0, "max_tokens": 6} | options


def test_each_model_answers_under_its_own_name_and_differs_from_its_base(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        texts = []
        for name in served:
            found = await client.chat.completions.create(**asked(name))
            assert found.model == name
            assert found.id.startswith("chatcmpl-")
            (choice,) = found.choices
            assert (choice.index, choice.message.role) == (0, "assistant")
            usage = found.usage
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            texts.append(choice.message.content)
        assert len(set(texts)) == 3

    serve(scene)


def test_a_stream_says_what_the_whole_answer_says(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        whole = await client.chat.completions.create(**asked(served.tuned))
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = await client.chat.completions.create(**asked(served.tuned, **options))
        chunks = [chunk async for chunk in stream]
        pieces = [chunk.choices[0] for chunk in chunks if chunk.choices]
        text = "".join(piece.delta.content or "" for piece in pieces)
        assert text == whole.choices[0].message.content
        assert pieces[-1].finish_reason == whole.choices[0].finish_reason
        assert {chunk.model for chunk in chunks} == {served.tuned}
        assert chunks[-1].usage == whole.usage

    serve(scene)


def test_an_answer_ends_at_its_limit(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        found = await client.chat.completions.create(**asked(served.tuned, max_tokens=2))
        assert found.choices[0].finish_reason == "length"
        assert found.usage.completion_tokens == 2

    serve(scene)


def test_logprobs_have_a_row_for_each_token_and_the_alternatives_that_were_asked_for(
    serve: Serve,
) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = {"logprobs": True, "top_logprobs": 2}
        found = await client.chat.completions.create(**asked(served.tuned, **options))
        entries = found.choices[0].logprobs.content
        assert len(entries) == found.usage.completion_tokens
        for entry in entries:
            assert entry.logprob <= 0
            assert len(entry.top_logprobs) <= 2
            assert entry.logprob <= max((top.logprob for top in entry.top_logprobs), default=0)

    serve(scene)


def test_several_answers_are_counted_together(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        one = await client.chat.completions.create(**asked(served.tuned))
        many = await client.chat.completions.create(**asked(served.tuned, n=3))
        assert [choice.index for choice in many.choices] == [0, 1, 2]
        assert {c.message.content for c in many.choices} == {one.choices[0].message.content}
        assert many.usage.completion_tokens == 3 * one.usage.completion_tokens

    serve(scene)


def test_many_clients_of_several_models_get_each_its_own_answer(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        names = [served.tuned, served.other] * 4
        found = await asyncio.gather(
            *(client.chat.completions.create(**asked(name, seed=1)) for name in names)
        )
        assert [each.model for each in found] == names
        said = {(each.model, each.choices[0].message.content) for each in found}
        assert len(said) == 2

    serve(scene)


def test_a_text_is_gone_on_with(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        found = await client.completions.create(
            model=served.tuned, prompt="Once upon", max_tokens=3, temperature=0
        )
        assert (found.object, found.model) == ("text_completion", served.tuned)
        assert found.usage.completion_tokens <= 3

    serve(scene)


def test_a_model_that_is_not_there_is_not_found(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        with pytest.raises(APIStatusError) as refused:
            await client.chat.completions.create(**asked(f"{served.tuned[:-1]}x"))
        assert (refused.value.status_code, refused.value.code) == (404, "model_not_found")

    serve(scene)
