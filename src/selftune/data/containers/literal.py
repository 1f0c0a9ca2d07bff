"""A Python file of literals, parsed and never run: `messages = [...]`, `labels = [...]`.

Lists of equal length become the fields of rows, named by the lists (`messages` -> `message`); a list
of objects is rows already; a mapping or pairs become rows of `message` and `label`.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NoReturn

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.problems import problem
from selftune.data.rows import Line, Row
from selftune.data.sources.source import Source

_MAX_BYTES = 16_000_000
"""Parsing needs some 50 times the memory of the text."""
_ASSIGNED = re.compile(rb"^[A-Za-z_]\w*[ \t]*(:[^=\n]*)?=[ \t]*[\[{(]", re.MULTILINE)
_BARE = re.compile(rb"(\s|#[^\n]*\n)*(\{\s*'|\[\s*\(|\[\s*\{\s*')")
_PAIR = ("message", "label")
_SUFFIXES = (".py", ".txt", "")


class Params(Record):
    """Nothing to set."""


def build(params: Params) -> "Literal":
    """Make the container."""
    del params
    return Literal()


class Literal:
    """Reads literals. Writes nothing: JSON Lines say the same better."""

    suffixes = ()

    def recognizes(self, source: Source) -> bool:
        head = source.head.removeprefix(b"\xef\xbb\xbf")
        if _BARE.match(head):
            return True
        begins_otherwise = head.lstrip().startswith((b"{", b"["))
        is_named_so = source.suffix in _SUFFIXES
        return is_named_so and not begins_otherwise and _ASSIGNED.search(head) is not None

    def lines(self, source: Source) -> Iterator[Line]:
        text = source.stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise InvalidInput(
                f"{source.name} is longer than the {_MAX_BYTES:,} bytes that Python literals may "
                "have. Save the rows as JSONL."
            )
        try:
            module = ast.parse(text.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            yield Line(line, None, problem("line-not-utf8", line))
            return
        except SyntaxError as error:
            line = error.lineno or 1
            words = f"The line is not Python: {error.msg}."
            yield Line(line, None, problem("literal-invalid", line, words))
            return
        except (RecursionError, MemoryError, ValueError) as error:
            raise InvalidInput(f"{source.name} is nested too deeply for Python.") from error
        yield from _lines(_values(module), source.name)

    def write(self, rows: Iterable[Row], target: BinaryIO, suffix: str = "") -> NoReturn:
        raise InvalidInput("Python literals are read, not written. Choose a name in .jsonl.")


def _values(module: ast.Module) -> dict[str, ast.expr]:
    """Return every list, tuple and mapping that is given a name, or stands alone."""
    found: dict[str, ast.expr] = {}
    for statement in module.body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                found[name] = value
            case ast.Expr(value=value):
                found[""] = value
    return {
        name: value
        for name, value in found.items()
        if (isinstance(value, ast.List | ast.Tuple) and value.elts)
        or (isinstance(value, ast.Dict) and value.keys)
    }


def _lines(values: dict[str, ast.expr], source: str) -> Iterator[Line]:
    lists = {name: v.elts for name, v in values.items() if isinstance(v, ast.List | ast.Tuple)}
    mappings = [value for value in values.values() if isinstance(value, ast.Dict)]
    objects = [elements for elements in lists.values() if _are(elements, ast.Dict)]
    pairs = [elements for elements in lists.values() if _are(elements, ast.Tuple)]
    columns = _columns(lists)
    if len(columns) > 1:
        names = [_singular(name) for name in columns]
        yield from (_row(names, entry) for entry in zip(*columns.values(), strict=True))
    elif len(objects) == 1:
        yield from (_object(element) for element in objects[0])
    elif len(pairs) == 1:
        yield from (_row(_PAIR, element.elts) for element in pairs[0])  # type: ignore[attr-defined]
    elif len(mappings) == 1:
        yield from (_row(_PAIR, entry) for entry in _entries(mappings[0]))
    else:
        raise InvalidInput(
            f"{source} has no rows that could be told: {_overview(values)}. Give two lists of equal "
            "length (`messages = [...]`, `labels = [...]`), or one list of objects, or one mapping."
        )


def _columns(lists: dict[str, list[ast.expr]]) -> dict[str, list[ast.expr]]:
    """Return the lists of values that are equally long, if only some of one length are."""
    flat = {n: e for n, e in lists.items() if not _are(e, ast.Dict) and not _are(e, ast.Tuple)}
    lengths = [len(elements) for elements in flat.values()]
    repeated = {length for length in lengths if lengths.count(length) > 1}
    if len(repeated) != 1:
        return {}
    return {name: elements for name, elements in flat.items() if len(elements) in repeated}


def _are(elements: list[ast.expr], kind: type[ast.expr]) -> bool:
    return all(isinstance(element, kind) for element in elements)


def _entries(mapping: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
    for key, value in zip(mapping.keys, mapping.values, strict=True):
        yield key or value, value  # a key is None where another mapping is unpacked


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _row(names: Iterable[str], nodes: Iterable[ast.expr]) -> Line:
    entry = list(nodes)
    number = entry[0].lineno
    fields = list(names)
    if len(entry) != len(fields):
        words = f"The entry has {len(entry)} values, not {len(fields)}."
        return Line(number, None, problem("literal-invalid", number, words))
    try:
        values = [_value(node) for node in entry]
    except (ValueError, TypeError, RecursionError) as error:
        return Line(number, None, problem("literal-invalid", number, str(error)))
    return Line(number, dict(zip(fields, values, strict=True)))


def _object(node: ast.expr) -> Line:
    line = _row(("",), (node,))
    return line if line.row is None else Line(line.number, line.row[""])


def _value(node: ast.expr) -> Any:
    """Return what a literal says, as JSON knows it.

    Raises:
        ValueError: it is not a literal, or nothing that JSON knows.

    """
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element) for element in elements]
        case ast.Dict(keys=keys, values=values):
            names = [_value(key) if key is not None else None for key in keys]
            if not all(isinstance(name, str) for name in names):
                raise ValueError("The mapping has a key that is not a text.")
            return dict(zip(names, map(_value, values), strict=True))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    raise ValueError("The value is not a literal of texts, numbers, lists and mappings.")


def _overview(values: dict[str, ast.expr]) -> str:
    found = []
    for name, value in values.items():
        size = len(value.elts) if isinstance(value, ast.List | ast.Tuple) else len(value.keys)  # type: ignore[attr-defined]
        found.append(f"`{name or 'an unnamed one'}` with {size}")
    return "there is " + " and ".join(found) if found else "there is no list and no mapping"
