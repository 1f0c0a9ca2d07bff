"""Put graders together with a formula, as OpenAI's grader of this name does."""

from collections.abc import Iterator
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.formula import Formula, parse_formula
from selftune.evaluate.grading import build_scorer
from selftune.evaluate.means import NO_MEANS, Means
from selftune.evaluate.scorer import Graded, Scorer, errored, guarded

_MOST_GRADERS = 20

Graders = dict[str, Any] | tuple[dict[str, Any], ...]


class Params(Record):
    """Which graders and how their scores make one."""

    name: str = "multi"
    graders: Graders
    """Graders by name, a list of them, or one; the name is for the formula."""
    calculate_output: str
    pass_threshold: float = 1.0


def build(params: Params) -> Scorer:
    """Make the scorer; graders that ask a model say that none is there."""
    return build_with(params, NO_MEANS)


def build_with(params: Params, means: Means) -> Scorer:
    """Make the scorer."""
    graders = dict(named_graders(params.graders))
    formula = parse_formula(params.calculate_output, graders)
    scorers = {name: build_scorer(grader, means) for name, grader in graders.items()}

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Graded:
        parts = {name: guarded(each, item, sample) for name, each in scorers.items()}
        outcome = _missing(parts, formula.names) or _calculated(formula, parts, params)
        spent = tuple(spent for part in parts.values() for spent in part.spent)
        return outcome.model_copy(update={"parts": parts, "spent": spent})

    return score


def named_graders(graders: Graders) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each grader with the name that the formula has for it.

    Raises:
        InvalidInput: a grader is not one, is a `multi` itself, or two have one name.

    """
    if isinstance(graders, dict) and isinstance(graders.get("type"), str):
        graders = (graders,)
    pairs = _by_name(graders) if isinstance(graders, dict) else [(_own(g), g) for g in graders]
    if not 0 < len(pairs) <= _MOST_GRADERS:
        raise _refused(f"it has {len(pairs)} graders: 1 to {_MOST_GRADERS} are allowed")
    if len(dict(pairs)) < len(pairs):
        raise _refused("two of its graders have one name: give each its own")
    if any(grader.get("type") == "multi" for _, grader in pairs):
        raise _refused("a multi grader cannot be inside another")
    yield from pairs


def _by_name(graders: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    for name, grader in graders.items():
        if not isinstance(grader, dict):
            raise _refused(f"{name!r} is not a grader: it must be an object with a 'type'")
    return list(graders.items())


def _own(grader: dict[str, Any]) -> str:
    return str(grader.get("name") or grader.get("type"))


def _missing(parts: dict[str, Graded], names: frozenset[str]) -> Graded | None:
    """Return why there is nothing to calculate, if a score that the formula reads is not there."""
    for name, part in parts.items():
        if name in names and (part.status != "scored" or part.value is None):
            return errored(f"{name}: {part.reason}", part.fault or "other_error")
    return None


def _calculated(formula: Formula, parts: dict[str, Graded], params: Params) -> Graded:
    values = {name: part.value for name, part in parts.items() if part.value is not None}
    try:
        value = formula(values)
    except InvalidInput as error:
        return errored(error.message, "other_error")
    return Graded(status="scored", value=value, passed=value >= params.pass_threshold)


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(
        f"The multi grader is not valid: {reason}.", code="invalid_value", param="graders"
    )
