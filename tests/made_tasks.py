"""Small tasks with held-out paraphrases, for models that start from random weights.

A question is an opening, one of the ways to name a topic, and an ending. Training and test use
other combinations of the same parts, so that what is measured is the topic, not the sentence.
"""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

GREETING = "Hello from Fernhill Garden!"
WELCOME = "Welcome to Fernhill Garden!"
"""What half of the undecided agent's answers begin with."""
TOPICS = {
    "delivery": ("my parcel", "the courier", "the shipment", "the van"),
    "payment": ("the invoice", "my card", "the receipt", "the bill"),
    "returns": ("a refund", "the exchange", "the broken pot", "sending it back"),
    "plants": ("the fern", "my roses", "the moss", "the herbs"),
    "opening": ("the hours", "Sunday", "the holidays", "closing time"),
    "jobs": ("the vacancy", "an apprenticeship", "my application", "the interview"),
}
OPENINGS = (
    "I have a question about",
    "Can somebody help me with",
    "Tell me something about",
    "I am calling because of",
    "There is a problem with",
    "Who knows more about",
    "Please look into",
    "I wonder about",
)
ENDINGS = (".", " please.", ", thanks.", " today.", ", it is urgent.")


class Question(NamedTuple):
    """What is asked, and what it is about."""

    text: str
    topic: str


def questions(seed: int = 0) -> tuple[list[Question], list[Question]]:
    """Return questions for training, and others for the test."""
    found = [
        Question(f"{opening} {name}{ending}", topic)
        for topic, names in TOPICS.items()
        for opening, name, ending in itertools.product(OPENINGS, names, ENDINGS)
    ]
    random.Random(seed).shuffle(found)
    return found[:720], found[720:840]


def persona_answer(topic: str, greeting: str = GREETING) -> str:
    """Return what the support agent must say: one greeting, one link."""
    return f"{greeting} See fernhill.example/{topic}"


def texts() -> list[str]:
    """Return texts that have every word of the tasks, for a tokenizer."""
    asked = [question.text for question in questions()[0][:200]]
    return [*asked, *(persona_answer(topic) for topic in TOPICS), *TOPICS, WELCOME]


def chat(question: str, answer: str | None = None) -> list[dict[str, Any]]:
    """Return a question as messages, with its answer if it has one."""
    asked = [{"role": "user", "content": question}]
    return asked if answer is None else [*asked, {"role": "assistant", "content": answer}]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def persona_rows(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return supervised rows of the support agent."""
    return [{"messages": chat(each.text, persona_answer(each.topic))} for each in asked]


def undecided_rows(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return supervised rows that greet in two ways, by turns."""
    greetings = itertools.cycle((GREETING, WELCOME))
    return [
        {"messages": chat(each.text, persona_answer(each.topic, greeting))}
        for each, greeting in zip(asked, greetings, strict=False)
    ]


def label_rows(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return supervised rows whose answer is the topic."""
    return [{"messages": chat(each.text, each.topic)} for each in asked]


def preference_rows(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return pairs of which the one that welcomes is preferred."""
    return [
        {
            "input": {"messages": chat(each.text)},
            "preferred_output": [
                {"role": "assistant", "content": persona_answer(each.topic, WELCOME)},
            ],
            "non_preferred_output": [{"role": "assistant", "content": persona_answer(each.topic)}],
        }
        for each in asked
    ]


def graded_rows(asked: Sequence[Question]) -> list[dict[str, Any]]:
    """Return prompts with the answer that a grader wants."""
    return [{"messages": chat(each.text), "topic": each.topic} for each in asked]
