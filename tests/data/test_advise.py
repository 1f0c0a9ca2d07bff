"""Which base fits a file and a machine: memory by formula, time by operations, and a reason."""

from pathlib import Path

import pytest
from tests.models.test_catalog import folder_of_a_model

from selftune.core.errors import InvalidInput
from selftune.core.settings import Settings
from selftune.data.advise import FASTEST, SLOWEST, AdviseOptions, advise
from selftune.models.machine import Gpu, Machine
from selftune.models.memory import Shape, footprint, shape_of_card, shape_of_folder
from selftune.models.speed import Speed

LAPTOP = Machine(bytes=16_000_000_000, cores=8)
H200 = Machine(
    bytes=128 * 10**9,
    cores=16,
    gpus=(Gpu(name="NVIDIA H200", bytes=150_754_820_096, free_bytes=150_000_000_000),),
)
SLOW, QUICK = (Speed(flops=flops, source="given") for flops in (1e11, 6e14))
LLAMA_8B = Shape(
    parameters=8_030_261_248,
    layers=32,
    width=4096,
    inner=14336,
    vocabulary=128_256,
    bytes_of_weights=16_060_522_496,
)


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    row = (
        '{"messages": [{"role": "user", "content": "Where is my order?"}, '
        '{"role": "assistant", "content": "On its way to you."}]}\n'
    )
    path.write_text(row * 100, encoding="utf-8")
    return path


def test_weights_gradients_and_optimiser_are_counted_by_the_byte() -> None:
    full = footprint(LLAMA_8B, "full", tokens=1)
    assert full.weights == 6 * LLAMA_8B.parameters  # 16 bits, and float32 beside them
    assert (full.gradients, full.optimizer) == (4 * LLAMA_8B.parameters, 8 * LLAMA_8B.parameters)
    lora, qlora = footprint(LLAMA_8B, "lora", tokens=1), footprint(LLAMA_8B, "qlora", tokens=1)
    assert lora.weights - 2 * LLAMA_8B.parameters == lora.gradients
    assert 0.25 < (qlora.weights - qlora.gradients) / (lora.weights - lora.gradients) < 0.3
    assert lora.total < 30e9 < full.total


def test_a_longer_row_needs_more_memory_and_logits_only_to_a_limit() -> None:
    short, longer = (footprint(LLAMA_8B, "lora", tokens=n).activations for n in (1024, 8192))
    assert 7 < longer / short < 8


def test_the_shape_of_a_folder_is_read_from_its_headers(tmp_path: Path) -> None:
    shape = shape_of_folder(folder_of_a_model(tmp_path / "mine", tensors=7))
    assert (shape.parameters, shape.layers, shape.width) == (70, 2, 8)
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(InvalidInput, match="no whole safetensors"):
        shape_of_folder(tmp_path / "mine")


def test_a_card_without_layers_gets_those_of_a_usual_model() -> None:
    shape = shape_of_card(8_000_000_000, None, None)
    assert 30 <= shape.layers <= 50
    assert 3000 <= shape.width <= 5000


def test_a_small_machine_gets_a_small_base_and_a_large_one_a_large(
    training_file: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    small = advise(training_file, settings, LAPTOP, SLOW)
    large = advise(training_file, settings, H200, QUICK)
    of = {one.base: one for one in small.bases}
    assert of[small.recommended].parameters < 2e9
    assert "qlora" not in of["Qwen/Qwen3-0.6B"].fits  # it needs a GPU
    assert {one.base: one for one in large.bases}[large.recommended].parameters > 14e9
    assert "reads the longest row" in large.reason
    assert large.adapter == "lora"


def test_time_is_operations_by_the_measured_speed(training_file: Path, tmp_path: Path) -> None:
    options = AdviseOptions(models=("Qwen/Qwen3-0.6B",), epochs=2)
    [one] = advise(training_file, Settings(home=tmp_path), LAPTOP, SLOW, options).bases
    expected = 4 * 600_000_000 * one.tokens * 2  # forward, and back without gradients of weights
    assert one.operations == pytest.approx(expected, rel=0.02)
    assert one.seconds == pytest.approx(
        (one.operations / 1e11 / FASTEST, one.operations / 1e11 / SLOWEST)
    )
    preference = AdviseOptions(models=options.models, epochs=2, method="dpo")
    [dpo] = advise(training_file, Settings(home=tmp_path), LAPTOP, None, preference).bases
    assert dpo.operations == pytest.approx(1.5 * one.operations)
    assert dpo.seconds is None


def test_where_nothing_fits_the_embedded_model_is_named(
    training_file: Path, tmp_path: Path
) -> None:
    tiny = Machine(bytes=1_000_000_000, cores=1)
    found = advise(training_file, Settings(home=tmp_path), tiny, SLOW)
    assert (found.recommended, found.adapter) == ("selftune/minilm", None)
    options = AdviseOptions(models=("selftune/minilm",))
    with pytest.raises(InvalidInput, match="'selftune/minilm' is no open base"):
        advise(training_file, Settings(home=tmp_path), tiny, SLOW, options)
