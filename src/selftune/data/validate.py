"""May this file be trained on? What is wrong with it is told in OpenAI's own words.

The same check as `selftune data check`, of structure only; a job stops at the first error.
"""

from pathlib import Path
from typing import Literal

from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.data.check import Checking, CheckOptions
from selftune.data.checking.structure import Method, openai_words
from selftune.data.checking.tally import MIN_EXAMPLES
from selftune.data.read import ReadOptions

_OF_AMOUNT = ("file-empty", "too-few-examples")
"""Told in other words, and with another limit for validation files."""
Which = Literal["training", "validation"]


class Accepted(Record):
    """A file in which nothing is wrong."""

    examples: int
    tokens: int
    """Of all rows with the overhead of chats; one epoch is billed so many."""


def check_training_file(
    path: Path,
    *,
    max_rows: int,
    which: Which = "training",
    method: Method = "supervised",
    name: str | None = None,
) -> Accepted:
    """Return how much there is to train on; `name` is what the caller calls the file.

    Raises:
        JobFailed: with the code, message and param that OpenAI's jobs have.

    """
    read = ReadOptions(container="jsonl", format="chat")
    options = CheckOptions(method=method, content=False, processes=1, read=read)
    checking = Checking(path, options)
    for found in checking.problems():
        if found.severity == "error" and found.rule not in _OF_AMOUNT:
            words = openai_words(found, method)
            if found.rule == "wrong-method" and name is not None:
                words = words.replace("The file is", f"Input file {name} is", 1)
            raise _failed(which, words)
        _count(checking, which, max_rows)
    _count(checking, which, max_rows)
    examples, least = checking.tally.rows, MIN_EXAMPLES if which == "training" else 1
    if examples < least:
        raise JobFailed(
            f"{which.capitalize()} file has {examples} example(s), but must have at least "
            f"{least} examples",
            code="invalid_n_examples",
            param=f"{which}_file",
        )
    return Accepted(examples=examples, tokens=checking.tally.tokens)


def _count(checking: Checking, which: Which, max_rows: int) -> None:
    if checking.tally.rows > max_rows:
        words = f"It has more than {max_rows} examples, the limit of this server."
        raise _failed(which, words)


def _failed(which: Which, words: str) -> JobFailed:
    return JobFailed(
        f"The job failed due to an invalid {which} file. {words}",
        code=f"invalid_{which}_file",
        param=f"{which}_file",
    )
