"""The bytes that each token stands for, found from how a tokenizer decodes."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def token_bytes(tokenizer: "Tokenizer") -> Callable[[int], bytes]:
    """Return a function from a token's number to its bytes.

    Tokens that were added, special ones too, stand for their text. A number without a token, as
    some models have more rows than tokens, stands for nothing.
    """
    rules = json.loads(tokenizer.to_str())["decoder"]
    kinds = {rule["type"] for rule in _flat(rules)}
    added = {number: each.content for number, each in tokenizer.get_added_tokens_decoder().items()}
    from_letters = _byte_letters() if "ByteLevel" in kinds else {}

    def of(token: int) -> bytes:
        text = added.get(token)
        if text is not None:
            return text.encode()
        text = tokenizer.id_to_token(token)
        if text is None:
            return b""
        if from_letters:
            return b"".join(from_letters.get(letter, letter.encode()) for letter in text)
        if "ByteFallback" in kinds and _is_byte(text):
            return bytes([int(text[3:5], 16)])
        return (
            text.replace("▁", " ").encode() if kinds & {"Replace", "Metaspace"} else text.encode()
        )

    return of


def _flat(rule: dict[str, Any] | None) -> list[dict[str, Any]]:
    if rule is None:
        return []
    return [rule, *(each for inner in rule.get("decoders", ()) for each in _flat(inner))]


def _is_byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def _byte_letters() -> dict[str, bytes]:
    """Return the letters that byte-level tokenizers write bytes with, as GPT-2 chose them.

    Printable bytes are their own letter, the others are the letters from U+0100 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): bytes([byte]) for byte in printable}
    return letters | {chr(0x100 + at): bytes([byte]) for at, byte in enumerate(others)}
