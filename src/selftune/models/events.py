"""Server-sent events of a streamed completion, put together to the completion that they are of."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from selftune.models.answers import load_json


class EventStream:
    """Takes a stream's bytes as they come; remembers when the first token was among them."""

    def __init__(self) -> None:
        self.first_token_at: float | None = None
        """By `time.perf_counter`; None before it has come."""
        self._rest = b""
        self._data: list[bytes] = []
        self._chunks: list[dict[str, Any]] = []
        self._problem = ""
        self._is_done = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        for line in self._lines(piece):
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                self._take(b"\n".join(self._data))
                self._data = []

    def completion(self) -> dict[str, Any]:
        """Return the whole completion.

        Raises:
            ValueError: the stream is not of a completion, or it broke off.

        """
        if self._problem:
            raise ValueError(self._problem)
        try:
            whole = _joined(self._chunks)
        except (TypeError, AttributeError) as error:  # a field that is of no known kind
            raise ValueError("The stream is no chat completion.") from error
        if not self._is_done and whole["choices"][0]["finish_reason"] is None:
            raise ValueError("The stream broke off.")
        return whole

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        return (line.removesuffix(b"\r") for line in lines)

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._is_done = True
            return
        try:
            chunk = load_json(data)
        except ValueError as error:
            self._problem = f"An event is not JSON: {error}"
            return
        if not isinstance(chunk, dict) or "error" in chunk:
            self._problem = f"The stream says: {str(chunk)[:200]}"
            return
        self._chunks.append(chunk)
        if self.first_token_at is None and _has_token(chunk):
            self.first_token_at = perf_counter()


def _delta(chunk: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first choice of a chunk, and its delta; empty where it has none."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            delta = choice.get("delta")
            return choice, delta if isinstance(delta, dict) else {}
    return {}, {}


def _has_token(chunk: dict[str, Any]) -> bool:
    return any(value for name, value in _delta(chunk)[1].items() if name != "role")


def _joined(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    whole: dict[str, Any] = {"model": "", "usage": None}
    finish: Any = None
    if not any(_delta(chunk)[0] for chunk in chunks):
        raise TypeError("no choice")
    for chunk in chunks:
        whole["model"] = chunk.get("model") or whole["model"]
        whole["usage"] = chunk.get("usage") or whole["usage"]
        choice, delta = _delta(chunk)
        finish = choice.get("finish_reason") or finish
        _add(message, delta)
    calls = message.get("tool_calls")
    if calls is not None:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return whole | {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def _add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta: texts grow, calls by their index, everything else is replaced."""
    for name, value in delta.items():
        before = message.get(name)
        if name == "tool_calls" and isinstance(value, list):
            calls = message.setdefault(name, {})
            for call in value:
                if isinstance(call, dict):
                    _add_call(calls.setdefault(call.get("index") or 0, {}), call)
        elif name == "function_call" and isinstance(value, dict):
            _add_call(message.setdefault(name, {}), value)
        elif isinstance(before, str) and isinstance(value, str) and name != "role":
            message[name] = before + value
        elif value is not None:
            message[name] = value


def _add_call(call: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a part of a call: names and ids come once, arguments grow."""
    for name, value in delta.items():
        if name == "function" and isinstance(value, dict):
            _add_call(call.setdefault(name, {}), value)
        elif name == "arguments" and isinstance(value, str):
            call[name] = call.get(name, "") + value
        elif name != "index" and value is not None:
            call[name] = value
