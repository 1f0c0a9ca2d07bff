"""Use archived objects in new work: files and evals are brought into the store on first use.

They keep their ids there, so that a worker, which knows no archive, finds them; the server goes on
answering for them from the archive.
"""

import hashlib
from typing import Any

from sqlalchemy import select
from starlette.requests import Request

from selftune.api.archive.archive import Entry
from selftune.api.archive.shelf import Shelf, missing, unreplaced
from selftune.api.context import Context, context, identity
from selftune.api.evals.wire import criterion_of
from selftune.core.errors import InvalidInput, NotFound, SelftuneError
from selftune.core.records import File, Identity
from selftune.serve.resolve import resolve
from selftune.store.blobs import CHUNK_BYTES, Blob
from selftune.store.evals import Criterion, Eval, insert_eval
from selftune.store.files import insert_file
from selftune.store.schema import evals, files
from selftune.store.store import Store


def bring_file(request: Request, file_id: str | None, param: str) -> None:
    """Make an archived file usable; any other is left to who asks for it.

    Raises:
        InvalidInput: the archive knows the file and lacks its content; says why.

    """
    parts, caller = context(request), identity(request)
    shelf = shelf_of(parts, caller)
    if shelf is None or file_id is None or _is_here(parts.store, files, file_id):
        return
    try:
        entry = shelf.entry("file", file_id)
        if entry is None:
            return
        if entry.blob is None:
            raise missing("file", entry, "the content of ")
    except SelftuneError as error:
        raise InvalidInput(error.message, code=error.code, param=param) from error
    _keep_file(parts.store, caller.project_id, entry, _copied(parts.store, shelf, entry.blob))


def bring_eval(request: Request, eval_id: str) -> None:
    """Make an archived eval usable for new runs, with its criteria under their old names.

    Raises:
        InvalidInput: this server cannot grade by one of its criteria; says which.
        NotFound, PermissionDenied: the archive knows the eval and lacks it; says why.

    """
    parts, caller = context(request), identity(request)
    shelf = shelf_of(parts, caller)
    if shelf is None or _is_here(parts.store, evals, eval_id):
        return
    entry = shelf.entry("eval", eval_id)
    if entry is None:
        return
    store, told = parts.store, entry.object
    now = store.clock()
    made = Eval(
        id=entry.id,
        project_id=caller.project_id,
        name=str(told.get("name") or entry.id),
        config=told.get("data_source_config") or {},
        criteria=tuple(_criteria(told.get("testing_criteria"))),
        metadata={key: str(value) for key, value in (told.get("metadata") or {}).items()},
        created_at=int(now),
        updated_at=now,
    )
    with store.db.write() as connection:
        store.db.lock(connection, made.id)
        if connection.execute(select(evals.c.id).where(evals.c.id == made.id)).first() is None:
            insert_eval(connection, made)


def shelf_of(parts: Context, caller: Identity) -> Shelf | None:
    """Return the archive that a caller may read, if there is one."""
    shelf = parts.shelf
    return shelf if shelf is not None and shelf.is_open_to(caller) else None


def explained(parts: Context, caller: Identity, name: str, error: NotFound) -> NotFound:
    """Return what to say of a model that is not here: of an archived one, why, and what to do."""
    shelf = shelf_of(parts, caller)
    return error if shelf is None or name not in shelf.model_names else unreplaced(name)


def refuse_archived_base(request: Request, name: str) -> None:
    """Refuse to train a model on whose weights nobody has.

    Raises:
        InvalidInput: it is known from the archive only.

    """
    parts, caller = context(request), identity(request)
    shelf = shelf_of(parts, caller)
    if shelf is None or name not in shelf.model_names:
        return
    try:
        resolve(parts.store, caller, name)
    except NotFound as unknown:
        raise InvalidInput(
            f"Model {name} is not available for fine-tuning or does not exist: the archive has its "
            "name and its jobs, but nobody can download the weights of a hosted model. Train a base "
            "on the training files that made it: `selftune rescue retrain` does.",
            code="model_not_available",
            param="model",
        ) from unknown


def _criteria(told: Any) -> list[Criterion]:
    found = []
    for number, each in enumerate(told if isinstance(told, list) else ()):
        new = criterion_of(number, each)
        name = str(each.get("id") or new.shown["name"])
        found.append(Criterion(id=name, shown=new.shown | {"id": name}, grader=new.grader))
    return found


def _copied(store: Store, shelf: Shelf, sha256: str) -> Blob:
    found = hashlib.sha256()
    with store.blobs.writer() as writer, shelf.archive.blob(sha256).open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            found.update(chunk)
            writer.write(chunk)
        if found.hexdigest() != sha256:
            raise InvalidInput(
                f"The content {sha256} of the archive is damaged: `selftune rescue verify` says "
                "what else is."
            )
        return writer.commit()


def _keep_file(store: Store, project_id: str, entry: Entry, blob: Blob) -> None:
    file = File(
        id=entry.id,
        project_id=project_id,
        filename=str(entry.object.get("filename") or f"{entry.id}.jsonl"),
        purpose=str(entry.object.get("purpose") or "fine-tune"),
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),  # lists of this server are in the order in which things came
    )
    with store.db.write() as connection:
        store.db.lock(connection, file.id)
        if connection.execute(select(files.c.id).where(files.c.id == file.id)).first() is None:
            insert_file(store, connection, file)


def _is_here(store: Store, table: Any, name: str) -> bool:
    with store.db.read() as connection:
        query = select(table.c.id).where(table.c.id == name)
        return connection.execute(query).first() is not None
