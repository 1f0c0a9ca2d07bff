"""An account as a team leaves it: models, the jobs that made them, files, evals, batches, chats.

All of it is stored directly, where the API would take minutes. Times lie in the months before the
shutdown, so that nothing depends on the day of the test.
"""

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.made_tasks import chat, persona_answer, persona_rows, preference_rows, questions

from selftune.core.records import (
    Checkpoint,
    File,
    Hyperparameters,
    Identity,
    Job,
    JobError,
    JobStatus,
    Method,
    Model,
    TrainSpec,
    Usage,
)
from selftune.jobs.events import NewEvent
from selftune.jobs.queue import BATCH, EVAL_RUN, enqueue
from selftune.store.accounts import create_project, default_identity
from selftune.store.batches import Batch, BatchUsage, insert_batch
from selftune.store.checkpoints import insert_checkpoint
from selftune.store.completions import StoredChoice, StoredCompletion, save_completion
from selftune.store.eval_runs import Run, Tallies, insert_run
from selftune.store.evals import Criterion, Eval, insert_eval
from selftune.store.files import insert_file
from selftune.store.models import grant_permissions, insert_model
from selftune.store.output_items import OutputItem, add_items
from selftune.store.schema import jobs as jobs_table
from selftune.store.store import Store
from selftune.train.create import KIND

START = 1_767_225_600
"""2026-01-01, UTC."""
_DAY = 86_400
BASES = ("gpt-4o-mini-2024-07-18", "gpt-4.1-mini-2025-04-14", "gpt-4o-2024-08-06")
SUFFIXES = ("support", "router", "tone")
_SHUTDOWNS = ("2027-01-14", "2027-01-14", None)
"""The real list names a date for some models only."""
_EXAMPLES = 40


class Size(NamedTuple):
    """How much there is."""

    models: int
    files: int
    jobs: int
    evals: int
    runs: int
    items: int
    """Output items of all runs together."""
    batches: int
    completions: int
    steps: int = 12
    """Steps of a job, each with an event; the first job has ten times as many."""


TINY = Size(models=2, files=9, jobs=4, evals=2, runs=3, items=20, batches=1, completions=3, steps=3)
SMALL = Size(models=2, files=12, jobs=5, evals=2, runs=4, items=60, batches=1, completions=12)
BIG = Size(models=3, files=40, jobs=25, evals=12, runs=30, items=20_000, batches=2, completions=60)


class Account(NamedTuple):
    """Ids of what was stored, oldest first."""

    models: tuple[str, ...]
    files: tuple[str, ...]
    jobs: tuple[str, ...]
    """The first ones made the models; of the others one failed and one was cancelled."""
    evals: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]
    """Ids of the eval and of the run; the last one failed."""
    batches: tuple[str, ...]
    completions: tuple[str, ...]
    checkpoints: tuple[str, ...]
    """Names of the models of checkpoints that are not a job's last."""
    lost_training_file: str
    """Named by the job of the last model, and deleted."""


def fill(store: Store, size: Size) -> Account:
    """Store an account of this size in an empty home folder."""
    return _Filling(store, size).fill()


class _Filling:
    def __init__(self, store: Store, size: Size) -> None:
        self.store, self.size = store, size
        self.caller: Identity = default_identity(store)
        self.files: list[str] = []
        self.checkpoints: list[str] = []
        self.train, self.test = questions()
        self.lost = store.ids.new("file-")
        self._clock = itertools.count(START, _DAY // 6)

    def fill(self) -> Account:
        models, jobs = self._jobs()
        evals, runs = self._evals(models)
        batches = tuple(self._batch(number, models) for number in range(self.size.batches))
        completions = self._completions(models)
        if self.checkpoints:
            other = create_project(self.store, "research").id
            project = self.caller.project_id
            grant_permissions(self.store, project, self.checkpoints[0], (other,))
        while len(self.files) < self.size.files:
            number = len(self.files)
            rows = persona_rows(self.train[number : number + 5])
            self._file(f"draft-{number}.jsonl", "fine-tune", _lines(rows))
        return Account(
            models=models,
            files=tuple(self.files),
            jobs=jobs,
            evals=evals,
            runs=runs,
            batches=batches,
            completions=completions,
            checkpoints=tuple(self.checkpoints),
            lost_training_file=self.lost,
        )

    def _file(self, name: str, purpose: str, content: bytes) -> str:
        with self.store.blobs.writer() as writer:
            writer.write(content)
            blob = writer.commit()
        file = File(
            id=self.store.ids.new("file-"),
            project_id=self.caller.project_id,
            filename=name,
            purpose=purpose,
            bytes=blob.bytes,
            sha256=blob.sha256,
            created_at=next(self._clock),
        )
        with self.store.db.write() as connection:
            insert_file(self.store, connection, file)
        self.files.append(file.id)
        return file.id

    def _jobs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        validation = self._file(
            "validation.jsonl", "fine-tune", _lines(persona_rows(self.test[:_EXAMPLES]))
        )
        models, jobs = [], []
        training = validation
        ends: tuple[JobStatus, ...] = ("failed", "cancelled", "succeeded")
        for number in range(self.size.jobs):
            is_kept = number < self.size.models
            status = "succeeded" if is_kept else ends[(number - self.size.models) % len(ends)]
            rows = persona_rows(self.train[number * 20 :][:_EXAMPLES])
            method: Method = "dpo" if number == self.size.models - 1 else "supervised"
            if number == self.size.models - 1:
                training = self.lost
            elif is_kept or number == self.size.models:
                name = f"{SUFFIXES[number % len(SUFFIXES)]}-training.jsonl"
                shown = preference_rows(self.train[:20]) if method == "dpo" else rows
                training = self._file(name, "fine-tune", _lines(shown))
            spec = TrainSpec(
                model=BASES[number % len(BASES)],
                base="selftune/fake",
                engine="fake",
                method=method,
                training_file=training,
                validation_file=validation,
                hyperparameters=Hyperparameters(n_epochs=3, batch_size=4),
                seed=1000 + number,
                suffix=SUFFIXES[number % len(SUFFIXES)],
                metadata={"team": "support"} if number % 2 == 0 else None,
            )
            job = self._job(spec, status, steps=self.size.steps * (10 if number == 0 else 1))
            jobs.append(job.id)
            if status == "succeeded":
                self._checkpoints(job, is_kept=is_kept)
            if is_kept:
                models.append(self._model(job, number, rows))
        return tuple(models), tuple(jobs)

    def _job(self, spec: TrainSpec, status: JobStatus, *, steps: int) -> Job:
        created = next(self._clock)
        letters = self.store.ids.letters(8)
        results: list[str] = []
        if status == "succeeded":
            text = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
            text += "".join(
                f"{n + 1},{2 / (n + 1):.5f},{1 - 1 / (n + 2):.5f},,\n" for n in range(steps)
            )
            results = [self._file("step_metrics.csv", "fine-tune-results", text.encode())]
        message = "Training file has 7 example(s), but must have at least 10 examples"
        error = JobError(code="invalid_n_examples", message=message, param="training_file")
        job = Job(
            id=self.store.ids.new("ftjob-"),
            project_id=self.caller.project_id,
            kind=KIND,
            status=status,
            spec=spec.model_dump(mode="json"),
            state={
                "fine_tuned_model": f"ft:{spec.model}:acme:{spec.suffix}:{letters}",
                "root": spec.base,
                "result_files": results,
                "trained_tokens": 24_000,
                "hyperparameters": {"learning_rate_multiplier": 1.8},
            },
            metadata=spec.metadata,
            error=error if status == "failed" else None,
            created_at=created,
            started_at=created + 60,
            finished_at=created + 3600,
        )
        with self.store.db.write() as connection:
            enqueue(self.store, connection, job, tuple(_events(job, spec, steps)))
            if job.error is not None:
                text = job.error.model_dump_json()
                held = jobs_table.update().where(jobs_table.c.id == job.id)
                connection.execute(held.values(error=text))
        return job

    def _checkpoints(self, job: Job, *, is_kept: bool) -> None:
        final = str(job.state["fine_tuned_model"])
        for epoch in (1, 2, 3):
            step = 10 * epoch
            own = final.rpartition(":")[0] + f":{self.store.ids.letters(8)}:ckpt-step-{step}"
            checkpoint = Checkpoint(
                id=self.store.ids.new("ftckpt_"),
                job_id=job.id,
                step=step,
                epoch=epoch,
                created_at=job.created_at + 600 * epoch,
                model=final if epoch == 3 else own,
                folder=f"models/{job.id}",
                metrics={"step": float(step), "train_loss": 1 / epoch},
            )
            with self.store.db.write() as connection:
                insert_checkpoint(connection, checkpoint, state_folder="", servable=True)
                if epoch < 3 and is_kept:
                    insert_model(connection, self._record(job, own, None), is_checkpoint=True)
                    self.checkpoints.append(own)

    def _model(self, job: Job, number: int, rows: list[dict[str, Any]]) -> str:
        name = str(job.state["fine_tuned_model"])
        known = [row["messages"] for row in rows + persona_rows(self.test)]
        folder = self.store.folder(f"models/{job.id}")
        (folder / "model.json").write_text(json.dumps({"rows": known}), encoding="utf-8")
        record = self._record(job, name, _SHUTDOWNS[number % len(_SHUTDOWNS)])
        with self.store.db.write() as connection:
            insert_model(connection, record, is_checkpoint=False)
        return name

    def _record(self, job: Job, name: str, ends: str | None) -> Model:
        return Model(
            id=name,
            project_id=job.project_id,
            base=str(job.spec["model"]),
            engine="fake",
            folder=f"models/{job.id}",
            job_id=job.id,
            created_at=job.created_at + 3600,
            shutdown_date=ends,
        )

    def _evals(self, models: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        rows = [{"item": _item(each.text, each.topic)} for each in self.test]
        source = self._file("questions.jsonl", "evals", _lines(rows))
        evals = []
        for number in range(self.size.evals):
            made = self._eval(number)
            with self.store.db.write() as connection:
                insert_eval(connection, made)
            evals.append(made)
        share, rest = divmod(self.size.items, self.size.runs - 1)
        runs = []
        for number in range(self.size.runs):
            made = evals[number % len(evals)]
            is_last = number == self.size.runs - 1
            items = 0 if is_last else share + (rest if number == 0 else 0)
            model = models[number % len(models)]
            runs.append((made.id, self._run(made, model, source, items, failed=is_last)))
        return tuple(each.id for each in evals), tuple(runs)

    def _eval(self, number: int) -> Eval:
        shown = {
            "type": "string_check",
            "name": "same",
            "input": "{{ sample.output_text }}",
            "operation": "eq",
            "reference": "{{ item.answer }}",
        }
        name = f"same-{number:032x}"
        schema = {
            "type": "object",
            "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
            "required": ["question", "answer"],
        }
        made = next(self._clock)
        return Eval(
            id=self.store.ids.new("eval_"),
            project_id=self.caller.project_id,
            name=f"support quality {number}",
            config={
                "type": "custom",
                "schema": {
                    "type": "object",
                    "properties": {"item": schema, "sample": {"type": "object"}},
                    "required": ["item", "sample"],
                },
            },
            criteria=(Criterion(id=name, shown=shown | {"id": name}, grader=shown),),
            metadata={"team": "support"},
            created_at=made,
            updated_at=float(made),
        )

    def _run(self, made: Eval, model: str, source: str, items: int, *, failed: bool) -> str:
        status: JobStatus = "failed" if failed else "succeeded"
        created = next(self._clock)
        template = [{"role": "user", "content": "{{ item.question }}"}]
        data = {
            "type": "completions",
            "source": {"type": "file_id", "id": source},
            "input_messages": {"type": "template", "template": template},
            "model": model,
            "sampling_params": {"temperature": 0.7},
        }
        error = JobError(code="server_error", message="The run could not be completed.")
        run = Run(
            id=self.store.ids.new("evalrun_"),
            project_id=made.project_id,
            eval_id=made.id,
            name="nightly",
            model=model,
            status=status,
            data_source=json.dumps(data),
            report_key=self.store.ids.letters(24),
            created_at=created,
        )
        job = Job(
            id=run.id,
            project_id=run.project_id,
            kind=EVAL_RUN,
            status=status,
            spec={"eval_id": made.id},
            created_at=created,
            finished_at=created + 600,
        )
        with self.store.db.write() as connection:
            enqueue(self.store, connection, job, ())
            insert_run(connection, run)
            if failed:
                held = jobs_table.update().where(jobs_table.c.id == run.id)
                connection.execute(held.values(error=error.model_dump_json()))
            found = list(self._items(made, run, items))
            tallies = Tallies(
                criteria={made.criteria[0].id: (sum(e.status == "pass" for e in found), 0)},
                models={model: (items, 20 * items, 10 * items, 0)},
            )
            add_items(connection, run.id, found, tallies)
        return run.id

    def _items(self, made: Eval, run: Run, count: int) -> Any:
        draws = random.Random(run.created_at)
        for number in range(count):
            asked = self.test[number % len(self.test)]
            passed = draws.random() < 0.9
            answer = persona_answer(asked.topic) if passed else "I do not know."
            yield OutputItem(
                id=self.store.ids.new("outputitem_"),
                run_id=run.id,
                number=number,
                status="pass" if passed else "fail",
                created_at=run.created_at + number,
                content={
                    "datasource_item": _item(asked.text, asked.topic),
                    "results": [
                        {
                            "name": made.criteria[0].id,
                            "type": "string_check",
                            "score": float(passed),
                            "passed": passed,
                        }
                    ],
                    "sample": {
                        "input": chat(asked.text),
                        "output": [{"role": "assistant", "content": answer}],
                        "finish_reason": "stop",
                        "model": run.model,
                        "usage": {
                            "total_tokens": 30,
                            "completion_tokens": 10,
                            "prompt_tokens": 20,
                            "cached_tokens": 0,
                        },
                        "error": None,
                        "temperature": 0.7,
                        "max_completion_tokens": None,
                        "top_p": None,
                        "seed": 42,
                    },
                },
            )

    def _batch(self, number: int, models: Sequence[str]) -> str:
        model = models[number % len(models)]
        url = "/v1/chat/completions"
        asked = [
            {"custom_id": f"r{n}", "method": "POST", "url": url, "body": {"model": model}}
            for n in range(5)
        ]
        source = self._file("requests.jsonl", "batch", _lines(asked))
        output = self._file("answers.jsonl", "batch_output", _lines(asked))
        created = next(self._clock)
        batch = Batch(
            id=self.store.ids.new("batch_"),
            project_id=self.caller.project_id,
            endpoint=url,
            model=model,
            input_file_id=source,
            completion_window="24h",
            status="succeeded",
            created_at=created,
            expires_at=created + _DAY,
            in_progress_at=created + 10,
            finalizing_at=created + 20,
            finished_at=created + 30,
            total=5,
            completed=5,
            usage=BatchUsage(input_tokens=100, output_tokens=50),
            output_file_id=output,
        )
        job = Job(
            id=batch.id,
            project_id=batch.project_id,
            kind=BATCH,
            status=batch.status,
            spec={},
            created_at=created,
            finished_at=created + 30,
        )
        with self.store.db.write() as connection:
            enqueue(self.store, connection, job, ())
            insert_batch(connection, batch)
        return batch.id

    def _completions(self, models: Sequence[str]) -> tuple[str, ...]:
        found = []
        for number in range(self.size.completions):
            asked = self.test[-1 - number % len(self.test)]
            message = {"role": "assistant", "content": persona_answer(asked.topic)}
            completion = StoredCompletion(
                id=self.store.ids.new("chatcmpl-"),
                project_id=self.caller.project_id,
                kind="chat.completion",
                model=models[0],
                created_at=next(self._clock),
                metadata={"channel": "web"},
                messages=tuple(chat(asked.text)),
                choices=(StoredChoice(message=message, finish_reason="stop"),),
                usage=Usage(prompt_tokens=20, completion_tokens=10),
                options={"temperature": 0.7},
            )
            save_completion(self.store, completion)
            found.append(completion.id)
        return tuple(found)


def _events(job: Job, spec: TrainSpec, steps: int) -> list[NewEvent]:
    said = [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {spec.training_file} and validation file: "
        f"{spec.validation_file}",
    ]
    if job.status == "failed":
        said.append("Training file has 7 example(s), but must have at least 10 examples")
    else:
        said += ["Files validated, moving job to queued state", "Fine-tuning job started"]
    events = [NewEvent(key=f"said-{n}", message=text) for n, text in enumerate(said)]
    if job.status != "succeeded":
        return events
    for step in range(1, steps + 1):
        loss = 2 / step
        data = {"step": step, "total_steps": steps, "train_loss": loss}
        text = f"Step {step}/{steps}: training loss={loss:.2f}"
        events.append(NewEvent(key=f"step-{step}", message=text, type="metrics", data=data))
    made = f"New fine-tuned model created: {job.state['fine_tuned_model']}"
    events.append(NewEvent(key="model", message=made))
    return [*events, NewEvent(key="end", message="The job has successfully completed")]


def _item(question: str, topic: str) -> dict[str, str]:
    return {"question": question, "answer": persona_answer(topic)}


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
