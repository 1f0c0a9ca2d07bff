"""Find the objects of OpenAI's Evals API in files, however they were saved.

Objects, pages of a list, one object a line, or several kinds under names of the saver's own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from selftune.evaluate.interchange.found import Row, count_of
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.untrusted import Document

_MOST_DEPTH = 5
_SHAPES: tuple[tuple[str, frozenset[str]], ...] = (
    ("item", frozenset(("datasource_item", "results"))),
    ("exported", frozenset(("run_id", "item", "grades"))),
    ("run", frozenset(("data_source", "eval_id"))),
    ("eval", frozenset(("testing_criteria", "data_source_config"))),
    ("data", frozenset(("item",))),
)


@dataclass
class Objects:
    """What was found, each by its id; output items and exported rows by their run."""

    evals: dict[str, Row] = field(default_factory=dict)
    runs: dict[str, Row] = field(default_factory=dict)
    items: dict[str, dict[str, tuple[Row, str]]] = field(default_factory=dict)
    exported: dict[str, list[tuple[Row, str]]] = field(default_factory=dict)
    data: list[tuple[Row, str]] = field(default_factory=list)
    """Rows of a data source that was saved beside the eval."""


def holds_objects(documents: Iterable[Document]) -> bool:
    """Return whether there is one at least."""
    for document in documents:
        for kind, _, _ in _walk(document.value, document.place):
            if kind is not None:
                return True
    return False


def collect(documents: Iterable[Document], gaps: Gaps) -> Objects:
    """Return all objects; one that was saved twice counts once, and the last one counts."""
    found = Objects()
    for document in documents:
        for kind, value, place in _walk(document.value, document.place):
            _put(found, kind, value, place, gaps)
    return found


def _put(found: Objects, kind: str | None, value: Row, place: str, gaps: Gaps) -> None:
    run = str(value.get("run_id") or "")
    if kind == "eval":
        found.evals[str(value.get("id") or "")] = value
    elif kind == "run":
        found.runs[str(value.get("id") or place)] = value
    elif kind == "item":
        items = found.items.setdefault(run, {})
        items[str(value.get("id") or place)] = (value, place)
    elif kind == "exported":
        if isinstance(value["item"], dict) and isinstance(value["grades"], dict):
            found.exported.setdefault(run, []).append((value, place))
        else:
            gaps.row("`item` and `grades` must be objects", place)
    elif kind == "data":
        found.data.append((value, place))
    else:
        gaps.row("no object of the Evals API", place)


def _walk(value: Any, place: str, depth: int = 0) -> Iterator[tuple[str | None, Row, str]]:
    if isinstance(value, list):
        for number, each in enumerate(value, start=1):
            yield from _walk(each, f"{place}[{number}]", depth + 1)
        return
    if not isinstance(value, dict):
        return
    kind = next((kind for kind, keys in _SHAPES if keys <= value.keys()), None)
    if kind is not None:
        yield kind, value, place
        return
    inner = {key: each for key, each in value.items() if isinstance(each, dict | list) and each}
    if not inner or depth > _MOST_DEPTH:
        if value.get("object") != "list":
            yield None, value, place
        return
    for key, each in inner.items():
        yield from _walk(each, f"{place}: {key}" if depth == 0 else f"{place}.{key}", depth + 1)


def position(item: Row, otherwise: int) -> int:
    """Return where an output item stands in its data source."""
    found = count_of(item.get("datasource_item_id", item.get("data_source_idx")))
    return otherwise if found is None else found
