"""Which models a server names."""

from collections.abc import Callable

import pytest
from openai import OpenAI
from tests.wire.conftest import Server
from tests.wire.test_python_client import ended, rows

pytestmark = pytest.mark.xdist_group("server")
FAKE = "selftune/fake"


def names(client: OpenAI) -> set[str]:
    return {model.id for model in client.models.list()}


def test_the_base_for_tests_is_named_once_a_model_came_from_it(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    client = OpenAI(base_url=server.base_url, api_key=server.key)
    assert FAKE not in names(client)
    assert FAKE not in server.selftune("models", "list")
    file = client.files.create(file=("train.jsonl", rows(12)), purpose="fine-tune")
    job = ended(client, client.fine_tuning.jobs.create(model=FAKE, training_file=file.id))
    assert names(client) >= {FAKE, job.fine_tuned_model}
    assert FAKE in server.selftune("models", "list").split()


def test_the_base_for_tests_is_named_where_tests_run(start_server: Callable[..., Server]) -> None:
    server = start_server(SELFTUNE_PROFILE="spec")
    assert FAKE in names(OpenAI(base_url=server.base_url, api_key=server.key))
