"""Say which base fits a file and this machine, before anything is started."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from selftune.cli.console import out, show_json, show_table
from selftune.core.settings import load_settings

if TYPE_CHECKING:
    from selftune.data.advise import Advice, BaseAdvice


def advise(
    training_file: Annotated[
        str, typer.Option("--training-file", help="A file, or any source that `data` reads.")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="A base to look at; several may be given.")
    ] = None,
    method: Annotated[
        Literal["supervised", "dpo"], typer.Option(help="How it is to be trained.")
    ] = "supervised",
    epochs: Annotated[str, typer.Option(help="A number, or auto.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which base fits a file and this machine: memory, tokens and time of each."""
    from selftune.core.errors import InvalidInput
    from selftune.data.advise import AdviseOptions
    from selftune.data.advise import advise as look
    from selftune.models.machine import this_machine
    from selftune.models.speed import measure

    if epochs != "auto" and not epochs.isdecimal():
        raise InvalidInput(f"--epochs is {epochs!r}: it is a number or auto.")
    options = AdviseOptions(
        models=tuple(model or ()),
        method=method,
        epochs="auto" if epochs == "auto" else int(epochs),
    )
    machine = this_machine()
    found = look(training_file, load_settings(), machine, measure(machine), options)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        _show(found)


def _show(found: "Advice") -> None:
    speed = "unknown" if found.speed is None else f"{found.speed.flops / 1e12:.2g} TFLOP/s"
    out.print(f"{found.rows:,} rows, {found.epochs.value} epochs ({found.epochs.reason})")
    out.print(f"{found.machine.words}; measured speed: {speed}\n", soft_wrap=True)
    columns = ("base", "here", "GB: lora", "qlora", "full", "tokens", "cut", "hours", "licence")
    show_table(columns, [_row(one) for one in found.bases])
    notes = [f"{one.base}: {one.note}" for one in found.bases if one.note]
    for note in dict.fromkeys(notes):
        out.print(f"[dim]{note}[/]", soft_wrap=True)
    method = f" with {found.adapter}" if found.adapter else ""
    out.print(f"\n[bold]{found.recommended}[/]{method}: {found.reason}", soft_wrap=True)


def _row(one: "BaseAdvice") -> tuple[object, ...]:
    memory = tuple(
        f"{needed.total / 1e9:.1f}{'' if adapter in one.fits else ' no'}"
        for adapter, needed in one.memory.items()
    )
    tokens = f"{'' if one.is_exact else 'about '}{one.tokens:,}"
    here = "yes" if one.is_here else ""
    return (one.base, here, *memory, tokens, one.cut or "", _hours(one.seconds), one.license)


def _hours(seconds: tuple[float, float] | None) -> str:
    if seconds is None:
        return "unknown"
    low, high = (value / 3600 for value in seconds)
    return f"{low:.1f} to {high:.1f}" if high < 10 else f"{low:,.0f} to {high:,.0f}"
