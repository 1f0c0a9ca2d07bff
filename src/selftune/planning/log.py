"""The runs of a plan that were finished, one a line: what was trained once is not trained again."""

import os
from pathlib import Path

from pydantic import ValidationError

from selftune.core.errors import InvalidInput, Unavailable
from selftune.core.records import Hyperparameters, Record


class Run(Record):
    """One training, and how its model answered each item."""

    key: str
    """Of everything that decides it: rows, items, graders, base, hyperparameters, seed."""
    rows: int
    seed: int
    asked: Hyperparameters
    used: dict[str, float]
    """The hyperparameters as numbers."""
    model: str
    job: str
    tokens: int
    """Tokens of the training file, times epochs."""
    seconds: float
    """To train."""
    asking_seconds: float
    """To answer all items."""
    passed: tuple[float | None, ...]
    """Share of answers that pass, item by item; None where none could be scored."""
    values: tuple[float | None, ...]
    credits: tuple[float | None, ...]
    is_kept: bool = False
    """The model stays when the plan is done."""

    @property
    def all_seconds(self) -> float:
        """Return how long it took to train and to ask."""
        return self.seconds + self.asking_seconds


class RunLog:
    """A file that only grows. Whoever opens it has the plan's folder to itself."""

    def __init__(self, path: Path) -> None:
        """Read what there is; a last line that a kill cut is taken off.

        Raises:
            InvalidInput: a line is none of ours; names file and line.

        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._runs: dict[str, Run] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                run = Run.model_validate_json(line)
            except ValidationError as error:
                raise InvalidInput(
                    f"{str(path)!r}, line {number} is not a run of a plan: delete the file, and "
                    "the runs are made again."
                ) from error
            self._runs[run.key] = run

    def find(self, key: str) -> Run | None:
        """Return a finished run."""
        return self._runs.get(key)

    def keep(self, run: Run) -> None:
        """Write a run; it is on the disk when this returns.

        Raises:
            Unavailable: the disk is full; the next opening takes off what was written of it.

        """
        try:
            with self._path.open("ab") as file:
                file.write(run.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(
                f"{str(self._path)!r} cannot be written: {error.strerror}. Free space, and repeat "
                "the command: it goes on from here."
            ) from error
        self._runs[run.key] = run
