"""Three hundred broken files: each is explained exactly, at its line, with a remedy."""

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from tests.data.corpus import rows, tools
from tests.data.corpus.everything import EVERYTHING
from tests.data.corpus.parts import Broken, ask, chat, dump, good_chats, lines, say
from tests.data.corpus.sources import SOURCES, UNWRITABLE
from tests.data.made_up import PERSONAL, SECRETS

from selftune.data.check import CheckOptions, problems
from selftune.data.checking import tally
from selftune.data.problems import Problem, rules

_SHORTEST_SECRET = 8
"""Characters of a secret that a message may not repeat."""


def found_in(broken: Broken, folder: Path) -> list[Problem]:
    """Write a broken file and check it, in this process."""
    path = folder / f"rows{broken.suffix}"
    path.write_bytes(broken.make())
    return list(problems(path, CheckOptions(method=broken.method, model=MODEL, processes=1)))


_OF_TEXTS = ("answer-untrimmed", "length-outlier", "system-inconsistent")
"""Rules that rows of the corpus breach and that need a look into texts."""
MODEL = "gpt-4o-mini-2024-07-18"


@pytest.mark.parametrize("broken", EVERYTHING, ids=lambda broken: broken.name)
def test_a_broken_file_is_explained_exactly(broken: Broken, tmp_path: Path) -> None:
    found = found_in(broken, tmp_path)
    assert {(one.rule, one.line, one.message_index) for one in found} == broken.expected
    for one in {one.message: one for one in found}.values():
        assert one.remedy == rules()[one.rule].remedy
        assert 0 < len(one.message) < 1000
        assert one.file == str(tmp_path / f"rows{broken.suffix}")
        assert not any(piece in one.message for piece in secret_pieces()), one.rule


@cache
def secret_pieces() -> frozenset[str]:
    """Return what no message may show: every part of a secret that is no plain word."""
    pieces = {
        secret[at : at + _SHORTEST_SECRET]
        for secret in (*SECRETS.values(), *PERSONAL.values())
        for at in range(len(secret) - _SHORTEST_SECRET + 1)
    }
    return frozenset(piece for piece in pieces if any(map(str.isdigit, piece)))


@pytest.mark.parametrize("begins", [b"", dump(chat(ask(), say())) + b"\n"])
def test_a_file_beyond_the_limit_is_told_before_it_is_read(begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(begins)
    os.truncate(path, (512 << 20) + 1)  # takes no room on the disk
    found = next(problems(path))
    assert (found.rule, found.line) == ("file-too-large", None)
    assert "536,870,913" in found.message


@pytest.mark.parametrize("broken", [*rows.ALL, *tools.ALL], ids=lambda broken: broken.name)
def test_structure_is_checked_without_a_look_into_texts(broken: Broken, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(broken.make())
    found = problems(path, CheckOptions(method=broken.method, content=False, processes=1))
    structural = {place for place in broken.expected if place[0] not in _OF_TEXTS}
    assert {(one.rule, one.line, one.message_index) for one in found} == structural


def test_too_few_rows_are_an_error_without_a_look_into_texts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(good_chats(3)))
    found = list(problems(path, CheckOptions(content=False)))
    assert [one.rule for one in found] == ["too-few-examples"]


def test_one_example_too_many_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MAX_QUESTIONS", 53)
    (good,) = (one for one in EVERYTHING if one.name == "good questions")
    assert [one.rule for one in found_in(good, tmp_path)] == ["too-many-examples"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("single quotes", "looks like Python"),
        ("smart quotes", "quotes are typographic"),
        ("HTML on a line", "looks like a web page"),
        ("a row over several lines", "must stand on one line"),
        ("a spreadsheet", "a zip archive or a spreadsheet"),
        ("UTF-16", "Save it as UTF-8"),
        ("gzip that ends early", "ends before its end"),
    ],
)
def test_what_is_plain_is_named(name: str, hint: str, tmp_path: Path) -> None:
    (broken,) = (one for one in EVERYTHING if one.name == name)
    assert hint in found_in(broken, tmp_path)[0].message


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({broken.name for broken in EVERYTHING}) == len(EVERYTHING) >= 120


def test_every_rule_is_breached_at_least_twice() -> None:
    breached = Counter(rule for broken in EVERYTHING for rule in {e[0] for e in broken.expected})
    breached.update(rule for source in SOURCES for rule in {e[0] for e in source.expected})
    breached.update(["not-convertible"] * len(UNWRITABLE) + ["file-too-large"] * 2)
    breached.update(["too-many-examples"])
    assert {rule: breached[rule] for rule in rules() if breached[rule] < 2} == {}
    assert set(breached) <= set(rules())
