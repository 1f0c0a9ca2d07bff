"""A tuned model of an archive -> a job here, trained from the same files, answering under the old name.

A job carries the old name in its metadata. So the same command again finds it, waits for it, or sees
that it is done.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput, NotFound, SelftuneError
from selftune.core.records import File, Identity, Job, JobError, Record
from selftune.jobs.events import NewEvent, append_events
from selftune.jobs.queue import JobQuery, list_jobs
from selftune.models.chosen import catalog_of
from selftune.models.listed import base_of
from selftune.models.own_catalog import set_replacement
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.trained import chain_of, files_of
from selftune.rescue.retrain.translate import Translated, translate
from selftune.store.files import list_files, save_file
from selftune.store.store import Store
from selftune.store.whole_files import alone
from selftune.train.create import KIND
from selftune.worker import run_until_done
from selftune.workflow import FinetuneRequest, create_finetuning_job

MARK = "rescued"
"""Key of a job's metadata: the name of the model that it replaces."""
_LOCK = "retrain"
_OPEN = ("validating_files", "queued", "running", "pausing", "paused")
_CHUNK = 1 << 20
_MOST_PAIRS = 16


class Wishes(Record):
    """What the user wants, over what the archive says."""

    base: str | None = None
    """Absent, what the name of the old base stands for on this machine."""
    training: Path | None = None
    """A file in place of the archived one."""
    validation: Path | None = None
    """As `training`."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    again: bool = False
    """Train anew, even where it was done."""
    waits: bool = True
    alias: bool = True


class Retrained(Record):
    """What became of one model."""

    old: str
    status: str
    """Of the job; `refused` where there is none."""
    job: str | None = None
    model: str | None = None
    """The replacement."""
    base: str | None = None
    said: tuple[str, ...] = ()
    """What is different from the old job."""
    replaces: bool = False
    """The old name answers with it now."""
    reason: str = ""
    """Why it is not done."""


class _Rows(NamedTuple):
    paths: tuple[Path, ...]
    name: str


def retrain(
    store: Store,
    identity: Identity,
    archive: Archive,
    old: str,
    wishes: Wishes,
    watch: Callable[[Job], None] = lambda job: None,
) -> Retrained:
    """Train the replacement of one model, or go on with it; let it answer under the old name."""
    try:
        with alone(store.root / _LOCK):  # else two commands would both begin
            job, said = _begun(store, identity, archive, old, wishes)
    except (InvalidInput, NotFound) as error:
        return Retrained(old=old, status="refused", reason=_with_remedy(error))
    if wishes.waits and job.status in _OPEN:
        job = run_until_done(store, job.id, identity.project_id, watch)
    model = str(job.state["fine_tuned_model"]) if job.status == "succeeded" else None
    if model is not None and wishes.alias:
        set_replacement(store.root, old, model)
    return Retrained(
        old=old,
        status=job.status,
        job=job.id,
        model=model,
        base=str(job.spec["base"]),
        said=said,
        replaces=model is not None and wishes.alias,
        reason="" if job.error is None else _with_remedy(job.error),
    )


def _begun(
    store: Store, identity: Identity, archive: Archive, old: str, wishes: Wishes
) -> tuple[Job, tuple[str, ...]]:
    """Return the job of a model, found or created, and what is different in it."""
    files = files_of(archive, old)
    if files.job is None:
        raise _unknown(archive, old)
    found = translate(files.job, wishes.hyperparameters)
    name = wishes.base or _base_of(store, files.job)
    base = catalog_of(store.settings).trainable(name)
    own = {"training_file": wishes.training, "validation_file": wishes.validation}
    given = {
        param: _keep(store, identity, _Rows((path,), path.name)).id
        for param, path in own.items()
        if path is not None
    }
    same = {"base": base.id, "hyperparameters": found.hyperparameters.model_dump(mode="json")}
    known = None if wishes.again else _known(store, identity, old, same | given)
    if known is not None:
        return known, found.said
    said = found.said
    if "training_file" not in given:
        rows = _rows(archive, old)
        given["training_file"] = _keep(store, identity, rows).id
    if "validation_file" not in given and files.validation is not None:
        rows = _Rows((files.validation,), "validation.jsonl")
        given["validation_file"] = _keep(store, identity, rows).id
    elif "validation_file" not in given and (lost := files.job.get("validation_file")):
        said += (f"no validation: its file {lost} is not in the archive (--validation gives one)",)
    wanted = _request(files.job, old, found) | given | {"model": name}
    try:
        request = FinetuneRequest.model_validate(wanted)
    except ValidationError as problem:
        first = problem.errors()[0]
        what = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"The archived job {files.job.get('id')}: {what}: {first['msg']}."
        ) from None
    job = create_finetuning_job(store, identity, request)
    _tell(store, job, old, files.job, said)
    return job, said


def _request(there: Mapping[str, Any], old: str, found: Translated) -> dict[str, Any]:
    """Return what a job takes over from the old one."""
    pairs = there.get("metadata")
    kept = {str(k): str(v) for k, v in pairs.items()} if isinstance(pairs, Mapping) else {}
    kept.pop(MARK, None)
    return {
        "suffix": there.get("user_provided_suffix") or there.get("suffix"),  # Azure says `suffix`
        "seed": there.get("seed"),
        "method": found.method,
        "hyperparameters": found.hyperparameters,
        "grader": found.grader,
        "response_format": found.response_format,
        "metadata": dict(list(kept.items())[: _MOST_PAIRS - 1]) | {MARK: old},
    }


def _unknown(archive: Archive, old: str) -> NotFound:
    """Return the error of a model that the archive does not know, with the likeliest other name."""
    jobs = (each.object for each in archive.list("job") if isinstance(each.object, dict))
    names = [str(job["fine_tuned_model"]) for job in jobs if job.get("fine_tuned_model")]
    near = get_close_matches(old, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(names) or 'none at all'}."
    return NotFound(f"The archive has no job that made {old!r}. {hint}")


def _with_remedy(problem: SelftuneError | JobError) -> str:
    """Return what is wrong, with the option that mends it, where one does."""
    param = problem.param or ""
    if param in ("model", "method.type"):
        return (
            f"{problem.message} Another base is chosen with --base NAME: `selftune models list --all` "
            "shows them."
        )
    if param.endswith("_file"):
        return f"{problem.message} Another file is given with --{param.removesuffix('_file')} FILE."
    return problem.message


def _base_of(store: Store, there: Mapping[str, Any]) -> str:
    """Return the name to train: that of the old base, if it stands for one here."""
    name = base_of(str(there.get("model")))
    if catalog_of(store.settings).find(name) is None:
        raise InvalidInput(
            f"It was tuned from {name}, which stands for no base here: choose one with --base; "
            "`selftune models list --all` names them."
        )
    return name


def _known(store: Store, identity: Identity, old: str, wanted: Mapping[str, Any]) -> Job | None:
    """Return the newest job for this model that is under way or done, trained as it is wanted."""
    query = JobQuery(metadata={MARK: old}, limit=100)
    for job in list_jobs(store, identity.project_id, KIND, query).data:
        same = all(job.spec.get(name) == value for name, value in wanted.items())
        if same and job.status in (*_OPEN, "succeeded"):
            return job
    return None


def _rows(archive: Archive, old: str) -> _Rows:
    """Return the files to train on: the model's own after those of the models it was tuned from."""
    paths: list[Path] = []
    for name, files in chain_of(archive, old):
        if files.job is None:
            raise InvalidInput(f"It was tuned from {name}, of which the archive has no job.")
        if files.training is None:
            lost = files.job.get("training_file")
            whose = "" if name == old else f" of {name}, from which it was tuned"
            raise InvalidInput(
                f"Its training file {lost}{whose} is not in the archive: give one with --training. "
                "Recorded answers are for tests; whether they may be trained on is for the "
                "provider's terms to say."
            )
        paths.insert(0, files.training)
    return _Rows(tuple(paths), f"{old.replace(':', '-')}.jsonl")


def _keep(store: Store, identity: Identity, rows: _Rows) -> File:
    """Store rows as a file of the home, unless it is there; several files become one."""
    with store.blobs.writer() as writer:
        for path in rows.paths:
            last = b""
            with path.open("rb") as handle:
                while chunk := handle.read(_CHUNK):
                    writer.write(chunk)
                    last = chunk
            if last and not last.endswith(b"\n"):
                writer.write(b"\n")
        blob = writer.commit()
    for each in list_files(store, identity.project_id, purpose="fine-tune").data:
        if each.sha256 == blob.sha256 and each.expires_at is None:
            return each
    file = File(
        id=store.ids.new("file-"),
        project_id=identity.project_id,
        filename=rows.name,
        purpose="fine-tune",
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_file(store, file)
    return file


def _tell(
    store: Store, job: Job, old: str, there: Mapping[str, Any], said: tuple[str, ...]
) -> None:
    """Write into the job's events what it replaces, and what is different."""
    first = f"Replaces {old}, which the job {there.get('id')} made from {there.get('model')}"
    events = tuple(
        NewEvent(key=f"rescued-{number}", message=words)
        for number, words in enumerate((first, *said))
    )
    try:
        with store.db.write() as connection:
            append_events(store, connection, job.id, events)
    except SelftuneError:  # the job stands; only its story is shorter
        return
