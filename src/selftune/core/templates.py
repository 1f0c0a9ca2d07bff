"""Fill `{{ item.field }}`, `{{ field }}` and `{{ sample.output_text }}`: Jinja2 in its sandbox.

Templates come from strangers too. They may print, choose, and loop over a row's own values; what they
may not: call anything but the methods below, repeat text, pad it, or go on for long.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, wraps
from typing import TYPE_CHECKING, Any

from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 10_000_000
"""Longest text that comes out; the longest message that any model reads is shorter."""
MISSING_VARIABLE = "invalid_variable_error"
"""OpenAI's word for a template that names what is not there."""
_MAX_TEMPLATE = 1_000_000
_MAX_STEPS = 100_000
_MAX_NUMBER = 10_000
_STEPS = "_steps"
_MAX_EXPONENT = 64
_SHOWN = 100
_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "get",
        "index",
        "isalpha",
        "isdigit",
        "isspace",
        "items",
        "keys",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rpartition",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "title",
        "upper",
        "values",
    ]
)
_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "count",
        "d",
        "default",
        "dictsort",
        "first",
        "float",
        "format",
        "groupby",
        "indent",
        "int",
        "items",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
        "sort",
        "string",
        "striptags",
        "sum",
        "title",
        "tojson",
        "trim",
        "truncate",
        "unique",
        "upper",
        "wordcount",
    ]
)
_WRITING_FILTERS = ("format", "indent", "join", "replace", "tojson")
_STATEMENTS = ("Output", "For", "If")
_ONE_FIELD = re.compile(r"\{\{ *(item|sample)\.([a-zA-Z]\w*) *\}\}", re.ASCII)
_WIDE_FORMAT = re.compile(r"%[^%a-zA-Z]*(\*|\d{4})")


def fill(template: str, item: dict[str, Any], sample: dict[str, Any] | None = None) -> str:
    """Return the text of a template; an item's fields are names of their own too.

    Raises:
        InvalidInput: the template is not valid, or names a field that is not there, or prints null;
            its code is `invalid_variable_error` where a field is not there.

    """
    if "{{" not in template and "{%" not in template and "{#" not in template:
        return template
    plain = _plain_field(template, item, sample or {})
    if plain is not None:
        return plain
    from jinja2 import TemplateError, UndefinedError

    values = item | {"item": item, "sample": sample or {}, _STEPS: iter(range(_MAX_STEPS))}
    try:
        return _bounded(_compiled(template).generate(values))
    except UndefinedError as error:
        raise InvalidInput(_told(template, item, error), code=MISSING_VARIABLE) from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InvalidInput(_told(template, item, error)) from error
    except (RecursionError, MemoryError) as error:
        raise InvalidInput(f"The template {template[:_SHOWN]!r} asks for too much.") from error


def _plain_field(template: str, item: dict[str, Any], sample: dict[str, Any]) -> str | None:
    """Return a field's text where a template is nothing but that field: most are."""
    named = _ONE_FIELD.fullmatch(template)
    if named is None:
        return None
    value = (item if named[1] == "item" else sample).get(named[2])
    return value if type(value) is str and len(value) <= MAX_CHARACTERS else None


def roots(template: str) -> frozenset[str]:
    """Return the names that a template takes from outside, such as `item` and `sample`.

    Raises:
        InvalidInput: the template is not valid.

    """
    from jinja2 import TemplateError, meta

    try:
        _compiled(template)
        return frozenset(meta.find_undeclared_variables(_environment().parse(template)))
    except (TemplateError, ValueError) as error:
        shown = template if len(template) <= _SHOWN else template[:_SHOWN] + "…"
        raise InvalidInput(f"The template {shown!r} is not valid: {error}.") from error
    except (RecursionError, MemoryError) as error:
        raise InvalidInput(f"The template {template[:_SHOWN]!r} asks for too much.") from error


def fields(template: str) -> frozenset[str]:
    """Return the fields of `item` that a template cannot do without.

    Those that it has another word for, by `default` or `defined`, are not among them.

    Raises:
        InvalidInput: the template is not valid.

    """
    from jinja2 import nodes

    if "item" not in roots(template) or "default" in template or "defined" in template:
        return frozenset()
    tree = _environment().parse(template)
    found = {one.attr for one in tree.find_all(nodes.Getattr) if _is_item(one.node)}
    for one in tree.find_all(nodes.Getitem):
        if _is_item(one.node) and isinstance(one.arg, nodes.Const):
            found.add(str(one.arg.value))
    return frozenset(found - _METHODS)


def _is_item(node: "nodes.Node") -> bool:
    return getattr(node, "name", None) == "item"


def _told(template: str, item: dict[str, Any], error: Exception) -> str:
    says = str(error).rstrip(".")
    if "must be real number, not str" in says or "not all arguments converted" in says:
        says += "; a text becomes a number with `| float`"
    names = ", ".join(str(name) for name in item) or "none"
    shown = template if len(template) <= _SHOWN else template[:_SHOWN] + "…"
    return f"The template {shown!r} cannot be filled: {says}. The fields are: {names}."


def _bounded(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_CHARACTERS:
            raise ValueError(f"it writes more than {MAX_CHARACTERS:,} characters")
        kept.append(piece)
    return "".join(kept)


@lru_cache(maxsize=256)
def _compiled(template: str) -> "Template":
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    if len(template) > _MAX_TEMPLATE:
        raise ValueError(f"it is longer than {_MAX_TEMPLATE:,} characters")
    tree = _environment().parse(template)
    for statement in tree.find_all(nodes.Stmt):
        if type(statement).__name__ not in _STATEMENTS:
            raise SecurityError(f"{{% {type(statement).__name__.lower()} %}} is not allowed")
    for loop in tree.find_all(nodes.For):
        _count_steps(loop)
    return _environment().from_string(tree)


def _count_steps(loop: "nodes.For") -> None:
    """Let every turn of a loop count."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    if loop.recursive:
        raise SecurityError("recursive loops are not allowed")
    steps = nodes.Name(_STEPS, "load")
    loop.iter = nodes.Filter(loop.iter, _STEPS, [steps], [], None, None)


def _counted(values: Iterable[Any], steps: Iterator[int]) -> Iterator[Any]:
    for value in values:
        if next(steps, None) is None:
            raise ValueError(f"it loops more than {_MAX_STEPS:,} times")
        yield value


def _printable(value: Any) -> Any:
    """Refuse what would become a word of Python's in somebody's training data."""
    from jinja2 import Undefined

    if isinstance(value, str | int | float | list | tuple | dict | Undefined):
        return value  # what is undefined says so itself
    raise TypeError(f"it prints {'null' if value is None else 'no value'}")


@cache
def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2 import StrictUndefined, Undefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "%"))

        def getattr(self, obj: Any, attribute: str) -> Any:
            # Jinja2 would find a mapping's method `items` before its key.
            if isinstance(obj, dict) and attribute in obj:
                return obj[attribute]
            return super().getattr(obj, attribute)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operands(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def is_safe_callable(self, obj: Any) -> bool:
            if isinstance(obj, Undefined):
                return True  # the call will say what is not there
            name = getattr(obj, "__name__", type(obj).__name__)
            if name not in _METHODS:
                raise SecurityError(f"{name!r} cannot be called in a template")
            return super().is_safe_callable(obj)

    def guarded(name: str, function: Any) -> Any:
        @wraps(function)  # keeps what it wants to be passed first
        def checked(*arguments: Any, **options: Any) -> Any:
            _check_filter(name, [*arguments, *options.values()])
            return function(*arguments, **options)

        return checked

    found = Environment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    found.globals.clear()
    found.filters = {n: found.filters[n] for n in _FILTERS}
    found.filters |= {name: guarded(name, found.filters[name]) for name in _WRITING_FILTERS}
    found.filters[_STEPS] = _counted
    return found


def _check_operands(operator: str, left: Any, right: Any) -> None:
    if operator == "%" and isinstance(left, str):
        _check_format(left)
    elif operator == "*" and not all(isinstance(value, int | float) for value in (left, right)):
        raise TypeError("only numbers can be multiplied")
    elif operator == "**" and (abs(left) > _MAX_NUMBER or abs(right) > _MAX_EXPONENT):
        raise ValueError("the power is too large")


def _check_filter(name: str, arguments: list[Any]) -> None:
    """Refuse what writes much more than it is given."""
    texts = [value for value in arguments if isinstance(value, str)]
    lists = [value for value in arguments if isinstance(value, list | tuple)]
    numbers = [value for value in arguments if isinstance(value, int)]
    size = 0
    if name == "format":
        _check_format(texts[0])
    elif name == "replace" and len(texts) > 2:
        size = len(texts[0]) + texts[0].count(texts[1]) * len(texts[2])
    elif name == "join":
        size = max(map(len, lists or texts), default=0) * max(map(len, texts), default=1)
    if size > MAX_CHARACTERS or max(numbers, default=0) > _MAX_NUMBER:
        raise ValueError(f"the filter {name!r} writes too much")


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise ValueError(f"the format {text[:_SHOWN]!r} is too wide")
