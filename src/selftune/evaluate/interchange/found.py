"""What the files of a tool hold, in selftune's words: evals to run, and rounds that were run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from selftune.core.records import Usage
from selftune.evaluate.evalfile import Model
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import ArmRecord

Row = dict[str, Any]
OPENAI = "https://api.openai.com/v1"
MOST_NAME = 100


@dataclass(frozen=True)
class Options:
    """What the caller says of the files."""

    id_field: str | None = None
    """Field of the items that names them; absent, their content does."""
    judge: str | None = None
    """Model that judges where the files name none."""


@dataclass(frozen=True)
class FoundEval:
    """An eval that can be run; without graders, only its questions are kept."""

    name: str
    rows: tuple[Row, ...]
    """Lines of the file of questions."""
    evaluation: dict[str, Any]
    """Keys of the evaluation section, graders apart."""
    graders: tuple[Row, ...] = ()
    models: tuple[Model, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class FoundRound:
    """A run of the tool."""

    key: str
    """Names it in the tool, or is made of its content."""
    arms: tuple[ArmRecord, ...]
    graders: tuple[Row, ...]
    items: tuple[Item, ...]
    results: tuple[Result, ...]
    created_at: int
    finished_at: int | None = None
    status: Literal["completed", "stopped"] = "completed"
    reason: str = ""
    samples: int = 1
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """One eval of a tool, with its rounds."""

    tool: str
    name: str
    evals: tuple[FoundEval, ...] = ()
    rounds: tuple[FoundRound, ...] = ()


def name_of(text: Any, otherwise: str) -> str:
    """Return a text as a name: one line, nothing unprintable, not too long."""
    given = text if isinstance(text, str | int | float) else ""
    printable = "".join(c if c.isprintable() else " " for c in str(given))
    return " ".join(printable.split())[:MOST_NAME].strip() or otherwise


def different(names: Sequence[str]) -> list[str]:
    """Return names that differ: the second `a` becomes `a-2`."""
    taken: set[str] = set()
    found = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(candidate)
        found.append(candidate)
    return found


def rows_in(value: Any) -> list[Row]:
    """Return the objects of a list; nothing of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def object_at(value: Any, *path: str) -> Row:
    """Return the object at a path, or an empty one."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def count_of(value: Any) -> int | None:
    """Return a whole number of zero or more, or None."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_count else None


def usage_of(prompt: Any, completion: Any, cached: Any = None) -> Usage | None:
    """Return the tokens of an answer; None where they are not known, zero tokens in all included."""
    asked, said = count_of(prompt), count_of(completion)
    if asked is None or said is None or asked + said == 0:
        return None
    return Usage(prompt_tokens=asked, completion_tokens=said, cached_tokens=count_of(cached) or 0)
