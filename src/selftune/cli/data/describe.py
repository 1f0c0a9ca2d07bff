"""`selftune data describe`: what is in a source, and one example as a model sees it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from selftune.cli.console import out, show_json, show_table
from selftune.cli.data.progress import shown_rows
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.counting.distribution import Bin
    from selftune.data.describe import Description, Share

_STYLES = {"learned": "bold green", "text": "dim", "markup": "dim cyan", "unread": "dim strike"}
_BAR = 40
_CHARACTERS = 4000
"""Of an example that the terminal shows; the page shows all of it."""


@grouped
def describe(
    source: Source,
    reading: ReadingOptions,
    model: Annotated[
        str, typer.Option(help="Whose tokens are counted: a name, or a folder of an open model.")
    ] = "gpt-4o-mini",
    html: Annotated[Path | None, typer.Option(help="Write a page with everything.")] = None,
    json: Json = False,
) -> None:
    """Show what is in a source: rows, lengths, prompts, answers, and one example as the model sees it."""
    from selftune.data.describe import describe as make_description
    from selftune.data.describing.description_page import to_html
    from selftune.data.sources.target import open_target

    options = reading.options()
    with shown_rows() as progress:
        found = make_description(source, model, options, progress)
    if html is not None:
        with open_target(str(html)) as file:
            file.write(to_html(found).encode("utf-8", "replace"))
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        _show(found)
        if html is not None:
            out.print(f"\npage   {escape(str(html))}", soft_wrap=True)


def _show(found: "Description") -> None:
    out.print(f"[bold]{escape(found.source)}[/]: {found.rows:,} rows", soft_wrap=True)
    if found.unreadable:
        out.print(f"[red]{found.unreadable:,} lines are no rows and are left out[/]; the first:")
        first = found.problems[0]
        out.print(escape(f"  line {first.line}: {first.message} {first.remedy}"), soft_wrap=True)
    for name, counts in (("kinds", found.kinds), ("messages", found.roles)):
        _show_counts(name, {str(what): n for what, n in counts.items()})
    _show_counts("rows with answers", {f"{n}:": rows for n, rows in found.turns.items()})
    special = {
        "tools": found.with_tools,
        "images": found.with_images,
        "answers of weight 0": found.with_weights,
    }
    _show_counts("rows with", {what: n for what, n in special.items() if n})
    _show_lengths(found)
    _show_texts(found)
    _show_example(found)


def _show_counts(name: str, counts: dict[str, int]) -> None:
    if counts:
        said = ", ".join(f"{what} {n:,}" for what, n in counts.items())
        out.print(escape(f"{name}: {said}"), soft_wrap=True)


def _show_lengths(found: "Description") -> None:
    names = ("least", "p5", "median", "mean", "p95", "p99", "most", "total")
    spreads = [("a row", found.tokens, 1.0)]
    spreads += [(part.name, part.tokens, part.share) for part in found.parts]
    share = found.trained.total / max(found.tokens.total, 1)
    if found.trained.total:
        spreads.append(("what is learned", found.trained, share))
    out.print()
    show_table(
        (f"tokens ({found.tokenizer})", *names, "share"),
        [
            (name, *(f"{getattr(spread, value):,.0f}" for value in names), f"{share:.1%}")
            for name, spread, share in spreads
        ],
    )
    out.print("\n[bold]Tokens of a row[/]")
    _show_histogram(found.histogram)


def _show_histogram(bins: "tuple[Bin, ...]") -> None:
    tallest = max(one.count for one in bins)
    for one in bins:
        bar = "█" * round(_BAR * one.count / tallest) or ("▏" if one.count else "")
        span = f"{one.low:,}" if one.low == one.high else f"{one.low:,} - {one.high:,}"
        out.print(f"{span:>17}  {bar} {one.count:,}")


def _show_texts(found: "Description") -> None:
    systems, answers = found.systems, found.answers
    if systems.rows:
        out.print(
            f"\n[bold]System prompts[/]: {systems.distinct:,} different, "
            f"{systems.empty:,} rows have none"
        )
        if systems.distinct:
            _show_shares(systems.most[:3])
    if answers.rows:
        kind = "a closed set" if answers.is_closed else "mostly all different"
        out.print(
            f"\n[bold]Answers[/]: {answers.distinct:,} different in {answers.rows:,} rows, {kind}, "
            f"{answers.empty:,} empty"
        )
        if answers.is_closed:
            even = "" if answers.evenness is None else f", {answers.evenness:.1%} of an even choice"
            out.print(f"entropy {answers.entropy_bits:.2f} bits{even}")
            _show_shares(answers.most[:6])
            out.print("the rarest:")
            _show_shares(answers.rarest[:3])
    if found.fields:
        out.print("\n[bold]Fields[/]")
        rows = [
            (
                one.name,
                f"{one.texts.rows:,}",
                f"{one.texts.distinct:,}",
                _line(one.texts.most[0].text),
            )
            for one in found.fields
        ]
        show_table(("field", "rows", "different", "commonest"), rows)


def _show_shares(shares: "tuple[Share, ...]") -> None:
    for one in shares:
        text = _line(one.text) or "none"
        out.print(escape(f"  {one.rows:>7,} rows {one.share:>6.1%}  {text}"), soft_wrap=True)


def _show_example(found: "Description") -> None:
    line = found.example.line
    if found.example.segments[0].role == "fields":
        out.print(f"\n[bold]Line {line}[/], no chat: --user and --assistant say how it becomes one")
    else:
        out.print(
            f"\n[bold]Line {line} as {escape(found.model)} sees it[/]; "
            "[bold green]⟦learned⟧[/], [dim]only read[/], [dim strike]not read[/]"
        )
    text = Text()
    for segment in found.example.segments:
        said = f"⟦{segment.text}⟧" if segment.part == "learned" else segment.text
        text.append(said, style=_STYLES[segment.part])
    if len(text) > _CHARACTERS:
        half = _CHARACTERS // 2
        text = text[:half] + Text(f"\n… {len(text) - _CHARACTERS:,} characters …\n") + text[-half:]
    out.print(text, soft_wrap=True)


def _line(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
