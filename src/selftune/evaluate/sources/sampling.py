"""A run's sampling parameters -> words of the chat API."""

from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.sources.data_source import DataSource, SamplingParams

SEED = 42
"""What OpenAI's description has as the default."""


def chat_words(source: DataSource) -> dict[str, Any]:
    """Return what is said about sampling in each request.

    Raises:
        InvalidInput: a tool or a format that chats do not have.

    """
    params = source.sampling_params
    words: dict[str, Any] = {"seed": SEED if params.seed is None else params.seed}
    for name in ("temperature", "top_p", "reasoning_effort"):
        if getattr(params, name) is not None:
            words[name] = getattr(params, name)
    if params.limit is not None:
        words["max_completion_tokens"] = params.limit
    form = _format(params)
    if form is not None and form.get("type") != "text":
        words["response_format"] = form
    if params.tools:
        words["tools"] = [_tool(each) for each in params.tools]
    return words


def _format(params: SamplingParams) -> dict[str, Any] | None:
    """Return the answer's format; the Responses API writes a schema without its envelope."""
    form = params.response_format
    if form is None and params.text is not None:
        form = params.text.format
    if form is None:
        return None
    kind = form.get("type")
    if kind in ("text", "json_object"):
        return {"type": kind}
    if kind != "json_schema":
        raise _refused(
            f"'{kind}' is not one of text, json_object, json_schema", "response_format.type"
        )
    inner = form.get("json_schema", form)
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise _refused("a JSON Schema needs a name", "response_format")
    known = _known(inner, "name", "description", "schema", "strict")
    return {"type": "json_schema", "json_schema": known}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a function as chats write it: the Responses API has its fields one level higher."""
    if tool.get("type") != "function":
        raise _refused(
            f"the tool '{tool.get('type')}' runs on OpenAI's servers only: give functions", "tools"
        )
    inner = tool.get("function", tool)
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise _refused("a function needs a name", "tools")
    known = _known(inner, "name", "description", "parameters", "strict")
    return {"type": "function", "function": known}


def _known(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the fields of these names that are there."""
    return {name: given[name] for name in names if given.get(name) is not None}


def _refused(what: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid value for 'data_source.sampling_params.{name}': {what}.",
        code="invalid_value",
        param=f"data_source.sampling_params.{name}",
    )
