"""How to train, in OpenAI's JSON: each method's hyperparameters with their ranges."""

from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from selftune.api.graders.wire import known_fields, understood
from selftune.core.errors import InvalidInput
from selftune.core.records import Hyperparameters, Method, TrainOptions

_MOST = 2_147_483_647
_GRADER = "method.reinforcement."


def _whole(least: int, most: int) -> AfterValidator:
    def check(value: Any) -> Any:
        if value is None or value == "auto":
            return value
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        words = "it must be 'auto' or a whole number from {least} to {most}"
        raise PydanticCustomError("number", words, {"least": least, "most": most})

    return AfterValidator(check)


def _above(bound: float, most: float) -> AfterValidator:
    def check(value: Any) -> Any:
        if value is None or value == "auto":
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and bound < value <= most:
            return value
        words = "it must be 'auto' or a number greater than {bound}, {most} at most"
        raise PydanticCustomError("number", words, {"bound": bound, "most": most})

    return AfterValidator(check)


class Numbers(BaseModel):
    """Hyperparameters of every method, as a caller writes them."""

    n_epochs: Annotated[Any, _whole(1, 50)] = None
    batch_size: Annotated[Any, _whole(1, 256)] = None
    learning_rate_multiplier: Annotated[Any, _above(0, 1000)] = None

    def resolved(self) -> Hyperparameters:
        """Return the record; what was not given is `auto`."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return Hyperparameters(**given)


class PreferenceNumbers(Numbers):
    """Those of DPO."""

    beta: Annotated[Any, _above(0, 2)] = None


class ReinforcementNumbers(Numbers):
    """Those of reinforcement."""

    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None
    compute_multiplier: Annotated[Any, _above(1e-5, 10)] = None
    eval_interval: Annotated[Any, _whole(1, _MOST)] = None
    eval_samples: Annotated[Any, _whole(1, _MOST)] = None


class Supervised(BaseModel):
    """The supervised method's part."""

    hyperparameters: Numbers | None = None


class Preference(BaseModel):
    """DPO's part."""

    hyperparameters: PreferenceNumbers | None = None


class Reinforcement(BaseModel):
    """Reinforcement's part."""

    hyperparameters: ReinforcementNumbers | None = None
    grader: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class WantedMethod(BaseModel):
    """The method, and the part of the same name; parts of other methods do not count."""

    type: str
    supervised: Supervised | None = None
    dpo: Preference | None = None
    reinforcement: Reinforcement | None = None

    def name(self) -> Method:
        """Return which it is.

        Raises:
            InvalidInput: there is no such method.

        """
        if self.type not in ("supervised", "dpo", "reinforcement"):
            raise InvalidInput(
                f"Invalid value: '{self.type}'. Supported values are: 'supervised', 'dpo', and "
                "'reinforcement'.",
                code="invalid_value",
                param="method.type",
            )
        return self.type  # type: ignore[return-value]  # narrowed by the tuple above

    def numbers(self) -> Numbers | None:
        """Return the hyperparameters of the method that is meant."""
        part: Supervised | Preference | Reinforcement | None = getattr(self, self.name())
        return None if part is None else part.hyperparameters

    def grader(self) -> dict[str, Any] | None:
        """Return what judges answers, without fields that no grader knows.

        Raises:
            InvalidInput: it is no grader.

        """
        if self.name() != "reinforcement" or self.reinforcement is None:
            return None
        given = self.reinforcement.grader
        if given is None:
            return None
        try:
            understood(given)
        except InvalidInput as error:
            raise InvalidInput(
                error.message.replace("'grader.", f"'{_GRADER}grader."),
                code=error.code,
                param=f"{_GRADER}{error.param}",
            ) from error
        return known_fields(given)

    def response_format(self) -> dict[str, Any] | None:
        """Return the shape of answers.

        Raises:
            InvalidInput: it is none that can be held to.

        """
        if self.name() != "reinforcement" or self.reinforcement is None:
            return None
        given = self.reinforcement.response_format
        if given is not None:
            _check_shape(given)
        return given


class Own(TrainOptions):
    """What OpenAI's API has no words for: `extra_body={"selftune": {…}}`."""

    model_config = ConfigDict(strict=True)

    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Jobs with a higher one start sooner."""

    @property
    def options(self) -> TrainOptions:
        """Return them without the priority."""
        return TrainOptions.model_validate(self.model_dump(exclude={"priority"}))


def own_options(given: dict[str, Any]) -> Own:
    """Return our own options, checked.

    Raises:
        InvalidInput: a key is not known, or a value breaks its rule; names both.

    """
    try:
        return Own.model_validate(given)
    except ValidationError as problem:
        errors = problem.errors()
        unknown = (each for each in errors if each["type"] == "extra_forbidden")
        first = next(unknown, errors[0])
        param = f"selftune.{first['loc'][0]}" if first["loc"] else "selftune"
        if first["type"] == "extra_forbidden":
            raise InvalidInput(
                f"Unknown parameter: '{param}'. Known are: {', '.join(Own.model_fields)}.",
                code="unknown_parameter",
                param=param,
            ) from problem
        rules = " or ".join(each["msg"] for each in errors if each["loc"][:1] == first["loc"][:1])
        raise InvalidInput(
            f"Invalid value for '{param}': {rules}.", code="invalid_value", param=param
        ) from problem


def _check_shape(given: dict[str, Any]) -> None:
    param = "method.reinforcement.response_format"
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidInput(
            f"Invalid value: '{kind}'. Supported values are: 'text', 'json_object', and "
            "'json_schema'.",
            code="invalid_value",
            param=f"{param}.type",
        )
    if kind != "json_schema":
        return
    named = given.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise InvalidInput(
            f"Missing required parameter: '{param}.json_schema.schema'.",
            code="missing_required_parameter",
            param=f"{param}.json_schema.schema",
        )
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidInput(
            f"Invalid schema for '{param}': {error.message[:200]}.",
            code="invalid_value",
            param=f"{param}.json_schema.schema",
        ) from error
