"""Prompts to record a model on: from files of rows, or from what an archive knows of the model.

A row is a chat, a line of a batch or of a log, a preference, or an output item of an eval. Whatever
it is, what counts is the messages that were asked.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Identity, Record
from selftune.data.read import read_rows
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.trained import files_of
from selftune.store.completions import CompletionQuery, each_completion
from selftune.store.store import Store

Message = dict[str, Any]
Row = dict[str, Any]
_WORDS = ("role", "content", "name", "tool_calls", "tool_call_id", "function_call")
_WRAPPED = ("body", "request", "input", "sample")
"""Fields under which logs, batches, preferences and output items keep what was asked."""
_OF_ROW = ("messages", "tools", "tool_choice", "functions", "parallel_tool_calls", "weight")


class Prompt(Record):
    """What is asked, and what is known of it."""

    messages: tuple[Message, ...]
    reference: str = ""
    """The answer that the row shows, where it shows one."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """What graders may look at besides: the item of an eval."""
    source: str
    """Where it comes from: `validation file`, `eval`, `stored completion`, `batch`, or a file."""
    temperature: float | None = None
    """At which it was asked in production, where that is known."""
    response_format: dict[str, Any] | None = None
    """The shape that production asked for."""


class Found(Record):
    """Prompts, and what could not be used."""

    prompts: tuple[Prompt, ...]
    left_out: dict[str, int] = Field(default_factory=dict)
    """Rows by why they cannot be asked."""


def prompts_of_file(path: Path) -> Found:
    """Return the prompts of a file of rows.

    Raises:
        InvalidInput: it is a folder, it cannot be read, or none of its rows is a prompt.

    """
    if path.is_dir():
        raise InvalidInput(
            f"{path} is a folder: name the files with the prompts in it. Folders of other tools, "
            "tunekeep's among them, cannot be read whole: their layout is not published."
        )
    found = _found((row, path.name) for row in read_rows(path))
    if not found.prompts:
        raise InvalidInput(
            f"{path} has no prompt: a row needs `messages`, or `body`, `request`, `input` or "
            "`sample` with them."
        )
    return found


def prompts_of_archive(archive: Archive, model: str, evals: Iterable[str] = ()) -> Found:
    """Return what an archive shows that a model was asked, what was asked with care first.

    That is the validation file of its job, output items of evals, stored completions and batches.
    `evals` names evals whose items count whichever model they were run with.
    """
    return _found(_of_archive(archive, model, frozenset(evals)))


def prompts_of_home(store: Store, identity: Identity, model: str) -> Found:
    """Return what a server of this home was asked for a model, where it kept that."""
    query = CompletionQuery(kind="chat.completion", model=model)
    kept = each_completion(store, identity.project_id, query)
    return _found(
        ({**each.options, "messages": list(each.messages)}, "passed through") for each in kept
    )


def together(found: Iterable[Found]) -> Found:
    """Return all prompts, each once: what the second of two that ask the same adds is added."""
    known: dict[str, Prompt] = {}
    left_out: Counter[str] = Counter()
    for each in found:
        left_out.update(each.left_out)
        for prompt in each.prompts:
            first = known.setdefault(repr(prompt.messages), prompt)
            if first is not prompt:
                known[repr(prompt.messages)] = _merged(first, prompt)
    return Found(prompts=tuple(known.values()), left_out=dict(left_out))


def _merged(first: Prompt, second: Prompt) -> Prompt:
    heat = second.temperature if first.temperature is None else first.temperature
    return first.model_copy(
        update={
            "reference": first.reference or second.reference,
            "fields": second.fields | first.fields,
            "temperature": heat,
            "response_format": first.response_format or second.response_format,
        }
    )


def shown_temperature(prompts: Iterable[Prompt]) -> tuple[float, int] | None:
    """Return the temperature that most prompts were asked at in production, and of how many."""
    counts = Counter(each.temperature for each in prompts if each.temperature is not None)
    return counts.most_common(1)[0] if counts else None


def of_one_format(
    prompts: Sequence[Prompt],
) -> tuple[tuple[Prompt, ...], dict[str, Any] | None]:
    """Return the prompts that were asked for the commonest shape, and that shape: all get the same.

    Those of which it is not known are among them.
    """
    shapes = [each.response_format for each in prompts if each.response_format is not None]
    if not shapes:
        return tuple(prompts), None
    usual = json.loads(Counter(json.dumps(each) for each in shapes).most_common(1)[0][0])
    return tuple(each for each in prompts if each.response_format in (None, usual)), usual


def _of_archive(archive: Archive, model: str, evals: frozenset[str]) -> Iterator[tuple[Row, str]]:
    validation = files_of(archive, model).validation
    if validation is not None:
        yield from ((row, "validation file") for row in _rows(validation))
    for run in archive.list("eval_run"):
        said = run.object if isinstance(run.object, dict) else {}
        if said.get("model") == model or run.parent in evals:
            items = archive.list("output_item", run.id)
            yield from ((each.object, "eval") for each in items if isinstance(each.object, dict))
    for kept in archive.list("completion"):
        if isinstance(kept.object, dict) and kept.object.get("model") == model:
            asked = [each.object for each in archive.list("completion_message", kept.id)]
            yield {**_plain(kept.object), "messages": asked}, "stored completion"
    for batch in archive.list("batch"):
        named = batch.object.get("input_file_id") if isinstance(batch.object, dict) else None
        file = None if named is None else archive.get("file", str(named))
        if file is not None and file.blob is not None:
            for row in _rows(archive.blob(file.blob)):
                body = row.get("body")
                if isinstance(body, dict) and body.get("model") == model:
                    yield row, "batch"


def _rows(path: Path) -> list[Row]:
    """Return the rows of an archived file; of one that cannot be read, a row that cannot be asked."""
    try:
        return read_rows(path)
    except InvalidInput:
        return [{}]


def _plain(completion: Row) -> Row:
    """Return of a stored completion what is not its answer."""
    return {name: completion.get(name) for name in ("temperature", "tools", "response_format")}


def _found(rows: Iterable[tuple[Row, str]]) -> Found:
    prompts: list[Prompt] = []
    left_out: Counter[str] = Counter()
    for row, source in rows:
        prompt = _prompt(row, source)
        if isinstance(prompt, Prompt):
            prompts.append(prompt)
        else:
            left_out[prompt] += 1
    return together((Found(prompts=tuple(prompts), left_out=dict(left_out)),))


def _prompt(row: Row, source: str) -> Prompt | str:
    """Return the prompt of a row, or why it is none."""
    asked = _with_messages(row)
    if asked is None:
        return f"{source}: no messages, or it cannot be read"
    if asked.get("tools") or asked.get("functions"):
        return f"{source}: asks with tools, which a recording does not send"
    messages = [_message(each) for each in asked["messages"] if isinstance(each, dict)]
    reference = _reference(row, asked)
    if messages and messages[-1]["role"] == "assistant":
        reference = str(messages.pop().get("content") or "")
    if not any(each["role"] == "user" for each in messages):
        return f"{source}: nothing is asked"
    fields = row.get("datasource_item", row.get("item"))
    own = {k: v for k, v in row.items() if k not in (*_OF_ROW, *_WRAPPED)} if asked is row else {}
    if source in ("stored completion", "passed through"):
        own = {}
    heat = asked.get("temperature", row.get("temperature"))
    return Prompt(
        messages=tuple(messages),
        reference=reference,
        fields=fields if isinstance(fields, dict) else own,
        source=source,
        temperature=float(heat) if isinstance(heat, int | float) else None,
        response_format=_shape(asked.get("response_format")),
    )


def _shape(given: Any) -> dict[str, Any] | None:
    """Return what a request asked for; plain text needs no word."""
    return given if isinstance(given, dict) and given.get("type") not in (None, "text") else None


def _with_messages(row: Row) -> Row | None:
    """Return the part of a row that has messages, as `messages`."""
    if isinstance(row.get("messages"), list):
        return row
    for name in _WRAPPED:
        inner = row.get(name)
        if isinstance(inner, list):
            return {"messages": inner}
        if isinstance(inner, dict):
            asked = inner.get("messages", inner.get("input"))
            if isinstance(asked, list):
                return {**inner, "messages": asked}
    return None


def _reference(row: Row, asked: Row) -> str:
    preferred = row.get("preferred_output")
    if asked is not row and isinstance(preferred, list) and preferred:
        return str(preferred[-1].get("content") or "")
    return ""


def _message(given: Message) -> Message:
    """Return a message with what requests know; ids and nulls of stored ones are left."""
    kept = {name: given[name] for name in _WORDS if given.get(name) is not None}
    return {"role": str(given.get("role") or "user"), "content": "", **kept}
