"""Counts are tiktoken's, of every text."""

import gzip
import json
import random
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext.openai_public import cl100k_base, o200k_base

from selftune.models import tokens

DATA = Path(__file__).parents[3] / "shared" / "data"
ADVERSARIAL = (
    "",
    " ",
    "\n\n\n   \t\r\n",
    "<|endoftext|>" * 5,
    "<|fim_prefix|> and <|im_start|>system",
    "a" * 5000,
    " " * 3000 + "x",
    "é" * 700,
    "👩‍👩‍👧‍👦🏳️‍🌈" * 50,
    "漢字かな交じり文とハングル한국어" * 30,
    "\u202e\u0000\ufeff\u200b",
    "don't DON'T İstanbul'un ǅ ﬀ",
    "x1234567890 3.14159 1e-9",
    "ﷺ" * 20,
)


@pytest.fixture(scope="module", params=["o200k_base", "cl100k_base"])
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tiktoken.Encoding]:
    """Give tiktoken itself, with the table from a package instead of the network."""
    folder = tmp_path_factory.mktemp("ranks")
    name = str(request.param)
    packed = files("bpe_openai").joinpath(f"data/{name}.tiktoken.gz").read_bytes()
    table = folder / name
    table.write_bytes(gzip.decompress(packed))
    construct = {"o200k_base": o200k_base, "cl100k_base": cl100k_base}[name]
    with pytest.MonkeyPatch.context() as patch:
        load = tiktoken.load.load_tiktoken_bpe
        patch.setattr(
            "tiktoken_ext.openai_public.load_tiktoken_bpe",
            lambda url, expected_hash=None: load(str(table), expected_hash),
        )
        yield tiktoken.Encoding(**construct())


def assert_equal(texts: list[str], reference: tiktoken.Encoding) -> None:
    expected = [len(reference.encode_ordinary(text)) for text in texts]
    assert tokens.count_many(texts, reference.name).tolist() == expected
    if reference.name == tokens.ENCODING:
        assert [tokens.count(text) for text in texts] == expected


def test_adversarial_texts_count_as_tiktoken_counts_them(reference: tiktoken.Encoding) -> None:
    assert_equal(list(ADVERSARIAL), reference)


def test_a_lone_surrogate_counts_as_tiktoken_counts_it(reference: tiktoken.Encoding) -> None:
    assert_equal(["a \ud800 b", "plain", "\udc00\ud800"], reference)


@given(st.lists(st.text(max_size=60), max_size=8))
def test_any_texts_count_one_by_one_as_together(texts: list[str]) -> None:
    assert tokens.count_many(texts).tolist() == [tokens.count(text) for text in texts]


def test_random_text_of_all_planes_counts_as_tiktoken_counts_it(
    reference: tiktoken.Encoding,
) -> None:
    draw = random.Random(5)
    points = [*range(32, 0xD800, 7), *range(0xE000, 0x2FFFF, 31)]
    texts = ["".join(map(chr, draw.choices(points, k=draw.randint(1, 40)))) for _ in range(2000)]
    assert_equal(texts, reference)


@pytest.mark.parametrize("reference", [tokens.ENCODING], indirect=True)
def test_each_token_stands_for_tiktokens_bytes(reference: tiktoken.Encoding) -> None:
    some = [*range(0, 199_998, 97), 199_997, *reference._special_tokens.values()]
    known = {token: reference.decode_single_token_bytes(token) for token in some}
    assert {token: tokens.token_bytes(token) for token in some} == known
    for unknown in (199_998, 200_019):
        with pytest.raises(LookupError):
            tokens.token_bytes(unknown)


def test_a_text_beyond_a_million_characters_is_counted() -> None:
    text = "word " * 300_000
    assert tokens.count(text) == tokens.count_many([text])[0] == 300_001


def test_every_row_of_the_real_data_counts_as_tiktoken_counts_it(
    reference: tiktoken.Encoding,
) -> None:
    if not DATA.is_dir():
        pytest.skip("the workloads' real data are not beside the project")
    rows = [
        json.loads(line)
        for name in (
            "policy/train",
            "policy/test",
            "hospitality/train",
            "hospitality/test",
            "prices/items",
        )
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    texts = sorted(set(strings(rows)))
    texts += (DATA / "banking77" / "train.csv").read_text(encoding="utf-8").splitlines()
    assert_equal(texts, reference)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def test_counts_are_the_same_without_the_faster_library(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*ADVERSARIAL, "word " * 50_000]
    expected = tokens.count_many(texts).tolist()
    tokens._batches.cache_clear()
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    tokens.prepare_many()
    assert tokens.count_many(texts).tolist() == expected


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("ft:gpt-4.1-nano-2025-04-14:acme::AbC", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("ft:gpt-4:acme::AbC", "cl100k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::AbC", "cl100k_base"),
        ("gpt-35-turbo-0125.ft-72a2792e", "cl100k_base"),
        ("davinci-002", "cl100k_base"),
        ("selftune/minilm", "o200k_base"),
    ],
)
def test_a_model_is_counted_in_its_own_encoding(model: str, encoding: str) -> None:
    assert tokens.encoding_of(model) == encoding
