"""What the untuned base answers, honestly: it compares texts, and knows nothing else.

Nearest of the choices that the prompt itself lists; else the closest passage of the prompt; else a
plain sentence that it has not been tuned.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from selftune.models.builtin.heads import softmax
from selftune.models.builtin.tree import AnswerDistribution, Paths
from selftune.models.messages import content_text

UNTUNED = (
    "I am selftune/minilm, a small model that has not been tuned for this task: "
    "fine-tune me on examples, and I will answer like them."
)
SHARPNESS = 20.0
"""Cosines are multiplied by this before the softmax, as in sentence-transformers' losses."""
_NUMBERED = re.compile(r"^\s*(\d{1,4})\s*[.):]\s+(\S.*?)\s*$", re.MULTILINE)
_BULLET = re.compile(r"^\s*[-*•]\s+(\S.*?)\s*$", re.MULTILINE)
_ONE_OF = re.compile(
    r"(?:one of|choose from|labels?|categories|classes|options)(?: the following)?[^:\n]{0,60}:"
    r"\s*([^\n]+)",
    re.IGNORECASE,
)
_WANTS_NUMBER = re.compile(r"\bnumber\b|\bnumeral\b|\bindex\b|\bdigit", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
_LEAST_CHOICES = 2


Embed = Callable[[tuple[str, ...]], np.ndarray]
"""Texts -> unit vectors."""


def zero_shot(embed: Embed, messages: Sequence[dict[str, Any]]) -> AnswerDistribution:
    """Return a distribution over what the prompt offers.

    The offers and the question are embedded apart, so that `embed` may remember the offers: a
    system prompt comes again with every request.
    """
    question, rest = _split(messages)
    choices = _choices(rest) or _choices(question)
    if not choices:
        passages = [found.strip() for found in _SENTENCE.findall(rest) if found.strip()]
        choices = [(passage, passage) for passage in dict.fromkeys(passages)]
    if not choices or not question.strip():
        return Paths([UNTUNED]).with_probabilities(np.ones(1))
    merged: dict[str, str] = {}
    for answer, meaning in choices:
        merged.setdefault(answer, meaning)
    offers, asked = embed(tuple(merged.values())), embed((question,))[0]
    probabilities = softmax(SHARPNESS * (offers @ asked))
    return Paths(list(merged)).with_probabilities(probabilities)


def _split(messages: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the last user message, and everything before it."""
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=None)
    if last is None:
        return "", "\n".join(content_text(message) for message in messages)
    before = "\n".join(content_text(m) for i, m in enumerate(messages) if i != last)
    return content_text(messages[last]), before


def _choices(text: str) -> list[tuple[str, str]]:
    """Return the answers that a text lists, each with what it means."""
    numbered = _longest_count([(n, t) for n, t in _NUMBERED.findall(text)])
    if len(numbered) >= _LEAST_CHOICES:
        if _WANTS_NUMBER.search(text):
            return numbered
        return [(meaning, meaning) for _, meaning in numbered]
    for found in _ONE_OF.findall(text):
        names = [name.strip(" .\"'`") for name in re.split(r",|;|\||\bor\b", found)]
        names = [name for name in names if name]
        if len(names) >= _LEAST_CHOICES:
            return [(name, name.replace("_", " ")) for name in names]
    bullets = [found.strip("\"'`") for found in _BULLET.findall(text)]
    if len(bullets) >= _LEAST_CHOICES:
        return [(name, name.replace("_", " ")) for name in bullets]
    return []


def _longest_count(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the longest run that counts 1, 2, 3: a prompt may number its rules as well."""
    runs: list[list[tuple[str, str]]] = []
    for number, text in found:
        if runs and int(number) == int(runs[-1][-1][0]) + 1:
            runs[-1].append((number, text))
        else:
            runs.append([(number, text)])
    return max(runs, key=len, default=[])
