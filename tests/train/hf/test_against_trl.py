"""On the same batches, our losses of preferences are TRL's, step after step."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.hf.tiny import RATE, curve, learner_for, pairs
from tests.train.recorded import RecordedRun
from transformers import AutoModelForCausalLM, AutoTokenizer

from selftune.train.hf.dpo import Preference, with_reference
from selftune.train.hf.rows import Data, Order

BETA, STEPS = 0.3, 4


@pytest.mark.filterwarnings("ignore")  # TRL's and the libraries' of its own
def test_preferences_are_learned_as_trl_does(llama: Path, tmp_path: Path, run: RecordedRun) -> None:
    learner = learner_for(llama, run, adapter="full")
    rows = with_reference(pairs(), learner, run.folder / "reference.npy")
    every = Order(rows=len(rows), batch_size=len(rows), n_epochs=STEPS, seed=0)
    found = curve(learner, run, Preference(Data(rows, (), every), learner, BETA))
    logged = _trl(llama, tmp_path / "trl")
    np.testing.assert_allclose([line["loss"] for line in logged], found, rtol=2e-4)
    accuracy = [metrics.train_mean_token_accuracy for metrics in run.steps]
    assert [line["rewards/accuracies"] for line in logged][1:] == pytest.approx(accuracy[1:])


def _trl(folder: Path, output: Path) -> list[dict[str, Any]]:
    """Return what TRL logs of each step over all pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import Dataset
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DPOTrainer

        class Given(DPOTrainer):
            """TRL's trainer for rows that are tokens already."""

            def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
                return dataset

        config = DPOConfig(
            output_dir=str(output),
            per_device_train_batch_size=len(pairs()),
            num_train_epochs=STEPS,
            learning_rate=RATE,
            beta=BETA,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            gradient_checkpointing=False,
            bf16=False,
            disable_tqdm=True,
            max_grad_norm=1.0,
        )
        trainer = Given(
            model=AutoModelForCausalLM.from_pretrained(folder),
            ref_model=AutoModelForCausalLM.from_pretrained(folder),
            args=config,
            train_dataset=Dataset.from_list([_columns(pair.sequences) for pair in pairs()]),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )
        trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def _columns(both: Any) -> dict[str, list[int]]:
    asked = int((both[0].weights == 0).sum())
    chosen, rejected = (one.ids[asked:].tolist() for one in both)
    return {
        "prompt_ids": both[0].ids[:asked].tolist(),
        "chosen_ids": chosen,
        "rejected_ids": rejected,
    }
