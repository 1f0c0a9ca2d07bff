"""Where memory runs out, a step is taken again in smaller parts, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.hf.tiny import learner_for, supervised_curve
from tests.train.recorded import RecordedRun

from selftune.core.errors import JobFailed
from selftune.train.hf.learner import Learner, Limit


def small_memory(learner: Learner, most: int, *, frugal_helps: bool = True) -> list[int]:
    """Let the model's layers have room for so many sequences; return how many it was given."""
    layer = learner.trainee.inner.get_decoder().layers[1]
    plain, seen = layer.forward, []

    def forward(states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(states))
        saves = learner.trainee.inner.is_activation_checkpointing and frugal_helps
        if len(states) > most and not saves and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
        return plain(states, *args, **kwargs)

    layer.forward = forward
    return seen


def test_a_smaller_micro_batch_gives_the_same_result_and_says_so(
    llama: Path, tmp_path: Path, run: RecordedRun
) -> None:
    whole = RecordedRun(tmp_path / "whole", tmp_path)
    expected = supervised_curve(learner_for(llama, whole), whole)
    learner = learner_for(llama, run)
    seen = small_memory(learner, 3)
    np.testing.assert_allclose(supervised_curve(learner, run), expected, rtol=1e-5, atol=1e-5)
    assert max(seen) > 3
    assert max(seen[-4:]) <= 3
    assert [key for key in run.told if key.startswith("memory")][-1] == "memory-0-2-False"


def test_a_run_goes_on_with_the_micro_batch_that_fitted(
    llama: Path, tmp_path: Path, run: RecordedRun
) -> None:
    learner = learner_for(llama, run)
    small_memory(learner, 3)
    supervised_curve(learner, run)
    after = run.resumed()
    again = learner_for(llama, after)
    supervised_curve(again, after)
    assert again.limit == learner.limit != Limit(64, 100_000)


def test_a_single_sequence_that_does_not_fit_is_computed_twice(
    llama: Path, tmp_path: Path, run: RecordedRun
) -> None:
    whole = RecordedRun(tmp_path / "whole", tmp_path)
    expected = supervised_curve(learner_for(llama, whole), whole)
    learner = learner_for(llama, run)
    small_memory(learner, 0)
    np.testing.assert_allclose(supervised_curve(learner, run), expected, rtol=1e-5, atol=1e-5)
    assert run.told.count("memory-0-1-True") == 1


def test_a_model_that_never_fits_fails_with_the_remedy(llama: Path, run: RecordedRun) -> None:
    learner = learner_for(llama, run)
    small_memory(learner, 0, frugal_helps=False)
    with pytest.raises(JobFailed, match="smaller max_length") as failed:
        supervised_curve(learner, run)
    assert failed.value.code == "out_of_memory"


def test_an_error_that_is_not_about_memory_passes_through(llama: Path, run: RecordedRun) -> None:
    learner = learner_for(llama, run)
    layer = learner.trainee.inner.get_decoder().layers[1]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shapes do not match")

    layer.forward = broken
    with pytest.raises(RuntimeError, match="shapes"):
        supervised_curve(learner, run)
