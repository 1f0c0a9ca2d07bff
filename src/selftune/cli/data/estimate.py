"""`selftune data estimate`: tokens, what a training costs, and when it has paid for itself."""

from dataclasses import dataclass
from math import floor, log10
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import out, show_json, show_table
from selftune.cli.data.progress import shown_rows
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.counting.requests import RequestCost
    from selftune.data.estimate import Estimate, EstimateOptions, TokenCount, TrainingCost
    from selftune.models.trainings import Duration


@dataclass(frozen=True)
class CostOptions:
    """What to estimate."""

    model: Annotated[
        list[str] | None,
        typer.Option(help="What to train, or a folder of an open model; several may be given."),
    ] = None
    epochs: Annotated[str, typer.Option(help="A number, or auto as OpenAI decides it.")] = "auto"
    requests_per_day: Annotated[
        float | None, typer.Option(min=0.001, help="How much the model will be asked.")
    ] = None
    compare: Annotated[
        str | None, typer.Option(help="A larger model that answers today, with the whole prompt.")
    ] = None
    prices: Annotated[
        Path | None, typer.Option(help="Your own prices (TOML); else SELFTUNE_PRICES.")
    ] = None

    def options(self, reading: ReadingOptions) -> "EstimateOptions":
        """Return what to estimate."""
        from selftune.core.errors import InvalidInput
        from selftune.core.settings import load_settings
        from selftune.data.estimate import EstimateOptions

        if self.epochs != "auto" and not self.epochs.isdecimal():
            raise InvalidInput(f"--epochs is {self.epochs!r}: it is a number or auto.")
        own = load_settings().prices
        return EstimateOptions(
            models=tuple(self.model or ()),
            epochs="auto" if self.epochs == "auto" else int(self.epochs),
            requests_per_day=self.requests_per_day,
            compare=self.compare,
            prices=self.prices or (Path(own) if own else None),
            read=reading.options(),
        )


@grouped
def estimate(
    source: Source, costs: CostOptions, reading: ReadingOptions, json: Json = False
) -> None:
    """Say what training on a source costs, before a cent is spent: tokens, money, time, break-even."""
    from selftune.data.estimate import estimate as make_estimate

    options = costs.options(reading)
    with shown_rows() as progress:
        found = make_estimate(source, options, progress)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        _show(found)


def _show(found: "Estimate") -> None:
    out.print(f"[bold]{escape(found.source)}[/]: {found.examples:,} examples\n", soft_wrap=True)
    _show_tokens(found.counts)
    _show_trainings(found.trainings)
    _show_requests(found)
    _show_paybacks(found)
    out.print()
    for note in found.notes:
        out.print(f"[dim]{escape(note)}[/]", soft_wrap=True)


def _show_tokens(counts: "tuple[TokenCount, ...]") -> None:
    names = ("least", "p5", "median", "mean", "p95", "p99", "most", "total")
    rows = []
    for count in counts:
        for what, spread in (("an example", count.example), ("its learned part", count.trained)):
            values = [f"{getattr(spread, name):,.0f}" for name in names]
            rows.append([f"{what}, {PurePath(count.tokenizer).name}", *values])
    show_table(("tokens of", *names), rows)
    for count in counts:
        whole = sum(count.parts.values()) or 1
        parts = ", ".join(f"{name} {n:,} ({n / whole:.1%})" for name, n in count.parts.items())
        out.print(f"{escape(PurePath(count.tokenizer).name)}: {parts}", soft_wrap=True)


def _show_trainings(trainings: "tuple[TrainingCost, ...]") -> None:
    out.print("\n[bold]Training[/]")
    show_table(
        ("model", "epochs", "billed tokens", "cost", "time", "memory", "cut", "price of"),
        [
            (
                one.model,
                one.epochs.value if one.epochs else "its own rule",
                f"{one.tokens * one.epochs.value:,}" if one.epochs and not one.is_local else "none",
                money(one.dollars),
                _time(one.duration) if one.is_local else "-",
                _memory(one.duration) if one.is_local else "-",
                _cut(one),
                one.as_of or ("-" if one.is_local else "unknown"),
            )
            for one in trainings
        ],
    )
    for reason in dict.fromkeys(one.epochs.reason for one in trainings if one.epochs):
        out.print(f"epochs: {escape(reason)}", soft_wrap=True)
    if any(one.duration for one in trainings):
        out.print("time and memory: rough, of a machine with 2 cores, from measured trainings")


def _show_requests(found: "Estimate") -> None:
    """Show one line a model; JSON has every variant with every price."""
    from selftune.data.counting.requests import BARE, TUNED, WHOLE

    by_model: dict[str, dict[str, RequestCost]] = {}
    for one in found.requests:
        by_model.setdefault(one.model, {})[one.variant] = one
    has_cache = any(one.thousand_cached is not None for one in found.requests)
    has_year = any(one.year is not None for one in found.requests)
    rows = []
    for model, variants in by_model.items():
        whole, tuned, bare = (variants.get(name) for name in (WHOLE, TUNED, BARE))
        last = bare or tuned
        cells = [model, _sizes(whole), _thousand(whole)]
        cells += [money(whole.thousand_cached if whole else None, "-")] if has_cache else []
        cells += [_thousand(tuned), _sizes(bare), _thousand(bare)]
        cells += [money(last.thousand_batch) if last else "-"]
        cells += [money(one.year) if one else "-" for one in (whole, last)] if has_year else []
        rows.append(cells)
    columns = ["model", "tokens in + out", "untuned"]
    columns += ["untuned, warm cache"] if has_cache else []
    columns += ["tuned", "no system prompt", "tuned, without it", "the last by batch"]
    columns += ["untuned, a year", "tuned, a year"] if has_year else []
    out.print("\n[bold]Requests[/], each like one example; dollars for 1,000")
    show_table(columns, rows)


def _show_paybacks(found: "Estimate") -> None:
    if not found.paybacks:
        return
    out.print("\n[bold]The training has paid for itself[/]")
    show_table(
        ("tuned", "against", "after", "because"),
        [
            (
                one.model,
                "itself, untuned" if one.against == one.model else f"{one.against}, untuned",
                _after(one.requests, one.days),
                one.reason,
            )
            for one in found.paybacks
        ],
    )


def _sizes(one: "RequestCost | None") -> str:
    return f"{one.prompt_tokens:,.0f} + {one.answer_tokens:,.0f}" if one else "-"


def _thousand(one: "RequestCost | None") -> str:
    return money(one.thousand) if one else "-"


def money(dollars: float | None, absent: str = "unknown") -> str:
    """Return an amount with cents, or with as many decimals as it takes to tell it from zero."""
    if dollars is None:
        return absent
    if dollars == 0:
        return "$0"
    if dollars >= 1:
        return f"${dollars:,.2f}"
    decimals = 4 if dollars >= 0.001 else 1 - floor(log10(dollars))
    return f"${dollars:.{decimals}f}"


def _after(requests: int | None, days: float | None) -> str:
    if not requests:
        return "-" if requests is None else "at once"
    if days is None:
        return f"{requests:,} requests"
    return f"{requests:,} requests, {days:,.1f} days"


def _time(duration: "Duration | None") -> str:
    if duration is None:
        return "unknown"
    low, high = duration.fastest_seconds, duration.slowest_seconds
    if low == high:
        return f"about {low:.0f} s" if low < 90 else f"about {low / 60:,.0f} min"
    if high < 90:
        return f"{low:.0f} to {high:.0f} s"
    return (
        f"{low / 60:,.0f} to {high / 60:,.0f} min"
        if low >= 90
        else f"{low:.0f} s to {high / 60:,.0f} min"
    )


def _memory(duration: "Duration | None") -> str:
    if duration is None or duration.megabytes is None:
        return "unknown"
    return f"{duration.megabytes / 1000:.1f} GB"


def _cut(one: "TrainingCost") -> str:
    if one.limit is None:
        return "-" if one.is_local else "unknown"
    if not one.cut_examples:
        return f"none over {one.limit:,}"
    return f"{one.cut_examples:,} over {one.limit:,}, {one.lost_answers:,} lose their answer"
