"""Run a plan and keep it as a round; the same plan again goes on where it was ended."""

import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import IO

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.ids import IdSource
from selftune.evaluate.arms import Arm, place_of
from selftune.evaluate.items import Item
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import (
    ArmRecord,
    Round,
    RoundFolder,
    Totals,
    eval_folder,
    list_rounds,
)
from selftune.evaluate.task import GIVEN, Progress, Task
from selftune.prove.home import Home
from selftune.prove.plan import Plan

_BUFFER = 1 << 20
_SAME = ("eval", "arms", "graders", "samples", "seed", "items", "items_sha256", "fresh")
"""What makes two rounds the same one, of which the first was not finished."""


def run_round(
    home: Home, plan: Plan, on_progress: Callable[[Progress], None] = lambda progress: None
) -> RoundFolder:
    """Run a plan and keep it as a round; a round of the same plan that was stopped goes on.

    Raises:
        InvalidInput: an item, a grader or a model's name; nothing was asked then.
        Conflict: another process runs this eval.
        SelftuneError: what ended the run; the round is kept as stopped.

    """
    where = eval_folder(home.settings.root, plan.name)
    responses = Responses(where / "responses.jsonl")
    try:
        found, folder = _begin(where, plan)
        arms = tuple(_salted(arm, found) for arm in plan.arms)
        task = Task(
            items=folder.read_items,
            arms=arms,
            graders=plan.evaluation.graders,
            total=found.items,
            samples=plan.evaluation.samples,
            seed=plan.evaluation.seed,
            limits=plan.limits,
            salt=found.id if plan.fresh else "",
        )
        _run(home, task, responses, folder, on_progress)
    finally:
        responses.close()
    return folder


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

    found, last = folder.read(), Progress(0, None, 0, 0, None, 0.0, None)

    def progressed(progress: Progress) -> None:
        nonlocal last
        last = progress
        on_progress(progress)

    with folder.results.open("wb", buffering=_BUFFER) as file:

        def keep(result: Result) -> None:
            file.write(result.model_dump_json(exclude_defaults=True).encode() + b"\n")

        try:
            totals = run_evaluation(task, home.backing(task.limits), responses, keep, progressed)
        except BaseException as error:
            reason = error.message if isinstance(error, SelftuneError) else "It was interrupted."
            folder.write(_stopped(found, last, reason))
            raise
    ended = {"status": "completed", "reason": "", "finished_at": int(time.time())}
    folder.write(found.model_copy(update=ended | {"totals": _together(found.totals, totals)}))


def _stopped(found: Round, last: Progress, reason: str) -> Round:
    totals = found.totals.model_copy(
        update={
            "unanswered": last.unanswered,
            "errored": last.errored,
            "dollars": _sum(found.totals.dollars, last.dollars),
            "seconds": found.totals.seconds + last.seconds,
        }
    )
    return found.model_copy(update={"status": "stopped", "reason": reason, "totals": totals})


def _together(before: Totals, now: Totals) -> Totals:
    """Return the totals of all starts of a round; what an earlier start asked was not reused."""
    return now.model_copy(
        update={
            "asked": before.asked + now.asked,
            "reused": max(0, now.reused - before.asked),
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
    spooled = where / "items.partial"
    count, digest = _spool(plan.items, spooled)
    wanted = Round(
        id=IdSource().new("evalrun_"),
        eval=plan.name,
        number=len(list_rounds(where)) + 1,
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
    found = _unfinished(where, wanted) or wanted
    folder = RoundFolder(where / "rounds" / found.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    Path(spooled).replace(folder.items)
    folder.write(found.model_copy(update={"status": "running", "reason": ""}))
    return found, folder


def _spool(items: Iterable[Item], path: Path) -> tuple[int, str]:
    """Write items, one a line; return how many there are and the SHA-256 of their ids."""
    count, digest = 0, sha256()
    with path.open("wb", buffering=_BUFFER) as file:
        for item in items:
            count += 1
            digest.update(item.id.encode(errors="replace") + b"\n")
            _write(file, item)
    if count == 0:
        raise InvalidInput("There is no question to ask: the data has no rows.")
    return count, digest.hexdigest()


def _write(file: IO[bytes], item: Item) -> None:
    file.write(item.model_dump_json(exclude_defaults=True).encode() + b"\n")


def _unfinished(where: Path, wanted: Round) -> Round | None:
    """Return the last round, if it asks the same and was not finished."""
    rounds = list_rounds(where)
    last = rounds[-1].read() if rounds else None
    if last is None or last.status == "completed":
        return None
    same = all(getattr(last, name) == getattr(wanted, name) for name in _SAME)
    return last if same else None


def _recorded(arm: Arm, plan: Plan) -> ArmRecord:
    return ArmRecord(
        name=arm.name,
        model=arm.model,
        place=place_of(arm.endpoint),
        note=plan.notes.get(arm.name, ""),
        rates=arm.rates,
        sampling=arm.sampling,
    )
