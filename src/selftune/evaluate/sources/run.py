"""Carry one run of an eval from where it stands to its end.

Every step is safe to repeat: a run that was killed starts here again, asks nothing that was answered,
and keeps nothing that was kept.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

import orjson

from selftune.core.errors import Conflict, JobFailed, NotFound, Unavailable
from selftune.evaluate.arms import Arm
from selftune.evaluate.evalfile import Limits
from selftune.evaluate.responses import Responses
from selftune.evaluate.runner import run_evaluation
from selftune.evaluate.sources.create import item_schema_of
from selftune.evaluate.sources.data_source import (
    DataSource,
    FileContent,
    FileId,
    StoredCompletions,
    read_data_source,
)
from selftune.evaluate.sources.item_schema import item_check
from selftune.evaluate.sources.items import (
    ItemMaker,
    RawRow,
    content_rows,
    file_rows,
    stored_rows,
)
from selftune.evaluate.sources.recorder import Recorder
from selftune.evaluate.sources.sampling import chat_words
from selftune.evaluate.task import Backing, Task
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.queue import Lease, fenced, move
from selftune.store.completions import ARCHIVED, CompletionQuery, each_completion
from selftune.store.eval_runs import Run, get_run_by_id
from selftune.store.evals import Eval, get_eval
from selftune.store.files import get_file
from selftune.store.store import Store

LIMITS = Limits()
_LOOKED_AT = 20
"""Rows of a file that are looked at first: if none of them is one, it is no file of rows."""
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.1


def carry_out(store: Store, lease: Lease, backing: Backing) -> None:
    """Ask, grade and keep; then end the run.

    Raises:
        JobFailed: there is nothing to grade.
        SelftuneError: whom it asks will never answer.
        Interrupted: the run was canceled, or belongs to another worker now.

    """
    run = get_run_by_id(store, lease.job_id)
    made = get_eval(store, run.project_id, run.eval_id)
    source = read_data_source(orjson.loads(run.data_source))
    _begin(store, lease)
    recorder = Recorder(store, run, lease, made.criteria)
    check = item_check(item_schema_of(made), with_patterns=True)
    maker = ItemMaker(source, check)
    with _rows(store, run, made, source) as rows, _responses(store, run) as responses:
        task = Task(
            items=lambda: recorder.unfinished(rows, maker),
            arms=_arms(source, backing),
            graders=tuple(each.grader for each in made.criteria),
            limits=LIMITS,
        )
        with _space():
            run_evaluation(
                task,
                backing,
                responses,
                lambda result: recorder.take(result, source),
                lambda progress: recorder.keep(),
            )
    recorder.keep(all_of_them=True)
    _end(store, lease)


def _begin(store: Store, lease: Lease) -> None:
    with fenced(store, lease) as (connection, job):
        if job.status == "queued":
            event = NewEvent(key="started", message="Eval run started")
            append_events(store, connection, job.id, (event,))
            move(store, connection, job, "running")


def _end(store: Store, lease: Lease) -> None:
    with fenced(store, lease) as (connection, job):
        event = NewEvent(key="completed", message="Eval run completed")
        append_events(store, connection, job.id, (event,))
        move(store, connection, job, "succeeded")


def _arms(source: DataSource, backing: Backing) -> tuple[Arm, ...]:
    if not source.is_asking or source.model is None:
        return ()
    endpoint = backing.place(source.model)
    words = chat_words(source)
    return (Arm(name=source.model, model=source.model, endpoint=endpoint, sampling=words),)


@contextmanager
def _rows(store: Store, run: Run, made: Eval, source: DataSource) -> Iterator[Iterator[RawRow]]:
    """Open the rows of a data source.

    Raises:
        JobFailed: there is none.

    """
    found = source.source
    if isinstance(found, FileContent):
        yield content_rows(found)
    elif isinstance(found, FileId):
        with _path(store, run, found.id).open("rb") as file:
            yield _seen(file_rows(file), f"The file '{found.id}'")
    else:
        queries = _queries(made, source)
        kept = chain(*(each_completion(store, run.project_id, query) for query in queries))
        yield _seen(stored_rows(islice(kept, queries[0].limit)), "What was stored")


def _path(store: Store, run: Run, file_id: str) -> Path:
    try:
        return store.blobs.local_path(get_file(store, run.project_id, file_id).sha256)
    except (NotFound, FileNotFoundError) as error:
        raise JobFailed(
            f"The file '{file_id}' cannot be read: it was deleted.", code="file_not_found"
        ) from error


def _seen(rows: Iterator[RawRow], what: str) -> Iterator[RawRow]:
    """Return rows of which the first ones were looked at."""
    first = list(islice(rows, _LOOKED_AT))
    if not first:
        raise JobFailed(f"{what} has no rows that are wanted.", code="empty_data_source")
    if all(row.problem is not None for row in first):
        raise JobFailed(
            f"{what} cannot be read: {first[0].problem} Each line must be a JSON object with an "
            'object "item".',
            code="invalid_data_source",
        )
    return chain(first, rows)


def _queries(made: Eval, source: DataSource) -> tuple[CompletionQuery, ...]:
    """Return which completions or responses are meant, older ones first: the eval's filter counts."""
    found = source.source
    given = found.model_dump(exclude={"type", "metadata"}, exclude_none=True)
    of_eval = made.config.get("metadata") or {}
    of_run = getattr(found, "metadata", None) or {}
    wanted = given | {"metadata": of_eval | of_run}
    is_chat = isinstance(found, StoredCompletions)
    kinds = (ARCHIVED, "chat.completion") if is_chat else ("response",)
    return tuple(CompletionQuery.model_validate(wanted | {"kind": kind}) for kind in kinds)


@contextmanager
def _responses(store: Store, run: Run) -> Iterator[Responses]:
    """Open the log of answers; a child that was just killed may hold it for a moment."""
    path = store.folder("runs") / run.id / "responses.jsonl"
    opened = _patiently(lambda: Responses(path))
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def _space() -> Iterator[None]:
    """Say it in words for callers when the log of answers found the disk full."""
    try:
        yield
    except Unavailable as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise JobFailed(
            "The server's disk is full. Free space, then create the run again.", code="disk_full"
        ) from error


def _patiently(opening: Callable[[], Responses]) -> Responses:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return opening()
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
