"""Carry one batch from where it stands to its end.

Every step is safe to repeat: a batch that was killed starts here again, and asks nothing that has an
answer.
"""

import asyncio
import shutil
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from selftune.core.errors import Conflict, NotFound
from selftune.core.records import File, Job, JobError
from selftune.jobs.queue import EXPIRED, Lease, fenced, move, reset_attempts, update_state
from selftune.serve.batches.answers import Answers, with_space
from selftune.serve.batches.asking import AT_ONCE, Ask, Asking, Close
from selftune.serve.batches.lines import check_lines, requests_of
from selftune.store.batches import Batch, LineError, get_batch_in, note_batch
from selftune.store.blobs import CHUNK_BYTES
from selftune.store.files import get_file, insert_file
from selftune.store.store import Store

INPUT, OUTPUT = "batch", "batch_output"
"""Purposes of files."""
_TICK_SECONDS = 0.25
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 0.1
_EXPIRED = (
    "batch_expired",
    "This request could not be executed before the completion window expired.",
)


class Run(NamedTuple):
    """A batch at work."""

    store: Store
    lease: Lease
    batch: Batch
    path: Path
    answers: Answers


async def _nothing() -> None:
    return


def carry_out(store: Store, lease: Lease, ask: Ask, close: Close = _nothing) -> None:
    """Ask, keep, and end the batch.

    Raises:
        SelftuneError: its files cannot be stored.
        Interrupted: the batch belongs to another worker now.

    """
    with fenced(store, lease) as (connection, _):
        batch = get_batch_in(connection, lease.job_id)
    path = _input(store, batch)
    if isinstance(path, LineError):
        _refuse(store, lease, (path,))
    elif batch.in_progress_at is not None or _begin(store, lease, batch, path):
        with closing(_answers(store, batch)) as answers:
            run = Run(store, lease, batch, path, answers)
            asyncio.run(_answer_all(run, ask, close))
            _end(run)


def _input(store: Store, batch: Batch) -> Path | LineError:
    """Return where the requests are, or why they cannot be read.

    It is a copy: the file may be deleted before the batch is over.
    """
    name, path = batch.input_file_id, _folder(store, batch) / "input.jsonl"
    if path.exists():
        return path
    try:
        file = get_file(store, batch.project_id, name)
        if file.purpose == INPUT:
            partial = path.with_suffix(".part")
            shutil.copyfile(store.blobs.local_path(file.sha256), partial)
            return partial.replace(path)
    except (NotFound, FileNotFoundError):
        message = f"Cannot find file {name}, or organization does not have access to it."
        return LineError(code="invalid_request", message=message, param="input_file_id")
    message = f"The file {name} has the purpose '{file.purpose}': it must be '{INPUT}'."
    return LineError(code="invalid_request", message=message, param="input_file_id")


def _folder(store: Store, batch: Batch) -> Path:
    folder = store.folder("runs") / batch.id
    folder.mkdir(exist_ok=True)
    return folder


def _refuse(store: Store, lease: Lease, errors: tuple[LineError, ...]) -> None:
    """End a batch that was not begun."""
    first = errors[0]
    error = JobError(code=first.code, message=first.message, param=first.param)
    with fenced(store, lease) as (connection, job):
        note_batch(connection, job.id, errors=errors)
        move(store, connection, job, "failed", error=error)


def _begin(store: Store, lease: Lease, batch: Batch, path: Path) -> bool:
    """Check every line; return whether there is something to ask."""
    checked = check_lines(path, batch.endpoint)
    if checked.errors:
        _refuse(store, lease, checked.errors)
        return False
    with fenced(store, lease) as (connection, job):
        told = {"total": checked.total, "model": checked.model, "in_progress_at": store.now()}
        note_batch(connection, job.id, **told)
        move(store, connection, job, "running")
    return True


def _answers(store: Store, batch: Batch) -> Answers:
    """Open the answers; a child that was just killed may hold them for a moment."""
    folder, until = _folder(store, batch), time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return Answers(folder)
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)


async def _answer_all(run: Run, ask: Ask, close: Close) -> None:
    """Ask until every request has its answer, the time is over, or nobody wants to know."""
    asking = Asking(run.store, run.batch, requests_of(run.path), run.answers, ask)
    tasks = [asyncio.create_task(asking.work()) for _ in range(AT_ONCE)]
    try:
        while True:
            _, left = await asyncio.wait(
                tasks, timeout=_TICK_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
            if not _goes_on(run) or not left:
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close()


def _goes_on(run: Run) -> bool:
    """Tell how far the batch has come; return whether to go on with it."""
    run.answers.sync()
    now = with_space(partial(_tell, run))
    return now.cancelling_at is None and not _is_over(run)


def _tell(run: Run) -> Batch:
    answers = run.answers
    with fenced(run.store, run.lease) as (connection, job):
        before = get_batch_in(connection, job.id)
        if (before.completed, before.failed) != (answers.completed, answers.failed):
            _note_counts(run, connection)
            reset_attempts(connection, job.id)
        return before


def _note_counts(run: Run, connection: Connection) -> None:
    answers = run.answers
    note_batch(
        connection,
        run.batch.id,
        completed=answers.completed,
        failed=answers.failed,
        usage=answers.usage,
    )


def _is_over(run: Run) -> bool:
    return run.store.clock() >= run.batch.expires_at


def _end(run: Run) -> None:
    """Deliver what was answered, and say how the batch ended."""
    is_cancelled = with_space(partial(_finalize, run))
    is_expired = not is_cancelled and _is_over(run) and _give_up_unanswered(run)
    run.answers.sync()
    with_space(partial(_deliver, run, is_expired=is_expired))


def _finalize(run: Run) -> bool:
    """Say that all was asked that is; return whether that is so because of a cancel."""
    with fenced(run.store, run.lease) as (connection, job):
        note_batch(connection, job.id, finalizing_at=run.store.now())
        return get_batch_in(connection, job.id).cancelling_at is not None


def _deliver(run: Run, *, is_expired: bool) -> None:
    files = [_delivered(run, path) for path in run.answers.paths]
    with fenced(run.store, run.lease) as (connection, job):
        for name, file in zip(("output_file_id", "error_file_id"), files, strict=True):
            if file is not None:
                insert_file(run.store, connection, file)
                note_batch(connection, job.id, **{name: file.id})
        _note_counts(run, connection)
        is_cancelled = get_batch_in(connection, job.id).cancelling_at is not None
        _move(run, connection, job, is_cancelled=is_cancelled, is_expired=is_expired)


def _move(
    run: Run, connection: Connection, job: Job, *, is_cancelled: bool, is_expired: bool
) -> None:
    if is_cancelled:
        move(run.store, connection, job, "cancelled")
        return
    if is_expired:
        note_batch(connection, job.id, expired_at=run.store.now())
        update_state(connection, job, {EXPIRED: True})
        job = job.model_copy(update={"state": job.state | {EXPIRED: True}})
    move(run.store, connection, job, "succeeded")


def _give_up_unanswered(run: Run) -> bool:
    """Say of each request without an answer that there was no time; return whether there is one."""
    answers, found = run.answers, False
    for request in requests_of(run.path):
        if request.custom_id not in answers.done:
            found = True
            name = run.store.ids.new("batch_req_")
            with_space(partial(answers.give_up, name, request.custom_id, *_EXPIRED))
    return found


def _delivered(run: Run, path: Path) -> File | None:
    """Return a file with what was answered, not stored yet; None where there is nothing."""
    if path.stat().st_size == 0:
        return None
    with run.store.blobs.writer() as writer, path.open("rb") as lines:
        while chunk := lines.read(CHUNK_BYTES):
            writer.write(chunk)
        blob = writer.commit()
    now, lasts = run.store.now(), run.batch.output_seconds
    return File(
        id=run.store.ids.new("file-"),
        project_id=run.batch.project_id,
        filename=f"{run.batch.id}_{path.name}",
        purpose=OUTPUT,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=now,
        expires_at=None if lasts is None else now + lasts,
    )
