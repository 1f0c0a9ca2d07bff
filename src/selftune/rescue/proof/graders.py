"""What counts as passing: graders of a file or of an archived eval, else what was recorded."""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput, NotFound
from selftune.evaluate.grading import fields_read
from selftune.evaluate.interchange.criteria import checked_graders
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.items import Item
from selftune.rescue.archive.reader import Archive

Graders = tuple[dict[str, Any], ...]
_RECORDED = ("recorded", "recorded_calls")
"""Fields of an item that hold what the recorded model said."""
_LABEL_LETTERS = 32
"""Answers no longer than this, in one line, are labels: they are right or wrong as a whole."""
_ALIKE = 0.9
"""Least cosine at which two longer answers count as alike, where no grader says what is right."""


class Measure(NamedTuple):
    """What judges, and what it says in words."""

    graders: Graders
    words: str

    @property
    def is_recorded(self) -> bool:
        """Whether answers are compared with what the recorded model said."""
        return not fields_read(self.graders).isdisjoint(_RECORDED)


def usual_measure(items: Sequence[Item], when: str) -> Measure:
    """Return what judges where nobody said: references that are labels, else the recorded answers.

    Where something is called, the same calls are right. `when` says when those were recorded.
    """
    if _are_labels(items, "reference"):
        return Measure(_same(items, "reference"), "the answer is the row's own answer")
    if _are_labels(items, "recorded"):
        words = f"the answer is the one that was recorded {when}"
        return Measure(_same(items, "recorded"), words)
    near = {
        "type": "semantic",
        "name": "alike",
        "references": ["{{ item.recorded }}"],
        "threshold": _ALIKE,
    }
    words = f"the answer means what was recorded {when}, by the embedded encoder"
    return Measure(_with_calls(items, "recorded", near), words)


def _same(items: Iterable[Item], field: str) -> Graders:
    same = {"type": "string_check", "name": "same", "operation": "eq"}
    return _with_calls(items, field, same | {"reference": f"{{{{ item.{field} }}}}"})


def _with_calls(items: Iterable[Item], field: str, grader: dict[str, Any]) -> Graders:
    calls = f"{field}_calls"
    if not any(each.item[calls] for each in items):
        return (grader,)
    reference = f"{{{{ item.{calls} }}}}"
    return ({"type": "same_calls", "name": "same", "reference": reference, "otherwise": grader},)


def _are_labels(items: Iterable[Item], field: str) -> bool:
    return all(
        each.item[f"{field}_calls"] or _is_label(str(each.item.get(field) or "")) for each in items
    )


def _is_label(text: str) -> bool:
    return 0 < len(text.strip()) <= _LABEL_LETTERS and "\n" not in text.strip()


def graders_of_file(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the graders of an eval file or a run file, or of a file with `[[graders]]` alone.

    Raises:
        InvalidInput: it cannot be read, or has none.

    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read as TOML: {error}.") from error
    inner = document.get("evaluation")
    graders = (inner if isinstance(inner, dict) else document).get("graders")
    if not isinstance(graders, list) or not graders:
        raise InvalidInput(f"{path} has no graders: write [[evaluation.graders]] tables.")
    return tuple(graders)


def graders_of_eval(archive: Archive, name: str) -> tuple[dict[str, Any], ...]:
    """Return the testing criteria of an archived eval.

    Raises:
        NotFound: the archive has no such eval.
        InvalidInput: one of them cannot be judged here; half of the criteria would be another eval.

    """
    entry = archive.get("eval", name)
    if entry is None or not isinstance(entry.object, dict):
        raise NotFound(f"The archive has no eval {name!r}.")
    criteria = entry.object.get("testing_criteria") or []
    gaps = Gaps()
    found = checked_graders(
        (({k: v for k, v in each.items() if k != "id"}, name) for each in criteria), gaps
    )
    if not found or len(found) < len(criteria):
        why = "; ".join(str(each) for each in gaps.told()) or "it has none"
        raise InvalidInput(f"Not all criteria of {name!r} can be used here: {why}.")
    return found
