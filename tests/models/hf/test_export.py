"""Exports: others can read them, they answer as the trained model, and what was changed is told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.hf.test_probes import Trained, trained

from selftune.core.errors import Conflict, InvalidInput, JobFailed, MissingExtra
from selftune.models.card import Made, model_card
from selftune.models.catalog import Base
from selftune.models.hf.checking import check_folder, prove_served
from selftune.models.hf.export import Source, export
from selftune.models.hf.probes import make_probes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("exported")
    one = trained(folder)
    probes, own = make_probes(one.renderer, one.model, "float32")
    prove_served(one.folder, probes, own, folder / "cache")
    return one


@pytest.fixture
def source(made: Trained) -> Source:
    return Source(
        model="ft:tiny:selftune:x:AbCd1234",
        folder=made.folder,
        base_id="tiny",
        base_folder=made.base,
        base_name="someone/tiny",
    )


def last_logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([[5, 9, 77, 130]])).logits[0, -1]
    return logits


def test_an_adapter_loads_with_peft_and_answers_as_trained(
    made: Trained, source: Source, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = tmp_path / "out"
    export(source, target, "peft", "# card\n")
    base = AutoModelForCausalLM.from_pretrained(made.base)
    loaded = PeftModel.from_pretrained(base, str(target))
    assert torch.allclose(last_logits(loaded), last_logits(made.model), atol=1e-5)
    assert AutoTokenizer.from_pretrained(target).chat_template is not None
    written = b"".join(path.read_bytes() for path in target.glob("*.json"))
    assert str(tmp_path.parent).encode() not in written
    config = json.loads((target / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "someone/tiny"
    assert "log-probabilities of" in check_folder(target, made.base)


def test_a_merged_model_loads_with_transformers_and_answers_as_trained(
    made: Trained, source: Source, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    target = tmp_path / "out"
    export(source, target, "merged", "# card\n")
    loaded = AutoModelForCausalLM.from_pretrained(target)
    assert torch.allclose(last_logits(loaded), last_logits(made.model), atol=1e-4)
    assert not (target / "adapter_config.json").exists()
    assert "log-probabilities of" in check_folder(target)
    weights = target / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(InvalidInput, match=r"model\.safetensors' was changed since"):
        check_folder(target)


def test_a_merge_onto_another_base_is_found(made: Trained, source: Source, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export(source, target, "merged", "# card\n")
    shutil.copyfile(made.base / "model.safetensors", target / "model.safetensors")  # not merged
    (target / "export.json").unlink()
    with pytest.raises(JobFailed, match="is not what was trained"):
        check_folder(target)


def test_gguf_is_written_by_the_converter_and_never_half(source: Source, tmp_path: Path) -> None:
    converter = tmp_path / "convert_hf_to_gguf.py"
    target = tmp_path / "out; touch broken"
    with pytest.raises(MissingExtra, match="SELFTUNE_GGUF_CONVERTER is not set"):
        export(source, target, "gguf", "# card\n")
    converter.write_text("import sys; sys.exit('no such architecture')", encoding="utf-8")
    with pytest.raises(MissingExtra, match="it said: no such architecture"):
        export(source, target, "gguf", "# card\n", converter)
    assert [path.name for path in tmp_path.iterdir()] == [converter.name]
    converter.write_text(
        "import pathlib, sys\n"
        "assert (pathlib.Path(sys.argv[1]) / 'config.json').exists()\n"
        "pathlib.Path(sys.argv[3]).write_bytes(b'GGUF' + b'0' * 99)\n",
        encoding="utf-8",
    )
    made = export(source, target, "gguf", "# card\n", converter)
    assert set(made.files) == {"README.md", "model.gguf", "probes.json", "renderer.json"}
    assert "as they were written" in check_folder(target)
    (target / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidInput, match="was changed"):
        check_folder(target)


def test_what_is_there_is_never_overwritten(source: Source, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="is there already"):
        export(source, tmp_path, "peft", "# card\n")
    other = source.model_copy(update={"base_folder": None})
    with pytest.raises(InvalidInput, match="The base 'tiny'"):
        export(other, tmp_path / "out", "peft", "# card\n")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_was_trained_whole_has_no_adapter(
    made: Trained, source: Source, tmp_path: Path
) -> None:
    whole = source.model_copy(update={"folder": made.base, "base_folder": None})
    with pytest.raises(InvalidInput, match="export it as merged"):
        export(whole, tmp_path / "out", "peft", "# card\n")
    export(whole, tmp_path / "out", "merged", "# card\n")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 1000


def test_a_base_that_was_trained_here_is_found_where_the_home_was_moved_to(
    made: Trained, source: Source, tmp_path: Path
) -> None:
    models = tmp_path / "moved" / "models"
    shutil.copytree(made.folder, models / "adapter")
    shutil.copytree(made.base, models / "whole")
    told = json.loads((models / "adapter" / "base.json").read_text(encoding="utf-8"))
    told["folder"] = str(tmp_path / "before" / "models" / "whole")
    (models / "adapter" / "base.json").write_text(json.dumps(told), encoding="utf-8")
    assert check_folder(models / "adapter")
    shutil.copy(made.folder / "renderer.json", models / "whole")  # as of every model of training
    own = source.model_copy(update={"base_folder": models / "whole"})
    with pytest.raises(InvalidInput, match="export it as merged"):
        export(own, tmp_path / "peft", "peft", "")
    shutil.rmtree(models / "whole")
    with pytest.raises(InvalidInput, match="neither in its folder nor in the catalogue"):
        check_folder(models / "adapter")


def test_a_card_says_what_was_done_and_nothing_of_anybodys_data() -> None:
    base = Base(id="mine", context=100, source="/home/somebody/models/mine", license="Apache-2.0")
    card = model_card(
        Made(
            model="ft:mine:selftune:x:AbCd1234",
            base=base,
            base_id="mine",
            rows=1200,
            seed=1234567,
            hyperparameters={"n_epochs": 3},
            reasons={"n_epochs": "auto: few | many"},
            metrics={"train_loss": 0.12345678},
        ),
        "peft",
    )
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: peft\n")
    assert "| training rows | 1,200 |" in card
    assert "| seed | 1234567 |" in card
    assert "| n_epochs | 3 | auto: few \\| many |" in card
    assert "| train_loss | 0.123457 |" in card
    assert "/home/somebody" not in card
