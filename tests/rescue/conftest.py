"""Accounts upstream, and servers in front of them."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.sockets import RawServer, serving
from tests.rescue.proxied import OK, Proxied, proxied
from tests.rescue.stand_in import StandIn, stand_in


@pytest.fixture
def stub() -> Iterator[RawServer]:
    """Give an upstream that answers all alike."""

    def script(connection: socket.socket, number: int) -> bool:
        connection.sendall(OK)
        return True

    with serving(script) as server:
        yield server


@pytest.fixture
def proxy(tmp_path: Path, stub: RawServer) -> Iterator[Proxied]:
    with proxied(tmp_path / "home", stub.url) as server:
        yield server


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Give a filled account, the same one to all tests of a file."""
    with stand_in(tmp_path_factory.mktemp("openai")) as running:
        yield running
