"""How far a plan is, while it is carried out."""

from typing import TYPE_CHECKING

from rich.markup import escape

from selftune.cli.console import err

if TYPE_CHECKING:
    from selftune.core.records import Event, Job
    from selftune.planning.log import Run


class Shown:
    """A live line on standard error: the run, a bar of its steps, and the loss."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bars.add_task("preparing", total=None, note="")
        self._text = ""

    def __enter__(self) -> "Shown":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, text: str, done: int, total: int | None) -> None:
        """Begin a run."""
        self._text = text
        place = f"{done + 1}" if total is None else f"{done + 1} of {total}"
        self._bars.reset(self._task, description=escape(f"{place}: {text}"), total=None, note="")

    def events(self, job: "Job", new: "tuple[Event, ...]") -> None:
        """Move the bar with the job's steps."""
        del job
        for event in new:
            if event.type == "metrics" and event.data is not None:
                self._bars.update(
                    self._task,
                    total=event.data["total_steps"],
                    completed=event.data["step"],
                    note=f"loss {event.data['train_loss']:.3f}",
                )

    def answered(self, done: int, total: int) -> None:
        """Move the bar with the questions."""
        self._bars.update(self._task, total=total, completed=done, note="asking")

    def finished(self, run: "Run", *, is_new: bool) -> None:
        """Say that a run is kept."""
        how = f"{run.all_seconds:,.1f} s" if is_new else "kept from before"
        err.print(f"[dim]{escape(self._text)}: {how}[/]", soft_wrap=True)
