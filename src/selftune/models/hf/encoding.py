"""Text to tokens, so that nothing that somebody says becomes a token of the template's.

A user who writes `<|im_end|>` must not end the turn. Before a chat is rendered, each such text in
what people and tools say is guarded: its first letter becomes a mark, a character that Unicode keeps
free of any meaning. Where a rendered text has marks, a second tokenizer reads it, which knows the
template's own tokens under other names, and `<|im_end|>` as nothing but letters. A text and its
guarded form are equally long, so places in one are places in the other.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from selftune.core.errors import InvalidInput

if TYPE_CHECKING:
    from tokenizers import AddedToken, Encoding

_OWN = "\ufdd0"
"""First letter of the template's own tokens, where the second tokenizer reads."""
_MARKS = [chr(code) for code in range(0xFDD1, 0xFDF0)]
_MARK_CLASS = "[\ufdd0-\ufdef]"
_MARKUP = re.compile(r"[<\[｜][^\s<>\[\]]+[>\]｜]")


class Encoder:
    """Both tokenizers of a model, and what must be guarded."""

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        data = json.loads(tokenizer.to_str())
        data["post_processor"] = None  # the template writes all that stands around a chat
        data["truncation"] = data["padding"] = None
        self.plain = Tokenizer.from_str(json.dumps(data))
        self.added: dict[int, AddedToken] = self.plain.get_added_tokens_decoder()
        self.special = _texts(each for each in self.added.values() if each.special)
        written = (e for e in self.added.values() if _MARKUP.fullmatch(e.content))
        self.markup = _texts(e for e in written if e.content in template and not e.special)
        self._firsts = sorted({text[0] for text in (*self.special, *self.markup)})
        if len(self._firsts) > len(_MARKS):
            raise InvalidInput("The tokenizer's special tokens begin with too many letters.")
        self._back = {ord(m): first for m, first in zip(_MARKS, self._firsts, strict=False)}
        self._by_others = _pattern((*self.special, *self.markup), _MARK_CLASS)
        self._by_assistant = _pattern(self.special, _MARK_CLASS)
        self._owns = _pattern((*self.special, *self.markup))
        self._normalized = any(
            each.normalized for each in self.added.values() if each.content in self.special
        )

    def guarded(self, value: Any, by_assistant: bool = False) -> Any:
        """Return texts in which nothing is a token of the template's; marks in them become U+FFFD.

        What the assistant says keeps what it can say by itself, such as `<think>`, and loses only
        what is special.
        """
        if isinstance(value, str):
            pattern = self._by_assistant if by_assistant else self._by_others
            return pattern.sub(self._hidden, value)
        if isinstance(value, Mapping):
            return {self.guarded(key): self.guarded(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.guarded(each) for each in value]
        return value

    def message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message of a chat with all that is said in it guarded."""
        told = {key: self.guarded(each) for key, each in message.items() if key != "content"}
        by_assistant = message["role"] == "assistant"
        return {**told, "content": self.guarded(message["content"], by_assistant)}

    def bare(self, text: str) -> str:
        """Return a text as it was before it was guarded."""
        return text.translate(self._back)

    def encode(self, text: str) -> "Encoding":
        """Return the tokens of a rendered text, and the places where they stand in it."""
        if re.search(_MARK_CLASS, text) is None:
            encoding = self.plain.encode(text, add_special_tokens=False)
            if not self._normalized or self._as_written(encoding.ids, text):
                return encoding
        renamed = self._owns.sub(lambda found: _OWN + found[0][1:], text)
        return self._second.encode(self.bare(renamed), add_special_tokens=False)

    def ids_after(self, text: str, anchor: str) -> list[int]:
        """Return the tokens of a text that goes on after a special token, which `anchor` is."""
        return self.encode(anchor + text).ids[1:]

    def numbers(self, texts: Iterable[str]) -> frozenset[int]:
        """Return the numbers of tokens of the template's own."""
        wanted = frozenset(texts)
        return frozenset(at for at, each in self.added.items() if each.content in wanted)

    def specials_in(self, text: str) -> Iterator[tuple[str, int]]:
        """Yield the special tokens of a rendered text and the places where they begin."""
        for found in self._owns.finditer(text):
            if found[0] in self.special:
                yield found[0], found.start()

    def first_own(self, text: str) -> str | None:
        """Return the first token of the template's own in a rendered text, a special one if any."""
        special = next(self.specials_in(text), None)
        return special[0] if special else next((m[0] for m in self._owns.finditer(text)), None)

    def _hidden(self, found: re.Match[str]) -> str:
        text = found[0]
        if text[0] not in self._firsts:
            return "\ufffd"
        return _MARKS[self._firsts.index(text[0])] + text[1:]

    def _as_written(self, ids: list[int], text: str) -> bool:
        """Whether all special tokens stand in the text, and none came to be by normalisation."""
        found = sum(1 for token in ids if token in self.added and self.added[token].special)
        return found == sum(1 for each in self._owns.finditer(text) if each[0] in self.special)

    @cached_property
    def _second(self) -> Tokenizer:
        own = {text: _OWN + text[1:] for text in (*self.special, *self.markup)}
        data = json.loads(self.plain.to_str())
        for token in data["added_tokens"]:
            token["content"] = own.get(token["content"], token["content"])
        model = data["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {own.get(text, text): at for text, at in model["vocab"].items()}
        else:
            model["vocab"] = [[own.get(text, text), score] for text, score in model["vocab"]]
        if model.get("unk_token") is not None:
            model["unk_token"] = own.get(model["unk_token"], model["unk_token"])
        second = Tokenizer.from_str(json.dumps(data))
        numbers = {text: number for number, each in self.added.items() for text in [each.content]}
        if any(second.token_to_id(own[text]) != numbers[text] for text in own):
            raise InvalidInput(
                "This model's tokenizer cannot read its special tokens as plain text, and a message "
                "has one; leave it out of the message.",
                code="unsupported_content",
            )
        return second


def _texts(tokens: "Iterable[AddedToken]") -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.content for each in tokens))


def _pattern(texts: Iterable[str], also: str = "(?!)") -> re.Pattern[str]:
    """Find these texts, the longest first, as tokenizers do."""
    ordered = sorted(texts, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, ordered), also]))
