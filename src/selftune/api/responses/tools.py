"""Tools and the form of an answer: between the words of responses and those of chats."""

from typing import Any

from selftune.api.chat.tools import FormFields
from selftune.core.errors import InvalidInput

_OF_FUNCTION = ("name", "description", "parameters", "strict")
_OF_CHAT = (
    ("response_format.json_schema", "text.format"),
    ("response_format", "text.format"),
)


def fields_of_chat(
    tools: list[Any] | None, choice: Any, *, is_parallel: bool, form: dict[str, Any] | None
) -> FormFields:
    """Return what is asked in the words of chats."""
    return FormFields(
        tools=[tool_of_chat(tool) for tool in tools or ()] or None,
        tool_choice=_choice_of_chat(choice),
        parallel_tool_calls=is_parallel,
        response_format=None if form is None else form_of_chat(form),
    )


def tool_of_chat(tool: Any) -> Any:
    """Return a tool as chats write it."""
    if not isinstance(tool, dict):
        return tool
    function = {name: tool[name] for name in _OF_FUNCTION if tool.get(name) is not None}
    return {"type": tool.get("type"), "function": function}


def tool_json(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as a response gives it back."""
    blank: dict[str, Any] = {"description": None, "parameters": None, "strict": None}
    return blank | {name: tool[name] for name in ("type", *_OF_FUNCTION) if name in tool}


def form_of_chat(form: dict[str, Any]) -> dict[str, Any]:
    """Return a form as chats write it: with what belongs to a schema by itself."""
    kind, rest = form.get("type"), {name: each for name, each in form.items() if name != "type"}
    return {"type": kind, str(kind): rest} if rest else {"type": kind}


def in_our_words(error: InvalidInput) -> InvalidInput:
    """Return an error about a chat as one about a response."""
    message, param = error.message, error.param
    for theirs, ours in _OF_CHAT:
        message = message.replace(theirs, ours)
        param = None if param is None else param.replace(theirs, ours)
    return type(error)(message, code=error.code, param=param)


def _choice_of_chat(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    if kind == "function":
        return {"type": kind, "function": {"name": choice.get("name")}}
    if kind == "allowed_tools":
        tools = choice.get("tools")
        tools = [_choice_of_chat(tool) for tool in tools] if isinstance(tools, list) else tools
        return {"type": kind, kind: {"mode": choice.get("mode"), "tools": tools}}
    return choice
