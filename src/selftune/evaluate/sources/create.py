"""Create, cancel and delete evals and their runs: all that happens before and after the work."""

import secrets
import uuid
from typing import Any

import orjson

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.ids import IdSource
from selftune.core.records import Identity, Job, Record
from selftune.evaluate.sources.data_source import (
    DataSource,
    FileContent,
    FileId,
    echo,
    read_data_source,
)
from selftune.evaluate.sources.item_schema import (
    STORED_ITEM_SCHEMA,
    check_schema,
    item_check,
    row_schema,
)
from selftune.evaluate.sources.messages import check_messages
from selftune.evaluate.sources.sampling import chat_words
from selftune.jobs.events import NewEvent
from selftune.jobs.queue import EVAL_RUN, cancel_job, enqueue
from selftune.jobs.states import is_terminal
from selftune.store.creations import Creation, recall, remember
from selftune.store.eval_runs import Run, drop_run, get_run, insert_run, run_ids
from selftune.store.evals import Criterion, Eval, drop_eval, get_eval, insert_eval
from selftune.store.files import get_file
from selftune.store.store import Store

FILE_PURPOSES = ("evals", "fine-tune", "user_data")
_UNTITLED = "Untitled eval"


class NewCriterion(Record):
    """A grader that was checked."""

    shown: dict[str, Any]
    grader: dict[str, Any]


class EvalRequest(Record):
    """What a caller asks for."""

    name: str | None = None
    config_type: str
    item_schema: dict[str, Any] | None = None
    """Of a custom config."""
    with_sample: bool = False
    filter: dict[str, str] | None = None
    """Metadata of the logs that are meant."""
    criteria: tuple[NewCriterion, ...]
    metadata: dict[str, str] | None = None


class RunRequest(Record):
    """What a caller asks for."""

    name: str | None = None
    data_source: dict[str, Any]
    metadata: dict[str, str] | None = None


def create_eval(store: Store, identity: Identity, wanted: EvalRequest, creation: Creation) -> Eval:
    """Save an eval.

    Raises:
        InvalidInput: the items' schema is none.

    """
    now = store.clock()
    made = Eval(
        id=store.ids.new("eval_"),
        project_id=identity.project_id,
        name=wanted.name or _UNTITLED,
        config=_config(wanted),
        criteria=tuple(_criterion(store.ids, each) for each in wanted.criteria),
        metadata=wanted.metadata or {},
        created_at=int(now),
        updated_at=now,
    )
    with store.db.write() as connection:
        earlier = recall(store, connection, creation)
        if earlier is None:
            insert_eval(connection, made)
            remember(store, connection, creation, made.id)
    return get_eval(store, identity.project_id, earlier or made.id)


def create_run(
    store: Store, identity: Identity, made: Eval, wanted: RunRequest, creation: Creation
) -> Run:
    """Save a run that a worker will take; nothing has started when this returns.

    Raises:
        InvalidInput: the data source is none, or its rows do not fit the eval.

    """
    source = read_data_source(wanted.data_source)
    _check_source(store, identity, made, source)
    model = source.model if source.is_asking else None
    run = Run(
        id=store.ids.new("evalrun_"),
        project_id=identity.project_id,
        eval_id=made.id,
        name=wanted.name or model or made.name,
        model=model or "",
        status="queued",
        data_source=orjson.dumps(echo(wanted.data_source)).decode(),
        report_key=secrets.token_urlsafe(24),
        created_at=store.now(),
    )
    job = Job(
        id=run.id,
        project_id=run.project_id,
        kind=EVAL_RUN,
        status=run.status,
        spec={"eval_id": made.id},
        metadata=wanted.metadata,
        created_at=run.created_at,
    )
    with store.db.write() as connection:
        earlier = recall(store, connection, creation)
        if earlier is None:
            created = NewEvent(key="created", message=f"Created eval run: {run.id}")
            enqueue(store, connection, job, (created,))
            insert_run(connection, run)
            remember(store, connection, creation, run.id)
    return get_run(store, identity.project_id, made.id, earlier or run.id)


def cancel_run(store: Store, run: Run) -> Run:
    """End a run at once; one that was canceled before stays so.

    Raises:
        InvalidInput: it has ended by itself.

    """
    if run.status != "cancelled":
        try:
            cancel_job(store, run.project_id, run.id)
        except InvalidInput as error:
            raise InvalidInput(
                f"The eval run {run.id} has ended: only a queued or running one can be canceled.",
                code="invalid_run_state",
                param="run_id",
            ) from error
    return get_run(store, run.project_id, run.eval_id, run.id)


def delete_run(store: Store, run: Run) -> None:
    """Remove a run and its items; a running one is canceled first."""
    _end(store, run.project_id, run.eval_id, run.id)
    drop_run(store, run.id)


def delete_eval(store: Store, made: Eval) -> None:
    """Remove an eval, its runs and their items; running ones are canceled first."""
    for run_id in run_ids(store, made.id):
        _end(store, made.project_id, made.id, run_id)
    drop_eval(store, made.project_id, made.id)


def _end(store: Store, project_id: str, eval_id: str, run_id: str) -> None:
    """Cancel a run unless it has ended, or ends or disappears meanwhile."""
    try:
        run = get_run(store, project_id, eval_id, run_id)
        if not is_terminal(run.status):
            cancel_run(store, run)
    except (InvalidInput, NotFound):
        return


def _config(wanted: EvalRequest) -> dict[str, Any]:
    if wanted.item_schema is not None:
        check_schema(wanted.item_schema)
        schema = row_schema(wanted.item_schema, with_sample=wanted.with_sample)
        return {"type": wanted.config_type, "schema": schema}
    schema = row_schema(STORED_ITEM_SCHEMA, with_sample=True)
    return {"type": wanted.config_type, "schema": schema, "metadata": wanted.filter or {}}


def _criterion(ids: IdSource, new: NewCriterion) -> Criterion:
    name = f"{new.shown['name']}-{uuid.UUID(hex=ids.hexadecimal(32), version=4)}"
    return Criterion(id=name, shown=new.shown | {"id": name}, grader=new.grader)


def _check_source(store: Store, identity: Identity, made: Eval, source: DataSource) -> None:
    check_messages(source.input_messages)
    chat_words(source)
    if isinstance(source.source, FileId):
        _check_file(store, identity, source.source.id)
    if isinstance(source.source, FileContent):
        _check_rows(made, source.source)


def _check_file(store: Store, identity: Identity, file_id: str) -> None:
    param = "data_source.source.id"
    try:
        file = get_file(store, identity.project_id, file_id)
    except NotFound as unknown:
        raise InvalidInput(
            f"File '{file_id}' given as {param} does not exist.", code="file_not_found", param=param
        ) from unknown
    if file.purpose not in FILE_PURPOSES:
        raise InvalidInput(
            f"File '{file_id}' given as {param} has the purpose '{file.purpose}': it must be one "
            f"of {', '.join(FILE_PURPOSES)}.",
            code="invalid_file_purpose",
            param=param,
        )


def _check_rows(made: Eval, source: FileContent) -> None:
    where = "data_source.source.content"
    if not source.content:
        raise InvalidInput(
            f"Invalid value for '{where}': it has no rows.", code="invalid_value", param=where
        )
    check = item_check(item_schema_of(made), with_patterns=False)
    for number, row in enumerate(source.content):
        problem = check(row.item)
        if problem is not None:
            raise InvalidInput(
                f"Invalid value for '{where}.{number}': it does not fit the eval's item_schema: "
                f"{problem}.",
                code="invalid_value",
                param=f"{where}.{number}.item",
            )


def item_schema_of(made: Eval) -> dict[str, Any]:
    """Return the schema of an eval's items; logs are as they were kept."""
    if made.config["type"] != "custom":
        return {}
    schema: dict[str, Any] = made.config["schema"]["properties"]["item"]
    return schema
