"""The parameters of a job elsewhere -> those of a job here, and in words what is different."""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Method
from selftune.models.listed import base_of
from selftune.train.methods import NUMBERS

_AUTO_MULTIPLIERS = {"gpt-4o-mini": 1.8, "gpt-3.5-turbo": 2.0, "gpt-4.1-nano": 1.0}
"""What `auto` became at OpenAI, as jobs there showed; nothing there says how it is chosen."""
_SAME = {
    "n_epochs": "passes over the rows",
    "batch_size": "rows in a step",
    "beta": "how strongly the model is held to where it started",
    "compute_multiplier": "how many answers are tried",
    "eval_interval": "steps between two evaluations",
    "eval_samples": "answers for each prompt of an evaluation",
    "reasoning_effort": "kept and shown; open models have no such switch",
}
_MOST = {"n_epochs": 50, "batch_size": 256}


class Translated(NamedTuple):
    """How to train here."""

    method: Method
    hyperparameters: Hyperparameters
    grader: dict[str, Any] | None
    response_format: dict[str, Any] | None
    said: tuple[str, ...]
    """What was kept and what was changed, with reasons."""


def translate(job: Mapping[str, Any], over: Mapping[str, Any]) -> Translated:
    """Return how a job of an archive is trained here; `over` is what the user wants instead.

    Raises:
        InvalidInput: its method is not known here, or what the user wants breaks a rule.

    """
    given = job.get("method")
    told: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    method = str(told.get("type") or "supervised")
    if method not in get_args(Method):
        raise InvalidInput(f"Its method is {method!r}, which cannot be trained here.")
    part = told.get(method)
    own: Mapping[str, Any] = part if isinstance(part, Mapping) else {}
    numbers = own.get("hyperparameters") or job.get("hyperparameters") or {}
    base = base_of(str(job.get("model")))
    wanted: dict[str, Any] = {}
    said = []
    for name in NUMBERS[method]:  # type: ignore[index]  # a method, as was checked above
        if name in over:
            value, words = over[name], f"{name} is {over[name]}: you asked for it"
            if (problem := _problem(name, value)) is not None:
                raise InvalidInput(f"{name}: {problem}.", code="invalid_value", param=name)
        else:
            value, words = _translated(name, numbers.get(name), base, is_ours="selftune" in job)
        if value is not None:
            wanted[name] = value
        if words:
            said.append(words)
    return Translated(
        method=method,  # type: ignore[arg-type]  # as above
        hyperparameters=Hyperparameters.model_validate(wanted),
        grader=own.get("grader"),
        response_format=own.get("response_format"),
        said=tuple(said),
    )


def _translated(name: str, value: Any, base: str, *, is_ours: bool) -> tuple[Any, str]:
    """Return a number for here, None for what the engine decides, and what to say of it."""
    if value is None or value == "auto":
        return None, ""
    if name == "learning_rate_multiplier":
        if is_ours and _problem(name, value) is None:
            return value, f"{name} stays {value}: another selftune trained it"
        return _relative(value, base)
    most = _MOST.get(name)
    if most is not None and isinstance(value, int) and value > most:
        return most, f"{name} is {most}, the most here, instead of {value}"
    if _problem(name, value) is not None:
        return (
            None,
            f"{name} is decided by the engine: it was {value}, which cannot be asked for here",
        )
    return value, f"{name} stays {value}: {_SAME[name]}, here as there"


def _relative(value: Any, base: str) -> tuple[Any, str]:
    """Return a multiplier relative to what `auto` was: rates of different models do not compare."""
    name = next((each for each in _AUTO_MULTIPLIERS if base.startswith(each)), None)
    if name is None or not isinstance(value, int | float) or isinstance(value, bool):
        return None, (
            f"learning_rate_multiplier is decided by the engine: it was {value}, and what 'auto' was "
            f"for {base} is not known"
        )
    usual = _AUTO_MULTIPLIERS[name]
    here = round(value / usual, 6)
    if _problem("learning_rate_multiplier", here) is not None:
        return None, f"learning_rate_multiplier is decided by the engine: it was {value}"
    return here, (
        f"learning_rate_multiplier is {here:g} of this engine's own rate: it was {value:g}, and "
        f"'auto' was {usual:g} for {base}"
    )


def _problem(name: str, value: Any) -> str | None:
    """Return what is wrong with a hyperparameter; None where nothing is."""
    try:
        Hyperparameters.model_validate({name: value})
    except ValidationError as problem:
        return str(problem.errors()[-1]["msg"])  # of a union the last says what a number must be
    return None
