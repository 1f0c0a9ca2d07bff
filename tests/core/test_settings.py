"""Settings come from arguments, then the environment, then defaults."""

from pathlib import Path

import pytest

from selftune.core.errors import InvalidInput
from selftune.core.settings import load_settings


def test_an_argument_wins_over_the_environment_and_that_over_the_default() -> None:
    environ = {"SELFTUNE_PORT": "9000", "SELFTUNE_HOST": "127.0.0.2"}
    settings = load_settings(environ, port=9001)
    assert (settings.port, settings.host, settings.workers) == (9001, "127.0.0.2", 1)


def test_a_bad_value_names_the_variable_and_the_rule() -> None:
    with pytest.raises(InvalidInput, match=r"SELFTUNE_PORT is '99999': .*65535"):
        load_settings({"SELFTUNE_PORT": "99999"})


def test_the_home_folder_is_absolute() -> None:
    assert load_settings({"SELFTUNE_HOME": "here"}).root == Path.cwd() / "here"
