"""What broken files are made of: good rows around, and one thing that is wrong."""

import json
import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

Place = tuple[str, int | None, int | None]
"""A rule, a line and a message index, both counted from 1."""

_WORDS = [
    "amber",
    "anchor",
    "apron",
    "attic",
    "balcony",
    "banjo",
    "barley",
    "basil",
    "beacon",
    "bicycle",
    "blanket",
    "bonfire",
    "bottle",
    "branch",
    "bridge",
    "bucket",
    "button",
    "cabin",
    "camel",
    "candle",
    "canyon",
    "carpet",
    "castle",
    "cedar",
    "cellar",
    "chapel",
    "cherry",
    "chimney",
    "cinnamon",
    "circus",
    "clover",
    "cobalt",
    "comet",
    "compass",
    "copper",
    "coral",
    "cotton",
    "cradle",
    "crystal",
    "curtain",
    "dagger",
    "daisy",
    "desert",
    "diamond",
    "dolphin",
    "donkey",
    "dragon",
    "drum",
    "eagle",
    "ember",
    "engine",
    "falcon",
    "feather",
    "fiddle",
    "fountain",
    "garden",
    "ginger",
    "glacier",
    "granite",
    "hammer",
    "harbor",
    "hazel",
    "helmet",
    "honey",
    "island",
    "ivory",
    "jacket",
    "jasmine",
    "kettle",
    "ladder",
    "lantern",
    "lavender",
    "lemon",
    "lizard",
    "maple",
    "marble",
    "meadow",
    "mirror",
    "monkey",
    "mustard",
    "needle",
    "nutmeg",
    "oasis",
    "olive",
    "orchard",
    "otter",
    "paddle",
    "palace",
    "parrot",
    "pebble",
    "pepper",
    "piano",
    "pigeon",
    "pillow",
    "pocket",
    "pumpkin",
    "quartz",
    "rabbit",
    "ribbon",
    "river",
    "saddle",
    "saffron",
    "sailor",
    "salmon",
    "shadow",
    "silver",
    "spider",
    "statue",
    "summit",
    "teapot",
    "temple",
    "thunder",
    "timber",
    "tulip",
    "turtle",
    "valley",
    "velvet",
    "village",
    "violin",
    "walnut",
    "willow",
    "window",
    "winter",
    "zephyr",
]
SYSTEM = {"role": "system", "content": "You look after the lost property of a railway."}


class Broken(NamedTuple):
    """A file, and all that is wrong with it."""

    name: str
    make: Callable[[], bytes]
    expected: frozenset[Place]
    method: str = "supervised"
    suffix: str = ".jsonl"


def case(
    name: str, make: bytes | Callable[[], bytes], *expected: Place, method: str = "supervised"
) -> Broken:
    """Return a broken file; big ones are made by a function, when they are needed."""
    content = make if callable(make) else (lambda: make)
    return Broken(name, content, frozenset(expected), method)


def dump(value: Any) -> bytes:
    """Return a value as a line of JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def lines(values: Iterable[Any]) -> bytes:
    """Return values as lines of JSON; bytes are lines as they are."""
    return b"".join(dump(value) + b"\n" for value in values)


def system(text: str) -> dict[str, Any]:
    """Return a system message."""
    return {"role": "system", "content": text}


def ask(text: Any = "Has anyone found a violet umbrella?", **others: Any) -> dict[str, Any]:
    """Return a message of the user."""
    return {"role": "user", "content": text, **others}


def say(text: Any = "Not yet, but two grey ones came in today.", **others: Any) -> dict[str, Any]:
    """Return a message of the assistant."""
    return {"role": "assistant", "content": text, **others}


def chat(*messages: Any, **others: Any) -> dict[str, Any]:
    """Return a row of messages after the usual system prompt: they count from 2."""
    return {"messages": [SYSTEM, *messages], **others}


def sentence(seed: int) -> str:
    """Return a sentence that shares few words with those of other seeds."""
    words = random.Random(seed).sample(_WORDS, 12)
    return " ".join(words).capitalize() + "."


@cache
def good_chats(count: int) -> tuple[dict[str, Any], ...]:
    """Return rows with which nothing is wrong."""
    return tuple(chat(ask(sentence(2 * at)), say(sentence(2 * at + 1))) for at in range(count))


@cache
def good_preferences(count: int) -> tuple[dict[str, Any], ...]:
    """Return preference rows with which nothing is wrong."""
    return tuple(preference(at) for at in range(count))


def preference(seed: int = 1_000_000, **changes: Any) -> dict[str, Any]:
    """Return a preference row; a change to None leaves the part out."""
    row = {
        "input": {"messages": [SYSTEM, ask(sentence(3 * seed))]},
        "preferred_output": [say(sentence(3 * seed + 1))],
        "non_preferred_output": [say(sentence(3 * seed + 2))],
        **changes,
    }
    return {key: value for key, value in row.items() if value is not None}


@cache
def good_questions(count: int) -> tuple[dict[str, Any], ...]:
    """Return reinforcement rows with which nothing is wrong."""
    return tuple(question(at) for at in range(count))


def question(seed: int = 1_000_000) -> dict[str, Any]:
    """Return a reinforcement row."""
    return chat(ask(sentence(2 * seed)), reference_answer=sentence(2 * seed + 1))


_GOOD = {
    "supervised": good_chats,
    "dpo": good_preferences,
    "reinforcement": good_questions,
}


def among(*broken: Any, method: str = "supervised") -> bytes:
    """Return a file whose line 7 is the first of the broken rows, and all others are good."""
    good = _GOOD[method](54)
    return lines([*good[:6], *broken, *good[6:]])


def row_case(
    name: str, broken: Any, *expected: tuple[str, int | None], method: str = "supervised"
) -> Broken:
    """Return a file of which line 7 is wrong: rules with their message indexes."""
    places = [(rule, 7, index) for rule, index in expected]
    return case(name, among(broken, method=method), *places, method=method)
