"""`selftune rescue switch`, `routes` and `shadow`: move a model here step by step, and look at it."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import open_home, out, show_json, show_table
from selftune.cli.grouping import grouped
from selftune.core.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from selftune.evaluate.statistics.interval import Interval
    from selftune.models.switches import Switch

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class How:
    """Options of a switch."""

    replacement: Annotated[
        str | None,
        typer.Option(
            help="Model of this server that answers instead; else what the name stands for here."
        ),
    ] = None
    fallback: Annotated[
        bool, typer.Option(help="Ask upstream where the replacement fails or is silent.")
    ] = True
    back_up: Annotated[
        bool, typer.Option("--back-up", help="Ask the replacement where upstream fails.")
    ] = False
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that the replacement has for its first word, where upstream can still be "
            "asked; 30 unless said."
        ),
    ] = None


@grouped
def switch(
    *,
    model: Annotated[str, typer.Argument(help="Name that callers ask for.")],
    to: Annotated[
        str,
        typer.Option(
            help="upstream; replacement; canary=PERCENT, which the replacement answers for so many "
            "users or conversations; shadow=PERCENT, which is asked too, and compared.",
            metavar="TARGET",
        ),
    ],
    how: How,
) -> None:
    """Say who answers for a model; a running `selftune serve --upstream` follows at once."""
    from selftune.rescue.cutover import switch as make

    store, _ = open_home()
    made, before = make(
        store,
        model,
        to,
        replacement=how.replacement,
        falls_back=how.fallback,
        backs_up=how.back_up,
        timeout_seconds=how.timeout,
    )
    was = "upstream" if before is None else before.words
    out.print(f"{escape(model)}: {was} -> [bold]{made.words}[/]", soft_wrap=True)
    back, now = _command(model, before), _command(model, made)
    if back != now:
        out.print(f"  back with: {back}", soft_wrap=True, markup=False)


def routes(
    history: Annotated[bool, typer.Option("--history", help="Show all switches.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who answers for each model that was switched; others are asked where they are."""
    from selftune.core.settings import load_settings
    from selftune.rescue.cutover import routes as read

    home = load_settings().root
    found = read(home)
    if as_json:
        show_json(
            {
                "routes": [each.model_dump(mode="json") for each in found],
                "recorder": _recorder(home),
            }
        )
        return
    shown = [each for route in found for each in (route.history if history else (route.switch,))]
    if history:
        shown.sort(key=lambda each: each.switched_at)
    show_table(
        ("model", "answered by", "replacement", "if it fails", "since"),
        [
            (each.model, each.words, each.replacement or "", _fails(each), _when(each))
            for each in shown
        ],
    )
    told = _recorder(home)
    if told is not None:
        out.print(
            f"since its start the recorder kept {told['recorded']:,} exchanges and compared "
            f"{told['compared']:,} ({told['left_out']:,} were left out: the replacement was busy); it "
            f"took out {told['taken_out']:,} secrets and pieces of personal data, "
            f"could not keep {told['unreadable']:,}, and dropped {told['dropped']:,}",
            soft_wrap=True,
        )
        if told["problem"]:
            out.print(f"[yellow]nothing is recorded now:[/] {escape(str(told['problem']))}")


def shadow(
    model: Annotated[str | None, typer.Argument(help="Name that callers ask for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how replacements answered beside the models that they may replace."""
    from selftune.rescue.cutover import routes as read
    from selftune.rescue.cutover import shadows

    store, _ = open_home()
    found = shadows(store, model)
    if as_json:
        show_json([each.model_dump(mode="json") for each in found])
        return
    if model is not None and not found:
        _check_known(model, [route.switch.model for route in read(store.root)])
    rows = [
        (
            each.model,
            each.replacement,
            f"{each.asked:,}",
            _share(each.failed),
            _share(each.same),
            _share(each.similarity),
            _median(each.upstream_seconds),
            _median(each.replacement_seconds),
            _seconds(each.slower_seconds),
        )
        for each in found
    ]
    columns = ("model", "replacement", "asked", "no answer", "same", "similar")
    show_table((*columns, "upstream", "replacement", "slower by"), rows)
    if rows:
        out.print("[dim]in brackets: 95% intervals; the same question asked again counts once[/]")


def _command(model: str, made: "Switch | None") -> str:
    """Return the command that makes a switch, with what differs from the defaults."""
    from selftune.models.switches import TIMEOUT_SECONDS

    words = ["selftune", "rescue", "switch", model]
    if made is None:
        return shlex.join([*words, "--to", "upstream"])
    words += ["--to", made.words]
    if made.replacement is not None:
        words += ["--replacement", made.replacement]
    if not made.falls_back:
        words.append("--no-fallback")
    if made.backs_up:
        words.append("--back-up")
    if made.timeout_seconds != TIMEOUT_SECONDS:
        words += ["--timeout", f"{made.timeout_seconds:g}"]
    return shlex.join(words)


def _check_known(model: str, known: list[str]) -> None:
    """Refuse a model that nobody ever switched: nothing will be compared for it."""
    if model in known:
        return
    near = get_close_matches(model, known, n=1)
    begin = f"`selftune rescue switch {model} --to shadow=100` does."
    hint = f"Did you mean {near[0]!r}?" if near else begin
    raise NotFound(f"Nobody switched {model!r}, so nothing is compared for it. {hint}")


def _recorder(home: "Path") -> "dict[str, int | str] | None":
    import orjson

    from selftune.rescue.recorder import STATUS

    try:
        found: dict[str, int | str] = orjson.loads((home / "run" / STATUS).read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _fails(made: "Switch") -> str:
    if made.to in ("canary", "replacement") and made.falls_back:
        return f"upstream, after {made.timeout_seconds:g} s"
    return "replacement" if made.backs_up else ""


def _when(made: "Switch") -> str:
    return f"{datetime.fromtimestamp(made.switched_at, UTC):%Y-%m-%d %H:%M} UTC"


def _share(found: "Interval | None") -> str:
    if found is None:
        return ""
    return f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def _median(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _seconds(found: "Interval | None") -> str:
    if found is None:
        return ""
    low, value, high = (f"{1000 * each:+,.0f}" for each in (found.low, found.value, found.high))
    return f"{value} ms [{low}, {high}]"
