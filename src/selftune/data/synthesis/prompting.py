"""The prompts that teachers get: Markdown files in `prompts/`, filled in a sandbox.

What users wrote goes in as JSON strings, so that it stays data: it can close no quotation.
"""

import json
import random
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.records import Record
from selftune.core.templates import fill

_FOLDER = files("selftune.data.synthesis").joinpath("prompts")


class Style(Record):
    """How the messages of one request are to be written."""

    persona: str
    wording: str
    length: str


def messages_of(name: str, **item: Any) -> list[dict[str, Any]]:
    """Return the chat that asks a teacher, from the prompt of that name."""
    return [{"role": "user", "content": fill(_text(name), item).strip()}]


def version_of(name: str) -> str:
    """Return a prompt's name with the fingerprint of its text: what provenance keeps."""
    return f"{name}@{fingerprint(_text(name))[:12]}"


def quoted(value: Any) -> str:
    """Return a value as one line of JSON, to stand in a prompt as data."""
    return json.dumps(value, ensure_ascii=False)


def drawn_style(dice: random.Random) -> Style:
    """Draw one way to write."""
    return Style(**{name: dice.choice(choices) for name, choices in _styles().items()})


@cache
def _text(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.md").read_text(encoding="utf-8")


@cache
def _styles() -> dict[str, list[str]]:
    return tomllib.loads(_FOLDER.joinpath("styles.toml").read_text(encoding="utf-8"))
