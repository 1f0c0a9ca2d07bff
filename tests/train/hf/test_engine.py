"""The engine through its door: files in, a folder that can be served out."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.conftest import stored_file
from tests.made_models import make_model
from tests.train.recorded import RecordedRun, folder_bytes, write_chats

from selftune.core.errors import Cancelled, JobFailed, LeaseLost
from selftune.core.records import Hyperparameters, TrainOptions, TrainSpec
from selftune.models.hf.checking import check_folder
from selftune.models.hf.loading import Loaded, load_base
from selftune.models.hf.probes import read_probes
from selftune.models.own_catalog import add_base
from selftune.store.accounts import default_identity
from selftune.store.files import save_file
from selftune.store.store import Store
from selftune.train.create import FinetuneRequest, create_finetuning_job
from selftune.train.engine import Trained, TrainRequest
from selftune.train.engines.hf import Params, build
from selftune.train.hf import adapters
from selftune.train.hf.adapters import Kind
from selftune.train.request import request_of

ROWS = [(f"please {verb} the {noun}", verb) for verb in ("open", "close") for noun in "abcdef"]
ASKED = Hyperparameters(n_epochs=2, batch_size=6, learning_rate_multiplier=4.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base"), "qwen", hidden=32, layers=1)


class TellingRun(RecordedRun):
    """Keeps what is said, and can be cancelled at a check."""

    def __init__(self, folder: Path, cache: Path, *, cancel_at: int = 0, stop_at: int = 0) -> None:
        super().__init__(folder, cache, stop_at=stop_at)
        self.said: dict[str, str] = {}
        self._checks, self._cancel_at = 0, cancel_at

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        super().note(key, message, data)
        self.said[key] = message

    def check(self) -> None:
        self._checks += 1
        if self._checks == self._cancel_at:
            raise Cancelled("The test cancels here.")


def train(base: Path, run: RecordedRun, file: Path, **asked: Any) -> Trained:
    method = asked.pop("method", "supervised")
    validation = asked.pop("validation", None)
    hyperparameters = asked.pop("hyperparameters", ASKED)
    request = TrainRequest(
        base_folder=base,
        base="tiny",
        training_file=file,
        validation_file=validation,
        method=method,
        hyperparameters=hyperparameters,
        options=TrainOptions(**asked),
        seed=3,
        threads=1,
    )
    return build(Params()).train(request, run)


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chats(tmp_path_factory.mktemp("files") / "train.jsonl", ROWS)


@pytest.fixture(scope="module")
def first(base: Path, chats: Path, tmp_path_factory: pytest.TempPathFactory) -> "TellingRun":
    """Return a run that nothing disturbed, with adapters."""
    run = TellingRun(tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("cache"))
    train(base, run, chats, validation=chats)
    return run


@pytest.fixture
def told(tmp_path: Path) -> TellingRun:
    return TellingRun(tmp_path / "run", tmp_path)


def write_pairs(path: Path) -> Path:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = [
        {
            "input": {"messages": [{"role": "user", "content": question}]},
            "preferred_output": said(answer),
            "non_preferred_output": said("no"),
        }
        for question, answer in ROWS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_first_example_is_shown_with_what_is_learned_marked(first: TellingRun) -> None:
    assert first.told.index("rendered") < first.told.index("step")
    shown = first.said["rendered"]
    assert "<|im_start|>user\nplease open the a<|im_end|>" in shown
    assert shown.endswith("⟦open<|im_end|>⟧")


def test_every_setting_is_told_with_its_reason(base: Path, told: TellingRun, chats: Path) -> None:
    train(base, told, chats, hyperparameters=Hyperparameters(n_epochs=1), rank=4, max_length=40)
    reasons = {name: (one.value, one.reason) for name, one in told.values.items()}
    assert reasons["n_epochs"] == (1, "asked for")
    assert reasons["batch_size"] == (1, "auto: for 12 examples")
    settings = told.said["settings"]
    assert settings.startswith("Settings: lora; ")
    assert "rank=4 (asked for)" in settings
    assert "max_length=40 (asked for)" in settings
    assert "learning_rate=0.0005 (auto: supervised, 32 wide, 10 x for adapters" in settings


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_layers_and_rate_of_a_homes_own_catalogue_are_trained_with(
    base: Path, told: TellingRun, chats: Path, store: Store, adapter: Kind
) -> None:
    own = {"targets": ["q_proj", "v_proj"], "learning_rate": {"supervised": 0.002}}
    add_base(store.root, {"id": "tiny/own", "source": str(base)} | own)
    file = stored_file(store, chats.read_bytes())
    save_file(store, file)
    asked = FinetuneRequest(
        model="tiny/own",
        training_file=file.id,
        hyperparameters=Hyperparameters(n_epochs=1, batch_size=12, learning_rate_multiplier=2.0),
        options=TrainOptions(adapter=adapter),
    )
    job = create_finetuning_job(store, default_identity(store), asked)
    request = request_of(store, job, TrainSpec.model_validate(job.spec))
    build(Params()).train(request, told)
    if adapter == "full":
        assert "learning_rate=0.0004 (the catalogue's, divided by 10" in told.said["settings"]
        return
    assert "learning_rate=0.004 (the catalogue's, times" in told.said["settings"]
    config = json.loads((told.model / "adapter_config.json").read_text("utf-8"))
    assert config["target_modules"] == ["q_proj", "v_proj"]


def test_layers_that_the_model_does_not_have_are_named(
    base: Path, told: TellingRun, chats: Path
) -> None:
    request = TrainRequest(
        base_folder=base,
        training_file=chats,
        hyperparameters=ASKED,
        targets=("q_proj", "c_attn"),
        seed=3,
        threads=1,
    )
    with pytest.raises(JobFailed, match=r"'c_attn'.* linear ones: .*q_proj.*catalog\.toml"):
        build(Params()).train(request, told)


def test_validation_is_on_a_batch_and_on_all_at_the_end_of_an_epoch(first: TellingRun) -> None:
    assert [metrics.full_valid_loss is not None for metrics in first.steps] == [False, True] * 2
    assert all(metrics.valid_loss is not None for metrics in first.steps)


def test_what_is_served_is_compared_with_what_was_trained(first: TellingRun) -> None:
    assert first.said["served"].startswith("Served equals trained: log-probabilities of ")
    assert first.told[-1] == "served"


def test_an_adapter_goes_on_from_where_it_ended(
    base: Path, first: TellingRun, chats: Path, tmp_path: Path
) -> None:
    after = TellingRun(tmp_path / "after", tmp_path)
    train(first.model, after, chats)
    assert after.steps[0].train_loss < first.steps[0].train_loss
    assert json.loads((after.model / "base.json").read_text())["folder"] == str(base)
    assert "rank=32 (of the model that training goes on from)" in after.said["settings"]
    assert _weights(after.model).keys() == _weights(first.model).keys()
    with pytest.raises(JobFailed, match="cannot be changed"):
        train(first.model, TellingRun(tmp_path / "wrong", tmp_path), chats, rank=8)


def test_a_whole_model_comes_of_full_training_and_of_an_adapter(
    first: TellingRun, chats: Path, tmp_path: Path
) -> None:
    whole = TellingRun(tmp_path / "whole", tmp_path)
    train(first.model, whole, chats, adapter="full")
    assert whole.steps[0].train_loss < first.steps[0].train_loss
    files = {path.name for path in whole.model.iterdir()}
    assert {"model.safetensors", "config.json", "renderer.json", "probes.json"} <= files
    assert not {"base.json", "adapter_config.json"} & files
    again = TellingRun(tmp_path / "again", tmp_path)
    train(whole.model, again, chats)
    assert again.steps[0].train_loss < whole.steps[0].train_loss


def test_another_base_under_the_same_name_is_refused(
    told: TellingRun, chats: Path, tmp_path: Path
) -> None:
    mine = make_model(tmp_path / "mine", "qwen", hidden=32, layers=1)
    train(mine, told, chats)
    config = mine / "config.json"
    config.write_text(config.read_text().replace('"rope_theta": 10000.0', '"rope_theta": 9.0'))
    with pytest.raises(JobFailed, match="was changed since"):
        train(told.model, TellingRun(tmp_path / "after", tmp_path), chats)


def test_preferences_are_learned_and_resumed_to_the_same_bytes(base: Path, tmp_path: Path) -> None:
    file = write_pairs(tmp_path / "pairs.jsonl")
    asked = Hyperparameters(n_epochs=3, batch_size=6, learning_rate_multiplier=1000.0)
    whole = TellingRun(tmp_path / "whole", tmp_path)
    train(base, whole, file, method="dpo", hyperparameters=asked, validation=file)
    assert whole.values["beta"].value == 0.1
    assert whole.steps[0].train_loss == pytest.approx(np.log(2), abs=1e-5)
    assert whole.steps[-1].train_loss < 0.6
    assert whole.steps[-1].full_valid_mean_token_accuracy == 1.0
    assert "margin" in whole.said[f"rewards-{len(whole.steps)}"]
    stopped = TellingRun(tmp_path / "stopped", tmp_path, stop_at=4)
    with pytest.raises(LeaseLost):
        train(base, stopped, file, method="dpo", hyperparameters=asked, validation=file)
    resumed = stopped.resumed()
    train(base, resumed, file, method="dpo", hyperparameters=asked, validation=file)
    assert folder_bytes(resumed.model) == folder_bytes(whole.model)


def test_processes_that_share_batches_have_the_losses_of_one(
    base: Path, first: TellingRun, chats: Path, tmp_path: Path
) -> None:
    both = TellingRun(tmp_path / "both", tmp_path)
    train(base, both, chats, validation=chats, devices=2)
    for name in ("train_loss", "train_mean_token_accuracy", "full_valid_loss"):
        one, two = ([getattr(m, name) or 0 for m in run.steps] for run in (first, both))
        np.testing.assert_allclose(two, one, 1e-5)
    for name, tensor in _weights(first.model).items():
        np.testing.assert_allclose(_weights(both.model)[name], tensor, 1e-3, 1e-5)
    assert both.told == first.told


@pytest.mark.parametrize("cancel_at", [5, 30, 45])
def test_a_cancelled_job_stops_wherever_it_is(
    cancel_at: int, base: Path, chats: Path, tmp_path: Path
) -> None:
    run = TellingRun(tmp_path / "run", tmp_path, cancel_at=cancel_at)
    with pytest.raises(Cancelled):
        train(base, run, chats, validation=chats, micro_batch=1)
    assert len(run.steps) < 4


def test_a_file_with_nothing_to_learn_is_refused(
    base: Path, told: TellingRun, tmp_path: Path
) -> None:
    file = write_chats(tmp_path / "long.jsonl", [("words " * 50, "answer")])
    with pytest.raises(JobFailed, match="longer than max_length") as failed:
        train(base, told, file, max_length=16)
    assert failed.value.code == "invalid_training_file"


def test_rows_that_are_cut_before_the_answer_are_left_out(
    base: Path, told: TellingRun, tmp_path: Path
) -> None:
    file = write_chats(tmp_path / "long.jsonl", [*ROWS, ("words " * 50, "answer")])
    train(base, told, file, max_length=64)
    assert told.said["left-out-training"].startswith("1 rows")
    assert told.steps[-1].total_steps == 4


def test_rows_that_are_cut_are_counted_and_stripped_spaces_are_told(
    base: Path, told: TellingRun, tmp_path: Path
) -> None:
    file = write_chats(tmp_path / "long.jsonl", [*ROWS, ("name the days", "a day and " * 40)])
    template = base / "chat_template.jinja"
    stripping = Path(shutil.copytree(base, tmp_path / "stripping"))
    text = template.read_text("utf-8").replace(
        "said = message.content or ''", "said = (message.content or '') | trim"
    )
    (stripping / "chat_template.jinja").write_text(text, encoding="utf-8")
    train(stripping, told, file, max_length=64, hyperparameters=Hyperparameters(n_epochs=1))
    assert told.said["cut-training"] == (
        "1 rows of the training file are longer than 64 tokens, and are cut there"
    )
    assert "left-out-training" not in told.said
    first = told.said["rendered"].partition("\n")[0]
    assert first.endswith("; spaces around answers are stripped by the chat template:")


def test_an_optimiser_that_does_not_fit_into_memory_ends_the_job_with_the_remedy(
    base: Path, told: TellingRun, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", refuse)
    with pytest.raises(JobFailed, match=r"weights learn.*\(adapter lora\)") as failed:
        train(base, told, chats, adapter="full")
    assert failed.value.code == "out_of_memory"
    assert told.steps == []


def test_a_learning_rate_that_is_far_too_high_ends_the_job_with_the_remedy(
    base: Path, told: TellingRun, chats: Path
) -> None:
    asked = Hyperparameters(n_epochs=25, batch_size=2, learning_rate_multiplier=1000.0)
    wild = TrainRequest(
        base_folder=base,
        training_file=chats,
        hyperparameters=asked,
        options=TrainOptions(adapter="full"),
        learning_rate=1e30,
        seed=3,
        threads=1,
    )
    with pytest.raises(JobFailed, match="learning_rate_multiplier"):
        build(Params()).train(wild, told)


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is a GPU it can be had")
def test_a_4_bit_base_needs_a_gpu(base: Path, told: TellingRun, chats: Path) -> None:
    with pytest.raises(JobFailed, match="NVIDIA GPU"):
        train(base, told, chats, adapter="qlora")


def test_what_was_trained_on_4_bits_is_kept_with_what_is_served(
    base: Path, told: TellingRun, chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounded(folder: Path, mark: str) -> Loaded:
        loaded = load_base(folder, "float32")
        for module in loaded.model.modules():
            if isinstance(module, torch.nn.Linear):
                step = module.weight.detach().abs().max() / 7  # 15 values, as 4 bits have
                module.weight.data = (module.weight / step).round().detach() * step
        loaded.model.requires_grad_(False)
        return loaded

    monkeypatch.setattr(adapters, "_load_quantized", rounded)
    train(base, told, chats, adapter="qlora")
    said = told.said["served"]
    assert said.startswith("Trained on the base in 4 bits, and served on it as it is: log-prob")
    kept = read_probes(told.model).probes
    differ = float(re.findall(r"differ by (\S+) on average", said)[0])
    assert differ > 0.01  # far more than rounding in float32
    assert all(one.before and one.before != one.logprobs for one in kept)
    assert check_folder(told.model).startswith("log-probabilities of")


def _weights(folder: Path) -> dict[str, Any]:
    return dict(load_file(folder / "adapter_model.safetensors"))
