"""Adapters in one batch give what PEFT gives for each of them alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from tests.made_models import make_model
from tests.models.hf.made_adapters import make_adapter

from selftune.core.errors import InvalidInput
from selftune.models.hf.loading import Loaded, load_base
from selftune.models.hf.lora import AdapterBank

pytestmark = pytest.mark.filterwarnings(  # PEFT 0.21 asks transformers 5.23 by an old name
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

IDS = torch.tensor([[5, 90, 121, 33, 200], [7, 300, 12, 80, 400], [9, 41, 42, 43, 44]])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    torch.set_num_threads(1)
    return load_base(make_model(tmp_path_factory.mktemp("base") / "llama", "llama"))


@pytest.fixture(scope="module")
def folders(base: Loaded, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters that differ in rank, targets and ways to scale."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        make_adapter(base.folder, root / "plain", rank=4, seed=1),
        make_adapter(
            base.folder,
            root / "patterns",
            rank=3,
            seed=2,
            rank_pattern={"q_proj": 7},
            alpha_pattern={"layers.1.self_attn.q_proj": 5, "o_proj": 11},
        ),
        make_adapter(
            base.folder, root / "few", rank=2, seed=3, targets=("v_proj",), use_rslora=True
        ),
    ]


@pytest.fixture
def bank(base: Loaded) -> Iterator[AdapterBank]:
    yield AdapterBank(base.model, room=10_000_000)
    for module in base.model.modules():
        module._forward_hooks.clear()


def logits(model: Any, rows: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=rows, use_cache=False).logits
        return found


def with_peft(base: Loaded, folder: Path | None, row: torch.Tensor) -> torch.Tensor:
    """Return what PEFT computes for one row with one adapter."""
    from peft import PeftModel

    model = load_base(base.folder).model
    chosen = model if folder is None else PeftModel.from_pretrained(model, str(folder))
    return logits(chosen.eval(), row[None])[0]


def test_rows_with_three_adapters_and_none_equal_peft_one_by_one(
    base: Loaded, bank: AdapterBank, folders: list[Path]
) -> None:
    chosen = [folders[0], None, folders[1], folders[2], folders[0]]
    rows = IDS[[0, 1, 2, 1, 2]]
    held = [None if folder is None else bank.acquire(folder) for folder in chosen]
    with bank.rows(held, tokens=rows.shape[1]):
        mixed = logits(base.model, rows)
    for row, folder in enumerate(chosen):
        expected = with_peft(base, folder, rows[row])
        torch.testing.assert_close(mixed[row], expected, atol=1e-5, rtol=1e-5)
    assert (mixed[0] - logits(base.model, rows[:1])[0]).abs().max() > 0.1


def test_one_adapter_for_all_rows_equals_peft(
    base: Loaded, bank: AdapterBank, folders: list[Path]
) -> None:
    held = bank.acquire(folders[1])
    with bank.rows([held] * 3, tokens=IDS.shape[1]):
        together = logits(base.model, IDS)
    for row in range(3):
        expected = with_peft(base, folders[1], IDS[row])
        torch.testing.assert_close(together[row], expected, atol=1e-5, rtol=1e-5)


def test_the_adapter_used_last_stays_and_one_in_use_is_never_dropped(
    base: Loaded, folders: list[Path]
) -> None:
    size = max((folder / "adapter_model.safetensors").stat().st_size for folder in folders)
    bank = AdapterBank(base.model, room=size + 2000)
    first = bank.acquire(folders[0])
    assert first is not None
    assert bank.acquire(folders[1]) is None
    bank.release(first)
    second = bank.acquire(folders[1])
    assert second is not None
    assert bank.loaded == (folders[1],)


def test_an_adapter_that_was_dropped_is_read_again(base: Loaded, folders: list[Path]) -> None:
    bank = AdapterBank(base.model, room=1)
    results = []
    for _ in range(2):
        for folder in folders[:2]:
            held = bank.acquire(folder)
            assert held is not None
            with bank.rows([held, None], tokens=5):
                results.append(logits(base.model, IDS[:2]))
            bank.release(held)
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[1], results[3])
    assert not torch.equal(results[0], results[1])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"bias": "all"}, "biases"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    base: Loaded, bank: AdapterBank, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    folder = make_adapter(base.folder, tmp_path / "odd", targets=("q_proj",), **options)
    with pytest.raises(InvalidInput, match=reason):
        bank.acquire(folder)


def test_an_adapter_of_another_model_is_refused(
    base: Loaded, bank: AdapterBank, tmp_path: Path
) -> None:
    wide = make_model(tmp_path / "wide", "llama", hidden=96)
    with pytest.raises(InvalidInput, match=r"matrices for 'model\.layers\.0"):
        bank.acquire(make_adapter(wide, tmp_path / "adapter"))


def test_a_damaged_adapter_and_one_with_infinite_numbers_are_refused(
    base: Loaded, bank: AdapterBank, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_adapter(base.folder, tmp_path / "adapter")
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    next(iter(tensors.values()))[0, 0] = float("inf")
    save_file(tensors, weights)
    with pytest.raises(InvalidInput, match="not finite"):
        bank.acquire(folder)
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InvalidInput, match="damaged"):
        bank.acquire(folder)


def test_weights_in_pickle_files_and_code_of_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InvalidInput, match="pickle"):
        load_base(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    config = {"model_type": "theirs", "auto_map": {"AutoModelForCausalLM": "model.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InvalidInput, match="own code"):
        load_base(tmp_path)
