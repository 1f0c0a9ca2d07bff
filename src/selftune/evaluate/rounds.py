"""Rounds: every run of an eval, kept in a folder of its own, so that rounds can be compared.

HOME/evals/NAME/responses.jsonl        every answer that was ever paid for, by its request
HOME/evals/NAME/rounds/ID/round.json   what was asked of whom, and how it ended
                          items.jsonl  the questions, one `Item` a line
                          results.jsonl  the answers with their scores, one `Result` a line
                          report.html, report.md, report.json
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.records import Record
from selftune.evaluate.items import Item
from selftune.evaluate.responses import is_in_use
from selftune.models.prices import Rates
from selftune.store.whole_files import write_whole

_UNSAFE = re.compile(r"[^a-z0-9]+")
_MOST_NAME = 60
ENDED = "Its process was ended."
"""Why a round is stopped that nobody runs any more."""


class ArmRecord(Record):
    """One of the models that a round asked."""

    name: str
    """How tables call it."""
    model: str
    place: str | None = None
    """Address that answered, without credentials; None for a model of this machine."""
    note: str = ""
    """What is special about it, in words: "8 examples before each question"."""
    rates: Rates | None = None
    """What its tokens cost; None is unknown."""
    sampling: dict[str, Any] = Field(default_factory=dict)


class Totals(Record):
    """How a round went, over all its models and graders."""

    asked: int = 0
    """Questions that were sent and answered, those of graders too, in all starts together."""
    reused: int = 0
    """Answers that were there when the last start needed them: of earlier starts or rounds."""
    requests: int = 0
    """Requests that were sent, repeated attempts too."""
    unanswered: int = 0
    errored: int = 0
    dollars: float | None = None
    """None where a price is not known."""
    seconds: float = 0.0
    """Running time, all its starts together."""
    lag: float = 0.0
    """How late this process was, as a share of the median latency; above 0.1 latencies are too long."""


class Round(Record):
    """What was asked of whom, and how it ended."""

    id: str
    eval: str
    """Name of the eval."""
    number: int = 0
    """Orders rounds that began in one second."""
    created_at: int
    finished_at: int | None = None
    status: Literal["running", "completed", "stopped"] = "running"
    """`stopped`: by its budget, by the user, or by an endpoint; the same command goes on."""
    reason: str = ""
    """Why it was stopped."""
    arms: tuple[ArmRecord, ...]
    graders: tuple[dict[str, Any], ...]
    samples: int = 1
    seed: int | None = None
    items: int
    items_sha256: str
    """Of the ids of all items, in order: two rounds with the same one asked the same questions."""
    fresh: bool = False
    """Asked anew, whatever earlier rounds had paid for."""
    facts: dict[str, str] = Field(default_factory=dict)
    """Whatever else the report's table shows: training rows, epochs."""
    losses: tuple[tuple[float, float], ...] = ()
    """Step and training loss, of the tuned model's training."""
    totals: Totals = Totals()
    source: str = "selftune"
    """Who ran it: `selftune`, or the tool that it was imported from."""
    version: str
    """Of selftune."""


class RoundFolder:
    """Where one round is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record(self) -> Path:
        """`round.json`."""
        return self.path / "round.json"

    @property
    def items(self) -> Path:
        """`items.jsonl`."""
        return self.path / "items.jsonl"

    @property
    def results(self) -> Path:
        """`results.jsonl`."""
        return self.path / "results.jsonl"

    def read(self) -> Round:
        """Return the round; one whose process was ended is stopped, whatever it could not write.

        Raises:
            NotFound: there is none.
            InvalidInput: it was damaged, or made by another version.

        """
        try:
            found = Round.model_validate_json(self.record.read_bytes())
        except OSError as error:
            raise NotFound(f"There is no round in {str(self.path)!r}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "it"
            raise InvalidInput(
                f"{str(self.record)!r} is damaged, or of another version of selftune: {where}: "
                f"{first['msg']}. Delete its folder to do without the round; no answer is lost."
            ) from error
        if found.status == "running" and not is_in_use(responses_file(self.path.parents[1])):
            return found.model_copy(update={"status": "stopped", "reason": ENDED})
        return found

    def write(self, found: Round) -> None:
        """Keep the round; a reader sees the old one or the new one, whole."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.record, found.model_dump_json(indent=1).encode())

    def read_items(self) -> Iterator[Item]:
        """Yield the questions in their order."""
        with self.items.open("rb") as file:
            for line in file:
                yield Item.model_validate_json(line)


def eval_folder(home: Path, name: str) -> Path:
    """Return the folder of an eval; the name, whatever it is, becomes a safe one."""
    safe = _UNSAFE.sub("-", name.lower()).strip("-")[:_MOST_NAME].strip("-")
    return home / "evals" / (safe or "unnamed")


def make_eval_folder(home: Path, name: str) -> Path:
    """Return the folder of an eval, made for its owner's eyes: questions and answers may be private."""
    folder = eval_folder(home, name)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def responses_file(folder: Path) -> Path:
    """Return the log of answers of an eval's folder."""
    return folder / "responses.jsonl"


def list_rounds(folder: Path) -> list[RoundFolder]:
    """Return the rounds of an eval's folder, oldest first.

    Raises:
        InvalidInput: one was damaged, or made by another version.

    """
    return sorted(_rounds(folder), key=_order)


def sound_rounds(folder: Path) -> tuple[list[RoundFolder], dict[RoundFolder, str]]:
    """Return the rounds that can be read, oldest first, and of the others what is wrong."""
    wrong: dict[RoundFolder, str] = {}
    sound = []
    for each in _rounds(folder):
        try:
            each.read()
        except InvalidInput as error:
            wrong[each] = error.message
        else:
            sound.append(each)
    return sorted(sound, key=_order), wrong


def _rounds(folder: Path) -> list[RoundFolder]:
    return [RoundFolder(path.parent) for path in folder.glob("rounds/*/round.json")]


def _order(folder: RoundFolder) -> tuple[int, int, str]:
    found = folder.read()
    return found.created_at, found.number, found.id


def find_round(home: Path, name: str) -> RoundFolder:
    """Return a round by its id, by its folder, or an eval's last finished one by its name.

    Raises:
        NotFound: there is none.

    """
    if Path(name).is_dir() and (Path(name) / "round.json").exists():
        return RoundFolder(Path(name))
    by_id = [path for path in home.glob("evals/*/rounds/*") if path.name == name]
    if by_id:
        return RoundFolder(by_id[0])
    finished = [
        each for each in list_rounds(eval_folder(home, name)) if each.read().status == "completed"
    ]
    if not finished:
        raise NotFound(
            f"No round {name!r}: give a round's id, its folder, or the name of an eval that was "
            "run. `selftune eval history` lists them."
        )
    return finished[-1]
