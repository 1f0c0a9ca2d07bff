"""A request for a job, in the words that a provider takes."""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.models.profiles import Profile
from selftune.train.create import FinetuneRequest


def job_body(profile: Profile, request: FinetuneRequest) -> dict[str, Any]:
    """Return the arguments of the official client's `fine_tuning.jobs.create`.

    What was not asked for is left out: the provider decides it.

    Raises:
        InvalidInput: it asks for what only selftune has words for, of somebody else.

    """
    method: dict[str, Any] = {
        "hyperparameters": request.hyperparameters.model_dump(exclude_defaults=True)
    }
    for name in ("grader", "response_format"):
        if (given := getattr(request, name)) is not None:
            method[name] = given
    body: dict[str, Any] = {
        "model": request.model,
        "training_file": request.training_file,
        "validation_file": request.validation_file,
        "suffix": request.suffix,
        "seed": request.seed,
        "metadata": request.metadata,
        "integrations": list(request.integrations) or None,
        "extra_body": _own_options(profile, request) or None,
    }
    if profile.api_version is not None and request.method == "supervised":
        # Azure's dated API of 2024-10-21 knows no `method`; those after it know both.
        body |= method
    else:
        body["method"] = {"type": request.method, request.method: method}
    return {name: value for name, value in body.items() if value is not None}


def asked_of(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a body's method and the hyperparameters that it asks for."""
    method = body.get("method")
    if method is None:
        return "supervised", body["hyperparameters"]
    return method["type"], method[method["type"]]["hyperparameters"]


def _own_options(profile: Profile, request: FinetuneRequest) -> dict[str, Any]:
    """Return what only another selftune understands."""
    own = request.options.model_dump(exclude_defaults=True)
    if request.priority:
        own["priority"] = request.priority
    if own and profile.kind != "compatible":
        raise InvalidInput(
            f"{', '.join(sorted(own))}: the provider has no such setting. Leave it out: only "
            "selftune takes it.",
            code="unsupported_value",
        )
    return {"selftune": own} if own else {}
