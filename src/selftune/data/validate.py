"""Is this file a supervised training file? Problems are told in OpenAI's own words.

One pass, constant memory. `problems` yields everything that is wrong, `check_training_file` stops a
job at the first.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.models.tokens import TOKENS_PER_REPLY, count_messages

Which = Literal["training", "validation"]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MIN_EXAMPLES = 10
"""OpenAI refuses training files with fewer."""


class Problem(Record):
    """One thing that is wrong with one line."""

    line: int
    """Counted from 1."""
    message: str
    """In OpenAI's words, without the sentence about the job."""


class Checked(Record):
    """A file in which nothing is wrong."""

    examples: int
    tokens: int
    """o200k tokens of all messages with the chat overhead; one epoch is billed so many."""


def check_training_file(path: Path, *, max_rows: int, which: Which = "training") -> Checked:
    """Return how much there is to train on.

    Raises:
        JobFailed: with the code, message and param that OpenAI's jobs have.

    """
    examples = tokens = 0
    for line, row in read_rows(path):
        problem = row if isinstance(row, Problem) else row_problem(line, row)
        if problem is not None:
            raise JobFailed(
                f"The job failed due to an invalid {which} file. {problem.message}",
                code=f"invalid_{which}_file",
                param=f"{which}_file",
            )
        examples += 1
        if examples > max_rows:
            raise JobFailed(
                f"The job failed due to an invalid {which} file. It has more than {max_rows} "
                "examples, the limit of this server.",
                code=f"invalid_{which}_file",
                param=f"{which}_file",
            )
        assert isinstance(row, dict)
        tokens += count_messages(row["messages"]) + TOKENS_PER_REPLY
    least = MIN_EXAMPLES if which == "training" else 1
    if examples < least:
        raise JobFailed(
            f"{which.capitalize()} file has {examples} example(s), but must have at least "
            f"{least} examples",
            code="invalid_n_examples",
            param=f"{which}_file",
        )
    return Checked(examples=examples, tokens=tokens)


def problems(path: Path) -> Iterator[Problem]:
    """Yield everything that is wrong, in the order of the lines."""
    for line, row in read_rows(path):
        problem = row if isinstance(row, Problem) else row_problem(line, row)
        if problem is not None:
            yield problem


def read_rows(path: Path) -> Iterator[tuple[int, Any | Problem]]:
    """Yield line numbers with the parsed row, or with what keeps it from being parsed."""
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                yield number, json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                yield number, _problem(number, "The line is not UTF-8 text.")
            except RecursionError:
                yield number, _problem(number, "The line is nested too deeply.")
            except ValueError as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                yield number, _problem(number, f"The line is not valid JSON: {reason}.")


def row_problem(line: int, row: Any) -> Problem | None:
    """Return what is wrong with one row of a supervised chat file, if anything is."""
    if isinstance(row, dict) and "preferred_output" in row:
        return Problem(
            line=line,
            message="Invalid file format. The file is in the fine-tune-preference format, but the "
            "specified fine-tuning job is not using 'dpo' as the training method "
            "(provided method=supervised).",
        )
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
        return Problem(
            line=line,
            message="Unexpected file format, expected either prompt/completion pairs or chat "
            f"messages. Line {line} has no list of messages.",
        )
    fault = _chat_fault(row["messages"])
    return None if fault is None else _problem(line, fault)


def _chat_fault(messages: list[Any]) -> str | None:
    if not messages:
        return "has no messages"
    for index, message in enumerate(messages, start=1):
        fault = _message_fault(message)
        if fault is not None:
            return f"message {index} {fault}"
    if not any(message["role"] == "assistant" for message in messages):
        return "has no assistant message: there is nothing to learn"
    if messages[-1]["role"] != "assistant":
        return f"message {len(messages)} must be from the assistant: it is the last"
    return None


def _problem(line: int, fault: str) -> Problem:
    separator = ": " if fault.startswith("The ") else ", " if fault.startswith("message") else " "
    return Problem(line=line, message=f"Invalid file format. Example {line}{separator}{fault}")


def _message_fault(message: Any) -> str | None:
    if not isinstance(message, dict):
        return "is not an object"
    if "role" not in message:
        return "Discriminator 'role' is missing in value"
    role = message["role"]
    if role not in ROLES:
        return f"has the role {role!r}, which is not one of {', '.join(ROLES)}"
    return _content_fault(message) or _weight_fault(message)


def _content_fault(message: dict[str, Any]) -> str | None:
    content, role = message.get("content"), message["role"]
    calls = message.get("tool_calls") or message.get("function_call")
    if content is None:
        return None if role == "assistant" and calls else "has no content"
    if isinstance(content, str):
        if role == "assistant" and not content.strip() and not calls:
            return "has empty content"
        return None
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return None
    return "has content that is neither text nor a list of parts"


def _weight_fault(message: dict[str, Any]) -> str | None:
    if "weight" not in message:
        return None
    if message["role"] != "assistant":
        return "has a weight, which only assistant messages may have"
    weight = message["weight"]
    if isinstance(weight, bool) or weight not in (0, 1):
        return f"has the weight {weight!r}: it must be 0 or 1"
    return None
