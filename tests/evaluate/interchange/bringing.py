"""Bring files in as a user does, and look at what was kept."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selftune.evaluate.evalfile import EvalFile, load_eval_file
from selftune.evaluate.interchange.bring_in import bring_in
from selftune.evaluate.interchange.found import Options
from selftune.evaluate.interchange.keep import Kept, keep
from selftune.evaluate.items import Item, given_items, to_items
from selftune.evaluate.results import Result, read_results
from selftune.evaluate.rounds import Round, RoundFolder


@dataclass(frozen=True)
class Brought:
    """What is on the disk after an import."""

    kept: Kept
    gaps: tuple[str, ...]

    @property
    def spec(self) -> EvalFile:
        """The first eval file."""
        return load_eval_file(self.kept.evals[0])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The first file of questions."""
        return [json.loads(line) for line in self.kept.questions[0].read_text().split("\n") if line]

    @property
    def asked(self) -> list[Item]:
        """What `selftune eval run` would ask."""
        make = given_items if "sample" in self.rows[0] else to_items
        return list(make(self.rows, self.spec.evaluation))

    def round(self, number: int = 0) -> tuple[Round, list[Item], list[Result]]:
        """Return a round as `selftune eval compare` reads it."""
        folder = RoundFolder(self.kept.rounds[number])
        return folder.read(), list(folder.read_items()), list(read_results(folder.results))


def bring(
    folder: Path,
    *paths: Path,
    tool: str | None = None,
    name: str | None = None,
    id_field: str | None = None,
    judge: str | None = None,
) -> Brought:
    """Import files; eval files go to `folder/out`, rounds to `folder/home`."""
    found = bring_in(paths, tool, name, Options(id_field=id_field, judge=judge))
    kept = keep(found.found, found.gaps, folder / "out", folder / "home")
    return Brought(kept, tuple(str(gap) for gap in found.gaps))


def written(path: Path, value: Any) -> Path:
    """Write JSON, or JSONL where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = isinstance(value, list) and path.suffix == ".jsonl"
    text = "".join(json.dumps(each) + "\n" for each in value) if lines else json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return path
