"""Tools, calls and results that do not fit together."""

from typing import Any

from tests.data.corpus.parts import ask, chat, row_case, say


def tool(name: object = "find", **others: Any) -> dict[str, Any]:
    """Return the definition of a tool."""
    return {"type": "function", "function": {"name": name, "parameters": {}, **others}}


def call(identifier: object = "c1", name: str = "find", arguments: Any = "{}") -> dict[str, Any]:
    """Return a call of a tool."""
    function = {"name": name, "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function}


def result(identifier: object = "c1") -> dict[str, Any]:
    """Return what a tool answered."""
    return {"role": "tool", "tool_call_id": identifier, "content": "two umbrellas"}


def calling(*calls: Any) -> dict[str, Any]:
    """Return a message of the assistant that calls tools."""
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def with_tools(*messages: Any, **others: Any) -> dict[str, Any]:
    """Return a row that offers the tool `find`."""
    return chat(*messages, **({"tools": [tool()]} | others))


DEFINITIONS = (
    row_case("tools as an object", chat(ask(), say(), tools=tool()), ("tools-invalid", None)),
    row_case("no tools in the list", chat(ask(), say(), tools=[]), ("tools-invalid", None)),
    row_case("a tool as text", chat(ask(), say(), tools=["find"]), ("tools-invalid", None)),
    row_case("a tool without a type", chat(ask(), say(), tools=[{"function": {"name": "find"}}]), ("tools-invalid", None)),
    row_case("a tool without a name", chat(ask(), say(), tools=[tool(None)]), ("tools-invalid", None)),
    row_case("a tool named with a dot", chat(ask(), say(), tools=[tool("lost.find")]), ("tools-invalid", None)),
    row_case("parameters as text", chat(ask(), say(), tools=[tool(parameters="none")]), ("tools-invalid", None)),
    row_case("a description of numbers", chat(ask(), say(), tools=[tool(description=7)]), ("tools-invalid", None)),
    row_case("129 tools", chat(ask(), say(), tools=[tool(f"find_{at}") for at in range(129)]), ("too-many-tools", None), ("length-outlier", None)),
    row_case("200 functions", chat(ask(), say(), functions=[{"name": f"find_{at}"} for at in range(200)]), ("functions-deprecated", None), ("too-many-tools", None), ("length-outlier", None)),
    row_case("a tool twice", chat(ask(), say(), tools=[tool(), tool()]), ("tool-repeated", None)),
    row_case("a function twice", chat(ask(), say(), functions=[{"name": "find"}, {"name": "find"}]), ("functions-deprecated", None), ("tool-repeated", None)),
    row_case("tools and functions", chat(ask(), say(), tools=[tool()], functions=[{"name": "find"}]), ("functions-deprecated", None), ("functions-and-tools", None)),
    row_case("tools and other functions", chat(ask(), say(), tools=[tool()], functions=[{"name": "sell"}]), ("functions-deprecated", None), ("functions-and-tools", None)),
    row_case("functions", chat(ask(), say(), functions=[{"name": "find"}]), ("functions-deprecated", None)),
    row_case("no functions in the list", chat(ask(), say(), functions=[]), ("functions-deprecated", None), ("tools-invalid", None)),
    row_case("parallel calls as text", with_tools(ask(), say(), parallel_tool_calls="false"), ("parallel-tool-calls-invalid", None)),
    row_case("parallel calls 0", with_tools(ask(), say(), parallel_tool_calls=0), ("parallel-tool-calls-invalid", None)),
    row_case("parallel calls null", with_tools(ask(), say(), parallel_tool_calls=None), ("parallel-tool-calls-invalid", None)),
    row_case("parallel calls without tools", chat(ask(), say(), parallel_tool_calls=True), ("parallel-tool-calls-alone", None)),
    row_case("no parallel calls without tools", chat(ask(), say(), parallel_tool_calls=False), ("parallel-tool-calls-alone", None)),
)  # fmt: skip

CALLS = (
    row_case("calls as an object", with_tools(ask(), say(None, tool_calls=call())), ("tool-calls-invalid", 3)),
    row_case("no calls in the list", with_tools(ask(), say("No.", tool_calls=[])), ("tool-calls-invalid", 3)),
    row_case("a call without an id", with_tools(ask(), calling(call(None)), say("No.")), ("tool-calls-invalid", 3)),
    row_case("a call with an empty id", with_tools(ask(), calling(call(""))), ("tool-calls-invalid", 3)),
    row_case("a call without a type", with_tools(ask(), calling({"id": "c1", "function": call()["function"]})), ("tool-calls-invalid", 3)),
    row_case("a call without a function", with_tools(ask(), calling({"id": "c1", "type": "function"})), ("tool-calls-invalid", 3)),
    row_case("arguments as an object", with_tools(ask(), calling(call(arguments={"what": "hat"}))), ("tool-calls-invalid", 3)),
    row_case("calls of the user", with_tools(ask(tool_calls=[call()]), say()), ("tool-calls-not-assistant", 2)),
    row_case("calls of a tool", with_tools(ask(), calling(call()), result() | {"tool_calls": [call("c2")]}, say()), ("tool-calls-not-assistant", 4)),
    row_case("an id twice in a message", with_tools(ask(), calling(call(), call()), result(), say()), ("tool-call-repeated", 3)),
    row_case("an id twice in a row", with_tools(ask(), calling(call()), result(), calling(call()), result(), say()), ("tool-call-repeated", 5)),
    row_case("a call of another tool", with_tools(ask(), calling(call(name="sell"))), ("tool-call-unknown", 3)),
    row_case("a call without tools", chat(ask(), calling(call())), ("tool-call-unknown", 3)),
    row_case("arguments as prose", with_tools(ask(), calling(call(arguments="a hat"))), ("arguments-not-json", 3)),
    row_case("arguments in single quotes", with_tools(ask(), calling(call(arguments="{'what': 'hat'}"))), ("arguments-not-json", 3)),
    row_case("arguments as a list", with_tools(ask(), calling(call(arguments="[1]"))), ("arguments-not-json", 3)),
    row_case("no arguments", with_tools(ask(), calling(call(arguments=""))), ("arguments-not-json", 3)),
    row_case("arguments nested very deeply", with_tools(ask(), calling(call(arguments='{"a":' * 5000 + "1" + "}" * 5000))), ("arguments-not-json", 3), ("length-outlier", None)),
    row_case("a call without a result", with_tools(ask(), calling(call()), say()), ("tool-call-unanswered", 3)),
    row_case("one result of two", with_tools(ask(), calling(call(), call("c2")), result("c2"), say()), ("tool-call-unanswered", 3)),
    row_case("a result after the next turn", with_tools(ask(), calling(call()), say("Wait."), result(), say()), ("tool-call-unanswered", 3), ("tool-result-unmatched", 5)),
    row_case("a result without a call", with_tools(ask(), result(), say()), ("tool-result-unmatched", 3)),
    row_case("a result of another call", with_tools(ask(), calling(call()), result("c9"), say()), ("tool-result-unmatched", 4), ("tool-call-unanswered", 3)),
    row_case("a result without an id", with_tools(ask(), calling(call()), {"role": "tool", "content": "two"}, say()), ("tool-result-unmatched", 4), ("tool-call-unanswered", 3)),
    row_case("a result twice", with_tools(ask(), calling(call()), result(), result(), say()), ("tool-result-unmatched", 5)),
    row_case("two calls at once, forbidden", with_tools(ask(), calling(call(), call("c2")), result(), result("c2"), say(), parallel_tool_calls=False), ("parallel-tool-calls-broken", 3)),
    row_case("two calls at the end, forbidden", with_tools(ask(), calling(call(), call("c2")), parallel_tool_calls=False), ("parallel-tool-calls-broken", 3)),
)  # fmt: skip

ALL = (*DEFINITIONS, *CALLS)
