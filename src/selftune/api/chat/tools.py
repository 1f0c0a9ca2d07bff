"""What of a request holds an answer to a form: tools, and JSON."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from selftune.api.context import checked
from selftune.core.errors import InvalidInput
from selftune.serve.frames import WireCall

MOST_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NewId = Callable[[str], str]


class Function(BaseModel):
    """A function that a model may call."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """A tool; the only kind is a function."""

    type: Literal["function"]
    function: Function

    def plain(self) -> dict[str, Any]:
        """Return the tool as samplers take it."""
        return {"type": "function", "function": self.function.model_dump(exclude_none=True)}


class Schema(BaseModel):
    """A named JSON schema."""

    name: Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema", default_factory=dict)]
    strict: bool | None = None


class _Named(BaseModel):
    name: str


class _Chosen(BaseModel):
    type: Literal["function"]
    function: _Named


class _Allowed(BaseModel):
    mode: Literal["auto", "required"]
    tools: list[_Chosen]


class _Allowing(BaseModel):
    type: Literal["allowed_tools"]
    allowed_tools: _Allowed


class _Form(BaseModel):
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS)] = Field(default_factory=list)
    functions: Annotated[list[Function], Field(max_length=MOST_TOOLS)] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | _Chosen | _Allowing | None = None
    function_call: Literal["none", "auto"] | _Named | None = None
    parallel_tool_calls: bool = True


class FormFields(BaseModel):
    """The words of a request for it; looked into only where a model of this machine answers."""

    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None

    @property
    def has_functions(self) -> bool:
        """Whether tools are told of in the old words, `functions` and `function_call`."""
        return bool(self.functions) and not self.tools

    @property
    def names_function(self) -> bool:
        """Whether one function is named that must be called."""
        if self.has_functions:
            return isinstance(self.function_call, dict)
        chosen = self.tool_choice
        return isinstance(chosen, dict) and chosen.get("type") == "function"

    def form(self) -> dict[str, Any]:
        """Return the fields of a request to the serving process.

        Raises:
            InvalidInput: a word is wrong, whatever the model can do.

        """
        given = {
            name: getattr(self, name)
            for name in _Form.model_fields
            if getattr(self, name) is not None
        }
        form = _checked(given)
        tools = [tool.plain() for tool in form.tools]
        choice: Any = form.tool_choice
        if self.has_functions:
            tools = [Tool(type="function", function=each).plain() for each in form.functions]
            choice = form.function_call
            if isinstance(choice, _Named):
                choice = _Chosen(type="function", function=choice)
        tools, choice = _chosen(tools, choice)
        return {
            "tools": tools,
            "tool_choice": choice,
            "parallel_tool_calls": form.parallel_tool_calls and not self.has_functions,
            "response_format": _response_format(self.response_format),
        }


class Named:
    """The names of calls: each is made once, and is the same in the stream and in the whole."""

    def __init__(self, new_id: NewId) -> None:
        self._new = new_id
        self._names: dict[tuple[int, int], str] = {}

    def __call__(self, choice: int, index: int) -> str:
        if (choice, index) not in self._names:
            self._names[choice, index] = self._new("call_")
        return self._names[choice, index]


def call_json(name: str, call: WireCall) -> dict[str, Any]:
    """Return a call of a tool."""
    return {"id": name, "type": "function", "function": function_json(call)}


def function_json(call: WireCall) -> dict[str, str]:
    """Return what is called."""
    return {"name": call.name, "arguments": call.arguments}


def _checked(given: dict[str, Any]) -> _Form:
    try:
        return checked(given, _Form)
    except InvalidInput as error:
        name = str(error.param).partition(".")[0]
        if name not in ("tool_choice", "function_call"):
            raise
        raise InvalidInput(
            f"Invalid value for {name!r}: it must be 'none' or 'auto', or name a function.",
            code="invalid_value",
            param=name,
        ) from error


def _chosen(
    tools: list[dict[str, Any]], choice: Any
) -> tuple[list[dict[str, Any]], str | dict[str, Any]]:
    """Return the tools that may be called, and whether one must be."""
    if isinstance(choice, _Allowing):
        allowed = {each.function.name for each in choice.allowed_tools.tools}
        _check_known(tools, allowed)
        tools = [tool for tool in tools if tool["function"]["name"] in allowed]
        choice = choice.allowed_tools.mode
    if choice not in (None, "none", "auto") and not tools:
        raise InvalidInput(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are "
            "specified.",
            code="invalid_value",
            param="tool_choice",
        )
    if isinstance(choice, _Chosen):
        _check_known(tools, {choice.function.name})
        return tools, choice.model_dump()
    return tools, choice or "auto"


def _check_known(tools: list[dict[str, Any]], names: set[str]) -> None:
    unknown = names - {tool["function"]["name"] for tool in tools}
    if unknown:
        raise InvalidInput(
            f"Tool choice {min(unknown)[:64]!r} not found in 'tools' parameter.",
            code="invalid_value",
            param="tool_choice",
        )


def _response_format(given: Any) -> dict[str, Any] | None:
    """Return the form that is asked for; None is free text."""
    kind = given.get("type") if isinstance(given, dict) else None
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    if kind != "json_schema":
        raise InvalidInput(
            "Invalid value for 'response_format.type': it must be 'text', 'json_object' or "
            "'json_schema'.",
            code="invalid_value",
            param="response_format.type",
        )
    try:
        schema = checked(given.get("json_schema") or {}, Schema)
    except InvalidInput as error:
        where = f"response_format.json_schema.{error.param}"
        message = error.message.replace(f"'{error.param}'", f"'{where}'")
        raise InvalidInput(message, code=error.code, param=where) from error
    return {"type": kind, kind: schema.model_dump(by_alias=True, exclude_none=True)}
