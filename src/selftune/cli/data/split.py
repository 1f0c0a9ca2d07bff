"""`selftune data split`: raw data -> training, validation and test files that share nothing."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import out, show_json, show_table
from selftune.cli.data.check import show_checked
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.leakage import Leakage
    from selftune.data.split_folder import FolderOptions, SplitReport

_SHOWN_LABELS = 20
_SHOWN_LEAKS = 10


@dataclass(frozen=True)
class SplittingOptions:
    """How rows are split."""

    folder: Annotated[
        Path, typer.Option("--out", help="Folder to write: train, validation and test, as JSONL.")
    ]
    validation: Annotated[
        float, typer.Option(min=0, help="Share of the rows when below 1, else a number of rows.")
    ] = 0.1
    test: Annotated[float, typer.Option(min=0, help="The same for the test rows.")] = 0.2
    test_file: Annotated[
        str | None, typer.Option(help="Test rows that you have; what leaks into them is left out.")
    ] = None
    keep_leaks: Annotated[
        bool, typer.Option("--keep-leaks", help="Train on rows that leak into the test file too.")
    ] = False
    group_by: Annotated[
        str | None, typer.Option(help="Field: rows with one value of it stay on one side.")
    ] = None
    near: Annotated[
        float,
        typer.Option(help="Share of words in common from which rows stay together; 1 for all."),
    ] = 0.8
    seed: Annotated[int, typer.Option(min=0, max=2_147_483_647, help="Decides what is drawn.")] = 42
    sizes: Annotated[
        str | None,
        typer.Option(help="Write training subsets too, each in the next: 200,2000."),
    ] = None
    first: Annotated[
        bool, typer.Option("--first", help="Take the first rows for subsets; draw nothing.")
    ] = False
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folder that a split wrote before.")
    ] = False
    show: Annotated[int, typer.Option(min=0, help="Leaks that are shown; split.json has all.")] = (
        _SHOWN_LEAKS
    )

    def options(self, reading: ReadingOptions) -> "FolderOptions":
        """Return what is made of a source."""
        from selftune.core.errors import InvalidInput
        from selftune.data.split import SplitOptions
        from selftune.data.split_folder import FolderOptions

        sizes = [size.strip() for size in (self.sizes or "").split(",") if size.strip()]
        wrong = [size for size in sizes if not size.isdecimal()]
        if wrong:
            raise InvalidInput(f"--sizes has {wrong[0]!r}: give numbers of rows, e.g. 200,2000.")
        return FolderOptions(
            split=SplitOptions(
                validation=self.validation,
                test=self.test,
                group_by=self.group_by,
                seed=self.seed,
                near=self.near,
                keep_leaks=self.keep_leaks,
            ),
            read=reading.options(),
            test_file=self.test_file,
            sizes=tuple(int(size) for size in sizes),
            order="first" if self.first else "drawn",
            replace=self.force,
        )


@grouped
def split(
    source: Source, splitting: SplittingOptions, reading: ReadingOptions, json: Json = False
) -> None:
    """Split a source into training, validation and test rows; nothing alike is on two sides."""
    from selftune.data.split_folder import split_source

    report = split_source(source, splitting.folder, splitting.options(reading))
    if json:
        show_json(report.model_dump(mode="json"))
        return
    show_table(
        ("file", "rows", "bytes", "sha256"),
        [
            (splitting.folder / name, f"{file.rows:,}", f"{file.bytes:,}", file.sha256[:12])
            for name, file in report.files.items()
        ],
    )
    _show_labels(report)
    if report.leakage is not None:
        show_leakage(report.leakage, splitting.show)
        lost = len(report.lines["left_out"])
        kept = "kept in the training rows: the test will look too good" if not lost else "left out"
        if report.leakage.leaks:
            out.print(f"{len(report.leakage.training_lines):,} rows that leak are {kept}.")
    for line in report.advice:
        out.print(f"[yellow]advice:[/] {escape(line)}", soft_wrap=True)
    if report.checked is not None:
        out.print()
        show_checked(report.checked, splitting.show)


def show_leakage(found: "Leakage", most: int) -> None:
    """Print what training rows and test rows share, with the texts."""
    out.print()
    if not found.leaks:
        out.print("No training row asks what a test row asks, not even nearly.")
    else:
        kinds = Counter(leak.kind for leak in found.leaks)
        out.print(
            f"[bold]Leaks:[/] {len(found.training_lines):,} of {found.training_rows:,} rows ask what "
            f"{len(found.other_lines):,} of {found.other_rows:,} test rows ask: "
            + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()),
            soft_wrap=True,
        )
        agree = {True: "the same", False: "another", None: "cannot tell"}
        surest = sorted(found.leaks, key=lambda leak: -leak.similarity - (leak.kind == "exact"))
        for leak in surest[:most]:
            out.print(
                f"  [bold]{leak.kind}[/] {leak.similarity:.2f}  answer: {agree[leak.answers_agree]}\n"
                f"    line {leak.training_line:,}: {escape(leak.training_text)}\n"
                f"    test line {leak.other_line:,}: {escape(leak.other_text)}",
                soft_wrap=True,
            )
        if len(found.leaks) > most:
            out.print(f"  and {len(found.leaks) - most:,} more, all in split.json")
    if found.repeats:
        rows = sum(len(same) for same in found.repeats)
        out.print(
            f"[yellow]advice:[/] {rows:,} test rows repeat each other's questions, e.g. lines "
            + ", ".join(map(str, found.repeats[0])),
            soft_wrap=True,
        )


def _show_labels(report: "SplitReport") -> None:
    """Show the answers with the fewest training rows: where there are problems, they are there."""
    if report.labels is None:
        return
    rarest = sorted(report.labels.items(), key=lambda each: (each[1]["train"], each[0]))
    out.print()
    show_table(
        ("answer", "train", "validation", "test"),
        [
            (name[:60], *(f"{counts[side]:,}" for side in ("train", "validation", "test")))
            for name, counts in rarest[:_SHOWN_LABELS]
        ],
    )
    if len(rarest) > _SHOWN_LABELS:
        out.print(f"and {len(rarest) - _SHOWN_LABELS:,} answers with more training rows")
