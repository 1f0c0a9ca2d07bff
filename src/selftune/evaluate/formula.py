"""Formulas over scores, as `multi` has them: parsed by hand, never evaluated as Python.

    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/") signed }
    signed  = ("+" | "-") signed | power
    power   = atom [ "^" signed ]
    atom    = number | name | function "(" sum { "," sum } ")" | "(" sum ")"

As in mathematics, `-2^2` is -4 and `2^3^2` is 2^(3^2). Values are floats.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from selftune.core.errors import InvalidInput

MOST_CHARACTERS = 10_000
_MOST_DEPTH = 50
BAD_FORMULA = "formula_parse_error"

Value = Callable[[Mapping[str, float]], float]

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "^": math.pow,
}
_OF_MANY = frozenset({"min", "max"})
_NUMBER = r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"


@dataclass(frozen=True)
class Formula:
    """A formula that was understood."""

    names: frozenset[str]
    """Scores that it reads."""
    value: Value

    def __call__(self, scores: Mapping[str, float]) -> float:
        """Return its value for these scores.

        Raises:
            InvalidInput: it has none: a division by zero, the root of a negative number, infinity.

        """
        try:
            value = float(self.value(scores))
        except (ArithmeticError, ValueError) as error:
            raise InvalidInput(f"The formula has no value for {dict(scores)}: {error}.") from error
        if not math.isfinite(value):
            raise InvalidInput(f"The formula has no finite value for {dict(scores)}.")
        return value


def parse_formula(text: str, names: Iterable[str]) -> Formula:
    """Return a formula over these names; a name may have spaces and signs of its own.

    Raises:
        InvalidInput: it is not a formula, or names something else.

    """
    if len(text) > MOST_CHARACTERS:
        raise _bad(text, f"it is longer than {MOST_CHARACTERS:,} characters")
    reader = _Reader(text, tuple(names))
    value = reader.sum()
    if reader.here:
        raise _bad(text, f"{reader.here!r} does not belong there")
    return Formula(frozenset(reader.read), value)


class _Reader:
    """Reads a formula from left to right."""

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self._text, self._names, self._depth = text, frozenset(names), 0
        self._tokens = _tokens(text, names)
        self._place = 0
        self.read: set[str] = set()

    @property
    def here(self) -> str:
        """The token that comes next, or nothing at the end."""
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def sum(self) -> Value:
        """Read terms with plus and minus between them."""
        return self._chain("+-", lambda: self._chain("*/", self._signed))

    def _chain(self, signs: str, operand: Callable[[], Value]) -> Value:
        value = operand()
        while self.here and self.here in signs:
            value = _joined(_OPERATORS[self._take()], value, operand())
        return value

    def _signed(self) -> Value:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _bad(self._text, f"it is nested more than {_MOST_DEPTH} deep")
        if self.here and self.here in "+-":
            value = _joined(_OPERATORS[self._take()], _constant(0.0), self._signed())
        else:
            value = self._power()
        self._depth -= 1
        return value

    def _power(self) -> Value:
        base = self._atom()
        return _joined(_OPERATORS[self._take()], base, self._signed()) if self.here == "^" else base

    def _atom(self) -> Value:
        if not self.here:
            raise _bad(self._text, "it ends too early")
        token = self._take()
        if token == "(":
            value = self.sum()
            self._expect(")")
            return value
        if re.fullmatch(_NUMBER, token) and token not in self._names:
            return _constant(float(token))
        if token in _FUNCTIONS and self.here == "(":
            return self._call(token)
        if token not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise _bad(self._text, f"{token!r} is not one of its graders: {known}")
        self.read.add(token)
        return lambda scores: scores[token]

    def _call(self, name: str) -> Value:
        self._expect("(")
        arguments = [self.sum()]
        while self.here == ",":
            self._take()
            arguments.append(self.sum())
        self._expect(")")
        if name in _OF_MANY:
            if len(arguments) == 1:
                return arguments[0]
        elif len(arguments) > 1:
            raise _bad(self._text, f"{name} takes one value")
        function = _FUNCTIONS[name]
        return lambda scores: function(*(argument(scores) for argument in arguments))

    def _take(self) -> str:
        token = self.here
        self._place += 1
        return token

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise _bad(self._text, f"a {token!r} is missing")


def _tokens(text: str, names: tuple[str, ...]) -> list[str]:
    ordered = sorted(filter(None, names), key=len, reverse=True)
    whole = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in ordered)
    pattern = f"{whole + '|' if whole else ''}{_NUMBER}|\\w+|\\S"
    return re.findall(pattern, text)


def _joined(operator: Callable[[float, float], float], left: Value, right: Value) -> Value:
    return lambda scores: operator(left(scores), right(scores))


def _constant(number: float) -> Value:
    return lambda _scores: number


def _bad(text: str, reason: str) -> InvalidInput:
    shown = text if len(text) <= 100 else text[:100] + "…"
    return InvalidInput(
        f"The formula {shown!r} cannot be read: {reason}.",
        code=BAD_FORMULA,
        param="calculate_output",
    )
