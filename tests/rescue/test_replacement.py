"""An old name is answered by what was tuned here."""

from pathlib import Path

import pytest
from tests.rescue.filling import SMALL, fill
from typer.testing import CliRunner

from selftune.cli.main import app
from selftune.core.errors import InvalidInput, NotFound
from selftune.core.settings import Settings
from selftune.models.catalog import catalog
from selftune.models.own_catalog import remove, set_replacement
from selftune.serve.resolve import resolve
from selftune.store.accounts import create_project, default_identity
from selftune.store.store import open_store

OLD, NEW = "ft:gpt-4o-mini-2024-07-18:acme:x:AbC", "ft:selftune-fake:selftune:x:12345678"


def test_an_old_name_answers_with_its_replacement_at_once(tmp_path: Path) -> None:
    store = open_store(Settings(home=tmp_path))
    caller = default_identity(store)
    new = fill(store, SMALL).models[0]
    folder = resolve(store, caller, new).folder
    with pytest.raises(NotFound):
        resolve(store, caller, OLD)
    set_replacement(tmp_path, OLD, new)
    assert resolve(store, caller, OLD).folder == folder
    stranger = caller.model_copy(update={"project_id": create_project(store, "other").id})
    with pytest.raises(NotFound):
        resolve(store, stranger, OLD)
    set_replacement(tmp_path, OLD, "selftune/fake")
    assert resolve(store, caller, OLD).folder is None
    remove(tmp_path, OLD)
    with pytest.raises(NotFound):
        resolve(store, caller, OLD)
    store.close()


def test_a_name_that_means_a_base_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one thing"):
        set_replacement(tmp_path, "gpt-4o", NEW)
    with pytest.raises(InvalidInput, match="itself"):
        set_replacement(tmp_path, OLD, OLD)
    assert catalog(tmp_path).answering(OLD) == OLD


def test_the_command_for_aliases_takes_old_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path))
    for name in (OLD, "support"):  # a deployment at Azure
        done = CliRunner().invoke(app, ["models", "alias", name, NEW])
        assert done.exit_code == 0, done.output
        assert catalog(tmp_path).answering(name) == NEW
