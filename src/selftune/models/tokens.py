"""OpenAI's tokens, exact and offline: the unit of usage, prices, limits and the embedded model.

Text that looks like a special token (`<|endoftext|>`) is plain text here, always. One text at a
time is counted by `bpe-openai`, which also carries the tables; many at a time by `gigatoken`, and by
the first where there is no wheel of the second. Both give what `tiktoken` gives; tests hold them to it.
"""

import binascii
import gzip
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from selftune.models.listed import base_of
from selftune.models.messages import content_text, whole_text

if TYPE_CHECKING:
    import numpy as np

ENCODING = "o200k_base"
OLDER_ENCODING = "cl100k_base"
_OF_THE_OLDER = ("gpt-3.5", "gpt-35", "gpt-4-", "davinci-002", "babbage-002", "text-embedding-")
_SPECIAL = {199_999: b"<|endoftext|>", 200_018: b"<|endofprompt|>"}
"""Tokens of `ENCODING` that its table has not; no text is encoded as one."""
_FEW = 32
"""So many texts are counted sooner as lists than as one array, which takes a tenth of a millisecond
to make."""
_LITTLE = 100_000
"""Characters that are counted sooner one by one than `gigatoken` is loaded."""
TOKENS_PER_MESSAGE = 3
"""Chat overhead of one message, as OpenAI's cookbook counts it for the gpt-4o family."""
TOKENS_PER_REPLY = 3
"""Every reply is primed with three tokens."""


@cache
def _package() -> Path:
    """Return the folder of `bpe-openai`, which is never imported.

    Its Python half reads every table it has when it is imported: half a second of each process that
    counts a token. The compiled half knows them already.
    """
    found = find_spec("bpe_openai")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@cache
def _one(encoding: str = ENCODING) -> Any:
    """Load the compiled half of `bpe-openai`, which encodes one text at a time."""
    found = PathFinder.find_spec("bpe_openai._bindings", [str(_package())])
    assert found is not None
    assert found.loader is not None
    bindings = module_from_spec(found)
    found.loader.exec_module(bindings)
    return bindings.tokenizer_for_encoding(encoding)


def _table(encoding: str) -> bytes:
    """Return a line for each token, in their order: its bytes in base64, and its number."""
    return gzip.decompress((_package() / "data" / f"{encoding}.tiktoken.gz").read_bytes())


def encode(text: str) -> list[int]:
    """Return the canonical token ids of a text."""
    return _encode_one(text, ENCODING)


def _encode_one(text: str, encoding: str) -> list[int]:
    try:
        return cast(list[int], _one(encoding).encode(text))
    except UnicodeEncodeError:  # a lone surrogate somewhere
        return cast(list[int], _one(encoding).encode(whole_text(text)))


def encoding_of(model: str) -> str:
    """Return the encoding that OpenAI counts a model's tokens in; its newest for unknown names."""
    name = base_of(model)
    is_older = name == "gpt-4" or name.startswith(_OF_THE_OLDER)
    return OLDER_ENCODING if is_older else ENCODING


def count_many(texts: Sequence[str], encoding: str = ENCODING) -> "np.ndarray[Any, Any]":
    """Return how many tokens each text has, shape (texts,), int64."""
    try:
        return _count_many(texts, encoding)
    except TypeError:  # a lone surrogate somewhere
        return _count_many([whole_text(text) for text in texts], encoding)


def prepare_many(encoding: str = ENCODING) -> None:
    """Load now what counts large amounts of text: half a second, once in a process."""
    with suppress(ImportError):
        _batches(encoding)


def _count_many(texts: Sequence[str], encoding: str) -> "np.ndarray[Any, Any]":
    import numpy as np

    is_loaded = _batches.cache_info().currsize
    if not is_loaded and sum(map(len, texts)) < _LITTLE:
        return _count_one_by_one(texts, encoding)
    try:
        counter = _batches(encoding)
    except ImportError:  # no wheel for this machine: slower, and as exact
        return _count_one_by_one(texts, encoding)
    # One thread: callers that want more cores use processes, and parsing is the other half.
    if len(texts) <= _FEW:
        lists = counter.encode_batch_list(texts, parallel=False) if texts else ()
        return np.fromiter(map(len, lists), np.int64, len(texts))
    encoded = counter.encode_batch(texts, parallel=False)
    return np.diff(np.asarray(encoded.layout.offsets)).astype(np.int64, copy=False)


def _count_one_by_one(texts: Sequence[str], encoding: str) -> "np.ndarray[Any, Any]":
    import numpy as np

    return np.fromiter((len(_encode_one(text, encoding)) for text in texts), np.int64, len(texts))


@cache
def _batches(encoding: str) -> Any:
    """Load `gigatoken` with the table of `bpe-openai`; takes a quarter of a second."""
    from gigatoken import Tokenizer

    with tempfile.NamedTemporaryFile(suffix=".tiktoken") as table:
        table.write(_table(encoding))
        table.flush()
        scheme = encoding.removesuffix("_base")
        return Tokenizer.from_tiktoken(table.name, pretokenizer=scheme, special_tokens={})


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return len(encode(text))


@cache
def _vocabulary() -> list[bytes]:
    """Return the bytes of each token of `ENCODING`, by its number."""
    lines = _table(ENCODING).splitlines()
    return [binascii.a2b_base64(line.partition(b" ")[0]) for line in lines]


def token_bytes(token: int) -> bytes:
    """Return the bytes that a token stands for.

    Raises:
        LookupError: there is no such token.

    """
    return _SPECIAL.get(token) or _vocabulary()[token]


@cache
def byte_tokens() -> tuple[int, ...]:
    """Return the token of each of the 256 bytes."""
    single = {token_bytes(token): token for token in range(256)}
    return tuple(single[bytes([value])] for value in range(256))


def decode(tokens: Sequence[int]) -> str:
    """Return the text of tokens; bytes that are not UTF-8 become U+FFFD."""
    return b"".join(token_bytes(token) for token in tokens).decode("utf-8", errors="replace")


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
