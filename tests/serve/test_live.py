"""Models that take prompts while they answer others: pieces, turns, callers who go, and loading."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.serve.running import Models, SteppedSampler, question, running, until, use

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.settings import Settings, child_environment
from selftune.jobs.processes import KeptAlive
from selftune.models.samplers.fake import UNKNOWN
from selftune.serve.address import socket_path
from selftune.serve.client import ServingClient
from selftune.serve.frames import (
    CallPiece,
    EndPiece,
    FinishPiece,
    SampleRequest,
    TokenPiece,
    WirePiece,
)

Scene = Callable[[ServingClient], Coroutine[Any, Any, None]]
LONG = "word " * 10_000
T = TypeVar("T")
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": {}}}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    return use(monkeypatch)


@pytest.fixture
def live(models: Models) -> SteppedSampler:
    return models.live


def play(scene: Scene, home: Path, *, wait_seconds: float = 20, **settings: Any) -> None:
    async def run() -> None:
        options = Settings(home=home, **settings)
        async with running(options, wait_seconds=wait_seconds) as client:
            await scene(client)

    asyncio.run(run())


def asking(text: str = "a", **more: Any) -> SampleRequest:
    request = question(text, "live")
    for name, value in more.items():
        setattr(request, name, value)
    return request


def text_of(pieces: list[WirePiece]) -> str:
    return "".join(piece.token.text for piece in pieces if isinstance(piece, TokenPiece))


async def stepping(live: SteppedSampler, coming: Coroutine[Any, Any, T]) -> T:
    """Wait for something, and let the model take a step now and then meanwhile."""
    task = asyncio.ensure_future(coming)
    while not task.done():
        live.let(1)
        await asyncio.sleep(0.005)
    return await task


async def all_of(client: ServingClient, request: SampleRequest) -> list[WirePiece]:
    return [piece async for pieces in client.stream(request) for piece in pieces]


def test_each_piece_comes_before_the_next_one_is_made(live: SteppedSampler, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        told: list[WirePiece] = []
        stream = client.stream(asking())
        live.let(1)
        async for pieces in stream:
            told += pieces
            assert len(pieces) == 1  # nothing more was made: the model waits for the next step
            live.let(1)
        assert text_of(told) == UNKNOWN
        assert isinstance(told[-2], FinishPiece)
        assert isinstance(told[-1], EndPiece)
        assert told[-1].completion_tokens == len(told) - 2

    play(scene, tmp_path)


def test_a_whole_answer_of_a_live_model_is_the_same(live: SteppedSampler, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        live.let()
        request = asking(with_tokens=True, sampling={"n": 2})
        found = await client.sample(request)
        for choice in found.choices:
            assert choice.text == UNKNOWN == "".join(token.text for token in choice.tokens)
        assert found.completion_tokens == 2 * len(found.choices[0].tokens)
        called = await client.sample(asking("look", tools=[TOOL]))
        [choice] = called.choices
        assert (choice.text, choice.finish_reason) == ("", "tool_calls")
        assert [(call.name, call.arguments) for call in choice.calls] == [("look", "{}")]
        pieces = await all_of(client, asking("look", tools=[TOOL]))
        assert isinstance(pieces[0], CallPiece)

    play(scene, tmp_path)


def test_a_newcomer_is_answered_together_with_those_under_way(
    live: SteppedSampler, tmp_path: Path
) -> None:
    async def scene(client: ServingClient) -> None:
        first = client.stream(asking("first"))
        live.let(1)
        await anext(first)
        second = client.stream(asking("second"))
        news = asyncio.ensure_future(anext(second))
        await asyncio.sleep(0.05)  # it is on the way to the process, whose step waits
        live.let(2)
        await news
        assert live.started == ["first", "second"]
        assert live.under_way == 2
        live.let()
        for stream in (first, second):
            assert isinstance([piece async for pieces in stream for piece in pieces][-1], EndPiece)

    play(scene, tmp_path)


def test_others_are_answered_while_a_live_model_is_under_way(
    live: SteppedSampler, tmp_path: Path
) -> None:
    live._answers["a"] = LONG

    async def scene(client: ServingClient) -> None:
        stream = client.stream(asking())
        live.let(1)
        await anext(stream)
        for each in "abc":
            found = await stepping(live, client.sample(question(each)))
            assert found.choices[0].text == UNKNOWN
        assert live.under_way == 1
        await stream.aclose()

    play(scene, tmp_path)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_who_goes_is_answered_no_further(
    live: SteppedSampler, tmp_path: Path, is_streamed: bool
) -> None:
    async def scene(client: ServingClient) -> None:
        other = client.stream(asking("other"))
        live.let(1)
        await anext(other)
        if is_streamed:
            stream = client.stream(asking("gone"))
            going = asyncio.ensure_future(anext(stream))
        else:
            going = asyncio.ensure_future(client.sample(asking("gone")))  # type: ignore[arg-type]  # either
        await asyncio.sleep(0.05)
        live.let(1)
        await until(lambda: live.under_way == 2)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await asyncio.sleep(0.05)  # the cancel is on the way
        live.let(1)
        await until(lambda: live.under_way == 1)
        live.let()
        assert text_of([piece async for pieces in other for piece in pieces]) == UNKNOWN[1:]

    play(scene, tmp_path)


def test_a_closed_connection_drops_all_that_it_asked(models: Models, tmp_path: Path) -> None:
    live = models.live = SteppedSampler({"long": LONG})

    async def scene(client: ServingClient) -> None:
        stream = client.stream(asking("long"))
        live.let(1)
        await anext(stream)
        await client.close()
        await stepping(live, until(lambda: live.under_way == 0))

    play(scene, tmp_path)
    assert models.loaded == ["live"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ZeroDivisionError(), "model_failed", "log says why"),
        (MemoryError(), "out_of_memory", "ran out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", "fewer"),
        (Unavailable("Gone.", code="c"), "c", "Gone."),
    ],
)
def test_a_step_that_fails_ends_the_answers_of_its_model_and_nothing_else(
    live: SteppedSampler, tmp_path: Path, error: Exception, code: str, message: str
) -> None:
    async def scene(client: ServingClient) -> None:
        stream = client.stream(asking())
        live.let(1)
        await anext(stream)
        live.error = error
        live.let(1)
        with pytest.raises(Unavailable, match=message) as told:
            await anext(stream)
        assert told.value.code == code
        assert live.under_way == 0
        live.error = None
        live.let()
        assert (await client.sample(asking())).choices[0].text == UNKNOWN
        assert (await client.sample(question("b"))).choices[0].text == UNKNOWN

    play(scene, tmp_path)


def test_a_prompt_that_the_model_refuses_is_the_callers_to_mend(
    live: SteppedSampler, tmp_path: Path
) -> None:
    async def scene(client: ServingClient) -> None:
        with pytest.raises(InvalidInput, match="maximum context length is 100000") as told:
            await client.sample(asking("word " * 100_001))
        assert (told.value.code, told.value.param) == ("context_length_exceeded", "messages")
        assert live.under_way == 0

    play(scene, tmp_path)


def test_a_long_answer_may_take_longer_than_the_wait(live: SteppedSampler, tmp_path: Path) -> None:
    live._answers["a"] = "one two three four five six seven eight"

    async def scene(client: ServingClient) -> None:
        stream = client.stream(asking())
        told: list[WirePiece] = []
        live.let(1)
        async for pieces in stream:
            told += pieces
            await asyncio.sleep(0.1)
            live.let(1)
        assert text_of(told) == live._answers["a"]
        late = client.stream(asking())
        live.may_step = type(live.may_step)(1)
        await anext(late)
        with pytest.raises(Unavailable, match=r"within 0\.5 seconds"):
            await anext(late)
        live.let()

    play(scene, tmp_path, wait_seconds=0.5)


def test_others_are_answered_while_a_model_loads(models: Models, tmp_path: Path) -> None:
    models.loads.clear()

    async def scene(client: ServingClient) -> None:
        slow = [asyncio.create_task(client.sample(question("a", "slow"))) for _ in range(2)]
        await until(lambda: models.loaded == ["slow"])
        request = question("b")
        request.engine = "another"  # models of one engine are loaded one after the other
        assert (await client.sample(request)).choices[0].text == UNKNOWN
        assert not any(task.done() for task in slow)
        models.loads.set()
        for found in await asyncio.gather(*slow):
            assert found.choices[0].text == UNKNOWN

    play(scene, tmp_path)
    assert models.loaded == ["slow", None]


def test_the_wait_for_a_model_that_loads_has_a_limit_of_its_own(
    models: Models, tmp_path: Path
) -> None:
    models.loads.clear()

    async def scene(client: ServingClient) -> None:
        with pytest.raises(Unavailable, match=r"still loading after 0\.3 seconds") as told:
            await client.sample(question("a", "slow"))
        assert told.value.code == "model_loading"
        models.loads.set()
        await until(lambda: models.loaded == ["slow"])
        assert (await client.sample(question("b", "slow"))).choices[0].text == UNKNOWN

    play(scene, tmp_path, wait_seconds=0.1, serving_load_seconds=0.3)
    assert models.loaded == ["slow"]
    assert models.sampler.batches == [["b"]]


def test_a_model_in_use_stays(models: Models, live: SteppedSampler, tmp_path: Path) -> None:
    live._answers["a"] = LONG

    async def scene(client: ServingClient) -> None:
        stream = client.stream(asking())
        live.let(1)
        await anext(stream)
        for folder in ("a", "b"):
            await stepping(live, client.sample(question("x", folder)))
        again = client.stream(asking("again"))
        live.let()
        await anext(again)
        await again.aclose()

    play(scene, tmp_path, serving_models=1)
    assert models.loaded == ["live", "a", "b"]


def test_a_kill_in_the_middle_of_a_stream_is_said_and_the_next_request_answered(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    row = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "word " * 8000}]
    (folder / "model.json").write_text(json.dumps({"rows": [row]}))
    settings = Settings(home=tmp_path)
    path = socket_path(tmp_path)
    child = KeptAlive(
        "selftune.serve.process", (str(path),), child_environment(settings), tmp_path / "log"
    )

    async def run() -> None:
        client = ServingClient(path, wait_seconds=30, most_waiting=10)
        stream = client.stream(question("go", "long"))
        first = await anext(stream)
        assert text_of(first).startswith("word")
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="ended in the middle of this answer: ask again"):
            async for _ in stream:
                pass
        assert (await client.sample(question("hello"))).choices[0].text == UNKNOWN
        await client.close()

    child.start()
    try:
        asyncio.run(run())
    finally:
        child.stop()
