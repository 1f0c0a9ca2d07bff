"""Is this row what a training method needs? Every fault of it, in OpenAI's words where it has words.

This is the slow truth: it explains. `typed.py` accepts good rows quickly, and asks here about the rest.
"""

from collections.abc import Iterator
from typing import Any, Literal

from selftune.data.checking.messages import ROLES, messages_faults
from selftune.data.checking.tools import Fault, tool_faults
from selftune.data.problems import Problem, problem
from selftune.data.rows import Row, kind_of

Method = Literal["supervised", "dpo", "reinforcement", "evaluation"]
"""How the rows will be used; OpenAI's training methods, and test items."""

METHOD_OF_KIND: dict[str, Method] = {
    "preference": "dpo",
    "prompt": "reinforcement",
    "item": "evaluation",
}
_SHOWN_FIELDS, _SHOWN_CHARACTERS = 8, 80
_WHOLE_SENTENCES = ("messages-missing", "wrong-method")
_CHAT_KEYS = frozenset(
    ("messages", "tools", "parallel_tool_calls", "functions", "function_call", "metadata")
)
_PREFERENCE_KEYS = frozenset(("input", "preferred_output", "non_preferred_output", "metadata"))
_INPUT_KEYS = frozenset(("messages", "tools", "parallel_tool_calls"))


def row_problems(row: Any, line: int, method: Method) -> Iterator[Problem]:
    """Yield everything that is wrong with one parsed row."""
    for rule, index, words in _faults(row, method):
        yield problem(rule, line, words, message_index=index)


def method_of(row: Any) -> Method:
    """Return what a row is made for, by its shape."""
    return METHOD_OF_KIND.get(kind_of(row), "supervised") if isinstance(row, dict) else "supervised"


def openai_words(found: Problem, method: Method = "supervised") -> str:
    """Return a problem in the sentence that OpenAI's jobs fail with."""
    if found.line is None or found.rule in _WHOLE_SENTENCES:
        return found.message
    place = f"Example {found.line}"
    if found.message_index is not None:
        place += f", message {found.message_index}"
    elif found.message.startswith("The "):
        place += ":"
    return f"Invalid file format. {place} {found.message}"


def _faults(row: Any, method: Method) -> Iterator[Fault]:
    if not isinstance(row, dict):
        yield "row-not-object", None, "is not a JSON object"
    elif method == "evaluation":
        return
    elif method == "dpo":
        yield from _preference_faults(row)
    elif "preferred_output" in row or "non_preferred_output" in row:
        yield _wrong_method("preference", "dpo", method)
    elif not isinstance(row.get("messages"), list):
        yield "messages-missing", None, _unexpected(row)
    else:
        yield from _chat_faults(row, method)


def _wrong_method(written: str, fitting: str, method: Method) -> Fault:
    words = (
        f"Invalid file format. The file is in the fine-tune-{written} format, but the specified "
        f"fine-tuning job is not using '{fitting}' as the training method "
        f"(provided method={method})."
    )
    return "wrong-method", None, words


def _unexpected(row: Row) -> str:
    words = "Unexpected file format, expected either prompt/completion pairs or chat messages."
    for key, name in (
        ("conversations", "ShareGPT"),
        ("instruction", "Alpaca"),
        ("completion", "prompt/completion pairs"),
        ("item", "eval items"),
    ):
        if key in row:
            return f"{words} It looks like {name}: `selftune data convert` makes chats of it."
    if row and all(isinstance(value, str | int | float) for value in row.values()):
        fields = ", ".join(list(row)[:_SHOWN_FIELDS])[:_SHOWN_CHARACTERS]
        return f"{words} It has the fields {fields}: say with --user and --assistant what to make of them."
    return words


def _chat_faults(row: Row, method: Method) -> Iterator[Fault]:
    messages = row["messages"]
    if method == "supervised":
        for key in row.keys() - _CHAT_KEYS:
            yield "unknown-key", None, f"has the key {key[:40]!r}, which training does not know"
        if not isinstance(row.get("metadata") or {}, dict):
            yield "metadata-invalid", None, "has metadata that are not an object"
    yield from tool_faults(row)
    yield from messages_faults(row, messages)
    if not messages:
        return
    if method == "supervised":
        yield from _ending_faults(messages)
    elif _role(messages[-1]) != "user":
        yield "last-not-user", len(messages), "must be from the user: it is the last"


def _ending_faults(messages: list[Any]) -> Iterator[Fault]:
    roles = [_role(message) for message in messages]
    if "assistant" not in roles:
        if None not in roles:
            yield "assistant-missing", None, "has no assistant message: there is nothing to learn"
        return
    if roles[-1] not in ("assistant", None):
        yield "last-not-assistant", len(messages), "must be from the assistant: it is the last"
    weights = [m.get("weight", 1) for m in messages if _role(m) == "assistant"]
    if all(not isinstance(weight, bool) and weight == 0 for weight in weights):
        yield "nothing-to-learn", None, "has no assistant message with the weight 1"


def _preference_faults(row: Row) -> Iterator[Fault]:
    has_output = "preferred_output" in row or "non_preferred_output" in row
    if not has_output and isinstance(row.get("messages"), list):
        yield _wrong_method("chat", "supervised", "dpo")
        return
    for key in row.keys() - _PREFERENCE_KEYS:
        yield "unknown-key", None, f"has the key {key[:40]!r}, which training does not know"
    asked = row.get("input")
    if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
        yield "preference-input-invalid", None, "has no input with a list of messages"
    else:
        for key in asked.keys() - _INPUT_KEYS:
            yield "unknown-key", None, f"has the key {('input.' + key)[:40]!r}"
        yield from tool_faults(asked)
        yield from messages_faults(asked, asked["messages"])
        if asked["messages"] and _role(asked["messages"][-1]) == "assistant":
            words = "of the input must not be from the assistant: it is the last"
            yield "preference-input-answered", len(asked["messages"]), words
    yield from _outputs_faults(row)


def _outputs_faults(row: Row) -> Iterator[Fault]:
    texts = []
    for key in ("preferred_output", "non_preferred_output"):
        output = row.get(key)
        message: Any = output[0] if isinstance(output, list) and len(output) == 1 else None
        is_answer = isinstance(message, dict) and message.get("role") == "assistant"
        text = message.get("content") if is_answer else None
        if not isinstance(text, str) or not text.strip():
            words = f"has a {key} that is not exactly one assistant message with text"
            yield "preference-output-invalid", None, words
        else:
            texts.append(text)
    if len(texts) == 2 and texts[0] == texts[1]:
        yield "preference-outputs-equal", None, "has the same text in both outputs"


def _role(message: Any) -> Any:
    """Return a message's role, or None where it has none that exists."""
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) and role in ROLES else None
