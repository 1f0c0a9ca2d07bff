"""Rows that are plainly good, accepted at the speed of a typed parser; of others it says nothing.

Plain rows are roles with texts. Calling rows may also have tools, calls, results and weights. What
is accepted here is what `structure.py` finds nothing wrong with; a test holds the two together.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from selftune.core.canonical import canonical_json
from selftune.data.checking.structure import row_problems
from selftune.data.checking.tools import is_json_object, offered_names
from selftune.data.counting.lengths import Tokenizer, measure
from selftune.data.counting.pieces import TOOLS
from selftune.data.rows import Row
from selftune.data.sources.json_rows import parse_row
from selftune.models.messages import SYSTEM_ROLES

SYSTEM, USER, ASSISTANT, OTHER = range(4)
CODES = {"system": SYSTEM, "developer": SYSTEM, "user": USER, "assistant": ASSISTANT}
_MOST_REMEMBERED = 256
_IS_BLANK = np.isin(np.arange(256), list(b" \t\r"))


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The plainest message: a role and a text."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class PlainRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The plainest row of supervised training."""

    messages: list[Message]


class Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What a call calls."""

    name: str
    arguments: str


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One call of a tool."""

    id: str
    type: Literal["function"]
    function: Function


class Turn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message with what goes with tools and weights."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | UnsetType | None = UNSET
    weight: Literal[0, 1] | UnsetType = UNSET
    tool_calls: list[Call] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class CallingRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A row with what goes with tools."""

    messages: list[Turn]
    tools: msgspec.Raw | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET


class Accepted(NamedTuple):
    """A calling row, taken apart."""

    texts: list[str]
    """What each message says, with the calls in it."""
    roles: list[int]
    extra_tokens: int
    """Of the definitions of its tools."""
    beside: str
    """What else makes the row what it is."""


class _Tools(NamedTuple):
    names: set[str]
    tokens: int
    keys: int
    beside: str


_decode_plain = msgspec.json.Decoder(PlainRow).decode
_decode_calling = msgspec.json.Decoder(CallingRow).decode
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def plain_rows(lines: Sequence[bytes]) -> tuple[dict[int, list[Message]], list[int]]:
    """Return the messages of plain rows by their position, and the positions of all others."""
    plain: dict[int, list[Message]] = {}
    rest = []
    for at, line in enumerate(lines):
        try:
            plain[at] = _decode_plain(line).messages
        except _FAULTS:
            rest.append(at)
    return plain, rest


def keys_in(line: bytes) -> int:
    """Return how many keys a line of JSON has; more where a text begins with a colon.

    A quote before a colon ends a key, unless it is escaped or begins such a text. More are counted,
    too, where blanks may stand between the two.
    """
    spaced = sum(map(line.count, (b'" :', b'"  ', b'" \t', b'" \r', b'"\t', b'"\r')))
    return line.count(b'":') - line.count(b'\\":') + spaced


def keys_of_lines(data: bytes) -> NDArray[np.int64]:
    """Return `keys_in` of each line, shape (lines,), all at once."""
    codes = np.frombuffer(data, np.uint8)
    colons = np.flatnonzero(codes == ord(":"))
    colons = colons[colons >= 2]  # no key is shorter than two quotes
    before, earlier = codes[colons - 1], codes[colons - 2]
    closes = (before == ord('"')) & (earlier != ord("\\"))
    ends = colons[closes | (_IS_BLANK[before] & ((earlier == ord('"')) | _IS_BLANK[earlier]))]
    newlines = np.flatnonzero(codes == ord("\n"))
    counts: NDArray[np.int64] = np.bincount(
        np.searchsorted(newlines, ends), minlength=len(newlines) + 1
    )
    return counts


def beside_of_tools(row: Row) -> str:
    """Return what the definitions of a row's tools make it besides its messages."""
    inner = row.get("input")
    holder = inner if isinstance(inner, dict) else row
    defined = [holder.get("tools"), holder.get("functions")]
    return "" if defined == [None, None] else canonical_json(defined)


class CallingRows:
    """Accepts calling rows, and remembers the definitions of tools, which come again."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[bytes, _Tools | None] = {}

    def accept(self, line: bytes, keys: int) -> Accepted | None:
        """Return a row in which nothing is wrong, or None where something may be.

        `keys` are those that `keys_of_lines` found in the line.
        """
        try:
            row = _decode_calling(line)
        except _FAULTS:
            return None
        tools = self._tools(row.tools)
        if tools is None or not _is_good(row, tools.names):
            return None
        has_choice = row.parallel_tool_calls is not UNSET
        if keys != 1 + has_choice + tools.keys + sum(map(_keys, row.messages)):
            return None
        roles = [CODES.get(turn.role, OTHER) for turn in row.messages]
        return Accepted([_said(turn) for turn in row.messages], roles, tools.tokens, tools.beside)

    def _tools(self, raw: msgspec.Raw | UnsetType) -> _Tools | None:
        if isinstance(raw, UnsetType):
            return _Tools(set(), 0, 0, "")
        text = bytes(raw)
        if text not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[text] = self._define(text)
        return self._known[text]

    def _define(self, text: bytes) -> _Tools | None:
        """Return what definitions offer, if nothing is wrong with them."""
        answer = b'{"messages": [{"role": "assistant", "content": "."}], "tools": '
        line = parse_row(answer + text + b"}", 1)
        if line.row is None or line.problem is not None:
            return None
        if any(row_problems(line.row, 1, "supervised")):
            return None
        tokens = measure([line.row], self._tokenizer).parts[0, TOOLS]
        names = offered_names(line.row) or set()
        return _Tools(names, int(tokens), keys_in(text) + 1, beside_of_tools(line.row))


def _is_good(row: CallingRow, names: set[str]) -> bool:
    """Return whether the order of roles, the calls and their results are as they must be."""
    if not row.messages or row.messages[-1].role != "assistant":
        return False
    if row.parallel_tool_calls is not UNSET and not names:
        return False
    waiting: set[str] = set()
    known: set[str] = set()
    has_begun = False
    for turn in row.messages:
        if turn.role == "tool":
            if turn.tool_call_id not in waiting or not _is_plain_text(turn):
                return False
            waiting.discard(str(turn.tool_call_id))
            continue
        is_system = turn.role in SYSTEM_ROLES
        if waiting or (is_system and has_begun) or not _is_good_turn(turn):
            return False
        has_begun = has_begun or not is_system
        if turn.tool_calls is UNSET:
            continue
        called = _called(turn, row, names)
        if called is None or called & known:
            return False
        waiting, known = called, known | called
    return any(turn.role == "assistant" and turn.weight != 0 for turn in row.messages)


def _called(turn: Turn, row: CallingRow, names: set[str]) -> set[str] | None:
    """Return the ids of a turn's calls, or None where one may be wrong."""
    calls = () if isinstance(turn.tool_calls, UnsetType) else turn.tool_calls
    ids = {call.id for call in calls}
    are_too_many = len(calls) > 1 and row.parallel_tool_calls is False
    if are_too_many or len(ids) != len(calls):
        return None
    return ids if all(_is_good_call(call, names) for call in calls) else None


def _is_plain_text(turn: Turn) -> bool:
    has_more = turn.weight is not UNSET or turn.tool_calls is not UNSET
    return isinstance(turn.content, str) and not has_more


def _is_good_turn(turn: Turn) -> bool:
    """Return whether a message that is no result says something, and has nothing that it may not."""
    if turn.tool_call_id is not UNSET:
        return False
    if turn.role != "assistant" and not _is_plain_text(turn):
        return False
    if turn.tool_calls is not UNSET:
        return bool(turn.tool_calls)
    return isinstance(turn.content, str) and bool(turn.content.strip())


def _is_good_call(call: Call, names: set[str]) -> bool:
    is_known = bool(call.id) and call.function.name in names
    return is_known and is_json_object(call.function.arguments)


def _keys(turn: Turn) -> int:
    if turn.tool_calls is UNSET and turn.weight is UNSET and isinstance(turn.content, str):
        return 2 + (turn.tool_call_id is not UNSET)  # nearly all
    present = (turn.content, turn.weight, turn.tool_calls, turn.tool_call_id)
    calls = 0 if isinstance(turn.tool_calls, UnsetType) else 5 * len(turn.tool_calls)
    return 1 + calls + sum(value is not UNSET for value in present)


def _said(turn: Turn) -> str:
    text = turn.content if isinstance(turn.content, str) else ""
    if isinstance(turn.tool_calls, UnsetType):
        return text
    called = [
        part for call in turn.tool_calls for part in (call.function.name, call.function.arguments)
    ]
    return text + "".join(called)
