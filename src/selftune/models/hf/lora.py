"""Many adapters on one base, in one batch.

The low-rank matrices of all adapters in a batch stand side by side: each layer computes
`x @ A` for all of them at once, the columns that belong to other rows' adapters are set to zero,
and `@ B` follows. That is two matrix products a layer however many adapters there are, with no
copy for each row, and a row's result does not depend on its neighbours.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from selftune.models.hf.adapter_files import WEIGHTS, Pair, adapter_key, read_adapter


@dataclass
class Adapter:
    """An adapter in memory."""

    key: tuple[str, int, int]
    layers: Mapping[str, Pair]
    users: int = 0

    @property
    def size(self) -> int:
        """Bytes of its matrices."""
        return sum(pair.a.nbytes + pair.b.nbytes for pair in self.layers.values())


@dataclass
class _Together:
    """The adapters of a batch side by side, and which columns each row may use."""

    members: tuple[tuple[str, int, int], ...]
    layers: dict[str, Pair]
    owners: dict[str, tuple[int, ...]]
    """By layer: how many columns each member has."""
    rows: torch.Tensor | None = None
    """Place of each row's adapter in `members`, -1 for none; None when all rows use the one."""
    tokens: int = 1
    masks: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)

    def mask(self, name: str) -> torch.Tensor | None:
        """Return ones where a row may use a column, shape (rows, 1, columns)."""
        if self.rows is None:
            return None
        owners = self.owners[name]
        if owners not in self.masks:
            places = torch.arange(len(owners), device=self.rows.device)
            columns = places.repeat_interleave(torch.tensor(owners, device=self.rows.device))
            own = self.rows[:, None, None] == columns[None, None, :]
            self.masks[owners] = own.to(torch.float32)
        return self.masks[owners]


class AdapterBank:
    """The adapters of one base: loaded when first used, the least recently used out first."""

    def __init__(self, model: torch.nn.Module, room: int) -> None:
        self._model, self._room = model, room
        self._kept: OrderedDict[tuple[str, int, int], Adapter] = OrderedDict()
        self._hooked: set[str] = set()
        self._together: _Together | None = None
        self._active: _Together | None = None

    @property
    def loaded(self) -> tuple[Path, ...]:
        """Folders of the adapters in memory, the least recently used first."""
        return tuple(Path(key[0]) for key in self._kept)

    def acquire(self, folder: Path) -> Adapter | None:
        """Return an adapter for use until `release`; None when there is no room for it now.

        Raises:
            InvalidInput: the folder is no adapter that fits this base.

        """
        key = adapter_key(folder)
        adapter = self._kept.get(key)
        if adapter is None:
            if not self._make_room((folder / WEIGHTS).stat().st_size):
                return None
            adapter = Adapter(key, read_adapter(folder, self._model))
            self._kept[key] = adapter
            self._hook(adapter.layers)
        self._kept.move_to_end(key)
        adapter.users += 1
        return adapter

    def release(self, adapter: Adapter) -> None:
        """Give back what `acquire` returned; it stays in memory while there is room."""
        adapter.users -= 1

    @contextmanager
    def rows(self, adapters: Sequence[Adapter | None], tokens: int) -> Iterator[None]:
        """Within this, row i of a batch of so many tokens a row goes through adapter i."""
        self._active = self._arranged(adapters, tokens)
        try:
            yield
        finally:
            self._active = None

    def _make_room(self, size: int) -> bool:
        """Drop adapters that nobody uses until `size` fits; whether it does, or must at once."""
        while sum(adapter.size for adapter in self._kept.values()) + size > self._room:
            idle = next((key for key, one in self._kept.items() if not one.users), None)
            if idle is None:
                return not self._kept
            del self._kept[idle]
            if self._together is not None and idle in self._together.members:
                self._together = None
        return True

    def _arranged(self, adapters: Sequence[Adapter | None], tokens: int) -> _Together | None:
        used = {adapter.key: adapter for adapter in adapters if adapter is not None}
        if not used:
            return None
        if len(used) == 1 and None not in adapters:
            ((key, only),) = used.items()
            return _Together((key,), dict(only.layers), {})
        if self._together is None or not used.keys() <= set(self._together.members):
            in_use = {key: one for key, one in self._kept.items() if one.users}
            self._together = _side_by_side(in_use | used)
        place = {key: index for index, key in enumerate(self._together.members)}
        rows = [-1 if adapter is None else place[adapter.key] for adapter in adapters]
        device = next(iter(self._together.layers.values())).a.device
        return _Together(
            self._together.members,
            self._together.layers,
            self._together.owners,
            torch.tensor(rows, device=device),
            tokens,
        )

    def _hook(self, names: Mapping[str, Pair]) -> None:
        for name in names.keys() - self._hooked:
            self._model.get_submodule(name).register_forward_hook(self._adding(name))
            self._hooked.add(name)

    def _adding(self, name: str) -> Any:
        def add(_: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> Any:
            active = self._active
            pair = None if active is None else active.layers.get(name)
            if active is None or pair is None:
                return None
            x = inputs[0].to(pair.a.dtype)
            low = torch.nn.functional.linear(x, pair.a)
            mask = active.mask(name)
            if mask is not None:
                low = _masked(low, mask, active.tokens)
            return (output + torch.nn.functional.linear(low, pair.b)).to(output.dtype)

        return add


def _masked(low: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """Zero the columns of other rows' adapters; some layers see all rows' tokens as one list."""
    rows, _, columns = mask.shape
    if low.dim() == 3 and low.shape[0] == rows:
        return low * mask
    if low.dim() == 2 and low.shape[0] == rows * tokens:
        return (low.view(rows, tokens, columns) * mask).view(rows * tokens, columns)
    raise RuntimeError(f"a layer with an adapter got {tuple(low.shape)} for {rows} rows")


def _side_by_side(adapters: Mapping[tuple[str, int, int], Adapter]) -> _Together:
    names = {name for adapter in adapters.values() for name in adapter.layers}
    layers, owners = {}, {}
    for name in names:
        pairs = [adapter.layers.get(name) for adapter in adapters.values()]
        there = [pair for pair in pairs if pair is not None]
        layers[name] = Pair(
            torch.cat([pair.a for pair in there]), torch.cat([pair.b for pair in there], dim=1)
        )
        owners[name] = tuple(0 if pair is None else pair.a.shape[0] for pair in pairs)
    return _Together(tuple(adapters), layers, owners)
