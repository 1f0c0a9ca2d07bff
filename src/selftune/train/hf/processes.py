"""Start the processes that share the batches of one job, and end them with it.

This process is the first of them. The others are its children: they take the same request, report
nothing, and stop when the first one is gone.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from selftune.core.errors import JobFailed
from selftune.core.records import JobError, Record
from selftune.train.engine import (
    Resolved,
    Reward,
    Sampled,
    StepMetrics,
    Trained,
    TrainingRun,
    TrainRequest,
)
from selftune.train.hf.peers import Peers
from selftune.train.hf.session import carry_out

_LONGEST_STEP = timedelta(days=1)
"""How long one process may wait for another, which may be grading or writing; a dead one is seen at
once."""
_PEER_GONE_SECONDS = 5.0


class Place(Record):
    """What a further process needs to know of the run."""

    folder: Path
    cache: Path
    resume: Path | None
    meeting: Path
    """File by which the processes find each other."""
    rank: int
    size: int


class SilentRun:
    """A `TrainingRun` of a process that is not the first: it has nothing to say."""

    def __init__(self, place: Place) -> None:
        self.folder, self.cache, self.resume = place.folder, place.cache, place.resume

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Say nothing."""

    def resolved(self, values: dict[str, Resolved]) -> None:
        """Say nothing."""

    def step(self, metrics: StepMetrics) -> bool:
        """Say nothing; the first process knows of pauses."""
        return False

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        """Write nothing."""

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        """Refuse: the first process asks the grader, and tells the others."""
        raise AssertionError("only the first process grades")

    def check(self) -> None:
        """Go on: the first process ends this one."""


def train_together(request: TrainRequest, run: TrainingRun) -> Trained:
    """Train on as many devices as the request says.

    Raises:
        JobFailed: the data, the model or this machine do not allow it.
        Interrupted: passed through from the run.

    """
    size, gpus = request.options.devices, torch.cuda.device_count()
    if gpus and size > gpus:
        raise JobFailed(
            f"{size} devices were asked for, and this machine has {gpus} GPUs for the job.",
            code="invalid_value",
            param="devices",
        )
    _use_threads(request, size)
    if size == 1:
        return carry_out(request, run, Peers())
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        place = Place(
            folder=run.folder,
            cache=run.cache,
            resume=run.resume,
            meeting=Path(folder) / "meeting",
            rank=0,
            size=size,
        )
        with _others(request, place) as others, _group(place):
            return _first(request, run, place, others)


def _first(
    request: TrainRequest, run: TrainingRun, place: Place, others: Sequence[SpawnProcess]
) -> Trained:
    try:
        return carry_out(request, run, Peers(0, place.size))
    except RuntimeError as error:  # what torch raises when another process is gone
        for other in others:
            other.join(_PEER_GONE_SECONDS)
        for path in sorted(place.meeting.parent.glob("failed-*")):
            failed = JobError.model_validate_json(path.read_text("utf-8"))
            raise JobFailed(failed.message, code=failed.code, param=failed.param) from error
        raise


@contextlib.contextmanager
def _others(request: TrainRequest, place: Place) -> Iterator[list[SpawnProcess]]:
    """Start the other processes; end them whatever happens."""
    context = get_context("spawn")
    others = [
        context.Process(
            target=_work, args=(request, place.model_copy(update={"rank": rank})), daemon=True
        )
        for rank in range(1, place.size)
    ]
    try:
        for other in others:
            other.start()
        yield others
    finally:
        for other in others:
            if other.pid is not None:
                other.kill()
                other.join()


def _work(request: TrainRequest, place: Place) -> None:
    """Do what a further process does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _use_threads(request, place.size)
    with _group(place):
        try:
            carry_out(request, SilentRun(place), Peers(place.rank, place.size))
        except JobFailed as failed:
            error = JobError(
                code=failed.code or "job_failed", message=failed.message, param=failed.param
            )
            path = place.meeting.with_name(f"failed-{place.rank}")
            path.write_text(error.model_dump_json(), encoding="utf-8")
            raise


def _end_with_parent() -> None:
    """End this process at once when the first one is gone, however it went."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _group(place: Place) -> Iterator[None]:
    backend = "gloo"
    if torch.cuda.device_count():
        torch.cuda.set_device(place.rank)
        backend = "nccl"
    distributed.init_process_group(
        backend,
        init_method=f"file://{place.meeting}",
        rank=place.rank,
        world_size=place.size,
        timeout=_LONGEST_STEP,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _use_threads(request: TrainRequest, size: int) -> None:
    """Share the processor's cores among the processes."""
    threads = request.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, threads // size))
