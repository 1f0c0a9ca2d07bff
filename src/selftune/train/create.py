"""Create a fine-tuning job: everything that can be decided before any work, saved as intent."""

import re
from typing import Any

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Hyperparameters, Identity, Job, Record, TrainSpec
from selftune.jobs.events import NewEvent
from selftune.jobs.queue import enqueue, get_job
from selftune.models.catalog import catalog
from selftune.store.creations import Creation, recall, remember
from selftune.store.files import get_file
from selftune.store.models import get_model
from selftune.store.store import Store

KIND = "fine_tuning"
_MAX_SEED = 2_147_483_647
_MAX_SUFFIX = 64


class FinetuneRequest(Record):
    """What a caller asks for."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    method_given: bool = True
    metadata: dict[str, str] | None = None
    integrations: tuple[dict[str, Any], ...] = ()
    priority: int = 0


def create_finetuning_job(
    store: Store, identity: Identity, request: FinetuneRequest, creation: Creation | None = None
) -> Job:
    """Save a job that a worker will take; nothing has started when this returns.

    Raises:
        InvalidInput: the model cannot be trained or a file is not there, in OpenAI's words.

    """
    spec = _spec(store, identity, request)
    job = Job(
        id=store.ids.new("ftjob-"),
        project_id=identity.project_id,
        kind=KIND,
        status="validating_files",
        priority=request.priority,
        spec=spec.model_dump(mode="json"),
        state={"fine_tuned_model": _model_name(store, identity, spec)},
        metadata=request.metadata,
        created_at=store.now(),
    )
    first = (
        NewEvent(key="created", message=f"Created fine-tuning job: {job.id}"),
        NewEvent(key="base", message=_base_message(spec)),
    )
    with store.db.write() as connection:
        earlier = recall(store, connection, creation) if creation is not None else None
        if earlier is None:
            enqueue(store, connection, job, first)
            if creation is not None:
                remember(store, connection, creation, job.id)
    return get_job(store, identity.project_id, earlier or job.id)


def _spec(store: Store, identity: Identity, request: FinetuneRequest) -> TrainSpec:
    _check_file(store, identity, request.training_file, "training_file")
    if request.validation_file is not None:
        _check_file(store, identity, request.validation_file, "validation_file")
    model, base, engine = _resolve(store, identity, request.model)
    seed = request.seed if request.seed is not None else _draw_seed(store)
    return TrainSpec(
        model=model,
        base=base,
        engine=engine,
        training_file=request.training_file,
        validation_file=request.validation_file,
        hyperparameters=request.hyperparameters,
        method_given=request.method_given,
        seed=seed,
        suffix=request.suffix,
        integrations=request.integrations,
        metadata=request.metadata,
    )


def _resolve(store: Store, identity: Identity, name: str) -> tuple[str, str, str]:
    """Return the name to echo, the model to start from and the engine that trains it."""
    if not name.startswith("ft:"):
        base = catalog().trainable(name)
        return catalog().snapshot(name), base.id, base.engine
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


def _model_name(store: Store, identity: Identity, spec: TrainSpec) -> str:
    """Return `ft:{base}:{organisation}:{suffix}:{8 characters}`: five parts, as programs expect."""
    base = spec.model.split(":")[1] if spec.model.startswith("ft:") else spec.model
    base = base.replace("/", "-")
    suffix = re.sub(r"[^a-z0-9-]+", "-", (spec.suffix or "").lower()).strip("-")[:_MAX_SUFFIX]
    return f"ft:{base}:{identity.organization}:{suffix}:{store.ids.letters(8)}"


def _base_message(spec: TrainSpec) -> str:
    if spec.model == spec.base:
        return f"Training {spec.base} with the engine {spec.engine!r} on this server"
    return (
        f"The name {spec.model} stands for {spec.base} on this server: that model is trained, "
        f"with the engine {spec.engine!r}"
    )


def _draw_seed(store: Store) -> int:
    return int(store.ids.hexadecimal(8), 16) % (_MAX_SEED + 1)
