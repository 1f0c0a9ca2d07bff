"""A request as vLLM takes it, and the pieces of its stream as the serving process tells them."""

from collections.abc import Iterator
from typing import Any

import orjson

from selftune.core.errors import Unavailable
from selftune.models.answers import load_json
from selftune.serve.frames import (
    CallPiece,
    EndPiece,
    FinishPiece,
    SampleRequest,
    TokenPiece,
    WireCall,
    WirePiece,
    WireToken,
)

_SAME = ("temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty")


def path_of(asked: SampleRequest) -> str:
    """Return where a request goes, under the server's address."""
    return "chat/completions" if asked.text is None else "completions"


def body_of(asked: SampleRequest, model: str) -> bytes:
    """Return the JSON of a request, always for a stream; nothing else of the caller's is in it."""
    sampling = asked.sampling
    body: dict[str, Any] = {
        name: sampling[name] for name in _SAME if sampling.get(name) is not None
    }
    body |= {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    if _copies(asked) > 1:
        body["n"] = 1
    if sampling.get("stop"):
        body["stop"] = list(sampling["stop"])
    if sampling.get("logit_bias"):
        body["logit_bias"] = {str(key): value for key, value in sampling["logit_bias"].items()}
    if sampling.get("max_tokens") is not None:
        body["max_tokens"] = sampling["max_tokens"]
    if asked.text is not None:
        body["prompt"] = asked.text
        if sampling.get("logprobs"):
            body["logprobs"] = sampling.get("top_logprobs", 0)
        return orjson.dumps(body)
    if sampling.get("logprobs"):
        body |= {"logprobs": True, "top_logprobs": sampling.get("top_logprobs", 0)}
    if asked.tools:
        body |= {"tools": asked.tools, "tool_choice": asked.tool_choice}
        body["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.response_format is not None:
        body["response_format"] = asked.response_format
    return orjson.dumps(body | {"messages": asked.messages})


def _copies(asked: SampleRequest) -> int:
    """Return how many answers are one and the same: vLLM refuses several that are not drawn."""
    return int(asked.sampling.get("n", 1)) if asked.sampling.get("temperature") == 0 else 1


class Reading:
    """Takes a stream's bytes as they come, and returns the pieces that are whole by then."""

    def __init__(self, asked: SampleRequest) -> None:
        self._copies = _copies(asked)
        self.is_over = False
        """True when the server said that nothing follows."""
        self._rest = b""
        self._calls: dict[tuple[int, int], list[str]] = {}

    def feed(self, data: bytes) -> list[WirePiece]:
        """Take the next bytes.

        Raises:
            Unavailable: the server broke the answer off, or what it says cannot be read.

        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[WirePiece] = []
        for line in lines:
            if line.startswith(b"data:") and not self.is_over:
                found += self._event(line[5:].strip())
        return found

    def _event(self, data: bytes) -> list[WirePiece]:
        if data == b"[DONE]":
            self.is_over = True
            return []
        try:
            chunk = load_json(data)
            if "error" in chunk:
                raise _broken(str(chunk["error"]))
            pieces = [
                piece
                for choice in chunk["choices"]
                for copy in range(self._copies)
                for piece in self._choice(choice, copy)
            ]
            usage = chunk.get("usage")
            if usage and not chunk["choices"]:
                details = usage.get("prompt_tokens_details") or {}
                cached = details.get("cached_tokens") or 0
                completed = usage["completion_tokens"] * self._copies
                pieces.append(EndPiece(usage["prompt_tokens"], completed, cached))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _broken(f"{type(error).__name__} in what it streams") from error
        return pieces

    def _choice(self, choice: dict[str, Any], copy: int) -> Iterator[WirePiece]:
        index = int(choice.get("index", 0)) + copy
        delta = choice.get("delta") or {}
        text = choice.get("text") or delta.get("content") or ""
        for token in _tokens(text, choice.get("logprobs")):
            yield TokenPiece(index, token)
        for call in delta.get("tool_calls") or ():
            parts = self._calls.setdefault((index, int(call.get("index", 0))), ["", ""])
            function = call.get("function") or {}
            parts[0] += function.get("name") or ""
            parts[1] += function.get("arguments") or ""
        reason = choice.get("finish_reason")
        if reason is not None:
            mine = [key for key in self._calls if key[0] == index]
            for key in sorted(mine):
                yield CallPiece(index, WireCall(*self._calls.pop(key)))
            yield FinishPiece(index, "tool_calls" if mine else str(reason))


def _tokens(text: str, logprobs: dict[str, Any] | None) -> list[WireToken]:
    """Return the tokens of a chunk; without their probabilities, its text as if it were one."""
    if not logprobs:
        return [WireToken(text, list(text.encode()), 0.0, [])] if text else []
    listed = logprobs.get("content")
    entries = _legacy(logprobs) if listed is None else listed
    tokens = [
        WireToken(
            entry["token"],
            entry.get("bytes") or list(entry["token"].encode()),
            entry["logprob"],
            [
                (top["token"], top.get("bytes") or list(top["token"].encode()), top["logprob"])
                for top in entry.get("top_logprobs") or ()
            ],
        )
        for entry in entries
    ]
    if "".join(token.text for token in tokens) != text:  # incomplete characters, or a stop
        for token in tokens:
            token.text = ""
        if tokens:
            tokens[-1].text = text
        elif text:
            tokens = [WireToken(text, list(text.encode()), 0.0, [])]
    return tokens


def _legacy(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the probabilities of a legacy completion as those of a chat."""
    tokens, values = logprobs.get("tokens") or (), logprobs.get("token_logprobs") or ()
    tops = logprobs.get("top_logprobs") or [{}] * len(tokens)
    return [
        {
            "token": token,
            "logprob": value,
            "top_logprobs": [{"token": key, "logprob": top[key]} for key in top or {}],
        }
        for token, value, top in zip(tokens, values, tops, strict=False)
    ]


def _broken(why: str) -> Unavailable:
    return Unavailable(
        f"The model server broke the answer off ({why[:200]}): ask again.", code="model_failed"
    )
