"""Every command of `docs/how-to/use-a-provider.md` is run, in its order, at a second selftune."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rescue.stand_in import SMALL, StandIn, stand_in
from typer.testing import CliRunner, Result

from selftune.cli.main import app
from selftune.models.own_catalog import set_alias
from selftune.models.profiles import load_profiles

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("remote")]
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-a-provider.md").read_text("utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
    if line.startswith("selftune ")
]
PROFILES, RUN_FILE = re.findall(r"```toml\n(.*?)```", PAGE, re.S)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    home = tmp_path / "openai"
    home.mkdir()
    (home / "catalog.toml").write_text("", encoding="utf-8")
    set_alias(home, "gpt-4.1-mini-2025-04-14", "selftune/fake")
    with stand_in(home, size=SMALL, trains=True) as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", made.key)
        monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield made


def run(*words: str) -> Result:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done


def test_its_commands_look_around_and_train(there: StandIn, tmp_path: Path) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where is order {number}?"},
                {"role": "assistant", "content": f"Shelf {number}."},
            ]
        }
        for number in range(30)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "support.toml").write_text(RUN_FILE, encoding="utf-8")
    client = there.client()
    job = next(job for job in client.fine_tuning.jobs.list() if job.result_files)
    names = {"JOB": job.id, "RESULTS": job.result_files[0]}
    printed = {
        " ".join(command[:2]): run(*[names.get(word, word) for word in command]).output
        for command in COMMANDS
    }
    assert printed["files content"].startswith("step,train_loss")
    assert job.id in printed["jobs show"]
    assert "may create jobs: yes" in printed["profiles check"]
    assert "The job has successfully completed" in printed["run support.toml"]
    made = next(iter(client.fine_tuning.jobs.list()))
    assert (made.model, made.seed) == ("gpt-4.1-mini-2025-04-14", 42)
    assert str(made.fine_tuned_model).startswith("ft:gpt-4.1-mini-2025-04-14:acme:support:")
    assert str(made.fine_tuned_model) in printed["run support.toml"]
    assert there.key not in "".join(printed.values())


def test_its_file_of_profiles_is_what_its_commands_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "profiles.toml").write_text(PROFILES, encoding="utf-8")
    monkeypatch.setenv("SELFTUNE_HOME", str(tmp_path / "made"))
    for command in COMMANDS:
        if command[:2] == ["profiles", "add"]:
            run(*command)
    assert load_profiles(tmp_path / "made") == load_profiles(tmp_path / "shown")
