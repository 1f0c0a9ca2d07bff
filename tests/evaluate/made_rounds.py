"""Rounds for tests: folders as `selftune eval run` leaves them, made of plain columns."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from selftune.core.records import Usage
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result, State
from selftune.evaluate.rounds import ArmRecord, Round, RoundFolder
from selftune.evaluate.scorer import Graded
from selftune.models.answers import Timing
from selftune.models.prices import Rates

EXACT = {"type": "string_check", "operation": "eq", "reference": "{{ item.answer }}"}
RATES = Rates(input=1.0, cached_input=0.5, output=2.0)

Score = float | None
"""1 passes, less does not; None could not be scored."""


def items(n: int, **columns: Sequence[Any]) -> Iterator[Item]:
    """Yield questions; columns are `category`, `group`, `weight`, `id`, or fields of the item."""
    own = ("category", "group", "weight", "id")
    for at in range(n):
        picked = {name: column[at] for name, column in columns.items()}
        fields = {"question": f"q{at}", "answer": f"a{at}"}
        fields |= {name: value for name, value in picked.items() if name not in own}
        told = {name: value for name, value in picked.items() if name in own}
        yield Item(
            index=at + 1,
            item=fields,
            messages=({"role": "user", "content": str(fields["question"])},),
            **({"id": f"item-{at}"} | told),
        )


def result(arm: str, at: int, score: Score, sample: int = 0, **more: Any) -> Result:
    """Return one result; a score of 1 passes."""
    graded = Graded(status="errored", reason="the judge did not answer")
    state: State = "errored"
    if score is not None:
        graded = Graded(status="scored", value=score, passed=score >= 1)
        state = "scored"
    values: dict[str, Any] = {
        "index": at + 1,
        "item": f"item-{at}",
        "arm": arm,
        "sample": sample,
        "state": state,
        "output": f"said {at}",
        "finish": "answered",
        "scores": (graded,),
        "usage": Usage(prompt_tokens=100, completion_tokens=20),
        "timing": Timing(queued=9.0, retrying=5.0, answering=0.5 + (at % 10) / 10),
    }
    return Result(**(values | more))


def unanswered(arm: str, at: int) -> Result:
    """Return a result without an answer."""
    return Result(
        index=at + 1,
        item=f"item-{at}",
        arm=arm,
        state="unanswered",
        finish="failed",
        reason="the endpoint is overloaded",
    )


def write_round(
    folder: Path,
    questions: Iterator[Item],
    results: Iterator[Result],
    arms: Sequence[ArmRecord | str] = ("base", "tuned"),
    **more: Any,
) -> RoundFolder:
    """Write a round as it is kept."""
    made = RoundFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    count, digest = 0, sha256()
    with made.items.open("w", encoding="utf-8") as file:
        for item in questions:
            count += 1
            digest.update(item.id.encode() + b"\n")
            file.write(item.model_dump_json(exclude_defaults=True) + "\n")
    with made.results.open("w", encoding="utf-8") as file:
        for one in results:
            file.write(one.model_dump_json(exclude_defaults=True) + "\n")
    records = tuple(
        ArmRecord(name=arm, model=arm, rates=RATES) if isinstance(arm, str) else arm for arm in arms
    )
    values: dict[str, Any] = {
        "id": folder.name,
        "eval": "made up",
        "created_at": 1_790_000_000,
        "status": "completed",
        "arms": records,
        "graders": (EXACT,),
        "items": count,
        "items_sha256": digest.hexdigest(),
        "version": "0",
    }
    made.write(Round(**(values | more)))
    return made


def scored_round(
    folder: Path,
    scores: Mapping[str, Sequence[Score]],
    columns: Mapping[str, Sequence[Any]] | None = None,
    **more: Any,
) -> RoundFolder:
    """Write a round of these scores, a list for each model."""
    n = len(next(iter(scores.values())))
    rows = (result(arm, at, found[at]) for at in range(n) for arm, found in scores.items())
    return write_round(folder, items(n, **(columns or {})), rows, list(scores), **more)
