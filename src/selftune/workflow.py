"""The whole flow, one verb a function. Read this first.

`prepare` makes training rows and test items of a run file's data; `create_finetuning_job` (or `start`,
for a run file) saves intent; `finetune` is what a worker's child does with it; `prove` asks base and
tuned model the same questions. `local.run` is these four in a row; where the run file names a
profile, `train_elsewhere` stands for the two in the middle.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selftune.core.records import Event, File, Identity, Job, Record, TrainSpec
from selftune.core.runfile import RunFile
from selftune.data.keep import keep_rows
from selftune.data.prepare import shared_system, to_chats
from selftune.data.read import ReadOptions, read_rows
from selftune.data.sources.source import located
from selftune.evaluate.arms import Arm
from selftune.evaluate.items import Item, to_items
from selftune.evaluate.rounds import RoundFolder
from selftune.evaluate.task import Progress
from selftune.jobs.events import NewEvent, append_events, events_since
from selftune.jobs.queue import Lease, fenced, move, update_state
from selftune.models.prices import FREE
from selftune.prove.home import Home
from selftune.prove.plan import Plan
from selftune.prove.round import run_round
from selftune.store.accounts import default_identity
from selftune.store.checkpoints import list_checkpoints
from selftune.store.files import insert_file
from selftune.store.models import insert_model
from selftune.store.store import Store
from selftune.train import create as saving
from selftune.train.create import FinetuneRequest
from selftune.train.request import engine_of, file_path, request_of
from selftune.train.results import result_file
from selftune.train.run import JobRun
from selftune.train.tracked import tracked

if TYPE_CHECKING:
    from selftune.data.validate import Accepted
    from selftune.serve.batches.asking import Ask, Close
    from selftune.store.creations import Creation
    from selftune.train.remote.training import Hearing

__all__ = [
    "FinetuneRequest",
    "Prepared",
    "Trained",
    "create_finetuning_job",
    "finetune",
    "prepare",
    "prove",
    "run_batch",
    "run_eval",
    "start",
    "train_elsewhere",
    "trained_here",
]


class Prepared(Record):
    """Rows to train on, and questions to ask."""

    training: tuple[dict[str, Any], ...]
    validation: tuple[dict[str, Any], ...]
    items: tuple[Item, ...]
    leaked: int
    """Questions that training rows ask too, or nearly: of a test file that was given."""

    @property
    def rows(self) -> int:
        """Return how many rows are trained on."""
        return len(self.training)


def prepare(spec: RunFile, folder: Path) -> Prepared:
    """Read a run file's data and split it; nothing is stored yet.

    Raises:
        InvalidInput: a file, a row or a grader is not what it must be; names it.

    """
    # Here, not above: the server reads this module and splits nothing.
    from selftune.data.leakage import leakage
    from selftune.data.split import SplitOptions, split
    from selftune.evaluate.grading import check_graders

    check_graders(spec.evaluation.graders)
    data, evaluation = spec.data, spec.evaluation
    rows = read_rows(located(folder, data.training_file), ReadOptions(limit=data.limit))
    chats = to_chats(rows, data.template)
    tests = None if data.test_file is None else read_rows(located(folder, data.test_file))
    options = SplitOptions(
        validation=data.validation_fraction, test=data.test_fraction, seed=spec.model.seed
    )
    parts = split(chats, options, None if tests is None else ())
    if evaluation.prompt is None and data.template is not None:
        shown = {"prompt": data.template.user, "system": evaluation.system or data.template.system}
        evaluation = evaluation.model_copy(update=shown)
    training = [chats[at] for at in parts.train]
    asked = [rows[at] for at in parts.test] if tests is None else tests
    items = tuple(to_items(asked, evaluation, shared_system(training)))
    return Prepared(
        training=tuple(training),
        validation=tuple(chats[at] for at in parts.validation),
        items=items,
        leaked=len(leakage(training, [{"messages": item.messages} for item in items]).other_lines),
    )


def create_finetuning_job(
    store: Store,
    identity: Identity,
    request: FinetuneRequest,
    creation: "Creation | None" = None,
) -> Job:
    """Save a job that a worker will take; nothing has started when this returns.

    Raises:
        InvalidInput: the model cannot be trained so, a file is not there, or the grader cannot judge.

    """
    if request.grader is not None:
        # Here, not above: a command that creates no such job needs no graders.
        from selftune.prove.rewards import check_grader

        check_grader(store, identity, request.grader)
    return saving.create_finetuning_job(store, identity, request, creation)


def start(store: Store, identity: Identity, spec: RunFile, prepared: Prepared) -> Job:
    """Store the rows as files and create the job."""
    training = keep_rows(store, identity, prepared.training, "training.jsonl")
    validation = None
    if prepared.validation:
        validation = keep_rows(store, identity, prepared.validation, "validation.jsonl").id
    return create_finetuning_job(store, identity, _request(spec, training.id, validation))


def _request(spec: RunFile, training: str, validation: str | None) -> FinetuneRequest:
    return FinetuneRequest(
        model=spec.model.base,
        training_file=training,
        validation_file=validation,
        suffix=spec.model.suffix or spec.name,
        seed=spec.model.seed,
        hyperparameters=spec.hyperparameters,
        options=spec.options,
    )


class Trained(Record):
    """What a training came to, wherever it ran."""

    base: Arm
    tuned: Arm
    losses: tuple[tuple[float, float], ...]
    """Step and training loss."""
    facts: dict[str, str]
    """What the report says of it."""


def trained_here(store: Store, spec: RunFile, job: Job) -> Trained:
    """Return what a job of this machine that succeeded came to."""
    trained, reasons = TrainSpec.model_validate(job.spec), job.state.get("reasons", {})
    chosen = {
        name: f"{value} ({reasons.get(name, '')})"
        for name, value in job.state.get("hyperparameters", {}).items()
    }
    sampling = _sampling(spec)
    tuned = str(job.state["fine_tuned_model"])
    return Trained(
        base=Arm(name="base", model=trained.base, sampling=sampling, rates=FREE),
        tuned=Arm(name="tuned", model=tuned, sampling=sampling, rates=FREE),
        losses=_losses(events_since(store, job.id, 0)),
        facts={
            "trained": trained.base,
            "job": job.id,
            "training seconds": str((job.finished_at or 0) - (job.started_at or 0)),
            "trained tokens": str(job.state.get("trained_tokens")),
            "seed": str(trained.seed),
            **chosen,
        },
    )


def train_elsewhere(
    home: Home, spec: RunFile, prepared: Prepared, hearing: "Hearing", *, again: bool = False
) -> Trained:
    """Train at the provider that a run file names, and say who answers for base and tuned model.

    The same call goes on with what an earlier one began; `again` begins anew.

    Raises:
        InvalidInput: a key of the run file does not fit the provider.
        JobFailed: the job failed there.
        SelftuneError: what the provider refuses, in words.

    """
    # Here, not above: the server reads this module and trains at no provider.
    from selftune.prove.elsewhere import arms_of, facts_of, order_of
    from selftune.train.remote.training import train_there

    request, root = _request(spec, "", None), home.settings.root
    order = order_of(root, spec, request, prepared.training, prepared.validation)
    made = train_there(root, order, hearing, again=again)
    base, tuned = arms_of(home, spec, order.profile, made)
    asked = {"sampling": _sampling(spec)}
    return Trained(
        base=base.model_copy(update=asked),
        tuned=tuned.model_copy(update=asked),
        losses=_losses(made.events),
        facts=facts_of(home, order.profile, made),
    )


def prove(
    home: Home,
    spec: RunFile,
    prepared: Prepared,
    trained: Trained,
    on_progress: Callable[[Progress], None],
) -> RoundFolder:
    """Ask base and tuned model the same questions, by turns; keep the round."""
    plan = Plan(
        name=spec.name,
        items=prepared.items,
        arms=(trained.base, trained.tuned),
        evaluation=spec.evaluation,
        facts={
            "about": spec.description,
            "training rows": str(prepared.rows),
            "questions that training rows ask too": f"{prepared.leaked} of {len(prepared.items)}",
            **trained.facts,
        },
        losses=trained.losses,
    )
    return run_round(home, plan, on_progress)


def _sampling(spec: RunFile) -> dict[str, Any]:
    words = {"temperature": spec.evaluation.temperature, "max_tokens": spec.evaluation.max_tokens}
    return {name: value for name, value in words.items() if value is not None}


def _losses(events: Iterable[Event]) -> tuple[tuple[float, float], ...]:
    said = [event.data for event in events if event.type == "metrics" and event.data]
    return tuple((float(m["step"]), float(m["train_loss"])) for m in said)


def finetune(store: Store, job: Job, lease: Lease) -> None:
    """Carry one fine-tuning job from where it stands to its model.

    Every step is safe to repeat: a job that was killed starts here again and goes on from its last
    checkpoint, and what it says a second time is not written a second time.

    Raises:
        JobFailed: the files are not what training needs.
        Interrupted: the job was cancelled or paused, or belongs to another worker now.

    """
    # Here, not above: the server reads this module and grades nothing.
    from selftune.prove.rewards import rewards_of

    spec = TrainSpec.model_validate(job.spec)
    with rewards_of(store, job, spec) as grade:
        run = JobRun(store, job, lease, grade)
        checked = _validate(store, job, lease, run)
        _advance(store, lease, checked)
        engine = engine_of(spec)
        with tracked(store, job, lease, run) as following:
            trained = engine.train(request_of(store, job, spec), following)
            run.flush()
        _finish(store, lease, run, trained.trained_tokens)


def run_eval(store: Store, job: Job, lease: Lease) -> None:
    """Carry one run of an eval from where it stands to its end.

    Raises:
        JobFailed: there is nothing to grade.
        SelftuneError: the model that it asks will never answer.
        Interrupted: the run was canceled, or belongs to another worker now.

    """
    # Here, not above: the server reads this module and runs no evals.
    from selftune.evaluate.sources.run import carry_out
    from selftune.prove.backing import backing_of

    caller = default_identity(store).model_copy(update={"project_id": job.project_id})
    carry_out(store, lease, backing_of(store, caller))


def run_batch(store: Store, job: Job, lease: Lease, ask: "Ask", close: "Close") -> None:
    """Carry one batch from where it stands to its end; `ask` answers one request, until `close`.

    Raises:
        SelftuneError: its files cannot be stored.
        Interrupted: the batch belongs to another worker now.

    """
    # Here, not above: the server reads this module and runs no batches.
    from selftune.serve.batches.run import carry_out

    carry_out(store, lease, ask, close)


def _validate(store: Store, job: Job, lease: Lease, run: JobRun) -> "Accepted":
    # Here, not above: the server reads this module and checks no files.
    from selftune.data.likeness.overlap import shared_questions
    from selftune.data.validate import check_training_file

    spec = TrainSpec.model_validate(job.spec)
    names = f"Validating training file: {spec.training_file}"
    if spec.validation_file is not None:
        names += f" and validation file: {spec.validation_file}"
    run.note("validating", names)
    rows = store.settings.max_training_rows
    training = file_path(store, job, spec.training_file)
    check = partial(check_training_file, max_rows=rows, method=spec.method)
    checked = check(training, name=spec.training_file)
    if spec.validation_file is not None:
        validation = file_path(store, job, spec.validation_file)
        total = check(validation, which="validation", name=spec.validation_file).examples
        shared = shared_questions(training, validation)
        if shared:
            _warn_of_overlap(store, lease, shared, total)
    return checked


def _warn_of_overlap(store: Store, lease: Lease, shared: int, total: int) -> None:
    message = (
        f"{shared} of the {total} rows of the validation file ask what rows of the training file "
        "ask too: the validation loss will look better than it is"
    )
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key="overlap", message=message, level="warn")
        append_events(store, connection, job.id, (event,))


def _advance(store: Store, lease: Lease, checked: "Accepted") -> None:
    """Move the job to `running`, through `queued`, with the events that go with it."""
    with fenced(store, lease) as (connection, job):
        if job.status == "validating_files":
            event = NewEvent(
                key="validated",
                message="Files validated, moving job to queued state",
                data={"examples": checked.examples, "tokens": checked.tokens},
            )
            append_events(store, connection, job.id, (event,))
            job = move(store, connection, job, "queued")
        if job.status == "queued":
            event = NewEvent(key="started", message="Fine-tuning job started")
            append_events(store, connection, job.id, (event,))
            move(store, connection, job, "running")


def _finish(store: Store, lease: Lease, run: JobRun, trained_tokens: int) -> None:
    """Store the model, the result file, the last events and the final state, all at once."""
    last = list_checkpoints(store, lease.job_id, limit=1).data[0]
    with fenced(store, lease) as (connection, job):
        name = str(job.state["fine_tuned_model"])
        results: File = result_file(store, connection, job)
        insert_file(store, connection, results)
        folder = last.folder
        insert_model(connection, run.model(name, folder), is_checkpoint=False)
        said = (
            NewEvent(key="model", message=f"New fine-tuned model created: {name}"),
            NewEvent(key="completed", message="The job has successfully completed"),
        )
        append_events(store, connection, job.id, said)
        found = {"trained_tokens": trained_tokens, "result_files": [results.id]}
        update_state(connection, job, found)
        move(store, connection, job, "succeeded")
