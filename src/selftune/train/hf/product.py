"""The folder of a model that can be served, and the proof that what is served is what was trained."""

from pathlib import Path

import torch

from selftune.models.hf.checking import prove_served
from selftune.models.hf.probes import make_probes, write_probes
from selftune.train.hf.learner import Learner
from selftune.train.hf.setup import Setup


def save_product(setup: Setup, learner: Learner, folder: Path, *, is_last: bool) -> None:
    """Write the model as it stands, with the trainer's own numbers for its probes.

    Raises:
        JobFailed: after the last step, the folder does not answer as the trained model.

    """
    trainee = learner.trainee
    trainee.save_weights(folder)
    setup.renderer.save(folder)
    probes, own = make_probes(setup.renderer, trainee.model, trainee.precision, setup.shown)
    if is_last and trainee.kind != "qlora":
        agreement = prove_served(folder, probes, own, setup.run.cache, torch.get_num_threads())
        setup.run.note(
            "served", f"Served equals trained: {agreement.words}", agreement.model_dump()
        )
        return
    write_probes(folder, probes)
    if is_last:
        setup.run.note(
            "served",
            "Trained on a base of 4 bits and served on the base as it is: log-probabilities of "
            "both are near, but are not compared",
        )
