"""Which questions a proof asks: the recorded prompts, each with the answer that others are compared with."""

from collections import Counter
from collections.abc import Sequence

from selftune.core.errors import InvalidInput
from selftune.evaluate.grading import fields_read
from selftune.evaluate.items import Item
from selftune.models.messages import calls_text
from selftune.rescue.proof.graders import Measure
from selftune.rescue.record.recordings import Recording, answers_of
from selftune.rescue.record.trained import asked_at


def items_of(found: Recording) -> tuple[tuple[Item, ...], frozenset[str], int]:
    """Return the questions with the answer that others are compared with as `recorded`.

    That is the one at temperature 0; without it, the first of production. With them are the ids of
    those that have no other answer, and how many have none at all.

    Raises:
        InvalidInput: none has one.

    """
    usual = answers_of(found.usual)
    steady = {} if found.steady is None else answers_of(found.steady)
    kept, left_out = [], 0
    for item in found.usual.read_items():
        answers = steady.get(item.id) or usual.get(item.id)
        if not answers or item.id not in usual:
            left_out += 1
            continue
        shown = {
            "reference_calls": "",
            **item.item,
            "recorded": answers[0].said,
            "recorded_calls": calls_text(answers[0].message),
        }
        kept.append(item.model_copy(update={"item": shown}))
    if not kept:
        raise InvalidInput(f"The recording of {found.model!r} has no answer.")
    return _grouped(kept), frozenset(item.id for item in kept if item.id not in steady), left_out


def fit(
    items: tuple[Item, ...], measure: Measure, alone: frozenset[str]
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """Return the questions that can be judged, and words on the others.

    Raises:
        InvalidInput: none can.

    """
    read = fields_read(measure.graders)
    lacking = {item.id: names for item in items if (names := read - item.item.keys())}
    notes = []
    if lacking:
        missing = ", ".join(sorted(set().union(*lacking.values())))
        reason = f"the graders read {missing}, which they do not have"
        items = tuple(item for item in items if item.id not in lacking)
        notes.append(_left_out(len(lacking), reason))
        if not items:
            raise InvalidInput(
                f"No recorded prompt can be judged: {reason}. Record prompts that have, or give "
                "other graders."
            )
    others = tuple(item for item in items if item.id not in alone)
    if measure.is_recorded and 0 < len(others) < len(items):
        reason = "they were answered once, and an answer cannot be compared with itself"
        notes.append(_left_out(len(items) - len(others), reason))
        items = others
    return items, tuple(notes)


def _grouped(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return items, those of one conversation as a group: they are not independent.

    Logs have a chat once for each of its turns, every time with all that was said before.
    """
    asked = [asked_at(item.messages) for item in items]
    whole = {each[-1] for each in asked}
    groups = [next(turn for turn in each if turn in whole) for each in asked]
    sizes = Counter(groups)
    return tuple(
        item if sizes[group] == 1 else item.model_copy(update={"group": group})
        for item, group in zip(items, groups, strict=True)
    )


def _left_out(count: int, reason: str) -> str:
    return f"{count:,} {'prompt is' if count == 1 else 'prompts are'} left out: {reason}."
