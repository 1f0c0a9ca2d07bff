"""Move a model from the account upstream to its replacement, step by step, and back."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from selftune.core.errors import InvalidInput, NotFound, SelftuneError
from selftune.core.records import Record
from selftune.core.settings import Settings
from selftune.models.chosen import catalog_of
from selftune.models.endpoints import load_endpoints
from selftune.models.switches import Switch, add_switch, load_switches
from selftune.rescue.comparing import Shadowed, read_pairs, shadowed
from selftune.rescue.recorder import FOLDER
from selftune.serve.resolve import resolve
from selftune.store.accounts import default_identity
from selftune.store.store import Store

_SHARED = ("canary", "shadow")
_PLAIN = ("upstream", "replacement")


class Route(Record):
    """Who answers for a model now, and all switches that led there."""

    switch: Switch
    history: tuple[Switch, ...]
    """The first one first; the last one is `switch`."""


def read_target(text: str) -> tuple[str, float | None]:
    """Return what `--to` says: a side, or a share with its percentage.

    Raises:
        InvalidInput: it is neither.

    """
    name, is_shared, share = text.partition("=")
    if name in _PLAIN and not is_shared:
        return name, None
    try:
        percent = float(share.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if name not in _SHARED or not 0 < percent <= 100:
        raise InvalidInput(
            f"--to is {text!r}: write upstream, replacement, canary=PERCENT or shadow=PERCENT, "
            "with a percentage above 0 and at most 100, such as canary=10.",
            param="to",
        )
    return name, percent


def switch(store: Store, model: str, to: str, **options: object) -> tuple[Switch, Switch | None]:
    """Switch a model; return the switch and the one before. A running server follows at once.

    Options are those of `Switch`; a replacement that is not named is the one of the switch before.

    Raises:
        InvalidInput: the target is none, or no model here can take the place of this one.

    """
    side, percent = read_target(to)
    before = load_switches(store.root).current().get(model)
    given = {name: value for name, value in options.items() if value is not None}
    if before is not None and before.replacement is not None:
        given.setdefault("replacement", before.replacement)
    try:
        made = Switch.model_validate(
            {
                "model": model,
                "to": side,
                "percent": percent,
                "switched_at": store.now(),
                **given,
            }
        )
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{where}: {first['msg']}.", param=where) from problem
    if side != "upstream" or made.backs_up:
        _check_replacement(store, made)
    return made, add_switch(store.root, made)


def routes(home: Path) -> tuple[Route, ...]:
    """Return who answers for each model that was ever switched, by its name."""
    made = load_switches(home).switches
    models = sorted({each.model for each in made})
    histories = [tuple(each for each in made if each.model == model) for model in models]
    return tuple(Route(switch=history[-1], history=history) for history in histories)


def shadows(store: Store, model: str | None = None) -> Sequence[Shadowed]:
    """Return how replacements answered beside models, or beside one."""
    pairs = read_pairs(store.folder(FOLDER))
    return shadowed(pair for pair in pairs if model in (None, pair.model))


def _check_replacement(store: Store, made: Switch) -> None:
    """Check that something here answers instead of a model."""
    name = made.replacement or made.model
    if load_endpoints(store.root).find(name) is not None:
        return
    if made.replacement is None and not _stands_for_something(store.settings, name):
        raise _nothing_instead(made.model)
    try:
        resolve(store, default_identity(store), name)
    except SelftuneError as error:
        if made.replacement is None and isinstance(error, NotFound):
            raise _nothing_instead(made.model) from error
        raise InvalidInput(
            f"{name!r} cannot answer instead of {made.model!r}: {error.message}",
            code="model_not_found",
            param="replacement",
        ) from error


def _stands_for_something(settings: Settings, name: str) -> bool:
    """Return whether somebody said what a name stands for here: no alias that ships is meant."""
    found = catalog_of(settings)
    dated = found.snapshot(name)
    aliases = [alias for alias in found.alias if alias.id == dated]
    return all(alias.is_own for alias in aliases)


def _nothing_instead(model: str) -> InvalidInput:
    return InvalidInput(
        f"Nobody said what answers instead of {model!r}: name a model of this server with "
        "--replacement, or make one with `selftune rescue retrain`.",
        code="model_not_found",
        param="replacement",
    )
