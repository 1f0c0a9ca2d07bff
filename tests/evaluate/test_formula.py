"""Formulas over scores: what they are worth, and what is refused."""

import ast
import contextlib
import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.core.errors import InvalidInput
from selftune.evaluate.formula import BAD_FORMULA, MOST_CHARACTERS, parse_formula

SCORES = {"a": 0.5, "b": 2.0, "b2": 3.0, "two words": 4.0, "a-b": 5.0, "min": 6.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 0.5),
        ("0.5 * a + 0.5*b", 1.25),
        ("1 - 2 - 3", -4),
        ("8 / 4 / 2", 1),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("(1 + 2) * 3", 9),
        ("--1", 1),
        ("1 - -1", 2),
        ("2 * -3", -6),
        ("max(a, b, 1)", 2),
        ("min(b)", 2),
        ("abs(-3) + floor(2.7) + ceil(2.1) + sqrt(9)", 11),
        ("exp(log(7))", 7),
        (".5e1 + 1.", 6),
        ("two words + a-b", 9),
        ("b2 - b", 1),
        ("min + min(1, 2)", 7),
    ],
)
def test_a_formula_has_the_value_that_mathematics_gives_it(text: str, value: float) -> None:
    assert parse_formula(text, SCORES)(SCORES) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ends too early"),
        ("a +", "ends too early"),
        ("a b", "'b' does not belong"),
        ("(a", r"'\)' is missing"),
        ("a)", r"'\)' does not belong"),
        ("c + a", "'c' is not one of its graders: a, a-b"),
        ("sqrt(a, b)", "sqrt takes one value"),
        ("max()", "not one of its graders"),
        ("a ** b", "is not one of its graders"),
        ("__import__('os')", "'__import__' is not one"),
        ("a.real", "does not belong"),
        ("(" * 60 + "a" + ")" * 60, "nested more than 50"),
        ("-" * 5000 + "a", "nested more than 50"),
        ("a + " * MOST_CHARACTERS, "longer than"),
    ],
)
def test_what_is_no_formula_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        parse_formula(text, SCORES)
    assert refused.value.code == BAD_FORMULA


@pytest.mark.parametrize(
    "text", ["1 / 0", "sqrt(-1)", "log(0)", "(-1) ^ 0.5", "exp(1000)", "9^9^9"]
)
def test_a_formula_without_a_value_has_none_rather_than_a_wrong_one(text: str) -> None:
    with pytest.raises(InvalidInput, match="has no"):
        parse_formula(text, ())({})


def test_it_says_which_scores_it_reads() -> None:
    assert parse_formula("a + max(b, 1)", SCORES).names == {"a", "b"}


NUMBERS = st.integers(0, 20).map(str)
FORMULAS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-({text})"),
    ),
    max_leaves=12,
)
_PYTHON: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def by_python(node: ast.expr) -> float:
    if isinstance(node, ast.Constant):
        return float(str(node.value))
    if isinstance(node, ast.UnaryOp):
        return -by_python(node.operand)
    assert isinstance(node, ast.BinOp)
    return float(_PYTHON[type(node.op)](by_python(node.left), by_python(node.right)))


@given(FORMULAS)
def test_arithmetic_is_that_of_python(text: str) -> None:
    expected = by_python(ast.parse(text, mode="eval").body)
    assert math.isclose(parse_formula(text, ())({}), expected, abs_tol=1e-9)


@given(st.text(alphabet="ab0.1+-*/^(), sqrtmin", max_size=40))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        parse_formula(text, ("a", "b"))({"a": 0.5, "b": 2.0})
