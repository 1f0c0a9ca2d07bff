"""How often a training goes over its file, as OpenAI decides it, with the reason.

The rule is that of OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning":
3 epochs, unless that shows fewer than 100 or more than 25,000 examples; never under 1 or over 25.
"""

from typing import Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record

TARGET_EPOCHS = 3
LEAST_SHOWN, MOST_SHOWN = 100, 25_000
LEAST_EPOCHS, MOST_EPOCHS = 1, 25


class Epochs(Record):
    """A number of epochs, and why."""

    value: int
    reason: str


def resolve_epochs(examples: int, wanted: int | Literal["auto"] = "auto") -> Epochs:
    """Return how many epochs a file of so many examples gets.

    Raises:
        InvalidInput: the wanted number is below 1 or above OpenAI's limit of 50.

    """
    if wanted != "auto":
        if not 1 <= wanted <= 50:
            raise InvalidInput(f"n_epochs is {wanted}: it must be from 1 to 50, or auto.")
        return Epochs(value=wanted, reason="asked for")
    shown = examples * TARGET_EPOCHS
    if 0 < shown < LEAST_SHOWN:
        value = min(MOST_EPOCHS, LEAST_SHOWN // examples)
        why = f"auto: {examples} examples are few, so that about {LEAST_SHOWN} are shown"
        if value == MOST_EPOCHS:
            why += f", {MOST_EPOCHS} epochs at most"
        return Epochs(value=value, reason=why)
    if shown > MOST_SHOWN:
        value = max(LEAST_EPOCHS, MOST_SHOWN // examples)
        why = f"auto: {examples} examples are many, so that at most {MOST_SHOWN} are shown"
        if value * examples > MOST_SHOWN:
            why = f"auto: {examples} examples are many, so each is shown once"
        return Epochs(value=value, reason=why)
    return Epochs(
        value=TARGET_EPOCHS,
        reason=f"auto: {TARGET_EPOCHS} epochs of {examples} examples show from "
        f"{LEAST_SHOWN} to {MOST_SHOWN}",
    )
