"""How the command line starts and how it is stopped."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selftune.cli.main import NOUNS, app
from selftune.cli.nouns import Noun
from selftune.core.settings import child_environment, load_settings


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_a_noun_says_of_itself_what_the_command_behind_it_says(noun: Noun) -> None:
    command = noun.loaded()
    assert command.name == noun.name
    assert command.get_short_help_str(1000) == noun.get_short_help_str(1000)


def test_the_help_shows_every_noun_in_order() -> None:
    page = CliRunner().invoke(app, ["--help"], catch_exceptions=False).stdout
    words = [line.strip("│ ").split()[0] for line in page.splitlines() if line.startswith("│ ")]
    assert [word for word in words if word in {noun.name for noun in NOUNS}] == [
        noun.name for noun in NOUNS
    ]


def test_the_help_imports_no_noun() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from selftune.cli.main import NOUNS, app\n"
        "CliRunner().invoke(app, ['--help'], catch_exceptions=False)\n"
        "print(*{noun.where.partition(':')[0] for noun in NOUNS} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_a_command_that_is_not_there_is_refused_with_the_nearest_one() -> None:
    refused = CliRunner().invoke(app, ["evil"])
    assert refused.exit_code == 2
    assert "No such command 'evil'. Did you mean 'eval'?" in refused.stderr


def interrupted(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Press Ctrl-C when the command has asked the address that its last argument gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        with subprocess.Popen(
            [sys.executable, "-m", "selftune", *arguments, address],
            env=child_environment(load_settings(home=tmp_path)),
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = server.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                _, shown = process.communicate(timeout=60)
    return process.returncode, shown


def test_ctrl_c_stops_a_command_with_one_word(tmp_path: Path) -> None:
    assert interrupted(tmp_path, "data", "describe") == (130, "stopped\n")


def test_ctrl_c_of_a_command_that_asks_says_how_to_go_on(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Is the sky blue?"}\n', encoding="utf-8")
    status, shown = interrupted(
        *(tmp_path, "data", "distill", str(prompts), "--user", "{{ prompt }}"),
        *("--teacher", "wise", "--out", str(tmp_path / "out"), "--base-url"),
    )
    assert status == 130
    assert shown.splitlines()[-1] == "stopped: the same command goes on from here"
