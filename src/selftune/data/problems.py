"""What can be wrong with data: a problem names the place, the rule and the remedy.

The rules themselves are data: `rules.toml` beside this file.
"""

import tomllib
from functools import cache
from importlib.resources import files
from math import inf
from typing import Literal

from selftune.core.records import Record

Severity = Literal["error", "warning", "advice"]


class Rule(Record):
    """One thing that must hold of data."""

    name: str
    severity: Severity
    """An error keeps a job from starting; a warning costs quality; advice may."""
    says: str
    """What a breach of it is, in one sentence."""
    remedy: str


class Problem(Record):
    """One breach of one rule at one place."""

    file: str = ""
    line: int | None
    """Counted from 1; None where the whole file is meant."""
    message_index: int | None = None
    """Counted from 1, as OpenAI counts; None where the whole row is meant."""
    rule: str
    severity: Severity
    message: str
    """What is wrong, in OpenAI's words where it has words for it. Never shows a secret."""
    remedy: str

    @property
    def place(self) -> tuple[int, float]:
        """Where it stands among others: the whole file first, the whole row last in its line."""
        return self.line or 0, self.message_index or inf


@cache
def rules() -> dict[str, Rule]:
    """Return every rule by its name."""
    text = files("selftune.data").joinpath("rules.toml").read_text(encoding="utf-8")
    return {rule["name"]: Rule.model_validate(rule) for rule in tomllib.loads(text)["rule"]}


def problem(
    rule: str,
    line: int | None,
    message: str = "",
    *,
    message_index: int | None = None,
    file: str = "",
) -> Problem:
    """Return a breach of a rule; without a message it says what the rule says."""
    known = rules()[rule]
    return Problem(
        file=file,
        line=line,
        message_index=message_index,
        rule=rule,
        severity=known.severity,
        message=message or known.says,
        remedy=known.remedy,
    )
