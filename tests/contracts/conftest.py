"""One contract, and every way of serving that has to keep it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import OpenStore
from tests.contracts.ways import (
    OpenModels,
    Serve,
    by_fake_models,
    by_open_models,
    by_server,
    by_stand_in,
    open_models,
    player,
    vllm,
)

from selftune.core.settings import read_variable

VARIABLE = "SELFTUNE_TEST_VLLM"
"""Names a Python that has vLLM: the contract is then tried on the real server too."""
PYTHON = read_variable(VARIABLE)
REAL = ["vllm"] if PYTHON else []


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Give the address of a real vLLM, and a folder of adapters."""
    assert PYTHON
    folder = tmp_path_factory.mktemp("vllm")
    with vllm(PYTHON, folder) as address:
        yield address, folder


@pytest.fixture(scope="session")
def served_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenModels]:
    with open_models(tmp_path_factory.mktemp("home")) as served:
        yield served


@pytest.fixture(params=["fake", "stand-in", "open", *REAL])
def serve(request: pytest.FixtureRequest, open_sqlite: OpenStore) -> Serve:
    """Return what plays a scene against one way of serving."""
    return _way(request, open_sqlite)


@pytest.fixture(params=["open", *REAL])
def draw(request: pytest.FixtureRequest, open_sqlite: OpenStore) -> Serve:
    """Return the same for those whose answers are drawn from a model."""
    return _way(request, open_sqlite)


def _way(request: pytest.FixtureRequest, open_sqlite: OpenStore) -> Serve:
    if request.param == "open":
        return player(partial(by_open_models, request.getfixturevalue("served_models")))
    if request.param == "vllm":
        address, folder = request.getfixturevalue("real_server")
        return player(partial(by_server, open_sqlite(), address, folder))
    way = by_fake_models if request.param == "fake" else by_stand_in
    return player(partial(way, open_sqlite()))
