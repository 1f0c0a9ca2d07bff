"""Fine-tuning in OpenAI's JSON, both ways."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictInt

from selftune.api.context import Storable
from selftune.api.fine_tuning.methods import Numbers, WantedMethod, own_options
from selftune.api.metadata import Metadata
from selftune.core.pages import Page
from selftune.core.records import (
    Checkpoint,
    Event,
    Identity,
    Job,
    Permission,
    TrainSpec,
)
from selftune.train.create import FinetuneRequest
from selftune.train.methods import numbers_of

Text = Annotated[Storable, Field(max_length=512)]


class Wandb(BaseModel):
    """Where Weights & Biases would show a job."""

    project: Storable
    name: Storable | None = None
    entity: Storable | None = None
    tags: list[Storable] | None = None


class Integration(BaseModel):
    """A service that a job reports to."""

    type: Literal["wandb"]
    wandb: Wandb


class CreateJob(BaseModel):
    """The body of a create."""

    model: Annotated[Storable, Field(min_length=1, max_length=300)]
    training_file: Annotated[Storable, Field(max_length=64)]
    validation_file: Annotated[Storable, Field(max_length=64)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=2_147_483_647)] | None = None
    hyperparameters: Numbers | None = None
    method: WantedMethod | None = None
    metadata: Metadata | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None
    selftune: dict[str, Any] | None = None
    """Our own options, which OpenAI's client sends with `extra_body`."""

    def request(self) -> FinetuneRequest:
        """Return what to create. When both are given, `method` wins over `hyperparameters`.

        Raises:
            InvalidInput: the method, its grader or an option is none.

        """
        method = self.method or WantedMethod(type="supervised")
        numbers = method.numbers()
        if numbers is None and method.name() == "supervised":
            numbers = self.hyperparameters
        own = own_options(self.selftune or {})
        return FinetuneRequest(
            model=self.model,
            training_file=self.training_file,
            validation_file=self.validation_file,
            suffix=self.suffix,
            seed=self.seed,
            method=method.name(),
            hyperparameters=(numbers or Numbers()).resolved(),
            options=own.options,
            grader=method.grader(),
            response_format=method.response_format(),
            method_given=self.method is not None,
            metadata=self.metadata,
            integrations=tuple(
                each.model_dump(exclude_none=True) for each in self.integrations or ()
            ),
            priority=own.priority,
        )


def job_json(job: Job, caller: Identity) -> dict[str, Any]:
    """Return a fine-tuning job object."""
    spec, state = TrainSpec.model_validate(job.spec), job.state
    numbers = numbers_of(spec, state.get("hyperparameters", {}))
    succeeded = job.status == "succeeded"
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "created_at": job.created_at,
        "error": _error(job),
        "estimated_finish": state.get("estimated_finish") if job.status == "running" else None,
        "fine_tuned_model": state["fine_tuned_model"] if succeeded else None,
        "finished_at": job.finished_at,
        # OpenAI has null here for other methods; the client wants an object.
        "hyperparameters": numbers if spec.method == "supervised" else {},
        "integrations": spec.integrations,
        "metadata": job.metadata,
        "method": {"type": spec.method, spec.method: _method(spec, numbers)},
        "model": spec.model,
        "organization_id": caller.organization_id,
        "result_files": state.get("result_files", []) if succeeded else [],
        "seed": spec.seed,
        "selftune": {
            "base": spec.base,
            "engine": spec.engine,
            "priority": job.priority,
            **spec.options.model_dump(),
        },
        "shared_with_openai": False,
        "status": job.status,
        "trained_tokens": state.get("trained_tokens") if succeeded else None,
        "training_file": spec.training_file,
        "usage_metrics": None,
        "user_provided_suffix": spec.suffix,
        "validation_file": spec.validation_file,
    }


def _method(spec: TrainSpec, numbers: dict[str, Any]) -> dict[str, Any]:
    given = {"grader": spec.grader, "response_format": spec.response_format}
    return {"hyperparameters": numbers} | {k: v for k, v in given.items() if v is not None}


def _error(job: Job) -> dict[str, Any]:
    """Return the error; an empty one while all is well, so that `job.error.code` can be read."""
    if job.error is None:
        return {"code": "", "message": "", "param": None}
    return job.error.model_dump()


def event_json(event: Event) -> dict[str, Any]:
    """Return an event object."""
    return {
        "object": "fine_tuning.job.event",
        "id": event.id,
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data if event.data is not None else {},
    }


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a checkpoint object."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": checkpoint.model,
        "fine_tuning_job_id": checkpoint.job_id,
        "metrics": checkpoint.metrics,
        "step_number": checkpoint.step,
    }


def checkpoints_json(page: Page[Checkpoint]) -> dict[str, Any]:
    """Return a list of checkpoints."""
    data = [checkpoint_json(checkpoint) for checkpoint in page.data]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }


def permission_json(permission: Permission) -> dict[str, Any]:
    """Return a permission object."""
    return {
        "object": "checkpoint.permission",
        "id": permission.id,
        "created_at": permission.created_at,
        "project_id": permission.project_id,
    }


def permissions_json(permissions: tuple[Permission, ...], *, has_more: bool) -> dict[str, Any]:
    """Return a list of permissions."""
    data = [permission_json(permission) for permission in permissions]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
