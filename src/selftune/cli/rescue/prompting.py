"""What `selftune rescue record` asks a model, from its options; what is left out is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import err, open_home
from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.record.prompts import Prompt

_USUAL_TEMPERATURE = 1.0
"""What OpenAI's API takes where a program names none."""
_MOST_REASONS = 20
"""Of those why rows are left out, so many are told."""


@dataclass(frozen=True)
class PromptOptions:
    """What is asked."""

    archive: Annotated[
        Path | None,
        typer.Option(
            help="Archive of the account: validation files, eval items, stored completions and "
            "batches of the model are asked, and training rows are known."
        ),
    ] = None
    prompts: Annotated[
        list[Path] | None,
        typer.Option(help="File with prompts: chats, logs, batches; repeat for several."),
    ] = None
    eval: Annotated[
        list[str] | None,
        typer.Option(help="Eval of the archive whose items are asked, whoever they were run with."),
    ] = None
    seen: Annotated[
        bool,
        typer.Option("--seen", help="Ask what `selftune serve --upstream --record` kept here."),
    ] = False
    training: Annotated[
        list[Path] | None,
        typer.Option(help="File that the model was trained on, where no archive knows it."),
    ] = None
    everything: Annotated[
        bool, typer.Option("--all", help="All tuned models that the archive has.")
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most prompts of a model; drawn by lot.")
    ] = None

    @cached_property
    def opened(self) -> "Archive | None":
        """The archive, if one is named; it keeps what it has read of its lines' places."""
        from selftune.rescue.archive.reader import Archive

        return None if self.archive is None else Archive.open(self.archive)


def prompts_of(asking: PromptOptions, names: Sequence[str]) -> "tuple[Prompt, ...]":
    """Return the prompts of a model, without those that it was trained on; say what was left out.

    `names` are what the model is called, its own name first.

    Raises:
        InvalidInput: there is none.

    """
    from selftune.rescue.record.prompts import (
        prompts_of_archive,
        prompts_of_file,
        prompts_of_home,
        together,
    )

    archive, model = asking.opened, names[0]
    found = [prompts_of_file(path) for path in asking.prompts or ()]
    if archive is not None:
        found.append(prompts_of_archive(archive, names, asking.eval or ()))
    if asking.seen:
        found.append(prompts_of_home(*open_home(), names))
    all_found = together(found)
    if not all_found.prompts:
        raise InvalidInput(
            f"There is nothing to ask {model}: name an archive that knows prompts of it (--archive), "
            "or files with prompts (--prompts)."
        )
    tell_left_out(model, all_found.left_out)
    return not_trained(asking, model, all_found.prompts)


def not_trained(
    asking: PromptOptions, model: str, prompts: "Sequence[Prompt]"
) -> "tuple[Prompt, ...]":
    """Return the prompts that a model was not trained on, and say how many are left out."""
    from selftune.rescue.record.trained import training_files, without_trained

    archive, named = asking.opened, asking.training or ()
    known = () if archive is None else training_files(archive, model)
    if not named and (None in known or not known):
        note(f"{model}: its training file is not here, so prompts in it cannot be told apart")
    trained = [*named, *filter(None, known)]
    left, others = without_trained(prompts, trained, model)
    if others:
        note(f"{model}: {others:,} prompts are left out: it was trained on them")
    return left


def temperature_of(given: float | None, model: str, prompts: "Sequence[Prompt]") -> float:
    """Return the temperature of production, and say where it is from."""
    from selftune.rescue.record.prompts import shown_temperature

    if given is not None:
        return given
    shown = shown_temperature(prompts)
    if shown is None:
        note(
            f"{model}: nothing shows its temperature in production: {_USUAL_TEMPERATURE:g} is taken, "
            "the API's own; --temperature sets another"
        )
        return _USUAL_TEMPERATURE
    note(f"{model}: {shown[1]:,} prompts were asked at temperature {shown[0]:g}: it is taken")
    return shown[0]


def tell_left_out(model: str, reasons: Mapping[str, int]) -> None:
    """Say how many rows could not be used, and why."""
    shown = sorted(reasons.items(), key=lambda each: -each[1])
    for reason, count in shown[:_MOST_REASONS]:
        note(f"{model}: {count:,} left out: {reason}")
    rest = sum(count for _, count in shown[_MOST_REASONS:])
    if rest:
        note(f"{model}: {rest:,} more are left out, for other reasons")


def note(words: str) -> None:
    """Say what the user should know."""
    err.print(f"[yellow]note:[/] {escape(words)}", soft_wrap=True)
