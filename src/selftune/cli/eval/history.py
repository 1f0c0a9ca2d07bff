"""`selftune eval history`: the rounds of an eval over time."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import out, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selftune.evaluate.history import Past

_COLUMNS = (
    "round",
    "date (UTC)",
    "questions",
    "model",
    "accuracy",
    "points",
    "against the one before",
)


def history(
    name: Annotated[
        str | None, typer.Argument(help="Name of an eval; absent, all evals are shown.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the rounds of an eval over time.

    Each is compared with the round before it on the same questions. A line tells where the questions
    change: figures before and after it do not compare.
    """
    from selftune.core.errors import NotFound
    from selftune.core.settings import load_settings
    from selftune.evaluate.history import history as read_history
    from selftune.evaluate.rounds import eval_folder

    home = load_settings().root
    folders = sorted((home / "evals").glob("*/")) if name is None else [eval_folder(home, name)]
    found = {folder.name: read_history(folder) for folder in folders}
    if name is not None and not any(found.values()):
        raise NotFound(f"The eval {name!r} has no rounds: `selftune eval run` makes them.")
    if json:
        show_json(
            {
                eval_name: [past.model_dump(mode="json") for past in rounds]
                for eval_name, rounds in found.items()
            }
        )
        return
    for eval_name, rounds in found.items():
        if rounds:
            out.print(f"[bold]{eval_name}[/]")
            show_table(_COLUMNS, [line for past in rounds for line in _lines(past)])
    if not any(found.values()):
        out.print("[dim]none[/]")


def _lines(past: "Past") -> "Sequence[tuple[str, ...]]":
    from selftune.evaluate.figures import share_text

    lines = []
    if past.has_other_items:
        lines.append(("", "", "other questions from here on", "", "", "", ""))
    day = f"{datetime.fromtimestamp(past.created_at, UTC):%Y-%m-%d %H:%M}"
    head = (past.id, day, f"{past.items:,}")
    if past.problem:
        lines.append((*head, past.status, past.problem, "", ""))
    for arm in past.arms:
        status = "" if past.status == "completed" else f" ({past.status})"
        lines.append(
            (
                *head,
                f"{arm.name}{status}",
                share_text(arm.accuracy),
                f"{arm.points:.1f} of {arm.most_points:g}",
                arm.outcome or "",
            )
        )
        head = ("", "", "")
    return lines
