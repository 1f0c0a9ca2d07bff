"""The Batch API: cheaper, resumable, and never a second batch for the same questions."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.synthesis.teaching import Teacher

from selftune.core.errors import AuthenticationFailed, NotFound, Unavailable
from selftune.data.distill import Distillation, Distilled, distill
from selftune.data.generate import Generation, generate
from selftune.data.synthesis.budget import Budget
from selftune.data.synthesis.labels import Label
from selftune.data.synthesis.run import Asking, Means
from selftune.models import batching
from selftune.models.answers import question
from selftune.models.batching import portions

ROWS = tuple({"messages": [{"role": "user", "content": f"question {n}"}]} for n in range(10))
Distil = Callable[..., Distilled]


@pytest.fixture
def distil(tmp_path: Path, asking: Asking, means: Means) -> Distil:
    def run(**changes: object) -> Distilled:
        by_batch = means.model_copy(update={"is_batch": True, **changes})
        return distill(tmp_path, asking, Distillation(rows=ROWS), by_batch)

    return run


def test_one_batch_answers_all_questions(teacher: Teacher, distil: Distil, tmp_path: Path) -> None:
    teacher.polls_until_done = 3
    outcome = distil()
    assert (outcome.rows, outcome.stopped) == (10, None)
    assert len(teacher.batches) == 1
    assert teacher.requests == []
    rows = (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert "answer to question 7" in rows[7]
    assert distil().fresh_requests == 0
    assert len(teacher.batches) == 1


def test_a_run_that_died_while_it_waited_goes_on_with_its_batch(
    teacher: Teacher, distil: Distil, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(seconds: float) -> None:
        raise KeyboardInterrupt

    teacher.polls_until_done = 2
    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", die)
        with pytest.raises(KeyboardInterrupt):
            distil()
    outcome = distil()
    assert outcome.rows == 10
    assert len(teacher.batches) == 1
    assert set(teacher.paid.values()) == {1}
    assert outcome.spent.perhaps_tokens == 0


def test_a_batch_whose_creation_was_never_answered_is_found(
    teacher: Teacher, distil: Distil
) -> None:
    teacher.batch_faults = {0: "cut"}
    with pytest.raises(Unavailable, match="Run the same again"):
        distil()
    assert distil().rows == 10
    assert len(teacher.batches) == 1


@pytest.mark.parametrize("fault", ["some fail", "expired"])
def test_questions_that_a_batch_did_not_answer_are_asked_in_another(
    teacher: Teacher, distil: Distil, fault: str
) -> None:
    teacher.batch_faults = {0: fault}
    stopped = distil()
    assert stopped.rows == 5
    assert stopped.stopped is not None
    assert "5 of 10" in stopped.stopped
    outcome = distil()
    assert (outcome.rows, outcome.fresh_requests) == (10, 5)
    assert len(teacher.batches) == 2
    assert set(teacher.paid.values()) == {1}


def test_a_batch_that_is_not_accepted_says_why(teacher: Teacher, distil: Distil) -> None:
    teacher.batch_faults = {0: "failed"}
    stopped = distil()
    assert (stopped.rows, len(teacher.paid)) == (0, 0)
    assert stopped.stopped is not None
    assert "Enqueued token limit" in stopped.stopped
    assert distil().rows == 10


def test_questions_that_a_batch_refuses_are_final_and_broken_answers_are_not(
    teacher: Teacher, distil: Distil
) -> None:
    teacher.batch_faults = {0: "some broken", 1: "some rejected"}
    assert distil().rows == 5
    outcome = distil()
    assert (outcome.rows, outcome.unusable, outcome.stopped) == (8, {"rejected": 2}, None)
    assert distil().fresh_requests == 0
    assert len(teacher.batches) == 2


@pytest.mark.parametrize(
    ("fault", "error"), [("401", AuthenticationFailed), ("404", NotFound), ("400", Unavailable)]
)
def test_an_endpoint_without_batches_says_so(
    teacher: Teacher, distil: Distil, fault: str, error: type[Exception]
) -> None:
    teacher.batch_faults = {0: fault}
    with pytest.raises(error):
        distil()


def test_a_budget_decides_how_much_goes_into_a_batch(teacher: Teacher, distil: Distil) -> None:
    stopped = distil(budget=Budget(tokens=800))
    assert stopped.stopped is not None
    assert 0 < stopped.rows < 10
    assert distil().rows == 10
    assert set(teacher.paid.values()) == {1}


def test_examples_are_generated_by_batches_too(
    teacher: Teacher, asking: Asking, means: Means, tmp_path: Path
) -> None:
    by_batch = means.model_copy(update={"is_batch": True})
    labels = (Label(name="red"), Label(name="blue"))
    wanted = Generation(task="Name the colour.", count=60, labels=labels)
    outcome = generate(tmp_path, asking, wanted, by_batch)
    assert outcome.per_label == {"red": 30, "blue": 30}
    assert len(teacher.batches) == len(outcome.rounds)


def test_portions_keep_the_limits_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [question({"model": "wise", "messages": [], "n": n}) for n in range(10)]
    monkeypatch.setattr(batching, "MOST_QUESTIONS", 4)
    assert [len(portion) for portion in portions(asked)] == [4, 4, 2]
    monkeypatch.setattr(batching, "MOST_BYTES", 1)
    assert [len(portion) for portion in portions(asked)] == [1] * 10
