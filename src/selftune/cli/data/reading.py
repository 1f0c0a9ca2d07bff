"""Options that every command which reads data shares."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from selftune.core.runfile import Template
    from selftune.data.read import ReadOptions

Source = Annotated[
    str,
    typer.Argument(
        help="A file, a folder of a Hugging Face dataset, a URL, or - for standard input."
    ),
]
System = Annotated[str | None, typer.Option(help="Template of the system message.")]
User = Annotated[
    str | None, typer.Option(help="Template of the user's message, e.g. '{{ question }}'.")
]
Assistant = Annotated[str | None, typer.Option(help="Template of the answer, e.g. '{{ label }}'.")]
Container = Annotated[
    str | None, typer.Option(help="How rows are packed (jsonl, table, parquet, …).")
]
Format = Annotated[str | None, typer.Option(help="Shape of one row (chat, sharegpt, alpaca, …).")]
Split = Annotated[str | None, typer.Option(help="Split of a dataset that has several.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Read so many rows, from the beginning.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def template_of(system: str | None, user: str | None, assistant: str | None) -> "Template | None":
    """Return the template that the options say, or None.

    Raises:
        InvalidInput: only a part of one was given.

    """
    from selftune.core.runfile import Template

    if system is None and user is None and assistant is None:
        return None
    if user is None or assistant is None:
        raise InvalidInput(
            "A template needs both --user and --assistant (--system may be left out)."
        )
    return Template(system=system, user=user, assistant=assistant)


def options_of(
    template: "Template | None",
    *,
    container: str | None = None,
    format: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> "ReadOptions":
    """Return how to read, from what the command line says."""
    from selftune.data.read import ReadOptions

    return ReadOptions(
        container=container, format=format, template=template, split=split, limit=limit
    )


@dataclass(frozen=True)
class ReadingOptions:
    """How to read a source, for commands that group their options."""

    system: System = None
    user: User = None
    assistant: Assistant = None
    container: Container = None
    format: Format = None
    split: Split = None
    limit: Limit = None

    def options(self) -> "ReadOptions":
        """Return how to read."""
        return options_of(
            template_of(self.system, self.user, self.assistant),
            container=self.container,
            format=self.format,
            split=self.split,
            limit=self.limit,
        )
