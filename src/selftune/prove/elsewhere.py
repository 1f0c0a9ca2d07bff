"""A run file whose training is done at a provider: what to order, and who answers afterwards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.runfile import RunFile
from selftune.data.sources.json_rows import json_line
from selftune.evaluate.arms import Arm
from selftune.evaluate.money import TRAINING, TUNED
from selftune.models.costs import training_cost
from selftune.models.endpoint import Endpoint
from selftune.models.profiles import Profile, find_profile
from selftune.prove.home import Home
from selftune.train.create import FinetuneRequest
from selftune.train.remote.training import Made, Order

_MOST_SUFFIX = 64
"""OpenAI's limit."""
Rows = Sequence[dict[str, Any]]


def order_of(
    root: Path, spec: RunFile, request: FinetuneRequest, training: Rows, validation: Rows
) -> Order:
    """Return what to train where.

    Raises:
        NotFound: there is no such profile.
        InvalidInput: a key of [model] does not fit the provider.

    """
    profile = find_profile(root, spec.model.profile or "")
    named = spec.model.base_deployment is not None or spec.model.tuned_deployment is not None
    if named and profile.kind != "azure":
        raise InvalidInput(
            "[model] base_deployment and tuned_deployment are Azure's: others answer by the "
            "model's own name."
        )
    if profile.kind != "compatible" and spec.model.base.startswith("selftune/"):
        raise InvalidInput(
            f"[model] base is {spec.model.base!r}: name a model that {profile.name!r} trains, such "
            "as gpt-4.1-mini-2025-04-14."
        )
    return Order(
        profile=profile,
        request=request.model_copy(
            update={"suffix": (request.suffix or "")[:_MOST_SUFFIX] or None}
        ),
        training=b"".join(json_line(row) for row in training),
        validation=b"".join(json_line(row) for row in validation) or None,
    )


def arms_of(home: Home, spec: RunFile, profile: Profile, made: Made) -> tuple[Arm, Arm]:
    """Return base and tuned model as they are asked at a provider.

    Raises:
        Unavailable: Azure answers for deployments only, and the run file names none yet.

    """
    models = str(made.job["model"]), str(made.job["fine_tuned_model"])
    names = models
    if profile.kind == "azure":
        given = spec.model.base_deployment, spec.model.tuned_deployment
        if given[0] is None or given[1] is None:
            raise Unavailable(
                f"{models[1]} is trained. Azure answers for deployments, not for models: deploy "
                f"{models[0]} and {models[1]} (in its portal, or with `az cognitiveservices account "
                "deployment create`), put the deployments' names into the run file as [model] "
                "base_deployment and tuned_deployment, and run the same again: nothing is trained "
                "twice."
            )
        names = given[0], given[1]
    first, second = (
        Arm(
            name=arm,
            model=name,
            endpoint=(endpoint := Endpoint(model=name, profile=profile)),
            rates=home.rates(model, endpoint),
        )
        for arm, name, model in zip(("base", TUNED), names, models, strict=True)
    )
    return first, second


def facts_of(home: Home, profile: Profile, made: Made) -> dict[str, str]:
    """Return what a report says of a training at a provider."""
    job = made.job
    said: dict[str, Any] = {
        "trained": job["model"],
        "trained at": f"{profile.name}, {profile.address}",
        "job": job["id"],
        "training seconds": _seconds(job),
        "trained tokens": job.get("trained_tokens"),
        "seed": job.get("seed"),
        "result file": made.results and made.results.relative_to(home.settings.root),
        **_hyperparameters(job),
    }
    price, tokens = home.prices.find(str(job["model"])), job.get("trained_tokens")
    if price is not None and price.training is not None and isinstance(tokens, int):
        said[TRAINING] = training_cost(tokens, 1, price.training)
    return {name: str(value) for name, value in said.items() if value is not None}


def _seconds(job: dict[str, Any]) -> int | None:
    begun, ended = job.get("created_at"), job.get("finished_at")
    return ended - begun if isinstance(begun, int) and isinstance(ended, int) else None


def _hyperparameters(job: dict[str, Any]) -> dict[str, Any]:
    """Return what a job was trained with, wherever the provider says it."""
    method = job.get("method") or {}
    own = method.get(method.get("type")) or {}
    return dict(own.get("hyperparameters") or job.get("hyperparameters") or {})
