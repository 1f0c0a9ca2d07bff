"""What is served is what was trained: a fault in any part of a folder is told."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.made_models import make_model
from tests.models.hf.made_adapters import make_adapter

from selftune.core.errors import InvalidInput, JobFailed
from selftune.models.hf import loading
from selftune.models.hf.agreement import Agreement, Served, compare
from selftune.models.hf.checking import check_folder, prove_served
from selftune.models.hf.probes import Probes, Scored, make_probes, read_probes
from selftune.models.hf.renderer import Renderer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT


@dataclass(frozen=True)
class Trained:
    """A model as the engine leaves it, and the model in the trainer's memory."""

    base: Path
    folder: Path
    model: Any
    renderer: Renderer


def trained(folder: Path, precision: loading.Precision = "float32", scale: float = 1.0) -> Trained:
    """Make a base, an adapter on it, and what PEFT makes of both; smaller changes with `scale`."""
    from peft import PeftModel

    base = make_model(folder / "base", "qwen")
    adapter = make_adapter(base, folder / "model")
    tensors = load_file(adapter / "adapter_model.safetensors")
    smaller = {
        name: value * scale if "lora_B" in name else value for name, value in tensors.items()
    }
    save_file(smaller, adapter / "adapter_model.safetensors")
    renderer = Renderer.load(base)
    renderer.save(adapter)
    inner: Any = loading.load_base(base, precision, "cpu").model
    return Trained(base, adapter, PeftModel.from_pretrained(inner, str(adapter)), renderer)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def proven(made: Trained) -> Agreement:
    row = made.renderer.text("A row of the user's own: 4711.")
    probes, own = make_probes(made.renderer, made.model, "float32", extra=[row])
    return prove_served(made.folder, probes, own, made.folder.parent / "cache")


@pytest.fixture
def copy(made: Trained, proven: Agreement, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))


def test_a_model_is_served_as_it_was_trained(proven: Agreement) -> None:
    assert proven.tokens > 1000
    assert proven.largest < 1e-4
    assert proven.share == pytest.approx(1, abs=1e-3)


def test_what_is_kept_has_nothing_of_the_jobs_rows(made: Trained, proven: Agreement) -> None:
    kept = read_probes(made.folder)
    assert {one.name for one in kept.probes} >= {"plain", "tool", "arabic", "code"}
    written = b"".join(made.renderer.bytes_of(token) for one in kept.probes for token in one.ids)
    assert b"lighthouse" in written
    assert b"4711" not in written


def test_a_copy_can_be_checked_at_any_time(copy: Path) -> None:
    assert check_folder(copy).startswith("log-probabilities of")


def _edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    change(found)
    path.write_text(json.dumps(found), encoding="utf-8")


def _wrong_scale(folder: Path, alpha: float = 9) -> None:
    _edit_json(folder / "adapter_config.json", lambda config: config.update(lora_alpha=alpha))


def _swapped_matrices(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    first, second = (
        f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_B.weight" for n in (0, 1)
    )
    tensors[first], tensors[second] = tensors[second].clone(), tensors[first].clone()
    save_file(tensors, path)


def _one_layer_lost(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({n: t for n, t in tensors.items() if "layers.1.mlp.down_proj" not in n}, path)


def _other_base(folder: Path) -> None:
    """Change weights and leave the header, which alone the fingerprint sees."""
    told = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    base = Path(shutil.copytree(told["folder"], folder / "base"))
    weights = load_file(base / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name] * 1.5
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    _edit_json(folder / "base.json", lambda found: found.update(folder=str(base)))


@pytest.mark.parametrize("plant", [_wrong_scale, _swapped_matrices, _one_layer_lost, _other_base])
def test_a_fault_in_the_numbers_is_found(copy: Path, plant: Callable[[Path], None]) -> None:
    plant(copy)
    with pytest.raises(JobFailed, match="What is served is not what was trained") as failed:
        check_folder(copy)
    assert failed.value.code == "served_differs"


def test_a_changed_template_is_found(copy: Path) -> None:
    path = copy / "chat_template.jinja"
    text = path.read_text(encoding="utf-8")
    assert "assistant\\n" in text
    path.write_text(text.replace("assistant\\n", "assistant \\n"), encoding="utf-8")
    with pytest.raises(JobFailed, match="template"):
        check_folder(copy)


def test_a_changed_template_is_found_by_its_tokens_too(made: Trained, proven: Agreement) -> None:
    kept = read_probes(made.folder).probes
    changed = kept[0].model_copy(update={"ids": (*kept[0].ids[:-1], 5)})
    with pytest.raises(JobFailed, match="'plain' is written in other tokens than in training"):
        compare((changed,), Served(lambda ids: [[0.0]]), "float32", made.renderer)


def test_torn_weights_and_probes_are_found(copy: Path) -> None:
    path = copy / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInput, match="is damaged"):
        check_folder(copy)
    probes = read_probes(copy)
    with pytest.raises(JobFailed, match="cannot be served") as failed:
        prove_served(copy, probes, (), copy.parent / "cache")
    assert failed.value.code == "served_differs"
    (copy / "probes.json").write_text(
        '{"format": 1, "precision": "float32", "probes": []}', "utf-8"
    )
    with pytest.raises(InvalidInput, match=r"probes\.json' is damaged"):
        check_folder(copy)


@pytest.fixture(scope="module")
def faint(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Give a model that its training changed by less than bfloat16 is commonly off."""
    folder = tmp_path_factory.mktemp("faint")
    made = trained(folder, "bfloat16", scale=0.0005)
    probes, own = make_probes(made.renderer, made.model, "bfloat16")
    agreement = prove_served(made.folder, probes, own, folder / "cache")
    changed = [
        x - y for one in probes.probes for x, y in zip(one.logprobs, one.before, strict=True)
    ]
    assert sum(map(abs, changed)) / len(changed) < 0.002
    assert agreement.share == pytest.approx(1, abs=0.05)
    assert agreement.noise is not None
    assert 0 < agreement.noise < agreement.mean
    return made


@pytest.mark.parametrize(("alpha", "share"), [(16, "1[89].%"), (4, "[56].%"), (1e-6, "[01]%")])
def test_in_bfloat16_a_wrong_scale_is_found_that_rounding_would_hide(
    faint: Trained, tmp_path: Path, alpha: float, share: str
) -> None:
    copy = Path(shutil.copytree(faint.folder, tmp_path / "copy"))
    assert "on the base without what was trained, by" in check_folder(copy)
    wrong = Path(shutil.copytree(faint.folder, tmp_path / "wrong"))
    _wrong_scale(wrong, alpha)
    with pytest.raises(JobFailed, match=f" {share} of what the training changed is served"):
        check_folder(wrong)


def test_numbers_that_are_none_never_pass() -> None:
    scored = Scored(name="x", ids=(1, 2, 3), logprobs=(-1.0, -2.0))
    with pytest.raises(JobFailed, match="not finite"):
        compare((scored,), Served(lambda ids: [[-1.0, float("nan")]]), "float32")
    with pytest.raises(JobFailed, match="scored 1 tokens of 2"):
        compare((scored,), Served(lambda ids: [[-1.0]]), "float32")
    with pytest.raises(ValueError, match="at least 1 item"):
        Probes(precision="float32", probes=())
