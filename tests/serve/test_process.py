"""Requests that wait together are answered together, and nothing that goes wrong ends the process."""

import asyncio
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.serve.running import POISON, Models, question, running, until, use

from selftune.core.errors import LimitExceeded, Unavailable
from selftune.core.settings import Settings
from selftune.models.samplers.fake import UNKNOWN
from selftune.serve.client import ServingClient
from selftune.serve.process import MOST_IN_BATCH, serve

Scene = Callable[[ServingClient], Coroutine[Any, Any, None]]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    return use(monkeypatch)


def play(scene: Scene, home: Path, **settings: Any) -> None:
    async def run() -> None:
        async with running(Settings(home=home, **settings)) as client:
            await scene(client)

    asyncio.run(run())


async def held(
    client: ServingClient, models: Models, *texts: str, folder: str | None = None
) -> list[asyncio.Task[Any]]:
    """Hold the model with one request, and let others wait behind it."""
    models.sampler.free.clear()
    first = asyncio.create_task(client.sample(question("first", folder)))
    await until(lambda: models.sampler.batches == [["first"]])
    others = [asyncio.create_task(client.sample(question(text, folder))) for text in texts]
    await asyncio.sleep(0.1)  # they are on the way to the process
    return [first, *others]


def test_requests_that_wait_for_a_model_are_one_batch(models: Models, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        tasks = await held(client, models, "a", "b", "c")
        models.sampler.free.set()
        found = await asyncio.gather(*tasks)
        assert {reply.choices[0].text for reply in found} == {UNKNOWN}

    play(scene, tmp_path)
    assert models.sampler.batches == [["first"], ["a", "b", "c"]]


def test_a_batch_has_a_largest_size(models: Models, tmp_path: Path) -> None:
    texts = [str(number) for number in range(MOST_IN_BATCH + 5)]

    async def scene(client: ServingClient) -> None:
        tasks = await held(client, models, *texts)
        models.sampler.free.set()
        await asyncio.gather(*tasks)

    play(scene, tmp_path)
    assert [len(batch) for batch in models.sampler.batches] == [1, MOST_IN_BATCH, 5]


def test_models_take_turns(models: Models, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        busy = await held(client, models, *map(str, range(2 * MOST_IN_BATCH)))
        quiet = asyncio.create_task(client.sample(question("quiet", "other")))
        await asyncio.sleep(0.1)
        models.sampler.free.set()
        await asyncio.gather(*busy, quiet)

    play(scene, tmp_path)
    batches = models.sampler.batches
    assert batches.index(["quiet"]) < len(batches) - 1


def test_one_bad_request_leaves_the_others_of_its_batch_alone(
    models: Models, tmp_path: Path
) -> None:
    async def scene(client: ServingClient) -> None:
        tasks = await held(client, models, "a", POISON, "b")
        models.sampler.free.set()
        _, before, bad, after = await asyncio.gather(*tasks, return_exceptions=True)
        assert before.choices[0].text == after.choices[0].text == UNKNOWN  # type: ignore[union-attr]  # they are replies
        assert isinstance(bad, Unavailable)
        assert bad.code == "model_failed"

    play(scene, tmp_path)


def test_a_broken_model_is_told_to_whoever_asks_and_no_one_else(
    models: Models, tmp_path: Path
) -> None:
    async def scene(client: ServingClient) -> None:
        for _ in range(2):
            with pytest.raises(Unavailable, match="the server's log says why") as refused:
                await client.sample(question("a", "broken"))
            assert refused.value.code == "model_failed"
        assert (await client.sample(question("a"))).choices[0].text == UNKNOWN

    play(scene, tmp_path)
    assert models.loaded == ["broken", "broken", None]


def test_the_model_that_was_used_longest_ago_leaves_first(models: Models, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        for folder in ("a", "b", "a", "c", "a", "b"):
            await client.sample(question("x", folder))

    play(scene, tmp_path, serving_models=2)
    assert models.loaded == ["a", "b", "c", "b"]


def test_a_full_queue_refuses_one_more(models: Models, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        tasks = await held(client, models, "a", "b")
        with pytest.raises(LimitExceeded, match="2 requests are waiting already"):
            await client.sample(question("one more"))
        models.sampler.free.set()
        await asyncio.gather(*tasks)

    play(scene, tmp_path, serving_queue=2)


def test_who_stops_waiting_is_not_answered(models: Models, tmp_path: Path) -> None:
    async def scene(client: ServingClient) -> None:
        tasks = await held(client, models, "gone", "here")
        tasks[1].cancel()
        await asyncio.sleep(0.1)  # the cancel is on the way
        models.sampler.free.set()
        await asyncio.gather(tasks[0], tasks[2])

    play(scene, tmp_path)
    assert models.sampler.batches == [["first"], ["here"]]


def test_only_the_owner_can_open_the_socket(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def run() -> int:
        task = asyncio.create_task(serve(Settings(home=tmp_path), path))
        await until(path.exists)
        task.cancel()
        return stat.S_IMODE(path.stat().st_mode)

    assert asyncio.run(run()) == 0o600
    assert models.loaded == []
