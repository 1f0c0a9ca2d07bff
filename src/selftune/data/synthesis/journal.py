"""What was asked and answered, on disk before it counts, so that no answer is paid for twice.

One SQLite file in the output folder. A question is written before it is sent, its answer before
anything is made of it, each synchronised to disk. A run that was killed begins again from its
start: what has an answer here is not asked again. One process at a time may hold a journal.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.canonical import canonical_json
from selftune.core.errors import Conflict, InvalidInput
from selftune.models.answers import Answer, Question

NAME = "journal.db"
_TABLES = """
CREATE TABLE IF NOT EXISTS plan (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS questions (
    key TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    most_prompt INTEGER NOT NULL,
    most_completion INTEGER NOT NULL,
    on_its_way INTEGER NOT NULL,
    unheard INTEGER NOT NULL DEFAULT 0,
    prompt INTEGER NOT NULL DEFAULT 0,
    completion INTEGER NOT NULL DEFAULT 0,
    answer TEXT
);
CREATE TABLE IF NOT EXISTS batches (key TEXT PRIMARY KEY, file_id TEXT, batch_id TEXT);
"""


class Tokens(NamedTuple):
    """Tokens that went in and came out."""

    prompt: int = 0
    completion: int = 0

    def plus(self, other: "Tokens", times: int = 1) -> "Tokens":
        """Return the sum of these and the other ones, taken so many times."""
        return Tokens(
            self.prompt + times * other.prompt, self.completion + times * other.completion
        )


class Batch(NamedTuple):
    """How far a batch has come: nothing, an uploaded file, a batch that runs."""

    file_id: str | None = None
    batch_id: str | None = None


class Journal:
    """The record of one run, in one folder."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        """Open or begin the record.

        Raises:
            InvalidInput: the folder cannot be written, or holds a run with another plan.
            Conflict: another process is writing to it.

        """
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            # The lock is the operating system's: a killed process leaves none behind.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(f"BEGIN EXCLUSIVE; {_TABLES} COMMIT;")
        except OSError as error:
            raise InvalidInput(f"{str(folder)!r} cannot be written: {error.strerror}.") from error
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Conflict(
                    f"Another run is writing to {str(folder)!r}: wait for it."
                ) from error
            raise InvalidInput(f"{str(self.path)!r} cannot be opened: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise InvalidInput(f"{str(self.path)!r} is no journal: {error}.") from error
        self._check(plan)

    def _check(self, plan: dict[str, Any]) -> None:
        known = {
            name: json.loads(value)
            for name, value in self._db.execute("SELECT name, value FROM plan")
        }
        if not known:
            values = [(name, canonical_json(value)) for name, value in plan.items()]
            with self._db:
                self._db.executemany("INSERT INTO plan VALUES (?, ?)", values)
            return
        changed = sorted(n for n in known.keys() | plan.keys() if known.get(n) != plan.get(n))
        if changed:
            self.close()
            raise InvalidInput(
                f"{str(self.path.parent)!r} holds a run with another {', '.join(changed)}: repeat "
                "the command as it was to go on with it, or give another --out."
            )

    def answer(self, key: str) -> Answer | None:
        """Return the answer to a question, if there is one."""
        row = self._db.execute("SELECT answer FROM questions WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else Answer.model_validate_json(row[0])

    def intend(self, asked: Question, most: Tokens) -> None:
        """Write that a question is about to be sent, and what it may cost at most.

        If it was on its way when an earlier process ended, that attempt may have been paid for.
        """
        self._db.execute(
            "INSERT INTO questions (key, body, most_prompt, most_completion, on_its_way) "
            "VALUES (?, ?, ?, ?, 1) ON CONFLICT (key) DO UPDATE "
            "SET unheard = unheard + on_its_way, on_its_way = 1",
            (asked.key, canonical_json(asked.body), most.prompt, most.completion),
        )

    def settle(self, answer: Answer, used: Tokens) -> None:
        """Write what became of a question; one that failed stays without an answer."""
        kept = None if answer.status == "failed" else answer.model_dump_json()
        self._db.execute(
            "UPDATE questions SET on_its_way = 0, unheard = unheard + ?, answer = ?, prompt = ?, "
            "completion = ? WHERE key = ?",
            (answer.unheard, kept, used.prompt, used.completion, answer.key),
        )

    def paid(self) -> Tokens:
        """Return the tokens of all answers."""
        return self._sum("prompt", "completion", "1")

    def perhaps_paid(self) -> Tokens:
        """Return the most that attempts without an answer can have used."""
        return self._sum("most_prompt", "most_completion", "(unheard + on_its_way)")

    def _sum(self, prompt: str, completion: str, times: str) -> Tokens:
        query = f"SELECT SUM({prompt} * {times}), SUM({completion} * {times}) FROM questions"
        row = self._db.execute(query).fetchone()
        return Tokens(row[0] or 0, row[1] or 0)

    def batch(self, key: str) -> Batch:
        """Return how far a batch has come."""
        row = self._db.execute(
            "SELECT file_id, batch_id FROM batches WHERE key = ?", (key,)
        ).fetchone()
        return Batch() if row is None else Batch(*row)

    def note_batch(self, key: str, batch: Batch) -> None:
        """Write how far a batch has come."""
        self._db.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?)", (key, *batch))

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
