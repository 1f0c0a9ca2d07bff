"""Jobs of every method by the official client, with strict validation, on the fake engine."""

import base64
import json
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.fine_tuning import FineTuningJob
from tests.wire.test_python_client import ask, client, ended, rows

__all__ = ["client"]
pytestmark = pytest.mark.xdist_group("server")
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.reference_answer }}",
    "operation": "eq",
}
Wanted = dict[str, Any]


def upload(client: OpenAI, found: list[Wanted], name: str = "train.jsonl") -> str:
    data = "\n".join(json.dumps(row) for row in found).encode()
    return client.files.create(file=(name, data), purpose="fine-tune").id


def preferences(count: int = 12) -> list[Wanted]:
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"question number {index}"}]},
            "preferred_output": [{"role": "assistant", "content": f"short {index}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"far too long {index}"}],
        }
        for index in range(count)
    ]


def prompts(count: int = 12, first: int = 0) -> list[Wanted]:
    return [
        {
            "messages": [{"role": "user", "content": f"riddle number {index}"}],
            "reference_answer": f"answer {index}",
        }
        for index in range(first, first + count)
    ]


def rewarded(client: OpenAI, **method: Any) -> FineTuningJob:
    return client.fine_tuning.jobs.create(
        model="selftune/fake",
        training_file=upload(client, prompts()),
        validation_file=upload(client, prompts(4, first=50)),
        extra_body=reinforcement(**method),
    )


@pytest.fixture(scope="module")
def graded(client: OpenAI) -> FineTuningJob:
    numbers = {"n_epochs": 4, "compute_multiplier": 0.5, "eval_samples": 2}
    return ended(client, rewarded(client, hyperparameters=numbers))


def test_preferences_are_trained_on(client: OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model="selftune/fake",
        training_file=upload(client, preferences()),
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "beta": 0.25}}},
        extra_body={"selftune": {"rank": 4, "priority": 3}},
    )
    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    assert job.method.dpo.hyperparameters.model_dump() == {
        "batch_size": "auto",
        "beta": 0.25,
        "learning_rate_multiplier": "auto",
        "n_epochs": 1,
    }
    assert job.model_dump()["selftune"]["rank"] == 4
    assert job.model_dump()["selftune"]["priority"] == 3
    done = ended(client, job)
    assert done.status == "succeeded"
    assert done.method is not None
    assert done.method.dpo is not None
    assert done.method.dpo.hyperparameters is not None
    assert done.method.dpo.hyperparameters.batch_size == 4
    assert (done.trained_tokens or 0) > 0
    assert ask(client, str(done.fine_tuned_model), "question number 4") == "short 4"
    again = next(each for each in client.fine_tuning.jobs.list() if each.id == done.id)
    assert again == done


def test_rewards_are_told_in_openais_words(client: OpenAI, graded: FineTuningJob) -> None:
    assert graded.status == "succeeded", graded.error
    assert graded.method is not None
    assert graded.method.reinforcement is not None
    assert graded.method.reinforcement.grader.model_dump() == GRADER
    numbers = graded.method.reinforcement.hyperparameters
    assert numbers is not None
    assert (numbers.n_epochs, numbers.compute_multiplier, numbers.eval_samples) == (4, 0.5, 2)
    assert numbers.reasoning_effort == "default"
    events = list(client.fine_tuning.jobs.list_events(graded.id, limit=100))
    steps = [event for event in reversed(events) if event.type == "metrics"]
    assert steps[0].message == "Step 1/12 , train mean reward=0.00"
    assert steps[-1].message == (
        "Step 12/12 , train mean reward=1.00, full validation mean reward=1.00, "
        "full validation mean parse error=0.00"
    )
    data = steps[-1].data
    assert isinstance(data, dict)
    assert data["train_mean_reward"] == 1.0
    assert data["scores"] == {
        "graders": [],
        "train_reward_mean": 1.0,
        "valid_reward_mean": 1.0,
    }


def test_the_best_checkpoints_by_validation_reward_are_kept(
    client: OpenAI, graded: FineTuningJob
) -> None:
    found = list(client.fine_tuning.jobs.checkpoints.list(graded.id))
    assert [each.step_number for each in found] == [12, 9, 3]
    rewards = [each.metrics.model_dump()["full_valid_mean_reward"] for each in found]
    assert rewards == [1.0, 1.0, 0.0]
    assert found[0].fine_tuned_model_checkpoint == graded.fine_tuned_model


def test_the_result_file_of_rewards_has_a_row_for_each_step(
    client: OpenAI, graded: FineTuningJob
) -> None:
    content = client.files.content(graded.result_files[0]).read()
    lines = base64.b64decode(content).decode().splitlines()
    assert lines[0].startswith("step,train_mean_reward,full_valid_mean_reward,")
    assert len(lines) == 1 + 12
    assert lines[1].startswith("1,0.0,,")


def test_answers_that_cannot_be_graded_are_no_zeros(client: OpenAI) -> None:
    broken = GRADER | {"reference": "{{ item.nothing_of_the_kind }}"}
    done = ended(client, rewarded(client, grader=broken, hyperparameters={"n_epochs": 1}))
    assert done.status == "succeeded"
    events = list(client.fine_tuning.jobs.list_events(done.id, limit=100))
    (told,) = [event for event in events if event.level == "warn"]
    assert told.message.startswith("An answer could not be graded (invalid_variable_error): ")
    steps = [event for event in reversed(events) if event.type == "metrics"]
    assert steps[0].message == "Step 1/3 "
    data = steps[0].data
    assert isinstance(data, dict)
    assert "train_mean_reward" not in data
    assert data["mean_unresponsive_rewards"] == 1.0


def test_graders_can_be_programs_and_formulas(client: OpenAI) -> None:
    program = "def grade(sample, item):\n    return 0.5 * len(sample['output_text'])"
    several = {
        "type": "multi",
        "name": "both",
        "graders": {
            "exact": GRADER,
            "length": {"type": "python", "name": "length", "source": program},
        },
        "calculate_output": "min(1, exact + 0 * length)",
    }
    loose = client.copy(_extra_kwargs={"_strict_response_validation": False})
    job = rewarded(loose, grader=several, hyperparameters={"n_epochs": 2, "batch_size": 12})
    done = ended(loose, job)
    assert done.status == "succeeded", done.error
    raw = loose.fine_tuning.jobs.with_raw_response.retrieve(done.id).text
    assert json.loads(raw)["method"]["reinforcement"]["grader"] == several
    events = list(loose.fine_tuning.jobs.list_events(done.id, limit=100))
    assert not [event.message for event in events if event.level == "warn"]
    steps = [event.message for event in reversed(events) if event.type == "metrics"]
    assert "train mean reward=1.00" in steps[-1]


def test_a_tuned_model_can_be_trained_on_with_another_method(client: OpenAI) -> None:
    file = client.files.create(file=("train.jsonl", rows(10)), purpose="fine-tune")
    first = client.fine_tuning.jobs.create(model="selftune/fake", training_file=file.id)
    parent = str(ended(client, first).fine_tuned_model)
    done = ended(
        client,
        client.fine_tuning.jobs.create(
            model=parent,
            training_file=upload(client, preferences()),
            method={"type": "dpo"},
        ),
    )
    assert done.status == "succeeded"
    assert done.model == parent
    assert str(done.fine_tuned_model).startswith("ft:selftune-fake:")


def test_the_embedded_model_says_which_method_it_knows(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="'dpo' on this server: it knows 'supervised'"):
        client.fine_tuning.jobs.create(
            model="gpt-4o-mini",
            training_file=upload(client, preferences()),
            method={"type": "dpo"},
        )


def reinforcement(**changes: Any) -> Wanted:
    wanted = {"grader": GRADER, **changes}
    given = {name: value for name, value in wanted.items() if value is not None}
    return {"method": {"type": "reinforcement", "reinforcement": given}}


def dpo(**numbers: Any) -> Wanted:
    return {"method": {"type": "dpo", "dpo": {"hyperparameters": numbers}}}


@pytest.mark.parametrize(
    ("wanted", "param", "words"),
    [
        ({"method": {"type": "ppo"}}, "method.type", "Supported values are: 'supervised', 'dpo'"),
        (dpo(beta=2.5), "method.dpo.hyperparameters.beta", "greater than 0, 2 at most"),
        (dpo(beta=0), "method.dpo.hyperparameters.beta", "greater than 0"),
        (dpo(n_epochs=51), "method.dpo.hyperparameters.n_epochs", "from 1 to 50"),
        (dpo(batch_size=2.0), "method.dpo.hyperparameters.batch_size", "from 1 to 256"),
        (
            reinforcement(grader=None),
            "method.reinforcement.grader",
            "Missing required parameter: 'method.reinforcement.grader'",
        ),
        (
            reinforcement(grader={"type": "string_check", "name": "x", "input": "y"}),
            "method.reinforcement.grader.reference",
            "Missing required parameter: 'method.reinforcement.grader.reference'",
        ),
        (
            reinforcement(grader=GRADER | {"operation": "almost"}),
            "method.reinforcement.grader.operation",
            "is not valid",
        ),
        (
            reinforcement(hyperparameters={"compute_multiplier": 11}),
            "method.reinforcement.hyperparameters.compute_multiplier",
            "10 at most",
        ),
        (
            reinforcement(response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
            "method.reinforcement.response_format.json_schema.schema",
            "Missing required",
        ),
        (
            reinforcement(
                grader={
                    "type": "score_model",
                    "name": "judge",
                    "model": "nobody/has-this",
                    "input": [{"role": "user", "content": "{{ sample.output_text }}"}],
                }
            ),
            "method.reinforcement.grader.model",
            "asks the model 'nobody/has-this'",
        ),
        ({"selftune": {"rnak": 3}}, "selftune.rnak", "Unknown parameter: 'selftune.rnak'"),
        ({"selftune": {"rank": 0}}, "selftune.rank", "greater than or equal to 1"),
    ],
)
def test_what_no_job_can_be_made_of_is_refused(
    client: OpenAI, wanted: Wanted, param: str, words: str
) -> None:
    file = upload(client, prompts())
    with pytest.raises(BadRequestError) as refused:
        client.fine_tuning.jobs.create(
            model="selftune/fake", training_file=file, validation_file=file, extra_body=wanted
        )
    assert refused.value.param == param
    assert words in refused.value.message


def test_reinforcement_needs_a_validation_file(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.fine_tuning.jobs.create(
            model="selftune/fake",
            training_file=upload(client, prompts()),
            extra_body=reinforcement(),
        )
    assert refused.value.param == "validation_file"
    assert refused.value.code == "missing_required_parameter"


def test_a_file_of_another_method_fails_the_job_in_openais_words(client: OpenAI) -> None:
    file = client.files.create(file=("train.jsonl", rows(10)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="selftune/fake", training_file=file.id, method={"type": "dpo"}
    )
    done = ended(client, job)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.code == "invalid_training_file"
    assert done.error.message == (
        "The job failed due to an invalid training file. Invalid file format. Input file "
        f"{file.id} is in the fine-tune-chat format, but the specified fine-tuning job is not "
        "using 'supervised' as the training method (provided method=dpo)."
    )
