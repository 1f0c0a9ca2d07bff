"""Create a fine-tuning job: everything that can be decided before any work, saved as intent."""

import re
from typing import Any, get_args

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import (
    Hyperparameters,
    Identity,
    Job,
    Method,
    Model,
    Record,
    TrainOptions,
    TrainSpec,
)
from selftune.jobs.events import NewEvent
from selftune.jobs.queue import enqueue, get_job
from selftune.models.chosen import catalog_of, choice
from selftune.store.creations import Creation, recall, remember
from selftune.store.files import get_file
from selftune.store.models import get_model
from selftune.store.store import Store
from selftune.train.engines import WITHOUT_DEVICES
from selftune.train.methods import check_method
from selftune.train.room import device_memory
from selftune.train.tracker import check_integrations

KIND = "fine_tuning"
START = "start_folder"
"""In a job's state: the folder of the model that it goes on from, relative to the home folder. It
stays for the job, even if that model is deleted meanwhile."""
_MAX_SEED = 2_147_483_647
_MAX_SUFFIX = 64


class FinetuneRequest(Record):
    """What a caller asks for."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    method: Method = "supervised"
    hyperparameters: Hyperparameters = Hyperparameters()
    options: TrainOptions = TrainOptions()
    grader: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    method_given: bool = True
    metadata: dict[str, str] | None = None
    integrations: tuple[dict[str, Any], ...] = ()
    priority: int = 0


def create_finetuning_job(
    store: Store, identity: Identity, request: FinetuneRequest, creation: Creation | None = None
) -> Job:
    """Save a job that a worker will take; nothing has started when this returns.

    Whether a grader is one is for `workflow` to check: this stage knows none.

    Raises:
        InvalidInput: the model cannot be trained so, or a file is not there, in OpenAI's words.

    """
    spec = _spec(store, identity, request)
    root = root_of(store, identity.project_id, spec.base)
    devices = 0 if spec.engine in WITHOUT_DEVICES else spec.options.devices
    job = Job(
        id=store.ids.new("ftjob-"),
        project_id=identity.project_id,
        kind=KIND,
        status="validating_files",
        priority=request.priority,
        spec=spec.model_dump(mode="json"),
        state={
            "fine_tuned_model": _model_name(store, identity, spec),
            "root": root,
            START: _start_folder(store, identity, spec),
        },
        metadata=request.metadata,
        devices=devices,
        device_memory=_memory(store, identity, spec, root) if devices else None,
        created_at=store.now(),
    )
    first = (
        NewEvent(key="created", message=f"Created fine-tuning job: {job.id}"),
        NewEvent(key="base", message=_base_message(store, spec)),
    )
    with store.db.write() as connection:
        earlier = recall(store, connection, creation) if creation is not None else None
        if earlier is None:
            enqueue(store, connection, job, first)
            if creation is not None:
                remember(store, connection, creation, job.id)
    return get_job(store, identity.project_id, earlier or job.id)


def root_of(store: Store, project_id: str, name: str) -> str:
    """Return the catalogue id that a model comes from in the end; of a base, its own."""
    while name.startswith("ft:"):
        try:
            model = get_model(store, project_id, name)
        except NotFound:  # a parent that was deleted
            break
        name = _root_of_job(store, model) or model.base
    return name


def _root_of_job(store: Store, model: Model) -> str | None:
    """Return what a model's job knows of its root, whatever became of the models between."""
    if model.job_id is None or model.project_id is None:
        return None
    try:
        found = get_job(store, model.project_id, model.job_id).state.get("root")
    except NotFound:
        return None
    return None if found is None else str(found)


def _spec(store: Store, identity: Identity, request: FinetuneRequest) -> TrainSpec:
    check_integrations(request.integrations)
    _check_file(store, identity, request.training_file, "training_file")
    if request.validation_file is not None:
        _check_file(store, identity, request.validation_file, "validation_file")
    model, base, engine = _resolve(store, identity, request.model)
    seed = request.seed if request.seed is not None else _draw_seed(store)
    spec = TrainSpec(
        model=model,
        base=base,
        engine=engine,
        method=request.method,
        training_file=request.training_file,
        validation_file=request.validation_file,
        hyperparameters=request.hyperparameters,
        options=request.options,
        grader=request.grader,
        response_format=request.response_format,
        method_given=request.method_given,
        seed=seed,
        suffix=request.suffix,
        integrations=request.integrations,
        metadata=request.metadata,
    )
    root = catalog_of(store.settings).find(root_of(store, identity.project_id, base))
    check_method(spec, get_args(Method) if root is None else root.methods)
    return spec


def _resolve(store: Store, identity: Identity, name: str) -> tuple[str, str, str]:
    """Return the name to echo, the model to start from and the engine that trains it."""
    known = catalog_of(store.settings)
    name = known.answering(name)
    if not name.startswith("ft:"):
        base = known.trainable(name)
        return known.snapshot(name), base.id, base.engine
    try:
        model = get_model(store, identity.project_id, name)
    except NotFound as unknown:
        raise InvalidInput(
            f"Model {name} is not available for fine-tuning or does not exist.",
            code="model_not_available",
            param="model",
        ) from unknown
    return model.id, model.id, model.engine


def _check_file(store: Store, identity: Identity, file_id: str, param: str) -> None:
    try:
        file = get_file(store, identity.project_id, file_id)
    except NotFound as unknown:
        raise InvalidInput(
            f"File '{file_id}' given as {param} does not exist.", code="file_not_found", param=param
        ) from unknown
    if file.purpose != "fine-tune":
        raise InvalidInput(
            f"File '{file_id}' given as {param} has the purpose '{file.purpose}': it must be "
            "'fine-tune'.",
            code="invalid_file_purpose",
            param=param,
        )


def _start_folder(store: Store, identity: Identity, spec: TrainSpec) -> str | None:
    is_base = not spec.base.startswith("ft:")
    return None if is_base else get_model(store, identity.project_id, spec.base).folder


def _memory(store: Store, identity: Identity, spec: TrainSpec, root: str) -> int | None:
    files = tuple(name for name in (spec.training_file, spec.validation_file) if name is not None)
    base = catalog_of(store.settings).find(root)
    return device_memory(store, identity.project_id, spec, base, files=files)


def _model_name(store: Store, identity: Identity, spec: TrainSpec) -> str:
    """Return `ft:{base}:{organisation}:{suffix}:{8 characters}`: five parts, as programs expect."""
    base = spec.model.split(":")[1] if spec.model.startswith("ft:") else spec.model
    base = base.replace("/", "-")
    suffix = re.sub(r"[^a-z0-9-]+", "-", (spec.suffix or "").lower()).strip("-")[:_MAX_SUFFIX]
    return f"ft:{base}:{identity.organization}:{suffix}:{store.ids.letters(8)}"


def _base_message(store: Store, spec: TrainSpec) -> str:
    if spec.model == spec.base:
        return f"Training {spec.base} with the engine {spec.engine!r} on this server"
    reason = choice(store.settings, spec.model).reason
    return (
        f"The name {spec.model} stands for {spec.base} on this server ({reason}): that model is "
        f"trained, with the engine {spec.engine!r}"
    )


def _draw_seed(store: Store) -> int:
    return int(store.ids.hexadecimal(8), 16) % (_MAX_SEED + 1)
