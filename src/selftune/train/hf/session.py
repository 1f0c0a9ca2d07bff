"""One request from its files to its last checkpoint, in this process."""

from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from selftune.core.errors import InvalidInput, JobFailed
from selftune.core.records import Method
from selftune.models.hf.renderer import Renderer
from selftune.train.engine import Trained, TrainingRun, TrainRequest
from selftune.train.hf import dpo, reinforcement, supervised
from selftune.train.hf.adapters import find_start
from selftune.train.hf.learner import is_memory
from selftune.train.hf.loop import Schedule, train
from selftune.train.hf.peers import Peers
from selftune.train.hf.product import save_product
from selftune.train.hf.setup import Prepared, Setup


class Prepare(Protocol):
    """What a method's module offers: from files to what the loop needs."""

    def __call__(self, setup: Setup) -> Prepared:
        """Read the files, decide, load the model."""
        ...


METHODS: dict[Method, Prepare] = {
    "supervised": supervised.prepare,
    "dpo": dpo.prepare,
    "reinforcement": reinforcement.prepare,
}


def carry_out(request: TrainRequest, run: TrainingRun, peers: Peers) -> Trained:
    """Train to the end.

    Raises:
        JobFailed: the data, the model or this machine do not allow it.
        Interrupted: passed through from the run.

    """
    torch.use_deterministic_algorithms(torch.cuda.device_count() == 0)
    try:
        start = find_start(request)
        renderer = Renderer.load(start.adapter or Path(start.origin.folder))
        setup = Setup(request, run, start, renderer, peers)
        objective, learner, rate = METHODS[request.method](setup)
    except InvalidInput as error:
        raise JobFailed(error.message, code=error.code, param=error.param or "model") from error
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise JobFailed(
            "There is not enough memory to load the model. Choose a smaller base, or train on a "
            "machine with more memory.",
            code="out_of_memory",
        ) from error
    schedule = Schedule(peak=rate, total_steps=objective.total_steps)
    return train(learner, objective, schedule, partial(save_product, setup, learner))
