"""A few hundred requests made up from OpenAI's description; `benchmarks/fuzz.py` sends thousands."""

from collections.abc import Callable

import pytest
from benchmarks.fuzz import Plan, fuzz
from tests.wire.conftest import Server
from tests.wire.spec.operations import ours


@pytest.mark.slow
@pytest.mark.xdist_group("server")
def test_no_request_makes_a_server_error_or_an_answer_that_is_not_as_described(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    outcome = fuzz(server.base_url, server.key, Plan(examples=12, phases=("fuzzing",)))
    assert outcome.faults == []
    assert outcome.statuses.total() >= 300
    assert len(outcome.asked) == len(ours())
    assert len(outcome.answered) >= 20
