"""The client outlives the serving process, and says clearly when there is no answer."""

import asyncio
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.serve.running import question, running, until, use

from selftune.core.errors import InvalidInput, LimitExceeded, Unavailable
from selftune.core.settings import Settings, child_environment
from selftune.jobs.processes import KeptAlive
from selftune.models.samplers.fake import UNKNOWN
from selftune.serve.address import socket_path
from selftune.serve.client import ServingClient
from selftune.serve.frames import GREETING, EmbedRequest, SampleRequest


def test_a_request_survives_the_end_of_the_process_that_had_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    path = socket_path(tmp_path)
    arguments = (str(path),)
    child = KeptAlive(
        "selftune.serve.process", arguments, child_environment(settings), tmp_path / "log"
    )

    async def run() -> str:
        client = ServingClient(path, wait_seconds=30, most_waiting=10)
        await client.sample(question("warm"))
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # so that it has the request and cannot answer
        waiting = asyncio.create_task(client.sample(question("hello")))
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        found = await waiting
        assert child.pid != first
        await client.close()
        return found.choices[0].text

    child.start()
    try:
        assert asyncio.run(run()) == UNKNOWN
    finally:
        child.stop()


def test_a_request_that_ends_the_process_twice_is_given_up(tmp_path: Path) -> None:
    seen = 0

    async def crash(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        writer.write(GREETING)
        await reader.read(1)
        seen += 1
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(crash, tmp_path / "s"):
            client = ServingClient(tmp_path / "s", wait_seconds=20, most_waiting=10)
            with pytest.raises(Unavailable, match="ended twice on this request"):
                await client.sample(question("hello"))
            await client.close()

    asyncio.run(run())
    assert seen == 2


def test_a_reply_that_cannot_be_read_leaves_nobody_waiting(tmp_path: Path) -> None:
    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.read(1)
        writer.write(b"\x02\x00\x00\x00\xc1\xc1")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_unix_server(mumble, tmp_path / "s"):
            client = ServingClient(tmp_path / "s", wait_seconds=20, most_waiting=10)
            with pytest.raises(Unavailable, match="ended twice"):
                await client.sample(question("hello"))
            await client.close()

    asyncio.run(run())


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    async def run() -> None:
        client = ServingClient(tmp_path / "nobody", wait_seconds=0.1, most_waiting=10)
        with pytest.raises(Unavailable, match="did not answer within") as refused:
            await client.sample(question("hello"))
        assert refused.value.code == "server_is_overloaded"

    asyncio.run(run())


def test_too_many_callers_are_refused_before_they_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = use(monkeypatch)

    async def run() -> None:
        async with running(Settings(home=tmp_path), most_waiting=1) as client:
            models.sampler.free.clear()
            first = asyncio.create_task(client.sample(question("a")))
            await until(lambda: bool(models.sampler.batches))
            with pytest.raises(LimitExceeded, match="Too many requests"):
                await client.sample(question("b"))
            models.sampler.free.set()
            await first

    asyncio.run(run())


@pytest.mark.parametrize("engine", ["builtin", "fake"])
def test_every_sampler_answers_and_embeds_through_the_process(engine: str, tmp_path: Path) -> None:
    chat = SampleRequest(
        id=0,
        engine=engine,
        folder=None,
        messages=[{"role": "user", "content": "hello"}],
        sampling={"temperature": 0, "top_logprobs": 2},
        with_tokens=True,
    )
    embed = EmbedRequest(id=0, engine=engine, folder=None, texts=["a cat", "a dog", "a cat"])

    async def run() -> None:
        async with running(Settings(home=tmp_path, threads=1)) as client:
            sampled, embedded = await asyncio.gather(client.sample(chat), client.embed(embed))
        choice = sampled.choices[0]
        assert "".join(token.text for token in choice.tokens) == choice.text
        assert sampled.completion_tokens == len(choice.tokens) > 0
        vectors = np.frombuffer(embedded.vectors, "<f4").reshape(embedded.count, -1)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert vectors[0] == pytest.approx(vectors[2], abs=1e-5)
        assert embedded.tokens == 6

    asyncio.run(run())


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Give a folder whose path is short, as that of temporary files usually is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_a_path_too_long_for_a_socket_gets_a_short_one(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(short_folder))
    assert socket_path(Path("/home/a")) == Path("/home/a/serving.sock")
    long = Path("/home") / ("a" * 120)
    short = socket_path(long)
    assert short == socket_path(long)
    assert short != socket_path(long / "b")
    assert stat.S_IMODE(short.parent.stat().st_mode) == 0o700
    short.parent.chmod(0o755)
    with pytest.raises(InvalidInput, match="only this user can enter"):
        socket_path(long)


def test_a_deep_folder_of_temporary_files_is_no_way_out(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(short_folder / ("deep" * 30)))
    monkeypatch.setattr("selftune.serve.address._SYSTEM_TEMPORARY", short_folder)
    assert socket_path(Path("/home") / ("long" * 40)).parent.parent == short_folder
