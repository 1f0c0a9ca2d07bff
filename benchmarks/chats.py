"""A large file of chats, made from the standard library's own documentation; same seed, same bytes.

15 % have several turns, 5 % call a tool, a third writes other letters as escapes, 3 % repeat an
earlier row word for word and 5 % nearly.
"""

import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Find the page of a manual.",
        "parameters": {"type": "object", "properties": {"topic": {"type": "string"}}},
    },
}
_ACCENTS = ("déjà vu", "naïve", "größer", "日本語", "😀", "€ 5", "Привет")


def write_chats(path: Path, rows: int, seed: int = 7) -> None:
    """Write so many rows."""
    with path.open("w", encoding="utf-8") as file:
        for line in _lines(rows, random.Random(seed)):
            file.write(line + "\n")


def sentences() -> list[str]:
    """Return every line of text of the standard library's documentation strings and comments."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*.py")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            text = line.strip().lstrip("#").strip()
            if len(text) > 30:
                found[text] = None
    return list(found)


def _lines(rows: int, draw: random.Random) -> Iterator[str]:
    texts = sentences()
    systems = [" ".join(draw.sample(texts, 3)) for _ in range(20)]
    recent: list[dict[str, Any]] = []
    for _ in range(rows):
        luck = draw.random()
        if recent and luck < 0.08:
            row = draw.choice(recent)
            if luck >= 0.03:
                row = json.loads(json.dumps(row))
                row["messages"][1]["content"] += " Please."
        else:
            row = _row(draw, texts, systems)
            recent.append(row)
            del recent[:-1000]
        yield json.dumps(row, ensure_ascii=draw.random() < 0.33)


def _row(draw: random.Random, texts: list[str], systems: list[str]) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": draw.choice(systems)}]
    turns = draw.randint(2, 3) if draw.random() < 0.15 else 1
    for _ in range(turns):
        messages.append({"role": "user", "content": _text(draw, texts, 1, 2)})
        messages.append({"role": "assistant", "content": _text(draw, texts, 1, 2)})
    row: dict[str, Any] = {"messages": messages}
    if draw.random() < 0.05:
        call = {"name": "look_up", "arguments": json.dumps({"topic": draw.choice(texts)[:20]})}
        calls = [{"id": "call_1", "type": "function", "function": call}]
        messages[-1:-1] = [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "call_1", "content": _text(draw, texts, 1, 1)},
        ]
        row["tools"] = [_TOOL]
    return row


def _text(draw: random.Random, texts: list[str], least: int, most: int) -> str:
    words = draw.choices(texts, k=draw.randint(least, most))
    if draw.random() < 0.15:
        words.append(draw.choice(_ACCENTS))
    return " ".join(words)
