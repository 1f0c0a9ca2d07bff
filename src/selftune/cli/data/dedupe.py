"""`selftune data dedupe`: leave out what says a thing again, and tell of contradictions."""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import err, out, show_json
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.dedupe_source import DedupedSource, DedupeOptions


class Handling(StrEnum):
    """What becomes of rows that contradict each other."""

    keep = "keep"
    drop = "drop"
    majority = "majority"


@dataclass(frozen=True)
class RepeatOptions:
    """What is left out."""

    output: Annotated[
        str | None,
        typer.Option("--out", "-o", help="File to write, or -; without it only the report."),
    ] = None
    near: Annotated[
        float,
        typer.Option(help="Share of words in common from which questions are the same; 1 for all."),
    ] = 0.8
    contradictions: Annotated[
        Handling, typer.Option(help="Same question, other answer: keep, drop, or the majority.")
    ] = Handling.keep
    show: Annotated[int, typer.Option(min=0, help="Rows of each kind that are shown.")] = 10

    def options(self, reading: ReadingOptions) -> "DedupeOptions":
        """Return what is left out."""
        from selftune.data.dedupe_source import DedupeOptions

        return DedupeOptions(
            read=reading.options(), near=self.near, contradictions=self.contradictions.value
        )


@grouped
def dedupe(
    source: Source, repeats: RepeatOptions, reading: ReadingOptions, json: Json = False
) -> None:
    """Leave out rows that repeat others: the same, the same words, or nearly the same question."""
    from selftune.data.dedupe_source import dedupe_source

    done = dedupe_source(source, repeats.output, repeats.options(reading))
    if json:
        show_json({"rows": done.rows} | done.found.model_dump(mode="json"))
    else:
        _show(done, repeats)


def _show(done: "DedupedSource", repeats: RepeatOptions) -> None:
    """Print what was found; beside rows on standard output, on standard error."""
    page = err if repeats.output == "-" else out
    found = done.found
    kinds = Counter(drop.reason for drop in found.dropped)
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "none dropped"
    page.print(f"{len(found.kept):,} of {done.rows:,} rows stay: {told}.", soft_wrap=True)
    for drop in found.dropped[: repeats.show]:
        page.print(
            f"  [bold]{drop.reason}[/]\n"
            f"    line {drop.line:,}, dropped: {escape(drop.text)}\n"
            f"    line {drop.repeats:,}: {escape(drop.repeated_text)}",
            soft_wrap=True,
        )
    if found.contradictions:
        page.print(
            f"[yellow]{len(found.contradictions):,} questions have different answers[/] "
            f"(--contradictions {repeats.contradictions.value}):"
        )
    for one in found.contradictions[: repeats.show]:
        answers = " | ".join(one.answers)
        lines = ", ".join(f"{line:,}" for line in one.lines)
        page.print(f"  lines {lines}: {escape(one.text)} -> {escape(answers)}", soft_wrap=True)
    if repeats.output not in (None, "-"):
        page.print(f"Wrote {escape(str(repeats.output))}.", soft_wrap=True)
