"""An application for each test."""

import pytest
from tests.api.asking import Play, player
from tests.conftest import OpenStore


@pytest.fixture
def play(open_sqlite: OpenStore, monkeypatch: pytest.MonkeyPatch) -> Play:
    return player(open_sqlite, monkeypatch)
