"""The folder of a model that can be served, and the proof that what is served is what was trained."""

from pathlib import Path

import torch

from selftune.models.hf.checking import keep_served, prove_served
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
    cache, threads = setup.run.cache, torch.get_num_threads()
    if not is_last:
        write_probes(folder, probes)
    elif trainee.kind == "qlora":
        apart = keep_served(folder, probes, cache, threads)
        told = f"Trained on the base in 4 bits, and served on it as it is: {apart.words}"
        setup.run.note("served", told, apart.model_dump())
    else:
        agreement = prove_served(folder, probes, own, cache, threads)
        said = f"Served equals trained: {agreement.words}"
        setup.run.note("served", said, agreement.model_dump())
