"""Every engine that is found keeps the promises of `train/engine.py`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.made_models import make_model
from tests.train.recorded import RecordedRun, folder_bytes, write_chats

from selftune.core import plugins
from selftune.core.errors import LeaseLost, Paused
from selftune.core.records import Hyperparameters
from selftune.train import engines
from selftune.train.engine import Engine, Trained, TrainRequest
from selftune.train.methods import NUMBERS

ROWS = [(f"please {verb} the {noun}", verb) for verb in ("open", "close") for noun in "abcdefgh"]
ASKED = Hyperparameters(n_epochs=2, batch_size=6, learning_rate_multiplier=1.0)
STEPS_PER_EPOCH = 3  # sixteen rows in batches of six

Undisturbed = Callable[[str], tuple[RecordedRun, Trained]]

NEED_BASE = {"hf"}
"""Engines that have no base of their own."""
NAMES = plugins.available(engines)


def build(name: str) -> Engine:
    plugin = plugins.load(engines, name)
    engine: Engine = plugin.build(plugin.Params())
    return engine


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return make_model(folder, "llama", hidden=32, layers=1) if NEED_BASE & set(NAMES) else folder


def request_in(folder: Path, base: Path | None) -> TrainRequest:
    file = write_chats(folder / "train.jsonl", ROWS)
    return TrainRequest(
        base_folder=base, training_file=file, hyperparameters=ASKED, seed=3, threads=1
    )


@pytest.fixture
def request_of(name: str, tmp_path: Path, base: Path) -> TrainRequest:
    return request_in(tmp_path, base if name in NEED_BASE else None)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, graphs: Path, base: Path) -> Undisturbed:
    """Return the run of an engine that nothing stops, made once."""

    @cache
    def made(name: str) -> tuple[RecordedRun, Trained]:
        folder = tmp_path_factory.mktemp("undisturbed")
        run = RecordedRun(folder / "run", graphs)
        start = base if name in NEED_BASE else None
        return run, build(name).train(request_in(folder, start), run)

    return made


@pytest.mark.parametrize("name", NAMES)
def test_epochs_and_batches_mean_what_they_say(name: str, undisturbed: Undisturbed) -> None:
    run, trained = undisturbed(name)
    assert [metrics.step for metrics in run.steps] == list(range(1, 2 * STEPS_PER_EPOCH + 1))
    assert {metrics.total_steps for metrics in run.steps} == {trained.steps}
    assert sorted(run.models) == [1, 2]
    assert run.told.index("resolved") < run.told.index("step")
    assert run.told.count("resolved") == 1
    found = {name: value.value for name, value in run.values.items()}
    assert found == {name: getattr(ASKED, name) for name in NUMBERS["supervised"]}
    assert all(0 <= metrics.train_mean_token_accuracy <= 1 for metrics in run.steps)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_bytes(
    name: str, request_of: TrainRequest, tmp_path: Path, graphs: Path, undisturbed: Undisturbed
) -> None:
    run, (first, _) = RecordedRun(tmp_path / "run", graphs), undisturbed(name)
    build(name).train(request_of, run)
    assert folder_bytes(run.model) == folder_bytes(first.model)
    assert run.steps == first.steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop_at", [2, STEPS_PER_EPOCH + 1])
def test_a_stopped_run_ends_with_the_bytes_of_an_undisturbed_one(
    name: str,
    stop_at: int,
    request_of: TrainRequest,
    tmp_path: Path,
    graphs: Path,
    undisturbed: Undisturbed,
) -> None:
    whole, _ = undisturbed(name)
    stopped = RecordedRun(tmp_path / "stopped", graphs, stop_at=stop_at)
    with pytest.raises(LeaseLost):
        build(name).train(request_of, stopped)
    resumed = stopped.resumed()
    build(name).train(request_of, resumed)
    assert folder_bytes(resumed.model) == folder_bytes(whole.model)
    done = {metrics.step: metrics for metrics in [*stopped.steps, *resumed.steps]}
    assert [done[metrics.step] for metrics in whole.steps] == whole.steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pause_at", [1, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2])
def test_a_paused_run_keeps_a_snapshot_and_goes_on_with_the_next_step(
    name: str,
    pause_at: int,
    request_of: TrainRequest,
    tmp_path: Path,
    graphs: Path,
    undisturbed: Undisturbed,
) -> None:
    whole, _ = undisturbed(name)
    paused = RecordedRun(tmp_path / "paused", graphs, pause_at=pause_at)
    with pytest.raises(Paused):
        build(name).train(request_of, paused)
    assert paused.model.name == f"model-{pause_at}"
    assert set(folder_bytes(paused.model)) == set(folder_bytes(whole.model))
    resumed = paused.resumed()
    build(name).train(request_of, resumed)
    assert folder_bytes(resumed.model) == folder_bytes(whole.model)
    assert [*paused.steps, *resumed.steps] == whole.steps
