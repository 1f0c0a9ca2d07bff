"""Whether an answer is JSON of the right shape."""

import json
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from selftune.core.errors import InvalidInput
from selftune.core.records import Record, Scored
from selftune.core.templates import fill
from selftune.evaluate.scorer import Scorer

_fail = partial(Scored, status="scored", value=0.0, passed=False)


class Params(Record):
    """Which shape."""

    name: str = "json_schema"
    input: str = "{{ sample.output_text }}"
    json_schema: dict[str, Any]
    """JSON Schema, draft 2020-12; a reference reaches nothing outside it."""


def build(params: Params) -> Scorer:
    """Make the scorer; the reason says where the answer differs."""
    try:
        Draft202012Validator.check_schema(params.json_schema)
    except SchemaError as error:
        raise InvalidInput(f"The JSON Schema is not valid: {error.message}.") from error
    validator = Draft202012Validator(params.json_schema, registry=Registry())

    def score(item: dict[str, Any], sample: dict[str, Any]) -> Scored:
        try:
            value = json.loads(fill(params.input, item, sample))
        except (ValueError, RecursionError):
            return _fail(reason="the answer is not JSON")
        try:
            problem = best_match(validator.iter_errors(value))
        except (Unresolvable, RecursionError) as error:
            raise InvalidInput(f"The JSON Schema cannot be used: {error}.") from error
        if problem is not None:
            return _fail(reason=f"{problem.json_path}: {problem.message}"[:500])
        return Scored(status="scored", value=1.0, passed=True)

    return score
