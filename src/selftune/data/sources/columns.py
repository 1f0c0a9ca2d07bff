"""Columns of Arrow, Parquet and data sets -> rows of JSON values, batch by batch."""

import datetime
import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.data.problems import problem
from selftune.data.rows import Line, Row

if TYPE_CHECKING:
    import pyarrow

ROWS_PER_BATCH = 1_000


def load_arrow(name: str) -> Any:
    """Return the module `pyarrow`.

    Raises:
        MissingExtra: it is not installed.

    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(
            f"{name} needs pyarrow: pip install 'selftune[data]'.", code="missing_extra"
        ) from error
    return pyarrow


def lines_of(
    name: str, open_batches: "Callable[[], Iterable[pyarrow.RecordBatch]]"
) -> Iterator[Line]:
    """Yield the rows of batches, counted from 1.

    Raises:
        InvalidInput: they cannot be opened, or a batch cannot be read; names the row before it.

    """
    arrow, number = load_arrow(name), 0
    try:
        for batch in open_batches():
            batch.validate(full=True)  # a damaged file must not be believed
            for row in batch.to_pylist():
                number += 1
                yield _line(number, row)
    except (arrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InvalidInput(f"{name} is damaged after row {number}: {reason}") from error


def table_of(rows: Iterable[Row]) -> "pyarrow.Table":
    """Return rows as columns; all of them are held in memory, for their types depend on all.

    Raises:
        InvalidInput: a field holds values of two types.

    """
    arrow, kept = load_arrow("A file of columns"), list(rows)
    if not kept:
        return arrow.table({})
    try:
        # `Table.from_pylist` would keep the keys of the first row only.
        return arrow.Table.from_struct_array(arrow.array(kept))
    except arrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise InvalidInput(
            f"The rows do not fit into columns: {reason}. Write them as .jsonl."
        ) from error


def _line(number: int, row: Row) -> Line:
    try:
        return Line(number, {name: _json_value(value) for name, value in row.items()})
    except TypeError as error:
        words = f"The row holds {error}, which JSON does not know."
        return Line(number, None, problem("value-not-json", number, words))


def _json_value(value: Any) -> Any:
    """Return a value as JSON knows it: dates as ISO 8601, decimals as numbers, NaN as null.

    In columns an absent key of an object is null too, so the keys that are null are left out.
    """
    if isinstance(value, dict):
        return {key: _json_value(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(type(value).__name__)
