"""How many tokens rows have, by part: exact in OpenAI's encodings or in an open model's own.

Of an open model's chats the overhead is what its own template adds around the texts.
"""

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from selftune.data.counting import pieces as of
from selftune.data.counting.pieces import PARTS, pieces_of, sides_of
from selftune.data.rows import Row
from selftune.models import tokens
from selftune.models.open_tokenizer import OpenTokenizer, is_folder_of_a_model, load_tokenizer

Numbers = np.ndarray[Any, Any]


class Tokenizer(Protocol):
    """Whatever counts texts."""

    name: str

    def count_many(self, texts: Sequence[str]) -> Numbers:
        """Return how many tokens each text has, shape (texts,)."""
        ...


class Encoding:
    """One of OpenAI's encodings."""

    def __init__(self, name: str) -> None:
        self.name = name

    def count_many(self, texts: Sequence[str]) -> Numbers:
        """Return how many tokens each text has, shape (texts,)."""
        return tokens.count_many(texts, self.name)


def tokenizer_of(model: str) -> Tokenizer:
    """Return what counts a model's tokens: its own, where `model` is a folder with a tokenizer.

    Raises:
        InvalidInput: the folder's files are damaged.

    """
    if is_folder_of_a_model(model):
        return load_tokenizer(Path(model).expanduser())
    return Encoding(tokens.encoding_of(model))


class Lengths(NamedTuple):
    """Tokens of rows; every array has one entry a row."""

    parts: Numbers
    """Shape (rows, len(PARTS))."""
    prompt: Numbers
    """What a request sends to get the row's last answer, or its next one where it ends without."""
    answer: Numbers
    """The last answer; of a preference row the preferred one."""
    trained: Numbers
    """What a training learns to write: the assistant's messages whose weight is not 0."""
    system: Numbers
    """What a request saves without the row's system messages."""
    images: Numbers
    """How many images the row has whose tokens are not known: their detail is not low."""

    @property
    def total(self) -> Numbers:
        """Tokens of each whole row."""
        whole: Numbers = self.parts.sum(axis=1)
        return whole


def measure(rows: Sequence[Row], tokenizer: Tokenizer) -> Lengths:
    """Return the tokens of rows.

    Raises:
        InvalidInput: the template of an open model refuses a chat.

    """
    start = of.TOOL_START.get(tokenizer.name, 0)
    texts: list[str] = []
    numbers = array("q")  # flat: a million small tuples would keep the garbage collector busy
    for at, row in enumerate(rows):
        for column, text, flag, constant in pieces_of(row, start):
            texts.append(text)
            numbers.extend((at, column, flag, constant))
    table = np.array(numbers, np.int64).reshape(len(texts), 4)
    row_of, columns, flags, constants = table.T
    counted = tokenizer.count_many(texts)
    if isinstance(tokenizer, OpenTokenizer):
        counted = np.where(columns == of.OVERHEAD, 0, counted)
    else:
        counted = counted + constants

    def marked(flag: int, values: Numbers) -> Numbers:
        kept = (flags & flag) != 0
        return _sum(row_of[kept], values[kept], len(rows))

    parts = _sum(row_of * len(PARTS) + columns, counted, len(rows) * len(PARTS))
    lengths = Lengths(
        parts=parts.reshape(len(rows), len(PARTS)),
        prompt=marked(of.IN_PROMPT, counted),
        answer=marked(of.ANSWER, counted),
        trained=marked(of.TRAINED, counted),
        system=marked(of.SYSTEM_MESSAGE, counted),
        images=marked(of.UNKNOWN_IMAGE, np.ones_like(counted)),
    )
    if isinstance(tokenizer, OpenTokenizer) and tokenizer.has_template:
        return _as_rendered(rows, lengths, marked(of.REJECTED, counted), tokenizer)
    return lengths


def join(found: Sequence[Lengths]) -> Lengths:
    """Return several measurements as one."""
    return Lengths(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _as_rendered(
    rows: Sequence[Row], found: Lengths, rejected: Numbers, tokenizer: OpenTokenizer
) -> Lengths:
    """Return lengths of which the overhead is what the model's own template adds."""
    whole, asked = [], []
    for row in rows:
        sent, answers = sides_of(row)
        kept = answers[:1] if "preferred_output" in row else answers
        tools = row.get("tools")
        whole.append(tokenizer.render([*sent, *kept], tools) if sent or kept else "")
        asked.append(tokenizer.render(sent, tools, asks=True) if sent else "")
    rendered, prompts = tokenizer.count_many(whole), tokenizer.count_many(asked)
    parts = found.parts.copy()
    parts[:, of.TOOLS] = 0  # the template writes definitions in its own way
    around = rendered - parts.sum(axis=1) + rejected
    parts[:, of.OVERHEAD] = np.where(rendered > 0, np.maximum(around, 0), 0)
    return found._replace(parts=parts, prompt=np.where(prompts > 0, prompts, found.prompt))


def _sum(keys: Numbers, values: Numbers, size: int) -> Numbers:
    """Return the sum of the values under each key from 0 to size; exact below 2^53."""
    return np.bincount(keys, weights=values, minlength=size).astype(np.int64)
