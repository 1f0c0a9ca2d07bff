"""Continuous batching: answers join the batch when they have been read, and leave it when done.

Each step reads one piece of the prompts that wait, and takes one token of every answer under way.
Prompts that are alike, such as those of one request's `n` answers, are read once.

The cache has a limit of tokens. An answer that grows over it makes the youngest one go back to the
queue, which is read again later, with what it had drawn: nobody sees it but in time.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from selftune.core.errors import InvalidInput, SelftuneError, Unavailable
from selftune.models.hf.lora import Adapter
from selftune.models.hf.network import Cached, Network, joined, selected
from selftune.models.hf.sampling import Drawing, Drawn, draw

MOST_ROWS = 64
"""Answers in one batch: more raise the wait for each token more than they raise the throughput."""
PIECE = 2048
"""Tokens of prompts that one step reads, padding and all: what others wait for at most."""
_log = logging.getLogger("selftune.serving")


@dataclass(eq=False)
class Row:
    """One answer under way."""

    ids: list[int]
    """Tokens of the prompt, and then the answer's."""
    limit: int
    """Tokens of both together after which it ends."""
    drawing: Drawing
    take: Callable[[Drawn], bool]
    """Takes a token; whether the answer goes on."""
    end: Callable[[SelftuneError | None], None]
    """Told at the limit, with None, or of the error that ends the answer."""
    folder: Path | None = None
    """Of the adapter."""
    permit: Callable[[], None] | None = None
    """Sets which tokens the drawing is allowed next."""
    adapter: Adapter | None = None
    gone: bool = False

    @property
    def prompt_key(self) -> tuple[object, ...]:
        """Rows with the same one have the same cache."""
        return (self.folder, *self.ids)


@dataclass
class _Filling:
    """Prompts that are being read."""

    rows: list[Row]
    unique: list[Row]
    """The first row with each prompt; the others share its cache."""
    cached: Cached = field(default_factory=Cached)
    columns_done: int = 0

    @property
    def columns(self) -> int:
        """Length of the longest prompt."""
        return max(len(row.ids) for row in self.unique)


class Decoder:
    """The rows of one base, whatever adapters they have. Used from one thread."""

    def __init__(self, network: Network, room: int, most_rows: int = MOST_ROWS) -> None:
        self._network, self._room, self._most_rows = network, room, most_rows
        self._waiting: deque[Row] = deque()
        self._filling: _Filling | None = None
        self._rows: list[Row] = []
        self._cached = Cached()

    @property
    def busy(self) -> bool:
        """Whether any answer is waiting or under way."""
        return bool(self._waiting or self._filling or self._rows)

    def add(self, row: Row) -> None:
        """Queue an answer."""
        self._waiting.append(row)

    def step(self) -> bool:
        """Read a piece of waiting prompts, and take a token of each answer; False when idle."""
        self._forget_gone()
        if self._filling is None:
            self._filling = self._admitted()
        if self._filling is not None:
            self._guarded(self._filling.rows, self._fill, self._forget_filling)
        if self._rows:
            self._make_room()
            self._guarded(self._rows, self._advance, self._forget_rows)
        return self.busy

    def _admitted(self) -> _Filling | None:
        """Take as many of the waiting as one piece and the room hold, in order."""
        rows: list[Row] = []
        unique: dict[tuple[object, ...], Row] = {}
        while self._waiting and self._fits(rows, unique, self._waiting[0]):
            row = self._waiting.popleft()
            try:
                there = row.folder is None or self._acquired(row)
            except (InvalidInput, OSError) as error:
                _end(row, _failed(error))
                continue
            if not there:  # adapters in use leave no room for this one now
                self._waiting.appendleft(row)
                break
            rows.append(row)
            unique.setdefault(row.prompt_key, row)
        return _Filling(rows, list(unique.values())) if rows else None

    def _acquired(self, row: Row) -> bool:
        assert row.folder is not None
        row.adapter = self._network.bank.acquire(row.folder)
        return row.adapter is not None

    def _fits(self, rows: list[Row], unique: dict[tuple[object, ...], Row], row: Row) -> bool:
        if not rows and not self._rows:
            return True
        count = len(self._rows) + len(rows) + 1
        longest = max(len(one.ids) + 1 for one in [*rows, row])
        if count > self._most_rows or count * max(longest, self._cached.columns + 1) > self._room:
            return False
        return not rows or row.prompt_key in unique or (len(unique) + 1) * longest <= PIECE

    def _fill(self) -> None:
        """Read a piece of the prompts; when that was the last, draw the first tokens."""
        filling = self._filling
        assert filling is not None
        columns, done = filling.columns, filling.columns_done
        upto = min(columns, done + max(1, PIECE // len(filling.unique)))
        pieces = []
        for row in filling.unique:
            padding = columns - len(row.ids)
            pieces.append(row.ids[max(0, done - padding) : max(0, upto - padding)])
        adapters = [row.adapter for row in filling.unique]
        logits = self._network.read(filling.cached, pieces, adapters)
        filling.columns_done = upto
        if upto < columns:
            return
        self._filling = None
        keys = {row.prompt_key: place for place, row in enumerate(filling.unique)}
        places = [keys[row.prompt_key] for row in filling.rows]
        keep = self._take(logits[torch.tensor(places, device=logits.device)], filling.rows)
        if keep:
            fresh = selected(filling.cached, [places[row] for row in keep])
            self._cached = joined(self._cached, fresh)
            self._rows += [filling.rows[row] for row in keep]

    def _advance(self) -> None:
        """Read the newest token of each row, and draw the next."""
        logits = self._network.read(
            self._cached, [row.ids[-1:] for row in self._rows], [row.adapter for row in self._rows]
        )
        self._keep(self._take(logits, self._rows))

    def _take(self, logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
        """Draw a token for each row and hand it on; return the places of rows that go on."""
        for row in rows:
            self._permit(row)
        going = []
        for place, (row, drawn) in enumerate(
            zip(rows, draw(logits, [row.drawing for row in rows]), strict=True)
        ):
            if row.gone:
                self._leave(row)
            elif drawn is None:
                text = "The model's numbers are not finite: its weights or its adapter are broken."
                self._leave(row, Unavailable(text, code="model_failed"))
            elif self._goes_on(row, drawn):
                going.append(place)
        return going

    def _permit(self, row: Row) -> None:
        try:
            if row.permit is not None and not row.gone:
                row.permit()
        except Exception as error:  # noqa: BLE001 - one answer's grammar must not end the others
            self._leave(row, _failed(error))

    def _goes_on(self, row: Row, drawn: Drawn) -> bool:
        row.ids.append(drawn.id)
        try:
            if row.take(drawn):
                if len(row.ids) < row.limit:
                    return True
                _end(row, None)
        except Exception as error:  # noqa: BLE001 - one answer's text must not end the others
            _end(row, _failed(error))
        self._leave(row)
        return False

    def _keep(self, places: Sequence[int]) -> None:
        if len(places) == len(self._rows):
            return
        self._cached = selected(self._cached, places) if places else Cached()
        self._rows = [self._rows[place] for place in places]

    def _make_room(self) -> None:
        """Send the youngest rows back to the queue while the next column would not fit."""
        while len(self._rows) > 1 and len(self._rows) * (self._cached.columns + 1) > self._room:
            self._requeue([self._rows[-1]])
            self._keep(range(len(self._rows) - 1))

    def _requeue(self, rows: Sequence[Row]) -> None:
        for row in reversed(rows):
            self._release(row)
            self._waiting.appendleft(row)

    def _forget_gone(self) -> None:
        self._waiting = deque(row for row in self._waiting if not row.gone)
        places = [place for place, row in enumerate(self._rows) if not row.gone]
        for row in self._rows:
            if row.gone:
                self._leave(row)
        self._keep(places)

    def _guarded(
        self, rows: Sequence[Row], work: Callable[[], None], forget: Callable[[], None]
    ) -> None:
        """Do the work; a model that fails ends the answers it was to give, and nothing else."""
        there = list(rows)
        try:
            work()
        except (torch.OutOfMemoryError, MemoryError) as error:
            tokens = self._cached.columns * len(self._rows)
            forget()
            self._retreat([row for row in there if not row.gone], tokens, error)
        except Exception as error:  # noqa: BLE001 - whatever a model does must not end the process
            forget()
            for row in there:
                self._leave(row, _failed(error))

    def _retreat(self, rows: Sequence[Row], tokens: int, error: Exception) -> None:
        """Go on with fewer tokens in the cache after the memory was too little."""
        if len(rows) == 1:
            _log.warning("out of memory with one answer of %d tokens", len(rows[0].ids))
            text = "There is not enough memory for this request on this machine."
            self._leave(rows[0], Unavailable(text, code="out_of_memory"))
            return
        self._room = max(1, min(self._room, tokens or self._room) * 3 // 4)
        _log.warning("out of memory; going on with %d tokens in the cache: %s", self._room, error)
        self._requeue(rows)

    def _forget_filling(self) -> None:
        self._filling = None

    def _forget_rows(self) -> None:
        self._rows, self._cached = [], Cached()

    def _leave(self, row: Row, error: SelftuneError | None = None) -> None:
        self._release(row)
        if error is not None:
            _end(row, error)
        row.gone = True

    def _release(self, row: Row) -> None:
        if row.adapter is not None:
            self._network.bank.release(row.adapter)
            row.adapter = None


def _end(row: Row, error: SelftuneError | None) -> None:
    if not row.gone:
        row.gone = True
        row.end(error)


def _failed(error: Exception) -> SelftuneError:
    """Return the error as the caller is told it; what is our own fault goes to the log."""
    if isinstance(error, SelftuneError):
        return error
    _log.error("an answer failed", exc_info=error)
    text = "The model failed on this request; the server's log says why."
    return Unavailable(text, code="model_failed")
