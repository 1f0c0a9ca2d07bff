"""`selftune rescue record`: keep how tuned models answer, while they still do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from selftune.cli.console import STOPPED, err, open_home, out, show_json
from selftune.cli.grouping import grouped
from selftune.core.errors import (
    BudgetSpent,
    InvalidInput,
    NotFound,
    PermissionDenied,
    SelftuneError,
)

if TYPE_CHECKING:
    from selftune.evaluate.evalfile import Limits
    from selftune.rescue.record.prompts import Prompt
    from selftune.rescue.record.recordings import Recording
    from selftune.rescue.record.run import Tell

STOPPED_EARLY = 3
"""Exit status of a recording that is not whole yet."""
_USUAL_TEMPERATURE = 1.0
"""What OpenAI's API takes where a program names none."""


@dataclass(frozen=True)
class PromptOptions:
    """What is asked."""

    archive: Annotated[
        Path | None,
        typer.Option(
            help="Archive of the account: validation files, eval items, stored completions and "
            "batches of the model are asked, and training rows are known."
        ),
    ] = None
    prompts: Annotated[
        list[Path] | None,
        typer.Option(help="File with prompts: chats, logs, batches; repeat for several."),
    ] = None
    eval: Annotated[
        list[str] | None,
        typer.Option(help="Eval of the archive whose items are asked, whoever they were run with."),
    ] = None
    seen: Annotated[
        bool,
        typer.Option("--seen", help="Ask what `selftune serve --upstream --record` kept here."),
    ] = False
    training: Annotated[
        list[Path] | None,
        typer.Option(help="File that the model was trained on, where no archive knows it."),
    ] = None
    everything: Annotated[
        bool, typer.Option("--all", help="All tuned models that the archive has.")
    ] = False
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most prompts of a model; drawn by lot.")
    ] = None


@dataclass(frozen=True)
class HowOptions:
    """How it is asked."""

    profile: Annotated[str, typer.Option(help="Account that has the models.")] = "openai"
    temperature: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="Of production; else what stored completions show."),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(min=1, max=100, help="Answers to each prompt at that temperature."),
    ] = 3
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of an answer, as in production.")
    ] = None
    logprobs: Annotated[
        bool, typer.Option("--logprobs/--no-logprobs", help="Keep them where a model gives them.")
    ] = True
    concurrency: Annotated[
        int, typer.Option(min=1, max=1024, help="Most requests on their way.")
    ] = 8
    budget_dollars: Annotated[
        float | None, typer.Option(min=0.000001, help="Stop before more is spent.")
    ] = None
    budget_requests: Annotated[
        int | None, typer.Option(min=1, help="Stop before more questions are sent.")
    ] = None

    def limits(self, spent: float) -> "Limits":
        """Return the limits of the next model.

        Raises:
            BudgetSpent: nothing is left.

        """
        from selftune.evaluate.evalfile import Limits

        left = None if self.budget_dollars is None else self.budget_dollars - spent
        if left is not None and left <= 0:
            raise BudgetSpent("The budget is spent. The same command again goes on.")
        return Limits(concurrency=self.concurrency, budget_dollars=left)


@grouped
def record(
    asking: PromptOptions,
    how: HowOptions,
    models: Annotated[
        list[str] | None, typer.Argument(help="Models: ft:…", metavar="[MODEL]...")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Keep how tuned models answer prompts that they were not trained on.

    Each prompt is asked once at temperature 0, and several times as in production, which shows the
    model's own noise. The same command goes on where it was stopped, and pays for no answer twice.
    This was tried against a server that plays OpenAI, not against the real service.
    """
    from selftune.core.settings import load_settings
    from selftune.models.profiles import find_profile
    from selftune.rescue.record.asking import Purse, RecordingHome
    from selftune.rescue.record.run import Wanted
    from selftune.rescue.record.run import record as keep

    settings = load_settings()
    profile = find_profile(settings.root, how.profile)
    home = RecordingHome(settings, Purse(how.budget_requests))
    chosen = _chosen(asking, models or ())
    told: list[dict[str, object]] = []
    spent = 0.0
    with _stopping(), _shown() as watch:
        for model, found_prompts in chosen.items():
            prompts, shape = _one_format(model, found_prompts)
            wanted = Wanted(
                profile=profile,
                temperature=_temperature(how, model, prompts),
                repeats=how.repeats,
                max_tokens=how.max_tokens,
                logprobs=how.logprobs,
                response_format=shape,
                limit=asking.limit,
            )
            try:
                found, cost = keep(home, model, prompts, wanted, how.limits(spent), watch)
            except (NotFound, PermissionDenied) as error:  # the others may well answer
                _warn(f"{model} is not recorded: {error.message}")
                continue
            spent += cost or 0.0
            told.append(_told(found))
    if json:
        show_json(told)
    else:
        _show(told)
    if len(told) < len(chosen):
        raise typer.Exit(STOPPED_EARLY)


@contextmanager
def _stopping() -> Iterator[None]:
    """Leave with a status of its own where a recording does not come to its end."""
    try:
        yield
    except InvalidInput:
        raise
    except SelftuneError as error:
        err.print(f"[yellow]stopped:[/] {escape(error.message)}", soft_wrap=True)
        raise typer.Exit(STOPPED_EARLY) from None
    except KeyboardInterrupt:
        err.print("[yellow]stopped:[/] the same command goes on from here", soft_wrap=True)
        raise typer.Exit(STOPPED) from None


def _chosen(asking: PromptOptions, models: Sequence[str]) -> "dict[str, tuple[Prompt, ...]]":
    """Return what to ask each model; of all models of an archive, some may have nothing to ask."""
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.record.trained import chosen_models

    archive = None if asking.archive is None else Archive.open(asking.archive)
    found: dict[str, tuple[Prompt, ...]] = {}
    for model in chosen_models(models, archive, everything=asking.everything):
        try:
            found[model] = _prompts(asking, model)
        except InvalidInput as error:
            if model in models:
                raise
            _warn(f"{model} is not recorded: {error.message}")
    return found


def _prompts(asking: PromptOptions, model: str) -> "tuple[Prompt, ...]":
    """Return the prompts of a model, without those that it was trained on; say what was left out."""
    from selftune.rescue.archive.reader import Archive
    from selftune.rescue.record.prompts import (
        prompts_of_archive,
        prompts_of_file,
        prompts_of_home,
        together,
    )
    from selftune.rescue.record.trained import files_of, without_trained

    archive = None if asking.archive is None else Archive.open(asking.archive)
    found = [prompts_of_file(path) for path in asking.prompts or ()]
    if archive is not None:
        found.append(prompts_of_archive(archive, model, asking.eval or ()))
    if asking.seen:
        found.append(prompts_of_home(*open_home(), model))
    all_found = together(found)
    if not all_found.prompts:
        raise InvalidInput(
            f"There is nothing to ask {model}: name an archive that knows prompts of it (--archive), "
            "or files with prompts (--prompts)."
        )
    trained = list(asking.training or ())
    if archive is not None and (known := files_of(archive, model).training) is not None:
        trained.append(known)
    for reason, count in all_found.left_out.items():
        _warn(f"{model}: {count:,} rows are left out: {reason}")
    if not trained:
        _warn(f"{model}: its training file is not here, so prompts in it cannot be told apart")
    left, others = without_trained(all_found.prompts, trained, model)
    if others:
        _warn(f"{model}: {others:,} prompts are left out: it was trained on them")
    return left


def _one_format(
    model: str, prompts: "tuple[Prompt, ...]"
) -> "tuple[tuple[Prompt, ...], dict[str, Any] | None]":
    from selftune.rescue.record.prompts import of_one_format

    left, shape = of_one_format(prompts)
    if len(left) < len(prompts):
        _warn(
            f"{model}: {len(prompts) - len(left):,} prompts are left out: production asked for "
            "another response format there than it mostly does"
        )
    return left, shape


def _temperature(how: HowOptions, model: str, prompts: "tuple[Prompt, ...]") -> float:
    from selftune.rescue.record.prompts import shown_temperature

    if how.temperature is not None:
        return how.temperature
    shown = shown_temperature(prompts)
    if shown is None:
        _warn(
            f"{model}: nothing shows its temperature in production: {_USUAL_TEMPERATURE:g} is taken, "
            "the API's own; --temperature sets another"
        )
        return _USUAL_TEMPERATURE
    _warn(f"{model}: {shown[1]:,} prompts were asked at temperature {shown[0]:g}: it is taken")
    return shown[0]


def _warn(words: str) -> None:
    err.print(f"[yellow]note:[/] {escape(words)}", soft_wrap=True)


@contextmanager
def _shown() -> "Iterator[Tell]":
    """Show how far a recording is, on a terminal."""
    if not err.is_terminal:
        yield lambda model, kind, progress: None
        return
    from selftune.cli.eval.run import words

    with err.status("asking") as status:
        yield lambda model, kind, progress: status.update(f"{model}, {kind}: {words(progress)}")


def _told(found: "Recording") -> dict[str, object]:
    usual, steady = found.usual.read(), None if found.steady is None else found.steady.read()
    logprobs = 0 if found.steady is None else _with_logprobs(found)
    return {
        "model": found.model,
        "prompts": usual.items,
        "repeats": usual.samples,
        "temperature": float(usual.facts["temperature"]),
        "unanswered": usual.totals.unanswered + (steady.totals.unanswered if steady else 0),
        "with_logprobs": logprobs,
        "dollars": _sum(usual.totals.dollars, steady.totals.dollars if steady else 0.0),
        "rounds": [each.id for each in (steady, usual) if each is not None],
    }


def _with_logprobs(found: "Recording") -> int:
    from selftune.evaluate.results import read_results

    assert found.steady is not None
    return sum(each.logprobs is not None for each in read_results(found.steady.results))


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _show(told: list[dict[str, object]]) -> None:
    for one in told:
        dollars = one["dollars"]
        cost = "" if not isinstance(dollars, float) else f", ${dollars:.4f}"
        missing = f", {one['unanswered']} unanswered" if one["unanswered"] else ""
        out.print(
            f"{one['model']}: {one['prompts']} prompts, once at temperature 0 and "
            f"{one['repeats']} times at {one['temperature']:g}, {one['with_logprobs']} with logprobs"
            f"{missing}{cost}",
            markup=False,
            soft_wrap=True,
        )
