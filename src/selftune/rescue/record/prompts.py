"""Prompts to record a model on: from files of rows, or from what an archive knows of the model."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Identity, Record
from selftune.data.read import read_rows
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.archived import batches, items_of_evals, rows_of, stored_completions
from selftune.rescue.record.requests import (
    CARRIED,
    WRAPPED,
    Message,
    Row,
    carried,
    message_of,
    request_in,
    said_in_words,
    temperature_of,
)
from selftune.rescue.record.trained import files_of
from selftune.store.completions import CompletionQuery, each_completion
from selftune.store.store import Store

STORED, SEEN, RECORDED = "stored completion", "passed through", "recorded answer"
_WITHOUT_FIELDS = (STORED, SEEN, RECORDED)
"""Sources whose other fields are not an item's, but tell how it was asked and answered."""
_OF_ROW = ("messages", "functions", "function_call", "weight", *CARRIED)
_OF_COMPLETION = ("messages", "temperature", "functions", "function_call", *CARRIED)
"""What of a stored completion is not its answer."""


class Prompt(Record):
    """What is asked, and what is known of it."""

    messages: tuple[Message, ...]
    request: dict[str, Any] = Field(default_factory=dict)
    """What production asked with besides: tools, a response format, a limit of tokens."""
    reference: str = ""
    """The answer that the row shows, where it shows one."""
    reference_calls: str = ""
    """What that answer calls, one call a line."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """What graders may look at besides: the item of an eval."""
    source: str
    """Where it comes from: `validation file`, `eval`, `stored completion`, `batch`, or a file."""
    temperature: float | None = None
    """At which it was asked in production, where that is known."""


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
            f"{path} is a folder: name the files with the prompts in it. A folder with answers too, "
            "such as tunekeep's or one of logs, is read by --answers."
        )
    found = _found((row, path.name) for row in read_rows(path))
    if not found.prompts:
        raise InvalidInput(
            f"{path} has no prompt: a row needs `messages`, or `body`, `request`, `input` or "
            "`sample` with them."
        )
    return found


def prompts_of_archive(archive: Archive, names: Sequence[str], evals: Iterable[str] = ()) -> Found:
    """Return what an archive shows that a model was asked, what was asked with care first.

    That is the validation file of its job, output items of evals, stored completions and batches.
    `names` are those that it answers to; `evals` names evals whose items count whichever model they
    were run with.
    """
    return _found(_of_archive(archive, names, frozenset(evals)))


def prompts_of_home(store: Store, identity: Identity, names: Sequence[str]) -> Found:
    """Return what a server of this home was asked for a model, where it kept that."""
    queries = [CompletionQuery(kind="chat.completion", model=name) for name in names]
    kept = chain.from_iterable(each_completion(store, identity.project_id, one) for one in queries)
    return _found(({**each.options, "messages": list(each.messages)}, SEEN) for each in kept)


class Gathering:
    """Prompts, each once: what the second of two that ask the same knows is added to the first."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self._places: dict[str, list[int]] = {}

    def add(self, prompt: Prompt) -> int:
        """Take a prompt; return its place among all."""
        places = self._places.setdefault(repr(prompt.messages), [])
        for place in places:
            known = self.prompts[place]
            if _agree(known.request, prompt.request):
                self.prompts[place] = _merged(known, prompt)
                return place
        places.append(len(self.prompts))
        self.prompts.append(prompt)
        return places[-1]


def together(found: Iterable[Found]) -> Found:
    """Return all prompts, each once."""
    gathering, left_out = Gathering(), Counter[str]()
    for each in found:
        left_out.update(each.left_out)
        for prompt in each.prompts:
            gathering.add(prompt)
    return Found(prompts=tuple(gathering.prompts), left_out=dict(left_out))


def _agree(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether two requests may be one: what only one of them tells, the other left out."""
    return all(second[name] == value for name, value in first.items() if name in second)


def _merged(first: Prompt, second: Prompt) -> Prompt:
    heat = second.temperature if first.temperature is None else first.temperature
    answer = first if first.reference or first.reference_calls else second
    return first.model_copy(
        update={
            "request": second.request | first.request,
            "reference": answer.reference,
            "reference_calls": answer.reference_calls,
            "fields": second.fields | first.fields,
            "temperature": heat,
        }
    )


def shown_temperature(prompts: Iterable[Prompt]) -> tuple[float, int] | None:
    """Return the temperature that most prompts were asked at in production, and of how many."""
    counts = Counter(each.temperature for each in prompts if each.temperature is not None)
    return counts.most_common(1)[0] if counts else None


def _of_archive(
    archive: Archive, names: Sequence[str], evals: Collection[str]
) -> Iterator[tuple[Row, str]]:
    validation = next(filter(None, (files_of(archive, name).validation for name in names)), None)
    if validation is not None:
        yield from ((row, "validation file") for row in rows_of(validation))
    for item in items_of_evals(archive, names, evals):
        yield item, "eval"
    for kept in stored_completions(archive, names):
        yield {name: kept.get(name) for name in _OF_COMPLETION}, STORED
    for requests, _ in batches(archive, names):
        yield from ((row, "batch") for row in requests)


def _found(rows: Iterable[tuple[Row, str]]) -> Found:
    gathering, left_out = Gathering(), Counter[str]()
    for row, source in rows:
        prompt = prompt_of(row, source)
        if isinstance(prompt, Prompt):
            gathering.add(prompt)
        else:
            left_out[f"{source}: {prompt}"] += 1
    return Found(prompts=tuple(gathering.prompts), left_out=dict(left_out))


def prompt_of(row: Row, source: str) -> Prompt | str:
    """Return the prompt of a row, or why it is none."""
    asked = request_in(row)
    if asked is None:
        return "no messages, or it cannot be read"
    messages = [message_of(each) for each in asked["messages"] if isinstance(each, dict)]
    reference = _preferred(row, asked)
    if messages and messages[-1]["role"] == "assistant":
        reference = messages.pop()
    if not any(each["role"] == "user" for each in messages):
        return "nothing is asked"
    text, calls = said_in_words(reference)
    return Prompt(
        messages=tuple(messages),
        request=carried(asked),
        reference=text,
        reference_calls=calls,
        fields=_fields(row, asked, source),
        source=source,
        temperature=temperature_of(asked, row),
    )


def _fields(row: Row, asked: Row, source: str) -> dict[str, Any]:
    item = row.get("datasource_item", row.get("item"))
    if isinstance(item, dict):
        return item
    if asked is not row or source in _WITHOUT_FIELDS:
        return {}
    return {name: row[name] for name in row if name not in (*_OF_ROW, *WRAPPED)}


def _preferred(row: Row, asked: Row) -> Message:
    preferred = row.get("preferred_output")
    if asked is row or not isinstance(preferred, list) or not preferred:
        return {}
    last: Message = preferred[-1]
    return last
