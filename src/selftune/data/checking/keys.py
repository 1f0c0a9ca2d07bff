"""Rows that say the same, found in a file of any size: 24 bytes a row, on disk where they are many."""

import tempfile
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_digest

from selftune.data.checking.block import Block
from selftune.data.checking.structure import Method

KEY = np.dtype([("prompt", "<u8"), ("answer", "<u8"), ("line", "<i8")])
Keyed = NDArray[np.void]

_MOST_IN_MEMORY = 2_000_000
"""Rows: 48 MB, and as much again while they are sorted."""
_ANSWERS = {"supervised": 1, "dpo": 2, "reinforcement": 0, "evaluation": 0}
"""How many of a row's last messages are what it answers."""


class Repeat(NamedTuple):
    """A row whose prompt stands in an earlier one."""

    line: int
    earlier: int
    """Line of the first row with the same prompt; of the same answer too, where one has it."""
    is_same: bool
    """Whether the answer is the same too."""


def keys_of(block: Block, method: Method) -> Keyed:
    """Return 64-bit hashes of what each row asks and answers, shape (rows,), of type KEY."""
    keys = np.empty(len(block.lines), KEY)
    if not block.lines:
        return keys
    answers = _ANSWERS[method]
    texts, ends = block.texts, block.ends.tolist()
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    keys["line"] = block.lines
    keys["prompt"] = _hashes(["\x1e".join(texts[at : end - answers]) for at, end in spans])
    if answers == 1:
        keys["answer"] = _hashes([texts[end - 1] for end in ends])
    else:
        keys["answer"] = _hashes(["\x1e".join(texts[end - answers : end]) for end in ends])
    side = "answer" if answers == 0 else "prompt"
    for row, said in block.beside.items():
        keys[side][row] ^= _hashes([said])[0]
    return keys


def _hashes(texts: list[str]) -> NDArray[np.uint64]:
    try:
        digests = b"".join(map(xxh3_64_digest, map(str.encode, texts)))
    except UnicodeEncodeError:  # a lone surrogate
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        digests = b"".join(map(xxh3_64_digest, encoded))
    return np.frombuffer(digests, "<u8")


class Keys:
    """Collects the keys of a file, block by block."""

    def __init__(self) -> None:
        self._parts: list[Keyed] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self.rows = 0

    def add(self, keys: Keyed) -> None:
        """Take the keys of some rows; what is too much for memory goes into a temporary file."""
        self._parts.append(keys)
        self._held += len(keys)
        self.rows += len(keys)
        if self._held > _MOST_IN_MEMORY:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `repeats`
            for part in self._parts:
                self._file.write(part.tobytes())
            self._parts, self._held = [], 0

    def repeats(self) -> Iterator[Repeat]:
        """Yield the rows whose prompt stands in an earlier one, part by part in order of lines."""
        parts = 1 + self.rows // _MOST_IN_MEMORY
        for part in range(parts):
            yield from _repeats(np.concatenate([np.empty(0, KEY), *self._of_part(part, parts)]))
        if self._file is not None:
            self._file.close()

    def _of_part(self, part: int, parts: int) -> Iterator[Keyed]:
        """Yield the keys whose prompt belongs to one of several parts, equal prompts to the same."""
        for keys in self._parts:
            yield keys[keys["prompt"] % parts == part]
        if self._file is None:
            return
        self._file.seek(0)
        while data := self._file.read(_MOST_IN_MEMORY * KEY.itemsize // 8):
            keys = np.frombuffer(data, KEY)
            yield keys[keys["prompt"] % parts == part]


def _repeats(keys: Keyed) -> list[Repeat]:
    order = np.lexsort((keys["line"], keys["prompt"]))
    keys = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], keys["prompt"][1:] != keys["prompt"][:-1]]))
    sizes = np.diff(np.concatenate([begins, [len(keys)]]))
    found = []
    for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        first: dict[int, int] = {}
        group = keys[begin : begin + size]
        for answer, line in zip(group["answer"].tolist(), group["line"].tolist(), strict=True):
            if answer in first:
                found.append(Repeat(line, first[answer], is_same=True))
            elif first:
                found.append(Repeat(line, next(iter(first.values())), is_same=False))
            first.setdefault(answer, line)
    return sorted(found)
