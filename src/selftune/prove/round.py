"""Run a plan and keep it as a round; the same plan again goes on where it was ended."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput, SelftuneError, Unavailable
from selftune.core.ids import IdSource
from selftune.evaluate.arms import Arm, place_of
from selftune.evaluate.items import Item
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import (
    ENDED,
    ArmRecord,
    Round,
    RoundFolder,
    Totals,
    eval_folder,
    make_eval_folder,
    responses_file,
    sound_rounds,
)
from selftune.evaluate.task import GIVEN, Progress, Task
from selftune.prove.home import Home
from selftune.prove.plan import Plan

_BUFFER = 1 << 20
_SAME = ("eval", "arms", "graders", "samples", "seed", "items", "items_sha256", "fresh")
"""What makes two rounds the same one."""


def run_round(
    home: Home, plan: Plan, on_progress: Callable[[Progress], None] = lambda progress: None
) -> RoundFolder:
    """Run a plan and keep it as a round; a round of the same plan that was stopped goes on.

    Raises:
        InvalidInput: an item, a grader or a model's name; nothing was asked then.
        Conflict: another process runs this eval.
        Unavailable: the folder of the eval cannot be written, or the endpoint is down.
        SelftuneError: what ended the run; the round is kept as stopped.

    """
    where = eval_folder(home.settings.root, plan.name)
    try:
        make_eval_folder(home.settings.root, plan.name)
        with closing(Responses(responses_file(where))) as responses:
            found, folder = _begin(where, plan)
            _run(home, _task(plan, found, folder), responses, folder, on_progress)
    except OSError as error:
        raise Unavailable(
            f"The round cannot be kept in {str(where)!r}: {error.strerror or error}. Mend it, then "
            "run the same again: every answer so far is kept."
        ) from error
    return folder


def _task(plan: Plan, found: Round, folder: RoundFolder) -> Task:
    return Task(
        items=folder.read_items,
        arms=tuple(_salted(arm, found) for arm in plan.arms),
        graders=plan.evaluation.graders,
        total=found.items,
        samples=plan.evaluation.samples,
        seed=plan.evaluation.seed,
        limits=plan.limits,
        salt=found.id if plan.fresh else "",
    )


def _salted(arm: Arm, found: Round) -> Arm:
    """Return an arm that is asked anew in each round: models of this machine cost nothing."""
    is_new = found.fresh or arm.endpoint is None
    return arm.model_copy(update={"salt": found.id}) if is_new else arm


def _run(
    home: Home,
    task: Task,
    responses: Responses,
    folder: RoundFolder,
    on_progress: Callable[[Progress], None],
) -> None:
    from selftune.evaluate.runner import run_evaluation

    found, last = folder.read(), Progress(0, None, None, Totals(dollars=0.0))

    def progressed(progress: Progress) -> None:
        nonlocal last
        last = progress
        on_progress(progress)

    try:
        with folder.results.open("wb", buffering=_BUFFER) as file:

            def keep(result: Result) -> None:
                file.write(result.model_dump_json(exclude_defaults=True).encode() + b"\n")

            totals = run_evaluation(task, home.backing(task.limits), responses, keep, progressed)
    except BaseException as error:
        stopped = {"status": "stopped", "reason": _reason(error)}
        with suppress(OSError):  # the disk may be what is full
            folder.write(_ended(found, stopped, last.totals))
        raise
    completed = {"status": "completed", "reason": "", "finished_at": int(time.time())}
    folder.write(_ended(found, completed, totals))


def _reason(error: BaseException) -> str:
    if isinstance(error, SelftuneError):
        return error.message
    if isinstance(error, KeyboardInterrupt):
        return "It was interrupted."
    return f"{type(error).__name__}: {error}"


def _ended(found: Round, how: dict[str, Any], totals: Totals) -> Round:
    return found.model_copy(update=how | {"totals": _together(found.totals, totals)})


def _together(before: Totals, now: Totals) -> Totals:
    """Return the totals of all starts of a round."""
    return now.model_copy(
        update={
            "asked": before.asked + now.asked,
            "requests": before.requests + now.requests,
            "dollars": _sum(before.dollars, now.dollars),
            "seconds": before.seconds + now.seconds,
            "lag": max(before.lag, now.lag),
        }
    )


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _begin(where: Path, plan: Plan) -> tuple[Round, RoundFolder]:
    """Write the items down; return the round that goes on, or a new one."""
    spooled, (rounds, wrong) = where / "items.partial", sound_rounds(where)
    try:
        count, digest = _spool(plan.items, spooled)
    except BaseException:
        spooled.unlink(missing_ok=True)
        raise
    wanted = Round(
        id=IdSource().new("evalrun_"),
        eval=plan.name,
        number=len(rounds) + len(wrong) + 1,
        created_at=int(time.time()),
        arms=tuple(_recorded(arm, plan) for arm in plan.arms) or (ArmRecord(name=GIVEN, model=""),),
        graders=plan.evaluation.graders,
        samples=plan.evaluation.samples,
        seed=plan.evaluation.seed,
        items=count,
        items_sha256=digest,
        fresh=plan.fresh,
        facts=plan.facts,
        losses=plan.losses,
        totals=Totals(dollars=0.0),
        version=version("selftune"),
    )
    found = _before(rounds, wanted, plan) or wanted
    for each in rounds:
        if (left := each.read()).status == "running":  # we have the log: nobody runs it
            each.write(left.model_copy(update={"status": "stopped", "reason": ENDED}))
    folder = RoundFolder(where / "rounds" / found.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    spooled.replace(folder.items)
    folder.write(found.model_copy(update={"status": "running", "reason": ""}))
    return found, folder


def _spool(items: Iterable[Item], path: Path) -> tuple[int, str]:
    """Write items, one a line; return how many there are and the SHA-256 of their ids."""
    count, digest = 0, sha256()
    with path.open("wb", buffering=_BUFFER) as file:
        for item in items:
            count += 1
            digest.update(item.id.encode(errors="replace") + b"\n")
            file.write(item.model_dump_json(exclude_defaults=True).encode() + b"\n")
    if count == 0:
        raise InvalidInput("There is no question to ask: the data has no rows.")
    return count, digest.hexdigest()


def _before(rounds: Sequence[RoundFolder], wanted: Round, plan: Plan) -> Round | None:
    """Return the round that goes on: the last, if it asks the same and was not finished."""
    if plan.goes_on:
        known = [each.read() for each in reversed(rounds)]
        return next(
            (one for one in known if one.facts == wanted.facts and _same(one, wanted)), None
        )
    last = rounds[-1].read() if rounds else None
    return last if last and last.status != "completed" and _same(last, wanted) else None


def _same(found: Round, wanted: Round) -> bool:
    return all(getattr(found, name) == getattr(wanted, name) for name in _SAME)


def _recorded(arm: Arm, plan: Plan) -> ArmRecord:
    return ArmRecord(
        name=arm.name,
        model=arm.model,
        place=place_of(arm.endpoint),
        note=plan.notes.get(arm.name, ""),
        rates=arm.rates,
        sampling=arm.sampling,
    )
