"""`selftune run FILE.toml`: data -> tune -> prove, with a report at the end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from selftune.cli.console import open_home, out
from selftune.core.records import Event

if TYPE_CHECKING:
    from selftune.evaluate.task import Progress as Asked

_SHOWN = ("base", "selection", "hyperparameters", "said")
"""Keys of events that are printed; `said` is what a provider says."""


def run(
    file: Annotated[Path, typer.Argument(help="The run file (TOML).")],
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Train anew at a provider, where an earlier run of the file has a job already.",
        ),
    ] = False,
) -> None:
    """Prepare data, tune a model, ask base and tuned the same questions, write a report.

    It trains on this machine, or at the provider that [model] profile of the file names.
    """
    from selftune import local
    from selftune.cli.eval.gating import show_report
    from selftune.evaluate.report import to_json

    store, _ = open_home()
    with _Shown(silent=json) as shown:
        report, written = local.run(file, store=store, progress=shown, again=again)  # type: ignore[arg-type]  # a Progress by shape
    if json:
        typer.echo(to_json(report))
        return
    model = report.arms[-1].summary.model
    show_report(report)
    out.print(f"\nreport   {written.html}", soft_wrap=True)
    out.print(f"model    [bold]{escape(model)}[/]", soft_wrap=True)
    place = report.arms[-1].summary.place
    if place is not None:
        out.print(f"answers  {place}", soft_wrap=True, markup=False)
        return
    out.print(
        "\nUse it: start [bold]selftune serve[/], then\n\n"
        "  from openai import OpenAI\n"
        '  client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="…")\n'
        f'  client.chat.completions.create(model="{escape(model)}", messages=…)\n\n'
        f"or here: [bold]selftune chat {escape(model)}[/]",
        soft_wrap=True,
    )


class _Shown:
    """A live line: the stage, a bar, and the loss."""

    def __init__(self, *, silent: bool) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=out,
            disable=silent,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Shown":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, text: str) -> None:
        """Begin a line."""
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(self._task, total=task.total or 1, completed=task.total or 1)
        self._task = self._bars.add_task(escape(text), total=None, note="")

    def events(self, new: tuple[Event, ...]) -> None:
        """Move the bar with the job's steps; print what it says."""
        for event in new:
            if event.type == "metrics" and event.data is not None and self._task is not None:
                self._bars.update(
                    self._task,
                    total=event.data["total_steps"],
                    completed=event.data["step"],
                    note=f"loss {event.data['train_loss']:.3f}",
                )
            elif event.key in _SHOWN and not self._bars.disable:
                out.print(f"  [dim]{escape(event.message)}[/]", soft_wrap=True)

    def answered(self, progress: "Asked") -> None:
        """Move the bar with the questions of both models."""
        if self._task is not None:
            self._bars.update(
                self._task, total=progress.total, completed=progress.done, note="base and tuned"
            )
