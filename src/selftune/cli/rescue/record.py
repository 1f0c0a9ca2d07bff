"""`selftune rescue record`: keep how tuned models answer, while they still do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.console import err, out, show_json
from selftune.cli.grouping import grouped
from selftune.cli.rescue.pace import STOPPED_EARLY, PaceOptions, stopping
from selftune.cli.rescue.prompting import (
    PromptOptions,
    not_trained,
    note,
    prompts_of,
    tell_left_out,
    temperature_of,
)
from selftune.core.errors import InvalidInput, NotFound, PermissionDenied

if TYPE_CHECKING:
    from selftune.core.settings import Settings
    from selftune.rescue.record.recordings import Recording
    from selftune.rescue.record.run import Tell

Prepare = Callable[[str], Callable[[], "Recording"]]
"""Takes a model, and returns what records it: nothing is paid before all models are found right."""


@dataclass(frozen=True)
class AnswerOptions:
    """What was answered before."""

    answers: Annotated[
        list[Path] | None,
        typer.Option(
            help="File or folder with requests and answers that were kept before: they are taken, and "
            "nobody is asked; repeat for several."
        ),
    ] = None
    archived_answers: Annotated[
        bool,
        typer.Option(
            "--archived-answers",
            help="Take the answers that the archive has, in stored completions, evals and batches.",
        ),
    ] = False

    @property
    def are_named(self) -> bool:
        """Whether answers are taken, and nobody is asked."""
        return bool(self.answers) or self.archived_answers


@dataclass(frozen=True)
class HowOptions:
    """How it is asked."""

    profile: Annotated[str, typer.Option(help="Account that has the models.")] = "openai"
    deployment: Annotated[
        str | None,
        typer.Option(help="Azure's deployment of the model, under whose name it is asked."),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="Of production; else what stored completions show."),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(min=1, max=100, help="Answers to each prompt at that temperature."),
    ] = 3
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of an answer, over production's own.")
    ] = None
    logprobs: Annotated[
        bool, typer.Option("--logprobs/--no-logprobs", help="Keep them where a model gives them.")
    ] = True
    budget_requests: Annotated[
        int | None, typer.Option(min=1, help="Stop before more questions are sent.")
    ] = None

    def names(self, model: str) -> tuple[str, ...]:
        """Return what a model is called, its own name first."""
        return (model,) if self.deployment is None else (model, self.deployment)


@grouped
def record(
    asking: PromptOptions,
    known: AnswerOptions,
    how: HowOptions,
    pace: PaceOptions,
    models: Annotated[
        list[str] | None, typer.Argument(help="Models: ft:…", metavar="[MODEL]...")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Keep how tuned models answer prompts that they were not trained on.

    Each prompt is asked once at temperature 0, and several times as in production, which shows the
    model's own noise. The same command goes on where it was stopped, and pays for no answer twice.
    Answers that were kept before are taken instead of asking (--answers, --archived-answers).
    This was tried against a server that plays OpenAI, not against the real service.
    """
    from selftune.core.settings import load_settings
    from selftune.rescue.record.trained import chosen_models

    settings = load_settings()
    chosen = chosen_models(models or (), asking.opened, everything=asking.everything)
    if how.deployment is not None and len(chosen) > 1:
        raise InvalidInput("--deployment is the name of one model: name one.")
    told: list[dict[str, object]] = []
    with stopping(), _shown() as watch:
        prepare = _asking(settings, asking, how, pace, watch)
        if known.are_named:
            prepare = _importing(settings, asking, known, how, alone=len(chosen) == 1)
        for model, keep in _prepared(prepare, chosen, models or ()).items():
            try:
                told.append(_told(keep()))
            except (NotFound, PermissionDenied) as error:  # the others may well answer
                note(f"{model} is not recorded: {error.message}")
    if json:
        show_json(told)
    else:
        _show(told)
    if len(told) < len(chosen):
        raise typer.Exit(STOPPED_EARLY)


def _prepared(
    prepare: Prepare, chosen: Sequence[str], named: Sequence[str]
) -> dict[str, Callable[[], "Recording"]]:
    """Return what records each model; of all models of an archive, some may have nothing to ask."""
    found = {}
    for model in chosen:
        try:
            found[model] = prepare(model)
        except InvalidInput as error:
            if model in named:
                raise
            note(f"{model} is not recorded: {error.message}")
    return found


def _asking(
    settings: "Settings", asking: PromptOptions, how: HowOptions, pace: PaceOptions, watch: "Tell"
) -> Prepare:
    """Return what asks models, all within one budget."""
    from selftune.models.endpoint import Endpoint
    from selftune.models.profiles import find_profile
    from selftune.rescue.record.asking import TEMPERATURE, Purse, RecordingHome
    from selftune.rescue.record.run import Wanted
    from selftune.rescue.record.run import record as ask

    profile, purse = find_profile(settings.root, how.profile), Purse(how.budget_requests)
    if profile.kind == "azure" and how.deployment is None:
        raise InvalidInput(
            "Azure answers for deployments, not for models: name the model's with --deployment."
        )
    spent = 0.0

    def prepare(model: str) -> Callable[[], "Recording"]:
        names = how.names(model)
        prompts = prompts_of(asking, names)
        wanted = Wanted(
            endpoint=Endpoint(model=names[-1], profile=profile),
            temperature=temperature_of(how.temperature, model, prompts),
            repeats=how.repeats,
            max_tokens=how.max_tokens,
            logprobs=how.logprobs,
            limit=asking.limit,
        )

        def keep() -> "Recording":
            nonlocal spent
            home = RecordingHome(settings, purse, model)
            found, cost = ask(home, model, prompts, wanted, pace.limits(spent), watch)
            spent += cost or 0.0
            if TEMPERATURE in purse.refused.get(names[-1], ()):
                note(f"{model} takes no temperature: all its answers are at its own")
            return found

        return keep

    return prepare


def _importing(
    settings: "Settings",
    asking: PromptOptions,
    known: AnswerOptions,
    how: HowOptions,
    *,
    alone: bool,
) -> Prepare:
    """Return what takes answers that were given before."""
    from selftune.rescue.record.answers import answers_in_archive, answers_in_files, together
    from selftune.rescue.record.imported import Wanted, keep_answers

    archive, paths = asking.opened, known.answers or ()
    if asking.prompts or asking.eval or asking.seen:
        raise InvalidInput(
            "Answers that were given before have their prompts with them: leave out --prompts, --eval "
            "and --seen."
        )
    if known.archived_answers and archive is None:
        raise InvalidInput("--archived-answers are those of an archive: say which with --archive.")
    source = ", ".join(path.name for path in paths)

    def prepare(model: str) -> Callable[[], "Recording"]:
        names, places = how.names(model), [source] if source else []
        all_found = [answers_in_files(paths, names, alone=alone)]
        if known.archived_answers and archive is not None:
            all_found.append(answers_in_archive(archive, names))
            places.append("the archive")
        found = together(all_found)
        tell_left_out(model, found.left_out)
        if not found.exchanges:
            raise InvalidInput(f"There is no answer of {model} with its request.")
        left = not_trained(asking, model, [each.prompt for each in found.exchanges])
        asked = {repr(each.messages) for each in left}
        kept = [each for each in found.exchanges if repr(each.prompt.messages) in asked]
        # Those at temperature 0 are what others are compared with, wherever there are others.
        heated = [each.prompt for each in kept if each.prompt.temperature != 0]
        heat = temperature_of(how.temperature, model, heated or [each.prompt for each in kept])
        wanted = Wanted(heat, how.repeats, asking.limit)

        def keep() -> "Recording":
            done = keep_answers(settings, model, kept, " and ".join(places), wanted)
            if done.short:
                many = "prompt is" if done.short == 1 else "prompts are"
                note(f"{model}: {done.short:,} {many} left out: others have more answers to each")
            if done.unused:
                note(f"{model}: {done.unused:,} answers are not used: not all prompts have as many")
            return done.recording

        return keep

    return prepare


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
    source = usual.facts.get("imported from")
    missing = 0 if source else usual.totals.unanswered + (steady.totals.unanswered if steady else 0)
    return {
        "model": found.model,
        "imported_from": source,
        "prompts": usual.items,
        "repeats": usual.samples,
        "temperature": float(usual.facts["temperature"]),
        "unanswered": missing,
        "with_logprobs": _with_logprobs(found),
        "dollars": _sum(usual.totals.dollars, steady.totals.dollars if steady else 0.0),
        "rounds": [each.id for each in (steady, usual) if each is not None],
    }


def _with_logprobs(found: "Recording") -> int:
    from selftune.evaluate.results import read_results

    folder = found.steady or found.usual
    return sum(each.logprobs is not None for each in read_results(folder.results))


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _show(told: list[dict[str, object]]) -> None:
    for one in told:
        dollars, source = one["dollars"], one["imported_from"]
        cost = f", ${dollars:.4f}" if isinstance(dollars, float) and not source else ""
        missing = f", {one['unanswered']} unanswered" if one["unanswered"] else ""
        many = f"{one['repeats']} times at {one['temperature']:g}"
        how = f"{many}, imported from {source}" if source else f"once at temperature 0 and {many}"
        out.print(
            f"{one['model']}: {one['prompts']} prompts, {how}, {one['with_logprobs']} with logprobs"
            f"{missing}{cost}",
            markup=False,
            soft_wrap=True,
        )
