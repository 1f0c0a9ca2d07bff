"""`selftune eval import` and `selftune eval export`: evals of other tools, in and out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from selftune.cli.console import err, out, show_json
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selftune.evaluate.interchange.gaps import Gap
    from selftune.evaluate.interchange.keep import Kept

_COLORS = {"row": "red", "part": "yellow", "note": "dim"}


@dataclass(frozen=True)
class ImportOptions:
    """What the files do not say themselves."""

    tool: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="openai-evals, promptfoo, promptfoo-results, inspect-log or lm-eval; absent, the "
            "content tells.",
        ),
    ] = None
    name: Annotated[str | None, typer.Option(help="Name of the eval, in place of its own.")] = None
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the eval file; absent, that of the first file."
        ),
    ] = None
    id_field: Annotated[
        str | None, typer.Option("--id", help="Field that names an item; absent, its content does.")
    ] = None
    judge: Annotated[
        str | None, typer.Option(help="Model that judges by rubrics, where the files name none.")
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Write over eval files that were changed.")
    ] = False


@grouped
def bring(
    files: Annotated[
        list[Path], typer.Argument(help="Files of a tool, or folders of them.", show_default=False)
    ],
    options: ImportOptions,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring in evals of OpenAI, promptfoo, inspect_ai or lm-eval, and rounds that were run there.

    An eval becomes a file for `selftune eval run`; a round becomes one that `selftune eval compare`
    and `history` show. What has no counterpart is named, and stands at the top of the eval file.
    """
    from selftune.core.settings import load_settings
    from selftune.evaluate.interchange.bring_in import bring_in
    from selftune.evaluate.interchange.found import Options
    from selftune.evaluate.interchange.keep import keep

    asked = Options(id_field=options.id_field, judge=options.judge)
    brought = bring_in(files, options.tool, options.name, asked)
    folder = options.folder or (files[0] if files[0].is_dir() else files[0].parent)
    home = load_settings().root
    kept = keep(brought.found, brought.gaps, folder, home, force=options.force)
    if json:
        paths = {"evals": kept.evals, "questions": kept.questions, "rounds": kept.rounds}
        shown = {name: [str(path) for path in found] for name, found in paths.items()}
        show_json({**shown, "gaps": [gap.model_dump() for gap in brought.gaps]})
        return
    _show_kept(kept)
    _show_gaps(brought.gaps)


def export(
    file: Annotated[Path, typer.Argument(help="Eval file, as `selftune eval run` takes it.")],
    to: Annotated[str, typer.Option(help="The tool: promptfoo.")],
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; absent, standard output.")
    ] = None,
) -> None:
    """Write an eval as a config of promptfoo. What has no counterpart there is named."""
    from selftune.core.errors import InvalidInput
    from selftune.core.settings import load_settings
    from selftune.evaluate.evalfile import load_eval_file
    from selftune.evaluate.interchange.promptfoo_export import export as exported
    from selftune.prove.home import Home
    from selftune.prove.plan import plan_of, with_models

    if to != "promptfoo":
        raise InvalidInput(f"{to!r} is not a tool that evals are written for: --to promptfoo.")
    spec = load_eval_file(file)
    # With a model to ask, every row is a question; nobody is asked here.
    asked = spec if spec.models else with_models(spec, ["none"], None)
    made = exported(spec, plan_of(asked, file.parent, Home(load_settings())).items)
    if target is None:
        typer.echo(made.text, nl=False)
    else:
        try:
            target.write_text(made.text, encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{target} cannot be written: {error.strerror}.") from error
        err.print(f"{made.tests:,} tests -> {escape(str(target))}", soft_wrap=True)
    _show_gaps(made.gaps)


def _show_kept(kept: "Kept") -> None:
    evals = {path.name.removesuffix(".toml") for path in kept.evals}
    alone = [p for p in kept.questions if p.name.removesuffix(".items.jsonl") not in evals]
    for what, paths in (("eval", kept.evals), ("questions", alone), ("round", kept.rounds)):
        for path in paths:
            out.print(f"{what:<10} {escape(str(path))}", soft_wrap=True)
    if kept.evals:
        out.print(f"\nRun it:    selftune eval run {escape(str(kept.evals[0]))}", soft_wrap=True)
    if kept.rounds:
        out.print(f"Look at it: selftune eval compare {kept.rounds[0].name}", soft_wrap=True)


def _show_gaps(gaps: "Sequence[Gap]") -> None:
    for gap in gaps:
        err.print(f"[{_COLORS[gap.kind]}]{escape(str(gap))}[/]", soft_wrap=True)
