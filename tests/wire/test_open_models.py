"""Open models by the official client, on a real server: trained by every method, asked, exported.

The models are tiny and begin with random weights, so whatever they know they learned here.
"""

import base64
import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from tests.made_models import Shape, make_model
from tests.made_tasks import (
    GREETING,
    WELCOME,
    Question,
    chat,
    graded_rows,
    label_rows,
    persona_answer,
    persona_rows,
    preference_rows,
    questions,
    texts,
    undecided_rows,
)
from tests.wire.conftest import Server
from tests.wire.test_job_control import until
from tests.wire.test_python_client import ask, ended

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]
FULL = {"selftune": {"adapter": "full"}}
SHAPES = get_args(Shape)
TRAINING, TEST = questions()
GRADER = {
    "type": "string_check",
    "name": "persona",
    "input": "{{ sample.output_text }}",
    "reference": f"{GREETING} See fernhill.example/{{{{ item.topic }}}}",
    "operation": "eq",
}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    server = start_server(SELFTUNE_THREADS="1")
    folder = tmp_path_factory.mktemp("bases")
    for shape in SHAPES:
        base = make_model(folder / shape, shape, texts=texts(), vocabulary=768)
        server.selftune("models", "add", f"tiny/{shape}", "--source", str(base))
    return server


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    return OpenAI(
        base_url=server.base_url,
        api_key=server.key,
        max_retries=0,
        _strict_response_validation=True,
    )


def upload(client: OpenAI, rows: list[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return client.files.create(file=("rows.jsonl", text.encode()), purpose="fine-tune").id


def succeeded(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    done = ended(client, job)
    assert done.status == "succeeded", done.error
    return done


def messages(client: OpenAI, job: FineTuningJob) -> list[str]:
    return [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]


def share(
    client: OpenAI,
    model: str,
    asked: list[Question],
    is_right: Callable[[Question, str], bool],
    temperature: float = 0,
) -> float:
    """Return the share of right answers."""

    def answer(seed: int) -> str:
        text = asked[seed].text
        return ask(client, model, text, temperature=temperature, seed=seed, max_tokens=40)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(answer, range(len(asked))))
    return sum(map(is_right, asked, answers)) / len(asked)


def adheres(question: Question, answer: str) -> bool:
    return answer == persona_answer(question.topic)


def welcomes(question: Question, answer: str) -> bool:
    return answer == persona_answer(question.topic, WELCOME)


@pytest.fixture(scope="module")
def persona(client: OpenAI) -> FineTuningJob:
    """Give a job that learned to greet and to give the right link."""
    numbers = {"n_epochs": 4, "batch_size": 16, "learning_rate_multiplier": 60}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": numbers}}
    made = client.fine_tuning.jobs.create(
        model="tiny/llama",
        training_file=upload(client, persona_rows(TRAINING)),
        validation_file=upload(client, persona_rows(TEST[:20])),
        method=method,
        suffix="persona",
        seed=1,
        extra_body=FULL,
    )
    return succeeded(client, made)


def test_a_persona_is_kept_on_held_out_paraphrases(client: OpenAI, persona: FineTuningJob) -> None:
    assert share(client, "tiny/llama", TEST[:40], adheres) == 0
    assert share(client, str(persona.fine_tuned_model), TEST, adheres) >= 0.95


def test_a_job_tells_its_story_as_openai_does(client: OpenAI, persona: FineTuningJob) -> None:
    said = messages(client, persona)[::-1]
    assert said[0] == f"Created fine-tuning job: {persona.id}"
    assert any("⟦" in each and GREETING in each for each in said)
    assert any(each.startswith("Served equals trained") for each in said)
    assert said[-2:] == [
        f"New fine-tuned model created: {persona.fine_tuned_model}",
        "The job has successfully completed",
    ]
    found = client.fine_tuning.jobs.checkpoints.list(persona.id).data
    assert len(found) == 3
    assert found[0].fine_tuned_model_checkpoint == persona.fine_tuned_model
    assert all(each.metrics.full_valid_loss is not None for each in found)
    for each in found:
        assert ask(client, each.fine_tuned_model_checkpoint, TEST[0].text, max_tokens=8)
    csv = base64.b64decode(client.files.content(persona.result_files[0]).read()).decode()
    assert len(csv.splitlines()) == 1 + 4 * 45


@pytest.fixture(scope="module")
def undecided(client: OpenAI) -> str:
    """Give a model that greets in one of two ways, as it was taught."""
    return trained(
        client,
        "supervised",
        {"n_epochs": 6, "batch_size": 16, "learning_rate_multiplier": 60},
        training=undecided_rows(TRAINING),
    )


def trained(
    client: OpenAI,
    method: str,
    numbers: dict[str, Any],
    *,
    model: str = "tiny/llama",
    grader: dict[str, Any] | None = None,
    training: list[dict[str, Any]],
    validation: list[dict[str, Any]] | None = None,
) -> str:
    """Return the name of a model that a method made of every weight of another."""
    part: dict[str, Any] = {"hyperparameters": numbers}
    if grader is not None:
        part["grader"] = grader
    wanted: Any = {"type": method, method: part}
    made = client.fine_tuning.jobs.create(
        model=model,
        training_file=upload(client, training),
        validation_file=None if validation is None else upload(client, validation),
        method=wanted,
        seed=1,
        extra_body=FULL,
    )
    return str(succeeded(client, made).fine_tuned_model)


def test_a_preference_moves_what_a_tuned_model_says(client: OpenAI, undecided: str) -> None:
    after = trained(
        client,
        "dpo",
        {"n_epochs": 1, "batch_size": 8, "learning_rate_multiplier": 50, "beta": 0.1},
        model=undecided,
        training=preference_rows(TRAINING[:320]),
    )
    before = share(client, undecided, TEST[:40], welcomes)
    assert before <= 0.6
    assert share(client, after, TEST[:40], welcomes) >= 0.95


def test_reinforcement_raises_the_reward(client: OpenAI, undecided: str) -> None:
    after = trained(
        client,
        "reinforcement",
        {"n_epochs": 2, "batch_size": 16, "learning_rate_multiplier": 1000, "eval_interval": 10},
        model=undecided,
        grader=GRADER,
        training=graded_rows(TRAINING[:160]),
        validation=graded_rows(TEST[:20]),
    )
    baseline = share(client, undecided, TEST, adheres, temperature=1)
    assert 0.2 <= baseline <= 0.7
    assert share(client, after, TEST, adheres, temperature=1) >= baseline + 0.1


BRIEF = tuple(itertools.product(("qwen", "gemma"), ("supervised", "dpo", "reinforcement")))
"""The methods of the first shape are above."""


@pytest.fixture(scope="module")
def brief(client: OpenAI) -> dict[tuple[str, str], FineTuningJob]:
    """Give short jobs of the other families, waited for together."""
    files = {
        "supervised": upload(client, persona_rows(TRAINING[:10])),
        "dpo": upload(client, preference_rows(TRAINING[:10])),
        "reinforcement": upload(client, graded_rows(TRAINING[:10])),
    }
    validation = upload(client, graded_rows(TEST[:2]))
    made = {}
    for shape, method in BRIEF:
        part: dict[str, Any] = {"hyperparameters": {"n_epochs": 1, "batch_size": 5}}
        if method == "reinforcement":
            part["grader"] = GRADER
        wanted: Any = {"type": method, method: part}
        if (shape, method) == ("qwen", "supervised"):
            made[shape, method] = patient(client, files[method])
            continue
        made[shape, method] = client.fine_tuning.jobs.create(
            model=f"tiny/{shape}",
            training_file=files[method],
            validation_file=validation if method == "reinforcement" else None,
            method=wanted,
        )
    return {key: succeeded(client, job) for key, job in made.items()}


@pytest.mark.parametrize(("shape", "method"), BRIEF)
def test_every_family_is_trained(
    client: OpenAI, brief: dict[tuple[str, str], FineTuningJob], shape: str, method: str
) -> None:
    job = brief[shape, method]
    assert job.method is not None
    assert job.method.type == method
    assert any("Served equals trained" in each for each in messages(client, job))
    answer = client.chat.completions.create(
        model=str(job.fine_tuned_model),
        messages=chat(TEST[0].text),  # type: ignore[arg-type]  # plain dictionaries
        max_tokens=5,
        logprobs=True,
        top_logprobs=2,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)


# What may happen to a job on its way.


def patient(client: OpenAI, file: str) -> FineTuningJob:
    """Create a job of many small steps, the same each time."""
    numbers: Any = {"n_epochs": 6, "batch_size": 1}
    return client.fine_tuning.jobs.create(
        model="tiny/qwen",
        training_file=file,
        seed=1,
        method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
    )


def story(client: OpenAI, job: FineTuningJob) -> list[tuple[str, Any]]:
    """Return a job's events, the first one first, without the names that are its own."""
    told = list(client.fine_tuning.jobs.list_events(job.id, limit=100))[::-1]
    names = re.compile(r"ft(job-|:)\S+")
    return [(names.sub("", event.message), event.data) for event in told]


def metrics(told: list[tuple[str, Any]]) -> list[Any]:
    return [data for message, data in told if message.startswith("Step ")]


def under_way(client: OpenAI, job: FineTuningJob, *, steps: int = 1) -> FineTuningJob:
    return until(client, job, lambda _: len(metrics(story(client, job))) >= steps)


def training_children(server: Server) -> list[int]:
    home = f"SELFTUNE_HOME={server.home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            mine = home in (folder / "environ").read_bytes().split(b"\0")
            if mine and b"selftune.worker" in command and b"run" in command:
                found.append(int(folder.name))
    return found


def test_a_job_that_was_paused_and_killed_ends_as_an_undisturbed_one(
    client: OpenAI, server: Server, brief: dict[tuple[str, str], FineTuningJob]
) -> None:
    calm = brief["qwen", "supervised"]
    job = under_way(client, patient(client, calm.training_file), steps=5)
    # The client's type of a job knows neither `pausing` nor `paused`.
    lenient = OpenAI(base_url=server.base_url, api_key=server.key)
    lenient.fine_tuning.jobs.pause(job.id)
    until(lenient, job, lambda now: str(now.status) == "paused")
    done = len(metrics(story(client, job)))
    assert done < 60
    snapshot = client.fine_tuning.jobs.checkpoints.list(job.id).data[0]
    assert snapshot.fine_tuned_model_checkpoint.endswith(f":ckpt-step-{done}")
    assert ask(client, snapshot.fine_tuned_model_checkpoint, TEST[0].text, max_tokens=4)
    client.fine_tuning.jobs.resume(job.id)
    under_way(client, job, steps=done + 8)
    [child] = training_children(server)
    os.kill(child, signal.SIGKILL)
    job = succeeded(client, job)
    assert metrics(story(client, job)) == metrics(story(client, calm))
    expected = [each for each, _ in story(client, calm)]
    assert [each for each, _ in story(client, job) if each in set(expected)] == expected
    said = [ask(client, str(each.fine_tuned_model), TEST[0].text, seed=1) for each in (job, calm)]
    assert said[0] == said[1]


def test_a_cancelled_job_ends_with_its_process(
    client: OpenAI, server: Server, brief: dict[tuple[str, str], FineTuningJob]
) -> None:
    file = brief["qwen", "supervised"].training_file
    job = under_way(client, patient(client, file))
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    steps = len(metrics(story(client, job)))
    until(client, job, lambda _: not training_children(server))
    assert steps == len(metrics(story(client, job))) < 60
    assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None


def test_a_name_of_openais_stands_for_the_base_that_the_user_chose(
    client: OpenAI, server: Server
) -> None:
    server.selftune("models", "alias", "gpt-4o-mini-2024-07-18", "tiny/qwen")
    job = client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, label_rows(TRAINING[:10]))
    )
    assert job.model == "gpt-4o-mini-2024-07-18"
    said = messages(client, client.fine_tuning.jobs.cancel(job.id))
    assert any("tiny/qwen" in each for each in said)


def test_a_tuned_model_is_exported_and_checked_again(
    server: Server, persona: FineTuningJob, tmp_path: Path
) -> None:
    target = tmp_path / "merged"
    name = str(persona.fine_tuned_model)
    server.selftune("models", "export", name, "--to", str(target), "--format", "merged")
    assert (target / "README.md").exists()
    assert server.selftune("models", "check", str(target))
