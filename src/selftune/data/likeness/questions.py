"""What rows ask and what they expect, as texts that can be compared across shapes.

A training chat, a row of fields and an eval item may ask the same question. System prompts do not
count, nor does what every prompt of a file begins or ends with: an instruction that a template put
there.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence

from selftune.data.likeness.words import normal_form
from selftune.data.rows import Row, answer_text, fields_of, prompt_text
from selftune.models.messages import SYSTEM_ROLES

_ANSWER_FIELDS = (
    "answer",
    "expected",
    "correct_label",
    "label",
    "reference",
    "ideal",
    "target",
    "output",
    "response",
    "category",
    "intent",
    "price",
)
_SENTENCE_END = re.compile(r"[.:!?]*\s*\n\s*|[.:!?]+\s+")
_ENOUGH_TO_SEE_A_TEMPLATE = 10
_ANSWERS_TO_ROWS = 4
"""Answers are a closed set when each comes so often or more, on average."""


def questions(rows: Sequence[Row]) -> list[str]:
    """Return what each row asks, without what all of them begin or end with."""
    texts = [prompt_text(row).strip() for row in rows]
    begins, ends = _shared_frame(texts)
    return [
        text[begins : len(text) - ends].strip() or text or _without_system(row)
        for row, text in zip(rows, texts, strict=True)
    ]


def question(row: Row) -> str:
    """Return what one row asks."""
    return prompt_text(row).strip() or _without_system(row)


def expected_answer(row: Row) -> str:
    """Return the answer of a chat, or the field of an item that is named like one, or nothing."""
    said = answer_text(row)
    if said or "messages" in row:
        return said
    fields = fields_of(row)
    return next((str(fields[name]) for name in _ANSWER_FIELDS if name in fields), "")


def labels(rows: Sequence[Row]) -> list[str] | None:
    """Return each row's answer where answers are a closed set (few, repeated), or None."""
    answers = [normal_form(expected_answer(row)) for row in rows]
    distinct = Counter(answers)
    closed = 2 <= len(distinct) <= len(rows) / _ANSWERS_TO_ROWS
    return answers if closed else None


def _shared_frame(texts: Sequence[str]) -> tuple[int, int]:
    """Return how many characters all texts share at their beginning and at their end.

    Whole lines and sentences only: what is shared within the questions belongs to them.
    """
    distinct = set(texts)
    if len(distinct) < _ENOUGH_TO_SEE_A_TEMPLATE:
        return 0, 0
    text = min(distinct)
    mirrored = {each[::-1] for each in distinct}
    begin = text[: _shared_beginning(distinct)]
    end = min(mirrored)[: _shared_beginning(mirrored)][::-1]
    ends = [found.end() for found in _SENTENCE_END.finditer(begin)]
    first = _SENTENCE_END.search(end)
    return ends[-1] if ends else 0, len(end) - first.start() if first else 0


def _shared_beginning(texts: set[str]) -> int:
    """Return how many characters all texts begin with."""
    least, most = min(texts), max(texts)  # what these share lies in all between them
    pairs = zip(least, most, strict=False)
    return next((at for at, pair in enumerate(pairs) if pair[0] != pair[1]), len(least))


def _without_system(row: Row) -> str:
    """Return a row that has no text to compare (pictures, sounds) as JSON."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return json.dumps(fields_of(row), sort_keys=True, default=str)
    asked = [
        message
        for message in messages
        if not isinstance(message, dict) or message.get("role") not in (*SYSTEM_ROLES, "assistant")
    ]
    return json.dumps(asked, sort_keys=True, default=str)
