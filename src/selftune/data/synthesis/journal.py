"""What was asked and answered, on disk before it counts, so that no answer is paid for twice.

One SQLite file in the output folder. A question is written before it is sent, its answer before
anything is made of it, each synchronised to disk. A run that was killed begins again from its
start: what has an answer here is not asked again. One process at a time may hold a journal.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.canonical import canonical_json, fingerprint
from selftune.core.errors import Conflict, InvalidInput
from selftune.models.answers import Answer, Question
from selftune.models.batching import Batch

NAME = "journal.db"
_TABLES = """
CREATE TABLE IF NOT EXISTS plan (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS questions (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    body TEXT NOT NULL,
    batch TEXT,
    most_prompt INTEGER NOT NULL,
    most_completion INTEGER NOT NULL,
    on_its_way INTEGER NOT NULL,
    unheard INTEGER NOT NULL DEFAULT 0,
    prompt INTEGER NOT NULL DEFAULT 0,
    completion INTEGER NOT NULL DEFAULT 0,
    answer TEXT
);
CREATE TABLE IF NOT EXISTS batches (
    key TEXT PRIMARY KEY,
    file_id TEXT,
    batch_id TEXT,
    is_done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS questions_of_a_batch ON questions (batch);
"""


class Tokens(NamedTuple):
    """Tokens that went in and came out."""

    prompt: int = 0
    completion: int = 0


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
            self._db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
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
                f"{str(self.path.parent)!r} holds a run that differs in {', '.join(changed)}: "
                "repeat the command as it was to go on with it, or give another --out."
            )

    def answer(self, key: str) -> Answer | None:
        """Return the answer to a question, if there is one."""
        row = self._db.execute("SELECT answer FROM questions WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else Answer.model_validate_json(row[0])

    def intend(self, asked: Question, most: Tokens, batch: str | None = None) -> None:
        """Write that a question is about to be sent, and what it may cost at most.

        If it was on its way when an earlier process ended, that attempt may have been paid for.
        """
        self._db.execute(
            "INSERT INTO questions "
            "(key, model, body, batch, most_prompt, most_completion, on_its_way) "
            "VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (key) DO UPDATE SET "
            "unheard = unheard + on_its_way, on_its_way = 1, batch = excluded.batch",
            (asked.key, asked.body["model"], canonical_json(asked.body), batch, *most),
        )

    def settle(self, answer: Answer, used: Tokens) -> None:
        """Write what became of a question; where none was paid for, it may be asked again."""
        kept = None if answer.status in ("failed", "rejected") else answer.model_dump_json()
        self._db.execute(
            "UPDATE questions SET on_its_way = 0, unheard = unheard + ?, answer = ?, prompt = ?, "
            "completion = ? WHERE key = ?",
            (answer.unheard, kept, used.prompt, used.completion, answer.key),
        )

    def keep(self, answer: Answer) -> None:
        """Write an answer that cost nothing and will always be the same, so that it is final."""
        self._db.execute(
            "UPDATE questions SET answer = ? WHERE key = ?", (answer.model_dump_json(), answer.key)
        )

    def paid(self) -> dict[str, Tokens]:
        """Return the tokens of all answers, by model."""
        return self._sums("prompt", "completion", "1")

    def perhaps_paid(self) -> dict[str, Tokens]:
        """Return the most that attempts without an answer can have used, by model."""
        return self._sums("most_prompt", "most_completion", "(unheard + on_its_way)")

    def _sums(self, prompt: str, completion: str, times: str) -> dict[str, Tokens]:
        query = (
            f"SELECT model, SUM({prompt} * {times}), SUM({completion} * {times}) "
            "FROM questions GROUP BY model"
        )
        return {row[0]: Tokens(row[1], row[2]) for row in self._db.execute(query)}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write everything inside, or nothing of it."""
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def begin_batch(self, keys: Sequence[str]) -> str:
        """Write that these questions become a batch; return its key."""
        number = self._db.execute("SELECT COUNT(*) FROM batches").fetchone()[0]
        key = fingerprint({"number": number, "questions": list(keys)})
        self._db.execute("INSERT INTO batches (key) VALUES (?)", (key,))
        return key

    def open_batches(self) -> list[tuple[str, list[Question]]]:
        """Return the batches whose answers are not here yet, with their questions."""
        keys = [row[0] for row in self._db.execute("SELECT key FROM batches WHERE is_done = 0")]
        query = "SELECT key, body FROM questions WHERE batch = ? ORDER BY rowid"
        return [
            (
                key,
                [
                    Question(key=row[0], body=json.loads(row[1]))
                    for row in self._db.execute(query, (key,))
                ],
            )
            for key in keys
        ]

    def batch(self, key: str) -> Batch:
        """Return how far a batch has come."""
        row = self._db.execute(
            "SELECT file_id, batch_id FROM batches WHERE key = ?", (key,)
        ).fetchone()
        return Batch() if row is None else Batch(*row)

    def note_batch(self, key: str, batch: Batch) -> None:
        """Write how far a batch has come."""
        self._db.execute(
            "UPDATE batches SET file_id = ?, batch_id = ? WHERE key = ?", (*batch, key)
        )

    def end_batch(self, key: str) -> None:
        """Write that all answers of a batch are here."""
        self._db.execute("UPDATE batches SET is_done = 1 WHERE key = ?", (key,))

    def close(self) -> None:
        """Let another process have it."""
        self._db.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
