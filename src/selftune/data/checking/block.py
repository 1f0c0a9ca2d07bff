"""Some hundred rows at once: their texts in one list, roles and row ends in arrays.

Good rows are nearly all of a file, so a typed parser and arithmetic over the whole block accept
them; a row that is anything but plain and good is handed to `structure.py`, which explains.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selftune.core.canonical import canonical_json
from selftune.data.checking.structure import Method, row_problems
from selftune.data.checking.typed import (
    ASSISTANT,
    CODES,
    OTHER,
    SYSTEM,
    Accepted,
    CallingRows,
    Message,
    beside_of_tools,
    keys_of_lines,
    plain_rows,
)
from selftune.data.counting.lengths import Tokenizer, measure
from selftune.data.counting.pieces import said as said_in
from selftune.data.problems import Problem, problem
from selftune.data.rows import Line, Row, fields_of, prompt_text
from selftune.data.sources.json_rows import parse_row
from selftune.models.tokens import TOKENS_PER_MESSAGE, TOKENS_PER_REPLY

BYTES = 2 << 20
"""Of one block: blocks of a quarter take a fifth longer for each byte, since every call costs, and
larger ones gain nothing, since they leave the processor's cache."""
_TOKENS_PER_ROLE = 1
"""Every role's name is one token, in both encodings."""
_MOST_REMEMBERED = 4096

Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]


class Block(NamedTuple):
    """Rows that have messages, message by message."""

    lines: list[int]
    """Of each row, in no order."""
    ends: Integers
    """One past each row's last text."""
    roles: Codes
    """Of each text: SYSTEM, USER, ASSISTANT or OTHER."""
    texts: list[str]
    """One for each message; of a test item, what it asks."""
    tokens: Integers
    """Of each row, with the overhead of a chat."""
    beside: dict[int, str]
    """What else makes a row what it is, by its position: tools, reference answers."""

    def place(self, index: int) -> tuple[int, int]:
        """Return the line and the message index, counted from 1, of a text."""
        row = int(np.searchsorted(self.ends, index, side="right"))
        begin = int(self.ends[row - 1]) if row else 0
        return self.lines[row], index - begin + 1


class _Flat(NamedTuple):
    """Plain rows, message by message."""

    positions: list[int]
    ends: Integers
    roles: Codes
    texts: list[str]


class Reader:
    """Makes blocks; remembers the tokens of system prompts and tools, which come with every row."""

    def __init__(self, method: Method, tokenizer: Tokenizer) -> None:
        self.method = method
        self.tokenizer = tokenizer
        self.calling = CallingRows(tokenizer)
        self._known: dict[str, int] = {}

    def count(self, texts: Sequence[str], roles: Codes) -> Integers:
        """Return the tokens of each text."""
        counts = np.empty(len(texts), np.int64)
        is_system = roles == SYSTEM
        is_other = ~is_system
        others = list(compress(texts, is_other.tobytes()))
        counts[is_other] = self.tokenizer.count_many(others)
        counts[is_system] = self._remembered(list(compress(texts, is_system.tobytes())))
        return counts

    def _remembered(self, texts: list[str]) -> list[int]:
        try:
            return [self._known[text] for text in texts]
        except KeyError:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            new = list(set(texts))
            self._known.update(zip(new, self.tokenizer.count_many(new).tolist(), strict=True))
            return [self._known[text] for text in texts]


def block_of_lines(data: bytes, first: int, reader: Reader) -> tuple[Block, list[Problem]]:
    """Return the rows of some lines of JSON, and everything that is wrong with their structure.

    `first` is the number of the first line. Rows without messages are in no block.
    """
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if reader.method != "supervised":
        return block_of_rows((_line(text, at) for at, text in enumerate(lines, first)), reader)
    plain, rest = plain_rows(lines)
    flat = _flat(plain)
    keys = keys_of_lines(data)
    odd = _odd_rows(flat) | _repeating(keys, lines, plain)
    if odd:
        plain = {at: messages for at, messages in plain.items() if at not in odd}
        flat, rest = _flat(plain), sorted(odd.union(rest))
    found = {at: reader.calling.accept(lines[at], int(keys[at])) for at in rest}
    accepted = {at: row for at, row in found.items() if row is not None}
    rows = (_line(lines[at], first + at) for at in rest if at not in accepted)
    rich, problems = block_of_rows(rows, reader)
    return _join(_typed_block(first, flat, accepted, reader), rich), problems


def block_of_rows(rows: Iterable[Line], reader: Reader) -> tuple[Block, list[Problem]]:
    """Return parsed rows as a block, and everything that is wrong with their structure."""
    problems: list[Problem] = []
    lines: list[int] = []
    kept: list[Row] = []
    for line in rows:
        if line.problem is not None:
            problems.append(line.problem)
        if line.row is None:
            continue
        problems += row_problems(line.row, line.number, reader.method)
        if _messages(line.row, reader.method):
            lines.append(line.number)
            kept.append(line.row)
    return _rich_block(lines, kept, reader), problems


def _line(text: bytes, number: int) -> Line:
    if not text or text.isspace():
        return Line(number, None, problem("line-blank", number))
    return parse_row(text, number)


def _flat(plain: dict[int, list[Message]]) -> _Flat:
    rows = list(plain.values())
    messages = list(chain.from_iterable(rows))
    codes = map(CODES.__getitem__, [message.role for message in messages])
    roles = np.fromiter(codes, np.uint8, len(messages))
    return _Flat(list(plain), _ends(rows), roles, [message.content for message in messages])


def _odd_rows(flat: _Flat) -> set[int]:
    """Return the rows that may be wrong: by the order of their roles, or by a blank text."""
    positions, ends, roles, texts = flat
    begins = _begins(ends)
    is_empty = begins == ends
    suspect = is_empty.copy()
    suspect[~is_empty] = roles[ends[~is_empty] - 1] != ASSISTANT
    late = np.flatnonzero((roles[1:] == SYSTEM) & (roles[:-1] != SYSTEM)) + 1
    late = late[~np.isin(late, begins)]  # a row may begin with a system message
    suspect[np.searchsorted(ends, late, side="right")] = True
    if "" in texts or True in map(str.isspace, texts):
        blank = [at for at, text in enumerate(texts) if not text or text.isspace()]
        suspect[np.searchsorted(ends, blank, side="right")] = True
    return {positions[row] for row in np.flatnonzero(suspect).tolist()}


def _repeating(keys: Integers, lines: Sequence[bytes], plain: dict[int, list[Message]]) -> set[int]:
    """Return the plain rows in which a key stands twice."""
    rows = np.fromiter(plain, np.int64, len(plain))
    expected = 1 + 2 * np.fromiter(map(len, plain.values()), np.int64, len(plain))
    suspects = rows[keys[rows] != expected].tolist()
    return {at for at in suspects if parse_row(lines[at], 1).problem is not None}


def _ends(rows: Sequence[Sequence[Any]]) -> Integers:
    ends: Integers = np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)))
    return ends


def _begins(ends: Integers) -> Integers:
    begins: Integers = np.concatenate([[0], ends])[: len(ends)]
    return begins


def _typed_block(first: int, flat: _Flat, calling: dict[int, Accepted], reader: Reader) -> Block:
    """Return plain and calling rows as a block; their tokens are counted all at once."""
    lines, texts = [first + at for at in [*flat.positions, *calling]], flat.texts
    ends, roles, beside = flat.ends, flat.roles, dict[int, str]()
    extra = np.zeros(len(lines), np.int64)
    if calling:
        rows, plain = list(calling.values()), len(flat.positions)
        ends = np.concatenate([ends, len(texts) + _ends([row.texts for row in rows])])
        codes = [code for row in rows for code in row.roles]
        roles = np.concatenate([roles, np.asarray(codes, np.uint8)])
        texts = [*texts, *(text for row in rows for text in row.texts)]
        extra[plain:] = [row.extra_tokens for row in rows]
        beside = {plain + at: row.beside for at, row in enumerate(rows) if row.beside}
    tokens = _tokens(reader.count(texts, roles), ends) + extra
    return Block(lines, ends, roles, texts, tokens, beside)


def _tokens(counts: Integers, ends: Integers) -> Integers:
    """Return the tokens of each row, with the overhead of its messages."""
    sums = np.concatenate([[0], np.cumsum(counts)])
    begins = _begins(ends)
    overhead = (ends - begins) * (TOKENS_PER_MESSAGE + _TOKENS_PER_ROLE) + TOKENS_PER_REPLY
    tokens: Integers = sums[ends] - sums[begins] + overhead
    return tokens


def _rich_block(lines: list[int], rows: list[Row], reader: Reader) -> Block:
    if not rows:
        return Block([], _ends([]), np.zeros(0, np.uint8), [], _ends([]), {})
    found = [_messages(row, reader.method) for row in rows]
    roles = [_code(message) for message in chain.from_iterable(found)]
    texts = [said_in(message) for message in chain.from_iterable(found)]
    tokens = measure(rows, reader.tokenizer).total
    said_beside = ((at, _beside(row, reader.method)) for at, row in enumerate(rows))
    beside = {at: said for at, said in said_beside if said}
    return Block(lines, _ends(found), np.asarray(roles, np.uint8), texts, tokens, beside)


def _messages(row: Row, method: Method) -> list[Any]:
    """Return everything that is said in a row, as messages."""
    if method == "evaluation" and not isinstance(row.get("messages"), list):
        texts = [value for value in fields_of(row).values() if isinstance(value, str)]
        asked = prompt_text(row)
        others = [text for text in texts if text != asked]
        return [{"role": "user", "content": asked}, {"role": "other", "content": "\n".join(others)}]
    holder = row.get("input") if method == "dpo" else row
    parts = [holder.get("messages") if isinstance(holder, dict) else None]
    if method == "dpo":
        parts += [row.get("preferred_output"), row.get("non_preferred_output")]
    return [message for part in parts if isinstance(part, list) for message in part]


def _code(message: Any) -> int:
    role = message.get("role") if isinstance(message, dict) else None
    return CODES.get(role, OTHER) if isinstance(role, str) else OTHER


def _beside(row: Row, method: Method) -> str:
    if method in ("supervised", "dpo"):
        return beside_of_tools(row)
    others = {key: value for key, value in row.items() if key not in ("messages", "metadata")}
    try:
        return canonical_json(others) if others else ""
    except (TypeError, ValueError):  # what other containers hold: dates, NaN
        return repr(sorted(others.items()))


def _join(block: Block, other: Block) -> Block:
    if not other.lines:
        return block
    rows, texts = len(block.lines), len(block.texts)
    return Block(
        block.lines + other.lines,
        np.concatenate([block.ends, texts + other.ends]),
        np.concatenate([block.roles, other.roles]),
        block.texts + other.texts,
        np.concatenate([block.tokens, other.tokens]),
        block.beside | {rows + at: said for at, said in other.beside.items()},
    )
