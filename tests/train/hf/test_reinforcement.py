"""Reinforcement on tiny models: better answers become likelier, and nothing else teaches."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.made_models import make_model
from tests.train.hf.tiny import learner_for
from tests.train.recorded import Grade, RecordedRun, folder_bytes

from selftune.core.errors import JobFailed, LeaseLost, Paused
from selftune.core.records import Hyperparameters, TrainOptions
from selftune.models.hf.renderer import Renderer
from selftune.train.engine import Reward, Sampled, TrainRequest
from selftune.train.hf.learner import Learner
from selftune.train.hf.objective import Example, Scores
from selftune.train.hf.peers import Peers
from selftune.train.hf.reinforcement import CLIP_ABOVE, CLIP_BELOW, Plan, Reinforcement
from selftune.train.hf.reinforcement_answers import Answer, Answerer, Question, example_of
from selftune.train.hf.reinforcement_metrics import Step
from selftune.train.hf.rows import Order
from selftune.train.hf.session import carry_out

WANTED = "e"
ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"say {letter} {number}"}], "wanted": WANTED}
    for number in range(4)
    for letter in "abcd"
]


def contains(answer: Sampled) -> Reward:
    """Judge as `string_check` with `like` does."""
    return Reward(value=float(answer.item["wanted"] in answer.text))


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that is sure of what it says: of a flat one little can be learned."""
    folder = tmp_path_factory.mktemp("sharp")
    make_model(folder, "llama", hidden=32, vocabulary=384)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] *= 20
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def request_for(folder: Path, files: Path, **changes: Any) -> TrainRequest:
    training, validation = files / "train.jsonl", files / "valid.jsonl"
    training.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    validation.write_text("\n".join(map(json.dumps, ROWS[:8])), encoding="utf-8")
    numbers = {
        "n_epochs": 2,
        "batch_size": 8,
        "learning_rate_multiplier": 1000,
        "eval_interval": 2,
    }
    numbers |= changes.pop("numbers", {})
    return TrainRequest(
        base_folder=folder,
        training_file=training,
        validation_file=validation,
        method="reinforcement",
        hyperparameters=Hyperparameters.model_validate(numbers),
        options=TrainOptions(rank=8, max_length=30),
        seed=3,
        threads=1,
        **changes,
    )


def new_run(
    folder: Path, grader: Grade = contains, stop_at: int = 0, pause_at: int = 0
) -> RecordedRun:
    run = RecordedRun(folder, folder.parent, stop_at=stop_at, pause_at=pause_at)
    run.grader = grader
    return run


def test_rewarded_answers_become_likelier(sharp: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    told: dict[str, str] = {}
    run.note = lambda key, message, data=None: told.update({key: message})  # type: ignore[method-assign]
    carry_out(request_for(sharp, tmp_path), run, Peers())
    baseline = float(told["baseline"].rpartition("=")[2])
    rewards = [step.reward for step in run.steps if step.reward is not None]
    assert len(rewards) == 4
    assert baseline < 0.4
    assert rewards[0].train_mean_reward is not None
    assert rewards[0].train_mean_reward < 0.5
    assert rewards[-1].train_mean_reward == pytest.approx(1.0, abs=0.1)
    assert rewards[-1].full_valid_mean_reward == pytest.approx(1.0, abs=0.13)
    assert all(set(each.timing) >= {"sampling", "grading", "training"} for each in rewards)


def test_a_job_that_was_stopped_or_paused_ends_with_the_same_bytes(
    sharp: Path, tmp_path: Path
) -> None:
    request = request_for(sharp, tmp_path, numbers={"learning_rate_multiplier": 100})
    whole = new_run(tmp_path / "whole")
    carry_out(request, whole, Peers())
    killed = new_run(tmp_path / "killed", stop_at=4)
    paused = new_run(tmp_path / "paused", pause_at=3)
    for run in (killed, paused):
        with pytest.raises((LeaseLost, Paused)):
            carry_out(request, run, Peers())
        resumed = run.resumed()
        carry_out(request, resumed, Peers())
        before, after = (folder_bytes(each.model) for each in (whole, resumed))
        assert before["adapter_model.safetensors"] == after["adapter_model.safetensors"]
        timeless = {"reward": {"timing"}}
        rest = whole.steps[len(whole.steps) - len(resumed.steps) :]
        assert [step.model_dump(exclude=timeless) for step in resumed.steps] == [
            step.model_dump(exclude=timeless) for step in rest
        ]


def test_what_cannot_be_graded_teaches_nothing_and_fails_the_job_if_it_is_all(
    sharp: Path, tmp_path: Path
) -> None:
    broken = Reward(value=None, error="invalid_variable_error", reason="item has no 'x'")
    run = new_run(tmp_path / "run", lambda answer: broken)
    with pytest.raises(JobFailed, match="item has no 'x'") as failed:
        carry_out(request_for(sharp, tmp_path), run, Peers())
    assert failed.value.code == "invalid_variable_error"
    assert len(run.steps) == 2
    first = run.steps[0].reward
    assert first is not None
    assert first.train_mean_reward is None
    assert first.mean_unresponsive_rewards == 1.0
    assert first.errors["train_invalid_variable_error_count"] == 64
    assert run.steps[0].train_loss == 0.0


def test_answers_are_held_to_the_response_format(sharp: Path, tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    heard: list[str] = []

    def judge(answer: Sampled) -> Reward:
        heard.append(answer.text)
        return Reward(value=float("true" in answer.text))

    request = request_for(sharp, tmp_path, response_format=shape, numbers={"n_epochs": 1})
    wide = request.model_copy(update={"options": TrainOptions(rank=8, max_length=200)})
    run = new_run(tmp_path / "run", judge)
    carry_out(wide, run, Peers())
    assert {str(json.loads(text)) for text in heard} == {"{'a': True}", "{'a': False}"}
    rewards = [step.reward.full_valid_mean_reward for step in run.steps if step.reward]
    assert rewards[-1] == 1.0


def test_settings_are_numbers_with_reasons(sharp: Path, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", stop_at=1)
    numbers = {"compute_multiplier": 0.1, "eval_interval": 1, "batch_size": 4}
    with pytest.raises(LeaseLost):
        carry_out(request_for(sharp, tmp_path, numbers=numbers), run, Peers())
    assert run.values["compute_multiplier"].value == 0.1
    assert run.values["eval_samples"].reason.startswith("auto: ")
    reward = run.steps[0].reward
    assert reward is not None
    assert reward.full_valid_mean_reward is not None


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1.0, 0.0, 0.0, 0.0], [1.7317, -0.5772, -0.5772, -0.5772]),
        ([0.5, 0.5], None),
        ([1.0, None], None),
    ],
)
def test_an_answer_counts_by_how_much_better_it_is_than_its_group(
    values: Sequence[float | None], wanted: Sequence[float] | None
) -> None:
    found = Step().count([Reward(value=value) for value in values])
    assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-4))


class Parts(NamedTuple):
    """A method that is ready to learn, and what it is made of."""

    method: Reinforcement
    learner: Learner
    answerer: Answerer
    question: Question


def parts_of(sharp: Path, run: RecordedRun) -> Parts:
    learner = learner_for(sharp, run)
    renderer = Renderer.load(sharp)
    row = ROWS[0]
    ids = renderer.prompt(row["messages"])
    question = Question(row, ids, len(ids) + 6)
    order = Order(rows=1, batch_size=1, n_epochs=1, seed=0)
    plan = Plan([question], [], order, group=4, eval_interval=1, eval_samples=1)
    answerer = Answerer(learner, renderer, None)
    return Parts(Reinforcement(plan, learner, answerer), learner, answerer, question)


def test_the_server_draws_with_the_probabilities_that_the_trainer_sees(
    sharp: Path, run: RecordedRun
) -> None:
    _, learner, answerer, question = parts_of(sharp, run)
    (answers,) = answerer.answers([(question, [(1, number) for number in range(5)])])
    examples = [example_of(question, answer, 1.0) for answer in answers]
    scores = learner.scores(examples)
    for answer, (score,) in zip(answers, scores, strict=True):
        assert score.log_probs.tolist() == pytest.approx(answer.log_probs, abs=1e-4)
    (again,) = answerer.answers([(question, [(1, 3), (1, 2)])])
    assert [answer.ids for answer in again] == [answers[3].ids, answers[2].ids]


def test_the_loss_is_the_clipped_ratio_times_the_advantage(sharp: Path, run: RecordedRun) -> None:
    method = parts_of(sharp, run).method
    ratios = {1.0: [0.5, 1.0, 1.5], -2.0: [0.5, 1.0, 1.5]}
    examples, scores, wanted = list[Example](), list[tuple[Scores, ...]](), 0.0
    question = Question({}, [1, 2], 9)
    for advantage, given in ratios.items():
        before = [-1.0] * len(given)
        answer = Answer([3, 4, 5], before, [True] * 3)
        examples.append(example_of(question, answer, advantage))
        now = torch.tensor([math.log(ratio) - 1.0 for ratio in given])
        scores.append((Scores(now, torch.zeros(3), torch.ones(3)),))
        for ratio in given:
            clipped = min(max(ratio, 1 - CLIP_BELOW), 1 + CLIP_ABOVE)
            wanted -= min(ratio * advantage, clipped * advantage)
    loss, (_, weight, is_clipped) = method.losses(examples, scores)
    assert loss.item() == pytest.approx(wanted, abs=1e-5)
    assert (weight, is_clipped) == (6, 2)
    assert method.weight(examples) == 6


def test_tokens_that_the_format_forces_are_not_learned() -> None:
    answer = Answer([3, 4, 5], [-1.0, -2.0, -3.0], [False, True, False])
    example = example_of(Question({}, [1, 2], 9), answer, 0.5)
    assert example.sequences[0].weights.tolist() == [0, 0, 0, 1, 0]
    assert example.facts == (0.5, -2.0)
