"""What is kept of a completion, and what it is found by."""

from typing import Any, Literal

from pydantic import Field

from selftune.core.records import Record, Usage
from selftune.store.files import Order

Kind = Literal["chat.completion", "response", "archived"]
"""`archived` is a chat of an archived account, for runs of evals: lists do not have it, it is answered
from the archive, and its time is never over."""


class StoredChoice(Record):
    """One of the answers to one request."""

    message: dict[str, Any]
    """The assistant's whole message, as a chat completion has it."""
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class StoredCompletion(Record):
    """A request and what was answered."""

    id: str
    project_id: str
    kind: Kind
    model: str
    """The name that was asked for."""
    created_at: int
    metadata: dict[str, str] = Field(default_factory=dict)
    messages: tuple[dict[str, Any], ...]
    """All that the model read, as messages of a chat: of a response the instructions come first,
    then what earlier responses said."""
    choices: tuple[StoredChoice, ...]
    usage: Usage | None = None
    """None where the endpoint that answered says nothing."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the request said, in its own words: temperature, top_p, seed, user, tools,
    instructions and so on."""

    @property
    def message(self) -> dict[str, Any]:
        """The first answer."""
        return self.choices[0].message

    @property
    def finish_reason(self) -> str:
        """Why the first answer ended."""
        return self.choices[0].finish_reason

    @property
    def output_text(self) -> str:
        """The text of the first answer; a model that only calls tools says none."""
        return self.message.get("content") or ""


class CompletionQuery(Record):
    """Which stored completions are wanted: those to which everything given here applies."""

    kind: Kind | None = None
    model: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    """Every pair must be there."""
    created_after: int | None = None
    """Unix seconds; this second is not meant any more."""
    created_before: int | None = None
    after: str | None = None
    """Id of the last one that was seen."""
    limit: int | None = None
    """Most of a page, or of all that are iterated; None is the usual page, or no end."""
    order: Order = "asc"
    temperature: float | None = None
    top_p: float | None = None
    users: tuple[str, ...] = ()
    """One of them asked."""
    tools: tuple[str, ...] = ()
    """One of these names was among the tools."""
    reasoning_effort: str | None = None
    instructions_search: str | None = None
    """Text that the instructions contain, in whatever case."""


def is_wanted(found: StoredCompletion, query: CompletionQuery) -> bool:
    """Decide what databases would decide differently from each other."""
    options = found.options
    if query.instructions_search is not None:
        searched = query.instructions_search.casefold()
        if searched not in str(options.get("instructions") or "").casefold():
            return False
    if query.reasoning_effort not in (None, options.get("reasoning_effort")):
        return False
    return not query.tools or not _tool_names(options).isdisjoint(query.tools)


def _tool_names(options: dict[str, Any]) -> set[str]:
    """Return the names of tools as chats and as responses write them."""
    found = options.get("tools")
    tools = [tool for tool in found if isinstance(tool, dict)] if isinstance(found, list) else []
    inner = [tool.get("function") or tool for tool in tools]
    return {str(tool["name"]) for tool in inner if isinstance(tool, dict) and "name" in tool}
