"""`selftune data convert`: whatever you have -> OpenAI's JSONL, and back."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import FAILED, err, show_json
from selftune.cli.data.progress import shown_bytes
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.problems import Problem

_SHOWN_PROBLEMS = 20
Target = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        help="File to write: .jsonl, .json, .csv, .tsv, .parquet or .arrow, and .gz or .zst behind "
        "it; - is standard output.",
    ),
]
To = Annotated[
    str | None,
    typer.Option(help="Shape of the rows that are written (chat, sharegpt, alpaca, …)."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out rows that cannot be read, and say how many.")
]


@grouped
def convert(
    source: Source,
    reading: ReadingOptions,
    out: Target = "-",
    to: To = None,
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """Turn whatever you have into OpenAI's JSONL, or into another shape.

    Shape and packing are told by content; rows of fields need --user and --assistant.

    When a row cannot be read, every such row is listed and nothing is written.
    """
    from selftune.core.errors import BadRows, InvalidInput
    from selftune.data.convert import convert as convert_rows

    if json and out == "-":
        raise InvalidInput("--json and the rows cannot both go to standard output: give --out.")
    try:
        with shown_bytes() as watch:
            done = convert_rows(
                source, out, reading.options(), to=to, skip_bad=skip_bad, watch=watch
            )
    except BadRows as bad:
        if json:
            show_json({"error": bad.message, "problems": [p.model_dump() for p in bad.problems]})
        else:
            _show_problems(bad.problems)
            err.print(f"[bold red]error:[/] {escape(bad.message)}", soft_wrap=True)
        raise typer.Exit(FAILED) from bad
    if json:
        show_json(done.model_dump(mode="json"))
        return
    _show_problems(done.problems)
    left_out = f", {done.skipped:,} left out" if done.skipped else ""
    shown = "" if out == "-" else f" -> {escape(done.target)}"
    count = f"{done.rows:,} row{'s' if done.rows != 1 else ''}"
    err.print(f"{count}{left_out}: {escape(done.source)}{shown}", soft_wrap=True)


def _show_problems(problems: "tuple[Problem, ...]") -> None:
    for found in problems[:_SHOWN_PROBLEMS]:
        color = "red" if found.severity == "error" else "yellow"
        place = f"{found.file}:{found.line}"
        says = f"{found.message.removesuffix('.')}. {found.remedy}"
        err.print(f"[{color}]{escape(place)}[/] {escape(says)}", soft_wrap=True)
    if len(problems) > _SHOWN_PROBLEMS:
        err.print("and more; --json shows up to 1,000", soft_wrap=True)
