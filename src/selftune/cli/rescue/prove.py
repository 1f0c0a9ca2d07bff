"""`selftune rescue prove`: a replacement against the recorded model, and what follows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from selftune.cli.console import err, out, show_table
from selftune.cli.grouping import grouped
from selftune.cli.rescue.pace import PaceOptions, stopping
from selftune.core.errors import InvalidInput, MissingExtra, NotFound

if TYPE_CHECKING:
    from selftune.core.settings import Settings
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.proof.plan import Choices
    from selftune.rescue.proof.run import Proof

_COLORS = {"switch": "green", "do not tune": "blue", "keep": "red"}


@dataclass(frozen=True)
class AgainstOptions:
    """What is compared with the recorded model."""

    replacement: Annotated[
        str | None,
        typer.Option(help="Model in its place; else what the old name is answered by here."),
    ] = None
    base: Annotated[
        str | None,
        typer.Option(help="Base that is prompted beside it; else the replacement's own."),
    ] = None
    with_base: Annotated[
        bool, typer.Option("--with-base/--no-base", help="Whether a prompted base is compared.")
    ] = True
    also: Annotated[
        list[str] | None,
        typer.Option(help="A further model that is prompted; repeat for several."),
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="Account that answers for the models of --also.")
    ] = None
    archive: Annotated[
        Path | None,
        typer.Option(help="Archive whose training file gives the examples of prompts."),
    ] = None
    examples: Annotated[
        Path | None, typer.Option(help="File of chats for the prompts, where there is no archive.")
    ] = None
    n_examples: Annotated[
        int, typer.Option(min=0, max=1000, help="Examples before each question of a prompted one.")
    ] = 8


@dataclass(frozen=True)
class JudgingOptions:
    """How answers are judged."""

    graders: Annotated[
        Path | None,
        typer.Option(help="Eval file (TOML) whose graders judge; else references, or recordings."),
    ] = None
    eval: Annotated[str | None, typer.Option(help="Eval of the archive whose criteria judge.")] = (
        None
    )
    judge: Annotated[
        str | None, typer.Option(help="Model that judges each answer beside the recorded one.")
    ] = None
    margin: Annotated[
        float,
        typer.Option(min=0.000001, max=1, help="Loss that does not matter: 0.02 is 2 points."),
    ] = 0.02
    per_day: Annotated[
        float | None, typer.Option(min=0, help="Requests a day, for the cost of a year.")
    ] = None


@grouped
def prove(
    model: Annotated[str, typer.Argument(help="The recorded model: ft:…")],
    against: AgainstOptions,
    judging: JudgingOptions,
    pace: PaceOptions,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Say whether the replacement is as good as the recorded model, with reasons and a page.

    Exit status: 0 a loss as large as the margin is ruled out, 1 the replacement is worse, 2 misused,
    3 stopped, or nothing can be said yet.
    """
    from selftune.cli.eval.run import shown_progress
    from selftune.core.settings import load_settings
    from selftune.evaluate.verdict import STANDARD
    from selftune.rescue.proof.page import proof_markdown, write_proof
    from selftune.rescue.proof.run import prove as compare

    settings = load_settings()
    choices = _choices(settings, model, against, judging, pace)
    policy = STANDARD.model_copy(update={"margin": judging.margin})
    with stopping((InvalidInput, NotFound, MissingExtra)), shown_progress() as watch:
        found = compare(settings, model, choices, policy, watch)
        written = write_proof(found.proof, found.folder)
    if json:
        typer.echo(found.proof.model_dump_json(indent=1))
    elif markdown:
        typer.echo(proof_markdown(found.proof))
    else:
        _show(found.proof)
    err.print(f"report   {written.html}", soft_wrap=True, markup=False)
    raise typer.Exit(found.proof.conclusion.status)


def _choices(
    settings: "Settings",
    model: str,
    against: AgainstOptions,
    judging: JudgingOptions,
    pace: PaceOptions,
) -> "Choices":
    from selftune.models.catalog import catalog
    from selftune.models.endpoint import Endpoint
    from selftune.models.profiles import find_profile
    from selftune.rescue.proof.plan import Choices

    replacement = against.replacement or catalog(settings.root).answering(model)
    if replacement == model:
        raise NotFound(
            f"{model!r} has no replacement here: `selftune rescue retrain` trains one, or name one "
            "with --replacement."
        )
    account = None if against.profile is None else find_profile(settings.root, against.profile)
    return Choices(
        replacement=replacement,
        base=against.base,
        with_base=against.with_base,
        examples=_examples(against, model),
        n_examples=against.n_examples,
        also=tuple(
            (name, None if account is None else Endpoint(model=name, profile=account))
            for name in against.also or ()
        ),
        graders=_graders(against, judging, model),
        limits=pace.limits(),
        judge=judging.judge,
        requests_per_day=judging.per_day,
    )


def _examples(against: AgainstOptions, model: str) -> Path | None:
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.record.trained import files_of

    if against.examples is not None or against.archive is None:
        return against.examples
    return files_of(Archive.open(against.archive), model).training


def _graders(
    against: AgainstOptions, judging: JudgingOptions, model: str
) -> "tuple[dict[str, Any], ...]":
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.proof.graders import graders_of_eval, graders_of_file

    if judging.graders is not None:
        return graders_of_file(judging.graders)
    if judging.eval is None:
        if against.archive is not None:
            _name_evals(Archive.open(against.archive), model)
        return ()
    if against.archive is None:
        raise InvalidInput("--eval names an eval of an archive: say which with --archive.")
    return graders_of_eval(Archive.open(against.archive), judging.eval)


def _name_evals(archive: "Archive", model: str) -> None:
    """Say by which evals of the account a model could be judged."""
    from selftune.rescue.record.archived import evals_of

    for name, title in evals_of(archive, model):
        err.print(
            f"[yellow]note:[/] {escape(model)} was judged by the eval {escape(title or name)}: "
            f"--eval {escape(name)} judges by it here",
            soft_wrap=True,
        )


def _show(proof: "Proof") -> None:
    from selftune.cli.eval.gating import show_report
    from selftune.rescue.proof.page import columns, rows

    found = proof.conclusion
    out.print(
        f"[bold {_COLORS.get(found.outcome, 'yellow')}]{escape(found.words)}[/]", soft_wrap=True
    )
    for reason in found.reasons:
        out.print(f"  [dim]{escape(reason)}[/]", soft_wrap=True)
    show_table(columns(proof), rows(proof))
    show_report(proof.report)
    for note in proof.notes:
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
