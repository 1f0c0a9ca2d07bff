"""A data set of Hugging Face: `hf:owner/name`, or a folder. Code in a data set is never run.

A folder is what `save_to_disk` wrote, or holds files of rows (.parquet, .jsonl, .csv, .arrow). From the
Hub rows are streamed: a limit of rows is a limit of what is downloaded.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.core.records import Record
from selftune.data.rows import Line, Row
from selftune.data.sources.columns import ROWS_PER_BATCH, lines_of
from selftune.data.sources.source import DATASET_PREFIX, Source

_SAVED = ("dataset_dict.json", "state.json")


class Params(Record):
    """What of it."""

    split: str | None = None
    """Absent, the only one there is."""


def build(params: Params) -> "HuggingFace":
    """Make the container."""
    return HuggingFace(params.split)


class HuggingFace:
    """Reads data sets. Writes none: Parquet says the same."""

    suffixes = ()

    def __init__(self, split: str | None) -> None:
        self._split = split

    def recognizes(self, source: Source) -> bool:
        return source.is_dataset

    def lines(self, source: Source) -> Iterator[Line]:
        with _plain_errors(source):
            dataset = _one_split(source, _load(source), self._split)
            labels = _labels(dataset)
        for line in lines_of(source.name, partial(_batches, dataset)):
            yield line if line.row is None else Line(line.number, _named(line.row, labels))

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> NoReturn:
        raise InvalidInput("Data sets are read, not written. Choose a name in .parquet.")


def _load(source: Source) -> Any:
    """Return a data set, or several by the names of their splits."""
    import datasets

    name, subset = source.location, ""
    if not source.is_folder:
        name, _, subset = name.removeprefix(DATASET_PREFIX).partition(":")
    folder = Path(name)
    if source.is_folder:
        name = str(folder.resolve())  # a bare name like `csv` means something else to the library
    if any((folder / mark).is_file() for mark in _SAVED):
        return datasets.load_from_disk(name)
    return datasets.load_dataset(name, subset or None, streaming=True)


def _one_split(source: Source, loaded: Any, split: str | None) -> Any:
    if not isinstance(loaded, dict):
        if split is not None:
            raise InvalidInput(f"{source.name} has no splits: leave out --split.")
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        says = "say which with --split" if split is None else f"{split!r} is not one of them"
        raise InvalidInput(f"{source.name} has the splits {', '.join(loaded)}: {says}.")
    return loaded[split]


def _batches(dataset: Any) -> Iterator[Any]:
    """Yield record batches; pictures and sound stay as they are stored."""
    for table in dataset.with_format("arrow").iter(batch_size=ROWS_PER_BATCH):
        yield from table.to_batches()


def _labels(dataset: Any) -> dict[str, list[str]]:
    """Return the names of the fields that are numbers of named classes."""
    features = dataset.features or {}
    return {name: f.names for name, f in features.items() if type(f).__name__ == "ClassLabel"}


def _named(row: Row, labels: dict[str, list[str]]) -> Row:
    """Return a row with a field more for each class: `label` 3 gets `label_name` "refund"."""
    for field, names in labels.items():
        number = row.get(field)
        if isinstance(number, int) and 0 <= number < len(names):
            row = row | {f"{field}_name": names[number]}
    return row


@contextmanager
def _plain_errors(source: Source) -> Iterator[None]:
    """Say in a line what the library says in many."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(
            f"{source.name} needs datasets: pip install 'selftune[data]'.", code="missing_extra"
        ) from error
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InvalidInput(f"{source.name} cannot be read as a data set: {reason}") from error
