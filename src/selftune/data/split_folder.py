"""A source -> a folder with train.jsonl, validation.jsonl, test.jsonl and split.json, all or nothing."""

import hashlib
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from selftune.core.errors import BadRows, InvalidInput
from selftune.core.records import Record
from selftune.data.check import Checked, CheckOptions, check
from selftune.data.checking.structure import method_of, row_problems
from selftune.data.leakage import Leakage
from selftune.data.likeness.dealing import SIDES, Side
from selftune.data.likeness.questions import expected_answer, labels
from selftune.data.read import ReadOptions, told
from selftune.data.rows import Row
from selftune.data.sources.container import load_container
from selftune.data.sources.sourced import Sourced, read_source, read_tests
from selftune.data.split import Origin, Split, SplitOptions, split
from selftune.data.subsets import Order, subsets

REPORT = "split.json"
TRAINING = "train.jsonl"


class FolderOptions(Record):
    """What is made of a source."""

    split: SplitOptions = SplitOptions()
    read: ReadOptions = ReadOptions()
    test_file: str | None = None
    """Test rows that are given; the source is then split into training and validation rows."""
    sizes: tuple[int, ...] = ()
    """Training subsets to write too, each with the smaller ones in it."""
    order: Order = "drawn"
    """How subsets are taken: drawn, or the first rows."""
    replace: bool = False
    """Replace a folder that an earlier split wrote."""


class WrittenFile(Record):
    """One file of the folder."""

    rows: int
    bytes: int
    sha256: str


class SplitReport(Record):
    """What `split.json` says: what was made of what, and how it can be made again."""

    source: str
    source_rows: int
    options: FolderOptions
    files: dict[str, WrittenFile]
    lines: dict[str, tuple[int, ...]]
    """For each side, and for `left_out`, the lines of the source that went there."""
    labels: dict[str, dict[Side, int]] | None
    """How often each answer is on each side, where answers are a closed set."""
    stratified: bool
    leakage: Leakage | None
    """What the source and given test rows share."""
    advice: tuple[str, ...]
    checked: Checked | None = None
    """What is wrong with the training file that was written, if only in its texts."""


def split_source(
    source: str | Path, folder: Path, options: FolderOptions | None = None
) -> SplitReport:
    """Split a source and write the folder; return what its `split.json` says.

    Raises:
        BadRows: lines cannot be read, or break a rule that a job insists on.
        InvalidInput: the rows cannot be split as asked, or the folder
            is there already.

    """
    options = options or FolderOptions()
    _refuse_to_overwrite(folder, replace=options.replace)
    ours = read_source(source, options.read)
    tests = None
    if options.test_file is not None:
        tests = read_tests(options.test_file, options.read)
    for rows, name in ((ours, source), (tests, options.test_file)):
        if rows is not None:
            _refuse_what_a_job_refuses(rows, str(name))
    parts = split(
        ours.rows,
        options.split,
        None if tests is None else tests.rows,
        (_origin(ours), Origin((), ()) if tests is None else _origin(tests)),
    )
    written = {f"{side}.jsonl": [ours.rows[at] for at in getattr(parts, side)] for side in SIDES}
    if tests is not None:
        written["test.jsonl"] = tests.rows
    for size, chosen in subsets(
        written[TRAINING], options.sizes, seed=options.split.seed, order=options.order
    ).items():
        written[f"train-{size}.jsonl"] = [written[TRAINING][at] for at in chosen]
    with_rows = {name: rows for name, rows in written.items() if rows}
    return _write(folder, with_rows, _report(str(source), ours, tests, parts, options))


def _refuse_what_a_job_refuses(read: Sourced, name: str) -> None:
    """Raise BadRows where rows break a rule that is an error, before anything is written."""
    method = method_of(read.rows[0])
    found = [
        problem.model_copy(update={"file": name})
        for row, line in zip(read.rows, read.lines, strict=True)
        for problem in row_problems(row, line, method)
        if problem.severity == "error"
    ]
    if found:
        raise BadRows(told(found), problems=tuple(found))


def _origin(read: Sourced) -> Origin:
    return Origin(read.raw, read.lines)


def _report(
    source: str, ours: Sourced, tests: Sourced | None, parts: Split, options: FolderOptions
) -> SplitReport:
    lines: dict[str, tuple[int, ...]] = {}
    for side in (*SIDES, "left_out"):
        lines[side] = tuple(ours.lines[at] for at in getattr(parts, side))
    return SplitReport(
        source=source,
        source_rows=len(ours.rows),
        options=options,
        files={},
        lines=lines if tests is None else {k: v for k, v in lines.items() if k != "test"},
        labels=_label_counts(ours.rows, tests, parts),
        stratified=parts.stratified,
        leakage=parts.leakage,
        advice=parts.advice,
    )


def _label_counts(
    rows: Sequence[Row], tests: Sourced | None, parts: Split
) -> dict[str, dict[Side, int]] | None:
    if labels(rows) is None:
        return None
    answers = [expected_answer(row) for row in rows]
    counts: dict[Side, Counter[str]] = {
        side: Counter(answers[at] for at in getattr(parts, side)) for side in SIDES
    }
    if tests is not None:
        counts["test"] = Counter(expected_answer(row) for row in tests.rows)
    names = sorted(set().union(*counts.values()))
    return {name: {side: counts[side][name] for side in SIDES} for name in names}


def _refuse_to_overwrite(folder: Path, *, replace: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is a file: say a folder that is not there yet.")
    if any(folder.iterdir()):
        if not (folder / REPORT).exists():
            raise InvalidInput(
                f"{folder} is not empty, and no split wrote it: say a folder that is not there yet."
            )
        if not replace:
            raise InvalidInput(f"{folder} holds a split already: --force replaces it.")


def _write(folder: Path, written: dict[str, list[Row]], report: SplitReport) -> SplitReport:
    """Write all files beside the folder, then give it its name."""
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        files = {name: _write_rows(partial / name, rows) for name, rows in written.items()}
        checked = _checked(partial / TRAINING) if TRAINING in files else None
        report = report.model_copy(update={"files": files, "checked": checked})
        _write_bytes(
            partial / REPORT,
            [orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS), b"\n"],
        )
        _put_in_place(partial, folder)
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _checked(path: Path) -> Checked:
    """Return what is wrong with a file, by its name alone: its folder has none yet."""
    found = check(path, CheckOptions(near=False))
    problems = tuple(each.model_copy(update={"file": path.name}) for each in found.problems)
    return found.model_copy(update={"source": path.name, "problems": problems})


def _write_rows(path: Path, rows: Sequence[Row]) -> WrittenFile:
    with path.open("xb") as file:
        count = load_container("jsonl").write(rows, file)
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WrittenFile(rows=count, bytes=path.stat().st_size, sha256=digest)


def _write_bytes(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("xb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(partial: Path, folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        partial.replace(folder)
        return
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    folder.replace(old)
    partial.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
