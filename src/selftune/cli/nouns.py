"""Commands that are imported when they are used: until then, a name and a line of help."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand


class Noun(TyperCommand):
    """A command, or a group of them, that stands in another module."""

    def __init__(self, name: str, where: str, help: str) -> None:
        """Name it, and say in which module and under which name there it stands."""
        super().__init__(name, help=help)
        self.where = where

    def loaded(self) -> Any:
        """Import it, and return the command itself."""
        module, _, attribute = self.where.partition(":")
        found = getattr(import_module(module), attribute)
        alone = typer.Typer(add_completion=False)
        if isinstance(found, typer.Typer):
            alone.add_typer(found, name=self.name)
        else:
            alone.command(self.name)(found)
        return typer.main.get_group(alone).commands[str(self.name)]

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **named: Any) -> Any:
        """Import it: its options and its help are its own matter."""
        return self.loaded().make_context(info_name, args, *more, **named)
