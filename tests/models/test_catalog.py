"""Names of bases and what they mean, here and in a home folder's own catalogue."""

from pathlib import Path

import pytest

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.settings import Settings
from selftune.models.bases import base_folder, is_here, listed
from selftune.models.catalog import FILE, Base, catalog
from selftune.models.chosen import catalog_of, choice
from selftune.models.own_catalog import add_base, remove, set_alias


def folder_of_a_model(folder: Path, tensors: int = 10) -> Path:
    """Write what says that a folder is a model; of its weights only the header."""
    import json

    folder.mkdir(parents=True)
    config = {"hidden_size": 8, "num_hidden_layers": 2, "vocab_size": 16}
    config["max_position_embeddings"] = 77
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    header = json.dumps({"w": {"dtype": "F32", "shape": [tensors, 10], "data_offsets": [0, 4]}})
    length = len(header).to_bytes(8, "little")
    (folder / "model.safetensors").write_bytes(length + header.encode() + b"0000")
    return folder


def test_a_short_name_resolves_to_its_dated_snapshot() -> None:
    assert catalog().snapshot("gpt-4o-mini") == "gpt-4o-mini-2024-07-18"


def test_openai_names_mean_the_embedded_model_by_default(tmp_path: Path) -> None:
    assert catalog().trainable("gpt-4.1-nano").id == "selftune/minilm"
    assert "nobody set another" in choice(Settings(home=tmp_path), "gpt-4o-mini").reason


def test_the_base_for_tests_is_listed_only_once_a_model_came_from_it(tmp_path: Path) -> None:
    assert "selftune/fake" not in {base.id for base in listed(catalog(), tmp_path, ())}
    assert "selftune/fake" in {base.id for base in listed(catalog(), tmp_path, ["selftune/fake"])}
    assert catalog().trainable("selftune/fake").engine == "fake"


def test_every_alias_points_at_a_base() -> None:
    assert all(catalog().find(alias.id) for alias in catalog().alias)


@pytest.mark.parametrize("name", ["gpt-9", "text-embedding-3-small"])
def test_a_name_that_cannot_be_trained_is_refused_in_openais_words(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"Model {name} is not available for fine-tuning"):
        catalog().trainable(name)


def test_open_models_that_are_not_here_can_be_named_and_are_not_listed(tmp_path: Path) -> None:
    found = catalog_of(Settings(home=tmp_path))
    base = found.trainable("Qwen/Qwen3-0.6B")
    assert base.engine == "hf"
    assert base.license == "Apache-2.0"
    if not is_here(base, tmp_path):  # a developer may have it
        assert base not in listed(found, tmp_path, ())
        with pytest.raises(InvalidInput, match=r"selftune models pull Qwen/Qwen3-0\.6B"):
            base_folder(base, tmp_path)


def test_a_home_folder_adds_bases_and_sets_names(tmp_path: Path) -> None:
    folder = folder_of_a_model(tmp_path / "weights" / "mine")
    added = add_base(tmp_path, {"id": "mine", "source": str(folder), "license": "MIT"})
    set_alias(tmp_path, "gpt-4o-mini", "mine")
    set_alias(tmp_path, "my-name", "mine")
    found = catalog(tmp_path)
    assert (added.context, added.engine) == (77, "hf")
    assert found.find("gpt-4o-mini") == found.find("my-name") == found.find("mine") == added
    assert found.find("gpt-4o") == catalog().find("gpt-4o")
    assert base_folder(added, tmp_path) == folder
    assert added in listed(found, tmp_path, ())
    chosen = choice(Settings(home=tmp_path), "gpt-4o-mini-2024-07-18")
    assert (chosen.base, chosen.reason) == (added, "the home folder's catalog.toml says so")
    alias = next(each for each in found.alias if each.id == "gpt-4o-mini-2024-07-18")
    assert alias.shutdown_date == "2027-01-14"  # what ships is kept where nothing else is said


def test_what_was_added_can_be_removed_and_what_ships_cannot(tmp_path: Path) -> None:
    add_base(tmp_path, {"id": "mine", "source": "someone/something"})
    set_alias(tmp_path, "gpt-4o-mini", "mine")
    with pytest.raises(InvalidInput, match="'gpt-4o-mini-2024-07-18' stands for 'mine'"):
        remove(tmp_path, "mine")
    remove(tmp_path, "gpt-4o-mini")
    remove(tmp_path, "mine")
    assert catalog(tmp_path).base == catalog().base
    assert catalog(tmp_path).alias == catalog().alias
    with pytest.raises(NotFound, match="only what you added"):
        remove(tmp_path, "selftune/minilm")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[base]", "is not valid TOML"),
        ("[[model]]\nid = 'x'", "model: it has tables"),
        ("[[base]]\nsource = 'x'", r"base: write a \[\[base\]\] table with an id"),
        ("base = 3", r"base: write a \[\[base\]\] table with an id"),
        ("[[base]]\nid = 'x'", r"'x', context: Field required"),
        ("[[base]]\nid = 'x'\ncontext = 9\ncolour = 1", "'x', colour: is not a known key"),
        ("[[base]]\nid = 'ft:x'\ncontext = 9", "'ft:x', id: String should match"),
        ("[[base]]\nid = 'x'\ncontext = 9\n" * 2, "'x' is there twice"),
        ("[[alias]]\nid = 'x'\nbase = 'y'", "'y' is no base"),
        ("[[base]]\nid = 'gpt-4o-2024-08-06'\ncontext = 9", "is a base and an alias"),
    ],
)
def test_a_broken_file_is_refused_with_file_place_and_rule(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=words) as refused:
        catalog(tmp_path)
    assert FILE in refused.value.message


def test_a_change_that_would_break_the_file_leaves_it_as_it_was(tmp_path: Path) -> None:
    add_base(tmp_path, {"id": "mine", "source": "someone/something"})
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InvalidInput, match="id: String should match"):
        add_base(tmp_path, {"id": "a:b", "source": "someone/something"})
    with pytest.raises(InvalidInput, match="neither a folder"):
        add_base(tmp_path, {"id": "other", "source": str(tmp_path)})
    assert (tmp_path / FILE).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {FILE, f".{FILE}.lock"}


def test_a_folder_that_lost_a_part_says_which(tmp_path: Path) -> None:
    folder = folder_of_a_model(tmp_path / "mine")
    base = add_base(tmp_path, {"id": "mine", "source": str(folder)})
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}', encoding="utf-8"
    )
    with pytest.raises(InvalidInput, match=r"lacks model-2.safetensors \(1 of 2 files\)"):
        base_folder(base, tmp_path)
    assert not is_here(base, tmp_path)


def test_a_base_of_the_cache_is_found_by_its_branch_or_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "a" * 40
    kept = tmp_path / "hub" / "models--someone--something"
    folder = folder_of_a_model(kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit, encoding="utf-8")
    base = Base(id="mine", context=77, source="someone/something")
    assert base_folder(base, tmp_path) == folder
    assert base_folder(base.model_copy(update={"revision": commit}), tmp_path) == folder
    with pytest.raises(InvalidInput, match="is not in the Hugging Face cache"):
        base_folder(base.model_copy(update={"revision": "b" * 40}), tmp_path)


def test_nothing_is_fetched_while_the_hub_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    base = Base(id="mine", context=77, source="someone/something")
    with pytest.raises(InvalidInput, match="HF_HUB_OFFLINE forbids"):
        base_folder(base, tmp_path, download=True)


def test_the_default_base_can_be_set_and_own_names_stay(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        add_base(tmp_path, {"id": name, "source": str(folder_of_a_model(tmp_path / name))})
    set_alias(tmp_path, "gpt-4o", "other")
    settings = Settings(home=tmp_path, default_base="mine")
    found = catalog_of(settings)
    stands_for = {alias.id: alias.base for alias in found.alias}
    assert stands_for["gpt-4o-mini-2024-07-18"] == "mine"
    assert stands_for["gpt-4o-2024-08-06"] == "other"
    assert stands_for["text-embedding-3-small"] == "selftune/minilm"
    assert choice(settings, "gpt-4o-mini").reason == "SELFTUNE_DEFAULT_BASE is 'mine'"
    with pytest.raises(InvalidInput, match="SELFTUNE_DEFAULT_BASE is 'nope'"):
        catalog_of(Settings(home=tmp_path, default_base="nope"))


def test_auto_takes_the_largest_base_that_is_here_and_fits(tmp_path: Path) -> None:
    for name, tensors in (("small", 10), ("large", 20), ("huge", 1_000_000_000_000)):
        folder = folder_of_a_model(tmp_path / name, tensors)
        add_base(tmp_path, {"id": name, "source": str(folder)})
    chosen = choice(Settings(home=tmp_path, default_base="auto"), "gpt-4o-mini")
    assert chosen.base.id == "large"
    assert "the largest one here" in chosen.reason
