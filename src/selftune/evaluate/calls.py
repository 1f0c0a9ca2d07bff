"""One question of a run, and the result that its answer and scores make."""

from typing import Any, NamedTuple

from selftune.evaluate.arms import Arm
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result, State
from selftune.evaluate.scorer import Graded
from selftune.evaluate.task import GIVEN
from selftune.models.answers import Answer


class Call(NamedTuple):
    """One question to one model."""

    item: Item
    arm: Arm | None
    """None: the item has its answer."""
    sample: int


def given_result(item: Item, sample: dict[str, Any], scores: tuple[Graded, ...]) -> Result:
    """Return what became of an item that has its answer."""
    return Result(
        index=item.index,
        item=item.id,
        arm=GIVEN,
        state=_state(scores),
        output=str(sample.get("output_text") or ""),
        finish="given",
        scores=scores,
    )


def asked_result(
    call: Call, arm: Arm, answer: Answer, scores: tuple[Graded, ...], *, reused: bool
) -> Result:
    """Return what became of a question; without an answer it is unanswered, not wrong."""
    is_answered = answer.status not in ("failed", "rejected")
    has_more = any(answer.message.get(name) for name in ("tool_calls", "function_call", "refusal"))
    return Result(
        index=call.item.index,
        item=call.item.id,
        arm=arm.name,
        sample=call.sample,
        state=_state(scores) if is_answered else "unanswered",
        output=answer.text,
        message=answer.message if has_more else {},
        logprobs=answer.logprobs,
        finish=answer.status,
        reason=answer.reason,
        model=answer.model,
        scores=scores,
        usage=answer.usage,
        timing=answer.timing,
        attempts=answer.attempts,
        reused=reused,
    )


def _state(scores: tuple[Graded, ...]) -> State:
    states = {score.status for score in scores}
    if "errored" in states:
        return "errored"
    return "skipped" if states <= {"skipped"} else "scored"  # without graders nothing is scored
