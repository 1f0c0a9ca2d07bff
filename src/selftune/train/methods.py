"""What each method of training has: its hyperparameters, and what a job of it must be given."""

from typing import Any, get_args

from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Method, TrainSpec

_COMMON = ("n_epochs", "batch_size", "learning_rate_multiplier")
NUMBERS: dict[Method, tuple[str, ...]] = {
    "supervised": _COMMON,
    "dpo": (*_COMMON, "beta"),
    "reinforcement": (
        *_COMMON,
        "reasoning_effort",
        "compute_multiplier",
        "eval_interval",
        "eval_samples",
    ),
}
"""Hyperparameters that a method knows, in OpenAI's names."""


def numbers_of(spec: TrainSpec, found: dict[str, Any]) -> dict[str, Any]:
    """Return a job's hyperparameters; what the engine decided stands for `auto`."""
    values = spec.hyperparameters.model_dump() | found
    return {name: values[name] for name in NUMBERS[spec.method]}


def check_method(spec: TrainSpec, methods: tuple[Method, ...]) -> None:
    """Refuse a job that cannot be done; `methods` are those of its base.

    Raises:
        InvalidInput: names what is wrong and what to do.

    """
    if spec.method not in methods:
        known = " or ".join(f"'{each}'" for each in methods)
        raise InvalidInput(
            f"The model {spec.model} cannot be trained with the method '{spec.method}' on this "
            f"server: it knows {known}. Choose another model, or let the name stand for one that "
            "does.",
            code="unsupported_value",
            param="method.type",
        )
    _check_numbers(spec.method, spec.hyperparameters)
    if spec.method == "reinforcement":
        _check_reinforcement(spec)
    elif spec.grader is not None or spec.response_format is not None:
        given = "grader" if spec.grader is not None else "response_format"
        raise InvalidInput(
            f"{given!r} belongs to the method 'reinforcement', not to '{spec.method}'.",
            code="invalid_value",
            param=f"method.{given}",
        )


def _check_numbers(method: Method, wanted: Hyperparameters) -> None:
    given = {
        n: f for n, f in Hyperparameters.model_fields.items() if getattr(wanted, n) != f.default
    }
    for name in sorted(given.keys() - set(NUMBERS[method])):
        owners = [f"'{each}'" for each in get_args(Method) if name in NUMBERS[each]]
        raise InvalidInput(
            f"{name!r} is no hyperparameter of the method '{method}', but of {' and '.join(owners)}.",
            code="invalid_value",
            param=f"method.{method}.hyperparameters.{name}",
        )


def _check_reinforcement(spec: TrainSpec) -> None:
    if spec.grader is None:
        raise _lacks("method.reinforcement.grader")
    if spec.validation_file is None:
        raise _lacks("validation_file")


def _lacks(param: str) -> InvalidInput:
    return InvalidInput(
        f"Missing required parameter: '{param}'. Reinforcement fine-tuning needs one.",
        code="missing_required_parameter",
        param=param,
    )
