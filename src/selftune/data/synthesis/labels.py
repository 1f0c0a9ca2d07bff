"""Labels: the closed set of right answers, and which of them are missing most."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.rows import Row, answer_text


class Label(Record):
    """One right answer, with what it means where its name does not say it."""

    name: str
    description: str = ""


class Want(Record):
    """So many examples of one label."""

    label: str
    count: int


def read_labels(source: str) -> tuple[Label, ...]:
    """Return labels from a file (one on each line, `name<TAB>description`; or JSON) or `a,b,c`.

    JSON is a list of names, or an object from names to descriptions.

    Raises:
        InvalidInput: there are fewer than two, one comes twice, or the file cannot be read.

    """
    path = Path(source)
    if not path.is_file():
        if "," not in source:
            raise InvalidInput(f"{source!r} is neither a file of labels nor labels with commas.")
        labels = [Label(name=name.strip()) for name in source.split(",") if name.strip()]
    else:
        try:
            labels = list(_parsed(path.read_text(encoding="utf-8-sig"), source))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The labels {source!r} cannot be read: {error}.") from error
    times = Counter(plain_label(label.name) for label in labels)
    twice = next((label.name for label in labels if times[plain_label(label.name)] > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"The label {twice!r} is in {source!r} more than once (case and quotes do not count)."
        )
    if len(labels) < 2:
        raise InvalidInput(f"{source!r} has {len(labels)} label(s), and there must be two or more.")
    return tuple(labels)


def labels_of(rows: Sequence[Row]) -> tuple[Label, ...]:
    """Return the answers of rows as labels, in the order that they first come.

    Raises:
        InvalidInput: they are no closed set: most answers come only once.

    """
    counts = Counter(answer for row in rows if (answer := answer_text(row).strip()))
    if len(counts) < 2 or 2 * len(counts) > counts.total():
        raise InvalidInput(
            f"The {counts.total()} answers of the seeds are {len(counts)} different ones, and so no "
            "closed set of labels: leave out --labels-from-seeds, or give --labels."
        )
    return tuple(Label(name=name) for name in counts)


def _parsed(text: str, source: str) -> Iterable[Label]:
    if text.lstrip()[:1] not in ("[", "{"):
        for line in text.splitlines():
            name, _, description = line.partition("\t")
            if name.strip():
                yield Label(name=name.strip(), description=description.strip())
        return
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"The labels {source!r} are not valid JSON: {error}.") from error
    pairs = found.items() if isinstance(found, dict) else ((name, "") for name in found)
    for name, description in pairs:
        yield Label(name=str(name).strip(), description=str(description).strip())


def missing_most(
    labels: Sequence[Label], have: Counter[str], each: int, count: int
) -> tuple[Want, ...]:
    """Return what to ask for: up to `count` examples, one by one of the label that lacks most.

    `have` is what exists and is on its way; `each` is what every label should have. Labels that
    lack the same come in their own order.
    """
    planned: Counter[str] = Counter()
    for _ in range(count if labels else 0):
        label = max(labels, key=lambda label: each - have[label.name] - planned[label.name])
        if have[label.name] + planned[label.name] >= each:
            break
        planned[label.name] += 1
    return tuple(Want(label=name, count=number) for name, number in planned.items())


def same_label(first: str, second: str) -> bool:
    """Return whether two answers are one label, without regard to case, spacing and a final stop."""
    return plain_label(first) == plain_label(second)


def plain_label(text: Any) -> str:
    """Return a label's normal form."""
    return " ".join(str(text).split()).strip(" .\"'`").casefold()
