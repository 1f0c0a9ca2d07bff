"""Read files that strangers made: bounded in size and depth, plain values only, errors with places."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from selftune.core.errors import InvalidInput, TooLarge
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.yaml_text import load_yaml

MAX_BYTES = 512 * 1024 * 1024
"""Largest file that is read; OpenAI's own limit for a file."""
QUESTIONS = ".items.jsonl"
"""How the names of files of questions end that an import writes."""
_MOST_FILES = 2_000
_MOST_DEPTH = 100
_MOST_VALUES = 50_000_000
_MOST_YAML_VALUES = 1_000_000
"""Of YAML, where one line may stand for many: an alias of aliases."""
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".eval")
_SURROGATE = re.compile("[\ud800-\udfff]")
Kind = Literal["json", "lines", "yaml", "zip"]


@dataclass(frozen=True)
class Document:
    """One JSON value of a file."""

    value: Any
    place: str
    """File, and the line where there are several."""


@dataclass(frozen=True)
class Opened:
    """A file that was read; an archive is left to the tool that knows it."""

    path: Path
    kind: Kind
    documents: tuple[Document, ...] = field(default=(), repr=False)

    @property
    def modified(self) -> int:
        """Return when the file was written, for what does not say when it was made."""
        return int(self.path.stat().st_mtime)

    @property
    def first(self) -> dict[str, Any]:
        """Return the first value that is an object, or an empty one."""
        values = (document.value for document in self.documents)
        return next((value for value in values if isinstance(value, dict)), {})


def open_all(paths: list[Path], gaps: Gaps) -> list[Opened]:
    """Read files, and the files of folders; rows that cannot be read become gaps.

    Raises:
        InvalidInput: a file cannot be read at all, or nothing is in it.

    """
    return [open_file(path, gaps) for path in _files(paths)]


def open_file(path: Path, gaps: Gaps) -> Opened:
    """Read one file.

    Raises:
        InvalidInput: it cannot be read, or is none of JSON, JSONL, YAML and an archive.

    """
    content = read_bytes(path)
    if content.startswith(b"PK\x03\x04"):
        return Opened(path, "zip")
    text = read_text(path, content)
    if path.suffix.lower() in (".yaml", ".yml"):
        return Opened(path, "yaml", (_document(read_yaml(text, path), path.name),))
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        try:
            return Opened(path, "json", (_document(_load(text), path.name),))
        except ValueError as error:
            if "Extra data" not in str(error):
                raise InvalidInput(f"{path} is not valid JSON: {error}.") from error
    return Opened(path, "lines", tuple(_lines(path, text, gaps)))


def read_bytes(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        InvalidInput: there is no such file, or it is larger than the limit.

    """
    try:
        if not path.is_file():
            raise InvalidInput(f"There is no file {str(path)!r}.")
        if path.stat().st_size > MAX_BYTES:
            raise TooLarge(f"{path} is larger than {MAX_BYTES // 1024**2} MiB: split it.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error}.") from error


def read_text(path: Path, content: bytes | None = None) -> str:
    """Return a file's text.

    Raises:
        InvalidInput: it cannot be read, or is not UTF-8.

    """
    try:
        return (read_bytes(path) if content is None else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8, at byte {error.start}: convert it.") from error


def read_yaml(text: str, path: Path) -> Any:
    """Return the value of a YAML file that is plain, and not much larger than its text.

    Raises:
        InvalidInput: it is not YAML, or not plain.

    """
    value = load_yaml(text, path)
    if fault := fault_of(value, finite=False, most=_MOST_YAML_VALUES):
        raise InvalidInput(f"{path} cannot be used: {fault}.")
    return value


def parse_json(text: str | bytes, place: str) -> Any:
    """Return a JSON value that is plain.

    Raises:
        InvalidInput: it is not JSON, or not plain.

    """
    try:
        value = _load(text)
    except ValueError as error:
        raise InvalidInput(f"{place} is not valid JSON: {error}.") from error
    return _document(value, place).value


def fault_of(value: Any, *, finite: bool = True, most: int = _MOST_VALUES) -> str | None:
    """Return what is not plain in a value: too deep, half a character, a number that is none."""
    pending: list[tuple[Any, int]] = [(value, 0)]
    seen = 0
    while pending:
        each, depth = pending.pop()
        seen += 1
        if seen > most:
            return f"it holds more than {most:,} values"
        if isinstance(each, dict | list):
            if depth > _MOST_DEPTH:
                return f"it is nested deeper than {_MOST_DEPTH}"
            inner = [*each, *each.values()] if isinstance(each, dict) else each
            pending.extend((one, depth + 1) for one in inner)
        elif fault := _scalar_fault(each, finite):
            return fault
    return None


def _scalar_fault(value: Any, finite: bool) -> str | None:
    if finite and isinstance(value, float) and not math.isfinite(value):
        return "it holds a number that is none (NaN or infinity)"
    if isinstance(value, str) and _SURROGATE.search(value):
        return "it holds half of a surrogate pair"
    if not isinstance(value, str | int | float | None):
        return f"it holds a {type(value).__name__}"
    return None


def _files(paths: list[Path]) -> Iterator[Path]:
    count = 0
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if _is_foreign(p))
            if not found:
                raise InvalidInput(f"{path} has no file of {', '.join(_SUFFIXES)}.")
        for each in found:
            count += 1
            if count > _MOST_FILES:
                raise TooLarge(f"{path} has more than {_MOST_FILES:,} files: name some of them.")
            yield each


def _is_foreign(path: Path) -> bool:
    """Return whether a file of a folder may be a tool's; what an earlier import wrote is not."""
    return path.suffix.lower() in _SUFFIXES and not path.name.endswith(QUESTIONS)


def _lines(path: Path, text: str, gaps: Gaps) -> Iterator[Document]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path.name}:{number}"
        try:
            value = _load(line)
        except ValueError as error:
            gaps.row(f"not valid JSON ({_shortened(error)})", place)
            continue
        fault = None if _is_shallow(line) else fault_of(value, finite=False)
        if fault or not isinstance(value, dict):
            gaps.row(fault or "not a JSON object", place)
        else:
            yield Document(value, place)


def _is_shallow(text: str) -> bool:
    """Return whether a line needs no closer look: too few brackets to be deep, no half characters."""
    return text.count("[") + text.count("{") <= _MOST_DEPTH and "\\ud" not in text.lower()


def _document(value: Any, place: str) -> Document:
    """Return a value of a whole file; NaN is looked for where it matters, row by row."""
    if not isinstance(value, dict | list):
        raise InvalidInput(f"{place} holds neither an object nor a list.")
    if fault := fault_of(value, finite=False):
        raise InvalidInput(f"{place} cannot be used: {fault}.")
    return Document(value, place)


def _load(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _shortened(error: Exception) -> str:
    return str(error).partition(":")[0]
