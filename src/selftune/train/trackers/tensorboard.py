"""TensorBoard: event files in a folder for each job, written by tensorboardX.

tensorboardX, because all that is needed here is the file format: TensorBoard's own package brings
its server, gRPC and a picture library along.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from selftune.core.errors import MissingExtra
from selftune.core.records import Record
from selftune.train.tracker import Shown

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_HEAD = struct.Struct("<QI")
"""Length of a record, and the check sum of that (TFRecord)."""
_CHECK_SUM = 4


class Params(Record):
    """Where event files go."""

    folder: Path


class TensorBoard:
    """One job's event files."""

    def __init__(self, writer: "SummaryWriter", last_step: int) -> None:
        self.address: str | None = None
        self.last_step = last_step
        self._writer = writer

    def configure(self, values: Mapping[str, int | float]) -> None:
        lines = "\n".join(f"    {name} = {value}" for name, value in values.items())
        self._writer.add_text("hyperparameters", lines, global_step=0)
        self._writer.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        figures = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        # In one record, so that a kill leaves all of a step or nothing
        self._writer.file_writer.add_summary(Summary(value=figures), step)
        self._writer.flush()

    def finish(self, *, succeeded: bool | None) -> None:
        self._writer.close()


def check(params: Params) -> None:
    """Accept every folder; the training tells what is wrong with it."""


def build(params: Params, run: Shown) -> TensorBoard:
    """Go on with a job's event files, or begin with the first."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as missing:
        raise MissingExtra(
            "TensorBoard needs tensorboardX: pip install 'selftune[trackers]'", code="missing_extra"
        ) from missing
    folder = params.folder.expanduser() / run.id
    files = sorted(folder.glob("*tfevents*"))
    last = max((step for path in files for step in _steps(path)), default=0)
    # The library's own name counts seconds, and would begin the last file anew
    writer = SummaryWriter(str(folder), filename_suffix=f".{len(files)}")
    return TensorBoard(writer, last)


def _steps(path: Path) -> Iterator[int]:
    """Yield the steps of an event file's whole records; a kill may have torn the last."""
    from tensorboardX.proto.event_pb2 import Event

    content = path.read_bytes()
    at = 0
    while at + _HEAD.size <= len(content):
        length, _ = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if at + length + _CHECK_SUM > len(content):
            return
        yield int(Event.FromString(content[at : at + length]).step)
        at += length + _CHECK_SUM
