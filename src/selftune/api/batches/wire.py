"""Batches in OpenAI's JSON, both ways."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from selftune.api.context import Storable
from selftune.api.metadata import Metadata
from selftune.core.errors import InvalidInput
from selftune.serve.batches.create import ENDPOINTS, WINDOW, BatchRequest, status_of
from selftune.store.batches import Batch, BatchUsage, LineError

_ENDS = ("completed", "failed", "cancelled")


class OutputExpiry(BaseModel):
    """For how long a batch's files are kept."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class CreateBatch(BaseModel):
    """The body of a create."""

    input_file_id: Annotated[Storable, Field(min_length=1, max_length=300)]
    endpoint: Storable
    completion_window: Storable
    metadata: Metadata | None = None
    output_expires_after: OutputExpiry | None = None

    def request(self) -> BatchRequest:
        """Return what to create.

        Raises:
            InvalidInput: nobody here answers at that endpoint, or within that time.

        """
        _one_of("endpoint", self.endpoint, ENDPOINTS)
        _one_of("completion_window", self.completion_window, (WINDOW,))
        expiry = self.output_expires_after
        return BatchRequest(
            input_file_id=self.input_file_id,
            endpoint=self.endpoint,
            output_seconds=None if expiry is None else expiry.seconds,
            metadata=self.metadata,
        )


def batch_json(batch: Batch) -> dict[str, Any]:
    """Return a batch object; what is not known yet is null, as OpenAI answers it."""
    status = status_of(batch)
    ended: dict[str, int | None] = {f"{word}_at": None for word in _ENDS}
    if f"{status}_at" in ended:
        ended[f"{status}_at"] = batch.finished_at
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": _errors_json(batch),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": batch.in_progress_at,
        "expires_at": batch.expires_at,
        "finalizing_at": batch.finalizing_at,
        "expired_at": batch.expired_at,
        "cancelling_at": batch.cancelling_at,
        **ended,
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": _usage_json(batch.usage),
        "metadata": batch.metadata,
    }


def _errors_json(batch: Batch) -> dict[str, Any] | None:
    errors = batch.errors
    if not errors and batch.error is not None:
        errors = (LineError.model_validate(batch.error.model_dump()),)
    if not errors:
        return None
    return {"object": "list", "data": [error.model_dump() for error in errors]}


def _usage_json(usage: BatchUsage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        supported = ", ".join(f"'{each}'" for each in known)
        raise InvalidInput(
            f"Invalid value: '{value[:100]}'. Supported values are: {supported}.",
            code="invalid_value",
            param=name,
        )
