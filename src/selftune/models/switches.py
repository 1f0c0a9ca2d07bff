"""Who answers for a model while it moves: `switches.json` in the home folder.

The file is a list of all switches that were ever made; the last one of a model is the one that
counts. So it is its own history, and nothing can be switched without a trace.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.store.whole_files import alone, write_whole

FILE = "switches.json"
TIMEOUT_SECONDS = 30.0
_PARTS = 10_000
_log = logging.getLogger("selftune.switches")

Side = Literal["upstream", "replacement"]


class Switch(Record):
    """Who answers for a model from a moment on."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    to: Literal["upstream", "replacement", "canary", "shadow"]
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    """Of the conversations that the replacement answers, or of the requests that it is asked too."""
    replacement: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """Model of this server that answers instead; None is the one that the name stands for here."""
    falls_back: bool = True
    """Whether upstream is asked where the replacement fails."""
    backs_up: bool = False
    """Whether the replacement is asked where upstream fails."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = TIMEOUT_SECONDS
    """Longest wait for the replacement's first word where upstream can still be asked."""
    switched_at: int

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.percent is None) == (self.to in ("canary", "shadow")):
            raise ValueError("percent belongs to canary and shadow, and only to them")
        return self

    @property
    def words(self) -> str:
        """What `--to` says."""
        return self.to if self.percent is None else f"{self.to}={self.percent:g}"

    def side_of(self, conversation: bytes) -> Side:
        """Return who answers a conversation: the same one each time, whatever else is said in it.

        A larger percentage keeps those that a smaller one had.
        """
        if self.to == "canary":
            return "replacement" if _part_of(conversation) < self._parts else "upstream"
        return "replacement" if self.to == "replacement" else "upstream"

    def is_shadowed(self, request_id: bytes) -> bool:
        """Return whether the replacement is asked too; a share of requests, not of conversations."""
        return self.to == "shadow" and _part_of(request_id) < self._parts

    @property
    def _parts(self) -> float:
        return (self.percent or 0.0) * _PARTS / 100


class Switches(Record):
    """What the file says."""

    version: Literal[1] = 1
    switches: tuple[Switch, ...] = ()
    """In the order in which they were made."""

    def current(self) -> dict[str, Switch]:
        """Return the switch of each model that counts."""
        return {switch.model: switch for switch in self.switches}


class Followed:
    """The file as a running server follows it: read again when it changes."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._current: dict[str, Switch] = {}

    def find(self, model: str) -> Switch | None:
        """Return the switch of a model; None where nobody made one.

        A file that cannot be read changes nothing: what it said before goes on to hold.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = load_switches(self._path.parent).current()
            except InvalidInput as error:
                _log.error("%s What it said before goes on to hold.", error.message)
        return self._current.get(model)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def load_switches(home: Path) -> Switches:
    """Return all switches of a home folder, the first one first.

    Raises:
        InvalidInput: the file cannot be read; says where.

    """
    path = home / FILE
    try:
        return Switches.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Switches()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidInput(f"{path}: {where}: {first['msg']}.") from problem


def add_switch(home: Path, switch: Switch) -> Switch | None:
    """Make a switch; return the one that counted before. The file is whole at every moment."""
    with alone(home / FILE):
        found = load_switches(home)
        before = found.current().get(switch.model)
        told = Switches(switches=(*found.switches, switch)).model_dump(mode="json")
        text = json.dumps(told, indent=1, ensure_ascii=False)
        write_whole(home / FILE, text.encode())
    return before


def _part_of(key: bytes) -> int:
    digest = hashlib.blake2b(key, digest_size=8, person=b"switch").digest()
    return int.from_bytes(digest) % _PARTS
