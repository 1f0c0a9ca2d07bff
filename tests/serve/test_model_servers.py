"""Models that a server such as vLLM answers for, by the official client; a stand-in is that server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIStatusError, AsyncOpenAI
from tests.conftest import OpenStore
from tests.jobs.test_queue import put
from tests.serve.model_server import ModelServer, error, model_server
from tests.serve.running import until

from selftune.asgi import application
from selftune.core.errors import InvalidInput
from selftune.core.records import Model, Usage
from selftune.models.sampler import Prompt, Token
from selftune.serve.loader import load_sampler
from selftune.serve.resolve import resolve
from selftune.store.accounts import DEFAULT_PROJECT, default_identity
from selftune.store.models import insert_model
from selftune.store.store import Store

BASE = "acme/tiny"
HI: list[dict[str, str]] = [{"role": "user", "content": "hi you"}]
Scene = Callable[[Any, Store, ModelServer], Coroutine[Any, Any, None]]


def name_of(number: int) -> str:
    return f"ft:acme-tiny:org::m{number:07d}"


def add_models(
    store: Store, address: str, count: int, *, file: str = "adapter_config.json"
) -> None:
    """Put a base that is answered elsewhere into the catalogue, and models that came from it."""
    (store.root / "catalog.toml").write_text(
        f'[[base]]\nid = "{BASE}"\ncontext = 512\nserver = "{address}"\n', encoding="utf-8"
    )
    job = put(store, status="succeeded")
    for number in range(count):
        folder = store.folder("models") / f"m{number}"
        folder.mkdir(exist_ok=True)
        (folder / file).write_text("{}", encoding="utf-8")
        model = Model(
            id=name_of(number),
            project_id=DEFAULT_PROJECT,
            base=BASE,
            engine="hf",
            folder=f"models/m{number}",
            job_id=job.id,
            created_at=1,
        )
        with store.db.write() as connection:
            insert_model(connection, model, is_checkpoint=False)


@asynccontextmanager
async def client_of(store: Store) -> AsyncIterator[Any]:
    app = application(store, without_keys=True)
    transport = httpx2.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as http,
        AsyncOpenAI(
            base_url="http://test/v1",
            api_key="none",
            http_client=http,
            max_retries=0,
            _strict_response_validation=True,
        ) as client,
    ):
        yield client


@pytest.fixture
def play(open_sqlite: OpenStore) -> Callable[..., ModelServer]:
    def run(scene: Scene, *, models: int = 3, **settings: Any) -> ModelServer:
        async def scenes(stub: ModelServer) -> None:
            store = open_sqlite(**settings)
            add_models(store, stub.address, models)
            async with client_of(store) as client:
                await scene(client, store, stub)

        with model_server() as stub:
            asyncio.run(scenes(stub))
        return stub

    return run


async def said(client: Any, model: str, **options: Any) -> str:
    found = await client.chat.completions.create(model=model, messages=HI, **options)
    assert found.model == model
    return str(found.choices[0].message.content)


Play = Callable[..., ModelServer]


def test_a_base_is_asked_for_under_the_servers_own_name(play: Play) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        assert await said(
            client, BASE, temperature=0.2, extra_body={"chat_template": "{{ 1 }}"}
        ) == ("tiny heard hi you")
        assert stub.bodies[0]["temperature"] == 0.2
        assert "chat_template" not in stub.bodies[0]

    assert play(scene).loads == []


def test_an_adapter_is_loaded_when_it_is_first_asked_for_and_once_for_all_who_wait(
    play: Play,
) -> None:
    async def scene(client: Any, store: Store, stub: ModelServer) -> None:
        name = name_of(0)
        answers = await asyncio.gather(*(said(client, name) for _ in range(8)))
        assert set(answers) == {f"{name} heard hi you"}
        assert stub.loads == [name]
        assert stub.adapters == {name: str(store.root / "models" / "m0")}

    play(scene)


def test_the_server_is_told_where_it_sees_the_home_folder(play: Play, tmp_path: Path) -> None:
    there = tmp_path / "mounted"
    (there / "models" / "m0").mkdir(parents=True)
    (there / "models" / "m0" / "adapter_config.json").touch()

    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        await said(client, name_of(0))
        assert stub.adapters == {name_of(0): str(there / "models" / "m0")}

    play(scene, model_server_home=str(there))


def test_the_least_recently_used_adapter_makes_room(play: Play) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        for number in (0, 1, 0, 2, 1):
            await said(client, name_of(number))
        assert stub.unloads == [name_of(1), name_of(0)]
        assert set(stub.adapters) == {name_of(2), name_of(1)}

    play(scene, serving_models=2)


def test_what_the_server_has_already_is_not_loaded_again(play: Play) -> None:
    async def scene(client: Any, store: Store, stub: ModelServer) -> None:
        stub.load(name_of(0), str(store.root / "models" / "m0"))
        stub.loads.clear()
        await said(client, name_of(0))
        stub.load(name_of(1), str(store.root / "models" / "m1"))  # by another process
        assert await said(client, name_of(1)) == f"{name_of(1)} heard hi you"
        assert stub.loads == [name_of(1)]

    play(scene)


def test_a_server_that_was_started_again_gets_its_adapters_again(play: Play) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        await said(client, name_of(0))
        stub.adapters.clear()
        assert await said(client, name_of(0)) == f"{name_of(0)} heard hi you"
        assert stub.loads == [name_of(0)] * 2

    play(scene)


def test_a_cold_adapter_is_waited_for_with_a_limit_and_goes_on_loading(play: Play) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        stub.slow_load.clear()
        with pytest.raises(APIStatusError) as refused:
            await said(client, name_of(0))
        assert refused.value.status_code == 503
        assert "is being loaded" in refused.value.message
        stub.slow_load.set()
        await until(lambda: stub.loads == [name_of(0)])
        assert await said(client, name_of(0)) == f"{name_of(0)} heard hi you"
        assert stub.loads == [name_of(0)]

    play(scene, serving_load_seconds=0.2)


def test_a_stream_comes_token_by_token_with_logprobs_and_usage(play: Play) -> None:
    async def scene(client: Any, _store: Store, _stub: ModelServer) -> None:
        stream = await client.chat.completions.create(
            model=name_of(0),
            messages=HI,
            stream=True,
            logprobs=True,
            top_logprobs=2,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        pieces = [c.choices[0] for c in chunks if c.choices and c.choices[0].delta.content]
        assert [piece.delta.content for piece in pieces] == [name_of(0), " heard", " hi", " you"]
        (entry,) = pieces[1].logprobs.content
        assert (entry.token, entry.logprob, bytes(entry.bytes)) == (" heard", -0.5, b" heard")
        assert [top.token for top in entry.top_logprobs] == [" heard", " other"]
        assert {chunk.model for chunk in chunks} == {name_of(0)}
        assert len({chunk.id for chunk in chunks} - {"chatcmpl-of-theirs"}) == 1
        assert chunks[-1].usage.total_tokens == 9

    play(scene)


def test_an_answer_that_breaks_off_is_an_error_and_not_a_short_answer(play: Play) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        stub.stop_after = 3
        with pytest.raises(APIStatusError) as refused:
            await said(client, BASE)
        assert (refused.value.status_code, refused.value.code) == (503, "server_is_overloaded")

    play(scene)


@pytest.mark.parametrize(
    ("status", "message", "expected", "code"),
    [
        (400, "This model's maximum context length is 512 tokens.", 400, "context_length_exceeded"),
        (400, "temperature is too hot", 400, None),
        (429, "slow down", 429, "rate_limit_exceeded"),
        (500, "CUDA died in /srv/secret", 503, "server_is_overloaded"),
        (401, "bad key abc", 503, "server_is_overloaded"),
    ],
)
def test_the_servers_errors_are_told_as_openais(
    play: Play, status: int, message: str, expected: int, code: str | None
) -> None:
    async def scene(client: Any, _store: Store, stub: ModelServer) -> None:
        await said(client, BASE)
        stub.broken = (status, error(message, status))
        with pytest.raises(APIStatusError) as refused:
            await said(client, BASE)
        assert (refused.value.status_code, refused.value.code) == (expected, code)
        assert (message in refused.value.message) == (expected < 500)

    play(scene)


def test_a_server_that_is_down_is_unavailable_in_clear_words(play: Play) -> None:
    async def scene(client: Any, store: Store, stub: ModelServer) -> None:
        add_models(store, "http://127.0.0.1:9/v1", 0)
        with pytest.raises(APIStatusError) as refused:
            await said(client, name_of(0))
        assert refused.value.status_code == 503
        assert "it cannot be reached" in refused.value.message
        assert "127.0.0.1" not in refused.value.message
        add_models(store, stub.address, 0)
        assert await said(client, name_of(0)) == f"{name_of(0)} heard hi you"

    play(scene)


def test_a_model_that_the_server_cannot_load_says_so_without_paths(play: Play) -> None:
    async def scene(client: Any, store: Store, _stub: ModelServer) -> None:
        with pytest.raises(APIStatusError) as refused:
            await said(client, name_of(0))
        assert refused.value.status_code == 503
        assert "cannot load the model" in refused.value.message
        assert str(store.root) not in refused.value.message

    play(scene, model_server_home="/nowhere")


def test_a_whole_model_is_refused_with_what_to_do(play: Play) -> None:
    async def scene(client: Any, store: Store, _stub: ModelServer) -> None:
        (store.root / "models" / "m0" / "adapter_config.json").unlink()
        with pytest.raises(APIStatusError) as refused:
            await said(client, name_of(0))
        assert (refused.value.status_code, refused.value.code) == (400, "unsupported_model")
        assert "endpoints.toml" in refused.value.message

    play(scene)


def test_commands_and_evals_ask_a_model_server_without_an_api(open_sqlite: OpenStore) -> None:
    store = open_sqlite()
    with model_server() as stub:
        add_models(store, stub.address, 1)
        found = resolve(store, default_identity(store), name_of(0))
        sampler = load_sampler(store.root, found.engine, found.folder)
        prompts = [Prompt(messages=({"role": "user", "content": text},)) for text in ("a", "b")]
        told = [completion.choices[0].text for completion in sampler.sample(prompts)]
        assert told == [f"{name_of(0)} heard a", f"{name_of(0)} heard b"]
        *pieces, usage = sampler.stream(prompts[0])
        assert isinstance(usage, Usage)
        assert "".join(piece.text for piece in pieces if isinstance(piece, Token)) == told[0]
        with pytest.raises(InvalidInput, match="makes no vectors"):
            sampler.embed(["a"])
