"""`selftune eval power`: what an evaluation can show."""

from typing import Annotated

import typer

from selftune.cli.console import out, show_json, show_table

_USUAL = (0.1, 0.2, 0.4)
_QUESTIONS = 200


def power(
    difference: Annotated[
        float | None, typer.Option(help="Of the shares that pass: 0.05 is 5 points.")
    ] = None,
    questions: Annotated[int | None, typer.Option(help="How many there are, or will be.")] = None,
    differing: Annotated[
        list[float] | None,
        typer.Option(help="Share of questions that only one of the two models passes."),
    ] = None,
    likelihood: Annotated[
        float, typer.Option(help="How likely a true difference is to be shown.")
    ] = 0.8,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say how many questions show a difference, or what difference so many questions show.

    With both, say how likely they show it. Both models are asked the same questions; the test is
    the exact one of McNemar, at 5 %.
    """
    from selftune.evaluate.statistics import detectable_difference, paired_power, questions_needed

    least = abs(difference or 0)
    # Two models cannot be further apart than they differ.
    shares = [at for at in differing or _USUAL if at >= least] or [least]
    found: dict[float, tuple[float | None, str]] = {}
    if difference is None:
        n = _QUESTIONS if questions is None else questions
        name, title = "difference", f"least difference that {n:,} questions show"
        for at in shares:
            gap = detectable_difference(n, discordant=at, power=likelihood)
            found[at] = gap, "none" if gap is None else f"{100 * gap:.1f} points"
    elif questions is None:
        name, title = "questions", f"questions that show {100 * difference:g} points"
        for at in shares:
            needed = questions_needed(difference, discordant=at, power=likelihood)
            found[at] = needed, f"{needed:,}"
    else:
        name, title = (
            "likelihood",
            f"likelihood that {questions:,} show {100 * difference:g} points",
        )
        for at in shares:
            chance = paired_power(questions, difference, discordant=at)
            found[at] = chance, f"{chance:.0%}"
    _show(name, title, found, json)


def _show(name: str, title: str, found: dict[float, tuple[float | None, str]], json: bool) -> None:
    if json:
        show_json([{"differing": at, name: value} for at, (value, _) in found.items()])
        return
    show_table(("the models differ on", title), [(f"{at:.0%}", t) for at, (_, t) in found.items()])
    out.print("\n[dim]A first run tells on how many they differ; until then, look at all.[/]")
