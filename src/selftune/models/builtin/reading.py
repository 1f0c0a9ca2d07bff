"""Which part of a chat the encoder reads.

A system prompt that every training row shares carries nothing that tells rows apart, and a long one
would fill the encoder's window and make all messages look alike. It is left out; what it says about
labels (`7. Request late check-out`) is read once, when the model is trained.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from selftune.core.records import Record
from selftune.models.messages import SYSTEM_ROLES, content_text

_CONSTANT_SHARE = 0.9
_LABEL_LINE = re.compile(
    r"^\s*(?:[-*•]\s*)?(?P<label>.+?)\s*(?:[.):]|\s[-–—])\s+(?P<text>.+?)\s*$",
    re.MULTILINE,
)

Messages = Sequence[dict[str, Any]]


class Reading(Record):
    """How this model reads chats; stored with it, so that serving reads as training did."""

    with_system: bool
    """False when the training file's system prompts said the same in every row."""
    pieces: int = 192
    """Word pieces that are read; of a longer text the end is kept."""


def choose_reading(chats: Iterable[Messages]) -> tuple[Reading, tuple[str, ...]]:
    """Return how to read these chats, and the system prompts that nearly all of them share."""
    count, seen = 0, Counter[str]()
    for chat in chats:
        count += 1
        seen.update({content_text(m) for m in chat if m["role"] in SYSTEM_ROLES})
    shared = tuple(text for text, times in seen.items() if times > _CONSTANT_SHARE * count)
    varies = sum(times for text, times in seen.items() if text not in shared) > 0.1 * count
    return Reading(with_system=varies), shared


def read(messages: Messages, reading: Reading) -> str:
    """Return the text that the encoder sees of a chat."""
    kept = [
        content_text(message)
        for message in messages
        if reading.with_system or message["role"] not in SYSTEM_ROLES
    ]
    return "\n".join(text for text in kept if text)


def label_descriptions(prompts: Iterable[str], labels: frozenset[str]) -> dict[str, str]:
    """Return what the prompts say about labels: `16. Request room cleaning` describes `16`."""
    found: dict[str, str] = {}
    for prompt in prompts:
        for match in _LABEL_LINE.finditer(prompt):
            label = match["label"].strip("`\"'* ")
            if label in labels:
                found.setdefault(label, match["text"].strip("`\"'* "))
    return found
