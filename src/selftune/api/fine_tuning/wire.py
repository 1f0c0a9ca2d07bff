"""Fine-tuning in OpenAI's JSON, both ways."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictFloat, StrictInt

from selftune.api.context import Storable
from selftune.api.metadata import Metadata
from selftune.core.errors import InvalidInput
from selftune.core.pages import Page
from selftune.core.records import (
    Checkpoint,
    Event,
    Hyperparameters,
    Identity,
    Job,
    Permission,
    TrainSpec,
)
from selftune.train.create import FinetuneRequest

Text = Annotated[Storable, Field(max_length=512)]


class Numbers(BaseModel):
    """Hyperparameters as a caller writes them."""

    n_epochs: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    batch_size: Literal["auto"] | Annotated[StrictInt, Field(ge=1, le=256)] | None = None
    learning_rate_multiplier: (
        Literal["auto"] | Annotated[StrictFloat | StrictInt, Field(gt=0, le=1000)] | None
    ) = None

    def resolved(self) -> Hyperparameters:
        """Return the record; what was not given is `auto`."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return Hyperparameters(**given)


class Supervised(BaseModel):
    """The supervised method's part."""

    hyperparameters: Numbers | None = None


class Method(BaseModel):
    """How to train."""

    type: str
    supervised: Supervised | None = None


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
    method: Method | None = None
    metadata: Metadata | None = None
    integrations: Annotated[list[Integration], Field(max_length=5)] | None = None

    def request(self) -> FinetuneRequest:
        """Return what to create. When both are given, `method` wins over `hyperparameters`."""
        if self.method is not None and self.method.type != "supervised":
            raise InvalidInput(
                f"The method '{self.method.type}' is not available on this server yet: "
                "'supervised' is.",
                code="unsupported_value",
                param="method.type",
            )
        numbers = self.hyperparameters
        if self.method is not None and self.method.supervised is not None:
            numbers = self.method.supervised.hyperparameters or numbers
        return FinetuneRequest(
            model=self.model,
            training_file=self.training_file,
            validation_file=self.validation_file,
            suffix=self.suffix,
            seed=self.seed,
            hyperparameters=(numbers or Numbers()).resolved(),
            method_given=self.method is not None,
            metadata=self.metadata,
            integrations=tuple(
                each.model_dump(exclude_none=True) for each in self.integrations or ()
            ),
        )


def job_json(job: Job, caller: Identity) -> dict[str, Any]:
    """Return a fine-tuning job object."""
    spec, state = TrainSpec.model_validate(job.spec), job.state
    numbers = spec.hyperparameters.model_dump() | state.get("hyperparameters", {})
    succeeded = job.status == "succeeded"
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "created_at": job.created_at,
        "error": _error(job),
        "estimated_finish": state.get("estimated_finish") if job.status == "running" else None,
        "fine_tuned_model": state["fine_tuned_model"] if succeeded else None,
        "finished_at": job.finished_at,
        "hyperparameters": numbers,
        "integrations": spec.integrations,
        "metadata": job.metadata,
        "method": {"type": "supervised", "supervised": {"hyperparameters": numbers}},
        "model": spec.model,
        "organization_id": caller.organization_id,
        "result_files": state.get("result_files", []) if succeeded else [],
        "seed": spec.seed,
        "shared_with_openai": False,
        "status": job.status,
        "trained_tokens": state.get("trained_tokens") if succeeded else None,
        "training_file": spec.training_file,
        "usage_metrics": None,
        "user_provided_suffix": spec.suffix,
        "validation_file": spec.validation_file,
    }


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
