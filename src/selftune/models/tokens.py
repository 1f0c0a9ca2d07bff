"""OpenAI's o200k tokens, exact and offline: the unit of usage, limits and the embedded model.

Text that looks like a special token (`<|endoftext|>`) is plain text here, always.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, cast

ENCODING = "o200k_base"
TOKENS_PER_MESSAGE = 3
"""Chat overhead of one message, as OpenAI's cookbook counts it for the gpt-4o family."""
TOKENS_PER_REPLY = 3
"""Every reply is primed with three tokens."""


@cache
def _encoding() -> Any:
    import bpe_openai

    return bpe_openai.get_encoding(ENCODING)


def encode(text: str) -> list[int]:
    """Return the canonical token ids of a text."""
    return cast(list[int], _encoding().encode_ordinary(text))


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return len(encode(text))


@cache
def token_bytes(token: int) -> bytes:
    """Return the bytes that a token stands for."""
    return cast(bytes, _encoding().decode_single_token_bytes(token))


@cache
def byte_tokens() -> tuple[int, ...]:
    """Return the token of each of the 256 bytes."""
    single = {token_bytes(token): token for token in range(256)}
    return tuple(single[bytes([value])] for value in range(256))


def decode(tokens: Sequence[int]) -> str:
    """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
    return b"".join(token_bytes(token) for token in tokens).decode("utf-8", errors="replace")


def content_text(message: dict[str, Any]) -> str:
    """Return a message's text: the content, or the text parts of it."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))


def count_messages(messages: Iterable[dict[str, Any]]) -> int:
    """Return the tokens of a chat without the reply's overhead."""
    total = 0
    for message in messages:
        total += TOKENS_PER_MESSAGE + _cached_count(str(message.get("role", "")))
        total += _cached_count(content_text(message))
        if message.get("name"):
            total += count(str(message["name"])) + 1
    return total


_CACHE_LIMIT = 4096
_counts: dict[str, int] = {}


def _cached_count(text: str) -> int:
    """Count, remembering: system prompts and roles come again with every request."""
    found = _counts.get(text)
    if found is None:
        found = count(text)
        if len(_counts) >= _CACHE_LIMIT:
            _counts.clear()
        _counts[text] = found
    return found
