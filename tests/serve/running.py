"""A serving process in the test's own event loop, with samplers that tests look into."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from selftune.core.errors import SelftuneError
from selftune.core.settings import Settings
from selftune.models.messages import content_text
from selftune.models.sampler import Completion, Piece, Prompt
from selftune.models.samplers.fake import FakeSampler, WholeSampler
from selftune.serve import loader
from selftune.serve.client import ServingClient
from selftune.serve.frames import SampleRequest
from selftune.serve.process import serve

POISON = "poison"


class WatchedSampler(WholeSampler):
    """Remembers its batches, can be held, and cannot stand one word."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        super().__init__(answers or {})
        self.batches: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        asked = [
            str(prompt.messages[-1]["content"]) if prompt.text is None else prompt.text
            for prompt in prompts
        ]
        self.batches.append(asked)
        assert self.free.wait(20)
        if POISON in asked:
            raise ZeroDivisionError
        return super().sample(prompts)


class SteppedSampler(FakeSampler):
    """A live one that takes no more steps than a test lets it, and can break at the next."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        super().__init__(answers or {})
        self.may_step = threading.Semaphore(0)
        self.error: Exception | None = None
        self.started: list[str] = []
        self.asked: list[Prompt] = []

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def let(self, steps: int = 10_000) -> None:
        self.may_step.release(steps)

    def start(self, prompt: Prompt, tell: Callable[[Piece | SelftuneError], None]) -> int:
        self.asked.append(prompt)
        self.started.append(content_text(prompt.messages[-1]) if prompt.messages else "")
        return super().start(prompt, tell)

    def step(self) -> bool:
        if not self._under_way:
            return False
        assert self.may_step.acquire(timeout=20)
        if self.error is not None:
            raise self.error
        return super().step()


class Models:
    """Stands for the model folders: what was loaded, in order."""

    def __init__(self) -> None:
        self.sampler = WatchedSampler()
        self.live = SteppedSampler()
        """What loads for the folder `live`."""
        self.everywhere: WholeSampler | None = None
        """What loads for every other folder, if it is not `sampler`."""
        self.loaded: list[str | None] = []
        self.loads = threading.Event()
        self.loads.set()

    def load(self, _root: Path, _engine: str, folder: str | None, *, threads: int) -> WholeSampler:
        assert threads >= 0
        self.loaded.append(folder)
        if folder == "slow":
            assert self.loads.wait(20)
        if folder == "broken":
            raise FileNotFoundError(folder)
        return self.live if folder == "live" else self.everywhere or self.sampler


def use(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Make the serving process load these models."""
    models = Models()
    monkeypatch.setattr(loader, "load_sampler", models.load)
    return models


@contextlib.asynccontextmanager
async def running(settings: Settings, **options: float) -> AsyncIterator[ServingClient]:
    """Serve on a socket, and give a client of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        serving = asyncio.create_task(serve(settings, path))
        wait = options.get("wait_seconds", 20)
        client = ServingClient(
            path, wait_seconds=wait, most_waiting=int(options.get("most_waiting", 1000))
        )
        try:
            yield client
        finally:
            await client.close()
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


def question(text: str, folder: str | None = None) -> SampleRequest:
    """Return a request with one user message."""
    return SampleRequest(
        id=0,
        engine="fake",
        folder=folder,
        messages=[{"role": "user", "content": text}],
        sampling={},
        with_tokens=False,
    )


async def until(reached: Callable[[], bool]) -> None:
    """Wait for something that another thread or process does."""
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.005)
