"""Groups of options: a command takes a few records, the terminal shows every field of them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each dataclass that it takes replaced by the fields of it."""
    hints = get_type_hints(command, include_extras=True)
    hints.pop("return", None)
    parameters: list[inspect.Parameter] = []
    for name, given in inspect.signature(command).parameters.items():
        hint = hints[name]
        if not is_dataclass(hint):
            parameters.append(given.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
        else:
            parameters += _options_of(hint)

    @wraps(command)
    def run(**values: Any) -> None:
        taken = {
            name: hint(**{field.name: values.pop(field.name) for field in fields(hint)})
            for name, hint in hints.items()
            if is_dataclass(hint) and isinstance(hint, type)
        }
        command(**taken, **values)

    vars(run).pop("__wrapped__")  # typer would look through it and see the groups
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[one.name],
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
        )
        for one in fields(group)
    ]
