"""Answers that a model gave before, in files of logs, batches and other tools, or in an archive.

A row counts that holds a request and an answer, in whichever of the usual shapes; lines of a batch's
answers find their requests by `custom_id`. Every other row is counted by what it lacks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from selftune.core.errors import InvalidInput
from selftune.data.read import ReadOptions, read_lines
from selftune.data.sources.format import FALLBACK
from selftune.data.sources.json_rows import MAX_BYTES
from selftune.models.answers import Answer, Question, Timing, answer_of, load_json
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.archived import batches, items_of_evals, stored_completions
from selftune.rescue.record.prompts import RECORDED, STORED, Prompt, prompt_of
from selftune.rescue.record.replies import completion_of, given_in
from selftune.rescue.record.requests import Row, request_in

SUFFIXES = (".json", ".jsonl")
_ROWS = ("data", "rows", "records", "items", "results")
"""Fields under which a JSON document keeps its rows."""
_IN_SECONDS = ("seconds", "latency_seconds", "duration_seconds")
_IN_MILLISECONDS = ("latency_ms", "duration_ms")
_MOST = 1e9
"""What took longer, or is no number, is not told."""
_SEVERAL = 2
_UNKEYED = "-"
"""Key of an answer that is not yet anybody's."""


class Exchange(NamedTuple):
    """What was asked once, and what came: several answers where several were wanted."""

    prompt: Prompt
    answers: tuple[Answer, ...]
    id: str | None
    """Of the completion, where it is told: the same one may be in a log and in an archive."""


class Answers(NamedTuple):
    """Exchanges with a model, and what could not be used."""

    exchanges: list[Exchange]
    left_out: Counter[str]
    """By where it is and why; rows, and files that have none."""


class _Placed(NamedTuple):
    row: Row
    place: str
    """What to call where it is from."""


def answers_in_files(paths: Iterable[Path], names: Sequence[str], *, alone: bool) -> Answers:
    """Return the answers of a model in files, and in the files of folders.

    `names`: the model's own, and that of its deployment. `alone`: rows that name no model are this
    one's too.

    Raises:
        InvalidInput: there is no such file or folder.

    """
    found = Answers([], Counter())
    files = {
        file.resolve(): (file, name)
        for path in paths
        for file, name in _files_in(path, found.left_out)
    }
    rows = [each for file in files.values() for each in _rows_of(*file, found.left_out)]
    for each in _joined(rows, found.left_out):
        _take(each, RECORDED, names, found, alone=alone)
    return found


def answers_in_archive(archive: Archive, names: Sequence[str]) -> Answers:
    """Return a model's answers in stored completions, in output items of evals and in batches."""
    found = Answers([], Counter())
    for row in stored_completions(archive, names):
        _take(_Placed(row, STORED), STORED, names, found)
    for row in items_of_evals(archive, names):
        _take(_Placed(row, "eval"), "eval", names, found)
    for requests, lines in batches(archive, names):
        rows = [_Placed(row, "batch") for row in (*requests, *lines)]
        for each in _joined(rows, found.left_out):
            _take(each, "batch", names, found)
    return found


def together(found: Iterable[Answers]) -> Answers:
    """Return all exchanges, each once."""
    exchanges: list[Exchange] = []
    known: set[str | None] = {None}
    left_out = Counter[str]()
    for each in found:
        left_out.update(each.left_out)
        for one in each.exchanges:
            if one.id is None or one.id not in known:
                exchanges.append(one)
            else:
                left_out["the same answer a second time, by its id"] += 1
            known.add(one.id)
    return Answers(exchanges, left_out)


def _files_in(path: Path, left_out: Counter[str]) -> Iterator[tuple[Path, str]]:
    """Yield files with answers, and what to call them."""
    if not path.exists():
        raise InvalidInput(f"{path} is not there: name a file or a folder with answers.")
    if not path.is_dir():
        yield path, path.name
        return
    for each in sorted(path.rglob("*")):  # which follows no links to folders
        name = str(each.relative_to(path))
        if each.is_symlink():
            left_out[f"{name}: a link, which is not followed"] += 1
        elif each.is_file() and each.suffix.lower() in SUFFIXES:
            yield each, name
        elif each.is_file():
            left_out[f"{name}: neither {' nor '.join(SUFFIXES)}"] += 1


def _rows_of(path: Path, name: str, left_out: Counter[str]) -> Iterator[_Placed]:
    """Yield the rows of a file: one JSON document, or one on each line."""
    document = _document(path)
    if document is not None:
        yield from (_Placed(row, name) for row in document)
        return
    try:
        for line in read_lines(path, ReadOptions(format=FALLBACK)):
            if line.row is None:
                left_out[f"{name}: it is no row of JSON"] += 1
            else:
                yield _Placed(line.row, name)
    except InvalidInput as error:
        left_out[f"{name}: {error.message}"] += 1


def _document(path: Path) -> list[Row] | None:
    """Return the rows of a file that is one JSON object; None where it is something else."""
    if path.suffix.lower() != ".json" or path.stat().st_size > MAX_BYTES:
        return None
    try:
        value = load_json(path.read_bytes())
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    inner = next((value[name] for name in _ROWS if isinstance(value.get(name), list)), None)
    return [value] if inner is None else [each for each in inner if isinstance(each, dict)]


def _joined(rows: Sequence[_Placed], left_out: Counter[str]) -> Iterator[_Placed]:
    """Yield rows; lines of a batch's answers together with the requests that they answer."""
    asked: dict[str, list[Row]] = {}
    answered: list[_Placed] = []
    for each in rows:
        name, is_answered = each.row.get("custom_id"), given_in(each.row) is not None
        if not isinstance(name, str) or (is_answered and request_in(each.row) is not None):
            yield each
        elif is_answered:
            answered.append(each)
        elif len(known := asked.setdefault(name, [])) < _SEVERAL and each.row not in known:
            known.append(each.row)
    for row, place in answered:
        requests = asked.get(row["custom_id"], [])
        if len(requests) == 1:
            yield _Placed({**requests[0], **row}, place)
        else:
            many = "several requests have" if requests else "no request has"
            left_out[f"{place}: {many} the custom_id of an answer"] += 1


def _take(
    placed: _Placed, source: str, names: Sequence[str], found: Answers, *, alone: bool = False
) -> None:
    """Add what a row tells to the exchanges, or count why it tells nothing."""
    row, place = placed
    given, asked = given_in(row), request_in(row)
    completion = None if given is None else completion_of(given)
    told = [str(each["model"]) for each in (completion, asked, row) if each and each.get("model")]
    if asked is None:
        reason = "no request"
    elif completion is None:
        reason = "no answer beside the request"
    elif told and not _is_own(told, names):
        reason = "another model's answer"
    elif not told and not alone:
        reason = "it does not say which model answered"
    else:
        prompt = prompt_of(row, source)
        if isinstance(prompt, Prompt):
            found.exchanges.append(_exchange(prompt, row, completion))
            return
        reason = prompt
    found.left_out[f"{place}: {reason}"] += 1


def _is_own(told: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether a model answered, by the answer's own word before the request's.

    Answers of a deployment name its base: there the request tells.
    """
    return told[0] in names or not set(told).isdisjoint(names[1:])


def _exchange(prompt: Prompt, row: Row, completion: Row) -> Exchange:
    took = _seconds(row)
    usage = completion.get("usage") or row.get("usage")
    body = {name: prompt.request[name] for name in ("response_format",) if name in prompt.request}
    answers = []
    for choice in completion["choices"]:
        whole = {"logprobs": row.get("logprobs"), **choice}
        one = {"model": completion.get("model"), "usage": usage, "choices": [whole]}
        answer = answer_of(Question(key=_UNKEYED, body=body), one)
        timing = None if took is None else Timing(answering=took)
        answers.append(answer.model_copy(update={"timing": timing}))
    # What a chat ends with is the model's own answer; a reference has a field of that name.
    right = {"reference": str(row.get("reference") or ""), "reference_calls": ""}
    name = completion.get("id")
    given_id = name if isinstance(name, str) and name else None
    return Exchange(prompt.model_copy(update=right), tuple(answers), given_id)


def _seconds(row: Row) -> float | None:
    """Return how long an answer took, where that is told."""
    units = dict.fromkeys(_IN_SECONDS, 1.0) | dict.fromkeys(_IN_MILLISECONDS, 0.001)
    for name, unit in units.items():
        value = row.get(name)
        if isinstance(value, int | float) and 0 <= value < _MOST:
            return value * unit
    return None
