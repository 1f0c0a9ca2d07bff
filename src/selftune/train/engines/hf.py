"""Open models of the Hugging Face kind: adapters or every weight, by any of the three methods."""

from selftune.core.records import Record
from selftune.train.engine import Trained, TrainingRun, TrainRequest
from selftune.train.hf.processes import train_together


class Params(Record):
    """Nothing to set: options come with the request."""


def build(params: Params) -> "HfEngine":
    """Make the engine."""
    del params
    return HfEngine()


class HfEngine:
    """Trains a model on transformers and PEFT."""

    def train(self, request: TrainRequest, run: TrainingRun) -> Trained:
        """Train to the end, continuing from the last checkpoint when there is one."""
        return train_together(request, run)
