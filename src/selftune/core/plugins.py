"""Find a plugin by name: the module of that name in the family's folder, or an entry point.

A family is a package whose modules are its plugins. Adding a file adds a plugin;
nothing else is edited. Nothing is imported until it is asked for.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from selftune.core.errors import MissingExtra, UnknownPlugin


def available(family: ModuleType) -> list[str]:
    """Names of a family's plugins, built in and installed, without importing them."""
    return sorted(_locations(family))


def load(family: ModuleType, name: str) -> ModuleType:
    """Import and return one plugin module.

    Raises:
        UnknownPlugin: no such name in this family.
        MissingExtra: the plugin's own dependency is not installed.

    """
    locations = _locations(family)
    if name not in locations:
        known = ", ".join(sorted(locations))
        raise UnknownPlugin(f"{name!r} is not one of {known}", code="unknown_plugin", param="type")
    try:
        return importlib.import_module(locations[name])
    except ModuleNotFoundError as missing:
        if missing.name and missing.name.startswith("selftune."):
            raise  # our own broken import is a bug, not a missing extra
        raise MissingExtra(
            f"{name!r} needs the {missing.name!r} package: install it with pip",
            code="missing_extra",
        ) from missing


@cache
def _locations(family: ModuleType) -> dict[str, str]:
    """Map each plugin's name to its module; a built-in is never shadowed by an installed one."""
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    installed = {e.name: e.value for e in entry_points(group=family.__name__)}
    modules = (m.name for m in pkgutil.iter_modules(family.__path__))
    built_in = {m: f"{family.__name__}.{m}" for m in modules if not m.startswith("_")}
    return installed | built_in
