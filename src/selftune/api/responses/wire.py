"""Responses in OpenAI's JSON, both ways."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from selftune.api.chat.tools import FormFields
from selftune.api.context import Storable
from selftune.api.metadata import Metadata
from selftune.api.responses.items import Item, call_item, items_json, output_part
from selftune.api.responses.tools import fields_of_chat, tool_json
from selftune.api.sampling import MOST, SamplingFields
from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.store.completions import Kind, StoredCompletion

RESPONSE: Kind = "response"
REFUSED = ("background", "conversation", "prompt", "moderation")
"""Words that would change the answer, and that no model here can follow."""
LEAST_TOKENS = 16
_WITH_LOGPROBS = "message.output_text.logprobs"
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_p",
)
_OF_CHAT = {"max_output_tokens": "max_completion_tokens"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Reasoning(BaseModel):
    """How much to think."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class Text(BaseModel):
    """The form of the answer."""

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class CreateResponse(BaseModel):
    """The body of a response."""

    model: Annotated[Storable, Field(min_length=1, max_length=300)]
    input: str | list[Item]
    instructions: str | None = None
    previous_response_id: Annotated[Storable, Field(max_length=64)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] = 1.0
    max_output_tokens: Annotated[int, Field(ge=LEAST_TOKENS, le=MOST)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    include: list[str] = Field(default_factory=list)
    text: Text = Text()
    reasoning: Reasoning = Reasoning()
    truncation: Literal["auto", "disabled"] = "disabled"
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    background: Any = None
    conversation: Any = None
    prompt: Any = None
    moderation: Any = None
    store: bool = True
    metadata: Metadata | None = None
    user: Storable | None = None
    safety_identifier: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    stream: bool = False

    @property
    def with_logprobs(self) -> bool:
        """Whether the answer says how likely its tokens were."""
        return _WITH_LOGPROBS in self.include

    @property
    def form(self) -> str:
        """Of the answer: `text`, or a kind of JSON."""
        return str((self.text.format or {}).get("type", "text"))

    def check(self) -> None:
        """Refuse what no model here can do, wherever it is."""
        kinds = {tool.get("type") if isinstance(tool, dict) else None for tool in self.tools or ()}
        if kinds - {"function"}:
            raise _unsupported(
                "The only tools that this server has are functions of your own: leave the others "
                "out of 'tools'.",
                "tools",
            )
        for name in REFUSED:
            if getattr(self, name):
                raise _unsupported(
                    f"The parameter '{name}' is not supported by this server: leave it out.", name
                )

    def form_fields(self) -> FormFields:
        """Return what holds the answer to a form, in the words of chats."""
        form = None if self.form == "text" else self.text.format
        return fields_of_chat(
            self.tools, self.tool_choice, is_parallel=self.parallel_tool_calls, form=form
        )

    def sampling(self) -> dict[str, Any]:
        """Return the fields of `Sampling` as the serving process takes them."""
        fields = SamplingFields(model=self.model, temperature=self.temperature, top_p=self.top_p)
        top = self.top_logprobs if self.with_logprobs else None
        return fields.sampling(limit=self.max_output_tokens, top_logprobs=top)

    def chat(self, messages: tuple[dict[str, Any], ...]) -> dict[str, Any]:
        """Return the body of a chat that asks the same of another server."""
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_output_tokens": self.max_output_tokens,
            "user": self.user,
            "safety_identifier": self.safety_identifier,
            "prompt_cache_key": self.prompt_cache_key,
        }
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)} | {
            _OF_CHAT.get(name, name): value
            for name, value in given.items()
            if name in self.model_fields_set
        }
        if self.reasoning.effort is not None:
            body["reasoning_effort"] = self.reasoning.effort
        if self.text.verbosity is not None:
            body["verbosity"] = self.text.verbosity
        if self.with_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        told = self.form_fields().model_dump(exclude_none=True)
        if not self.tools or "parallel_tool_calls" not in self.model_fields_set:
            told.pop("parallel_tool_calls")
        return body | told

    def options(self) -> dict[str, Any]:
        """Return what is kept beside messages and answer."""
        told: dict[str, Any] = {name: getattr(self, name) for name in (*_ECHOED, "user")}
        return told | {
            "reasoning_effort": self.reasoning.effort,
            "store": self.store,
            "top_logprobs": self.top_logprobs,
            "truncation": self.truncation,
            "verbosity": self.text.verbosity,
            "format": self.text.format,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
        }


def response_json(found: StoredCompletion) -> dict[str, Any]:
    """Return a response that is over."""
    reason = _INCOMPLETE.get(found.finish_reason)
    options = found.options
    value = _unfinished(found) | {
        "status": "completed" if reason is None else "incomplete",
        "completed_at": None if reason else options.get("completed_at", found.created_at),
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": outputs_json(found),
    }
    return value if found.usage is None else value | {"usage": _usage_json(found.usage)}


def failed_json(found: StoredCompletion, code: str, message: str) -> dict[str, Any]:
    """Return a response that ended in the middle."""
    error = {"code": code, "message": message}
    return _unfinished(found) | {"status": "failed", "error": error, "output": []}


def outputs_json(found: StoredCompletion) -> list[dict[str, Any]]:
    """Return what was answered: a message, where anything was said, and calls of tools."""
    message, choice = found.message, found.choices[0]
    calls = [
        call_item(call, call_item_id(found, index)) for index, call in enumerate(calls_of(message))
    ]
    part = {"type": "text", "text": message.get("content") or ""}
    if message.get("refusal"):
        part = {"type": "refusal", "refusal": message["refusal"]}
    elif calls and not message.get("content"):
        return calls
    said_ = {
        "id": message_item_id(found),
        "type": "message",
        "role": "assistant",
        "status": "incomplete" if found.finish_reason in _INCOMPLETE else "completed",
        "content": [output_part(part, (choice.logprobs or {}).get("content"))],
    }
    return [said_, *calls]


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of a message that can be told; another server may write what it likes."""
    calls = message.get("tool_calls")
    return [
        call
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, dict)
        and isinstance(call.get("id"), str)
        and isinstance(call.get("function"), dict)
        and all(isinstance(call["function"].get(name), str) for name in ("name", "arguments"))
    ]


def input_items_json(found: StoredCompletion) -> list[dict[str, Any]]:
    """Return what was said to the model, earlier responses too, without the instructions."""
    return [
        item
        for index, message in enumerate(said(found))
        for item in items_json(message, f"{_number(found)}_{index}")
    ]


def said(found: StoredCompletion) -> tuple[dict[str, Any], ...]:
    """Return the messages that a response answered: they go on to the next, instructions do not."""
    return found.messages[1:] if found.options.get("instructions") else found.messages


def begun_json(found: StoredCompletion) -> dict[str, Any]:
    """Return a response of which nothing is answered yet."""
    return _unfinished(found) | {"status": "in_progress", "output": []}


def _unfinished(found: StoredCompletion) -> dict[str, Any]:
    options = found.options
    value = {
        "id": found.id,
        "object": RESPONSE,
        "created_at": found.created_at,
        "completed_at": None,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "max_tool_calls": None,
        "metadata": found.metadata,
        "model": found.model,
        "parallel_tool_calls": options.get("parallel_tool_calls", True),
        "reasoning": {"effort": options.get("reasoning_effort"), "summary": None},
        "service_tier": "default",
        "store": options.get("store", True),
        "text": {
            "format": options.get("format") or {"type": "text"},
            "verbosity": options.get("verbosity") or "medium",
        },
        "tool_choice": options.get("tool_choice") or "auto",
        "tools": [tool_json(tool) for tool in options.get("tools") or ()],
        "top_logprobs": options.get("top_logprobs", 0),
        "truncation": options.get("truncation", "disabled"),
    } | {name: options.get(name) for name in _ECHOED}
    if options.get("user") is not None:  # described as a text that is never null
        value["user"] = options["user"]
    return value


def _usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def message_item_id(found: StoredCompletion) -> str:
    """Return the name of the message that was answered, alike at every reading."""
    return f"msg_{_number(found)}_answer"


def call_item_id(found: StoredCompletion, index: int) -> str:
    """Return the name of a call that was answered, alike at every reading."""
    return f"fc_{_number(found)}_answer_{index}"


def _number(found: StoredCompletion) -> str:
    return found.id.removeprefix("resp_")


def _unsupported(message: str, param: str) -> InvalidInput:
    return InvalidInput(message, code="unsupported_value", param=param)
