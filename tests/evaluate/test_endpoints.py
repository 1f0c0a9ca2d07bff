"""Graders whose model is at an endpoint."""

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.evaluate.endpoints import asker
from selftune.evaluate.grading import build_scorer, sample_of
from selftune.evaluate.means import Means
from selftune.evaluate.scorer import Graded, guarded
from selftune.models.asking import Limits
from selftune.models.endpoint import Endpoint

QUICK = Limits(first_wait_seconds=0.01, attempts=3)
GRADER = {
    "type": "score_model",
    "model": "wise",
    "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
}


@pytest.fixture
def teacher(teacher: Teacher) -> Teacher:
    teacher.reply = lambda body: '{"steps": [], "result": 0.5}'
    return teacher


def graded(teacher: Teacher) -> Graded:
    means = Means(ask=asker(Endpoint(model="", base_url=teacher.url), QUICK))
    return guarded(build_scorer(GRADER, means), {}, sample_of("an answer"))


def test_an_endpoint_judges(teacher: Teacher) -> None:
    found = graded(teacher)
    assert (found.value, found.passed) == (0.5, True)
    assert [spent.model for spent in found.spent] == ["wise-2026-01-01"]
    assert found.spent[0].usage.total_tokens == 70


def test_what_may_pass_is_asked_again(teacher: Teacher) -> None:
    teacher.faults = ["429", "500"]
    assert graded(teacher).value == 0.5


@pytest.mark.parametrize("fault", ["401", "404", "400", "500"])
def test_an_endpoint_that_does_not_answer_is_no_score(teacher: Teacher, fault: str) -> None:
    teacher.faults = [fault] * 3
    found = graded(teacher)
    assert (found.status, found.fault) == ("errored", "model_grader_server_error")
    assert "wise" in str(found.reason)


def test_a_reply_that_is_no_json_is_no_score(teacher: Teacher) -> None:
    teacher.reply = lambda body: "It is quite good."
    assert graded(teacher).fault == "model_grader_parse_error"
