"""Damage in texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selftune.data.findings.content import find_content
from selftune.data.findings.damage import find_damage


def misread(text: str, encoding: str) -> str:
    return text.encode().decode(encoding)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (misread("Le café de l’hôtel", "cp1252"), "mojibake"),
        (misread("schön", "latin-1"), "mojibake"),
        (misread("It’s fine…", "cp1252"), "mojibake"),
        (misread("Price: 15 €", "cp1252"), "mojibake"),
        (misread("naïve café", "mac-roman"), "mojibake"),
        (misread("El señor está aquí mañana", "cp437"), "mojibake"),
        (misread("Привет", "latin-1"), "mojibake"),
        ("The caf\ufffd is closed.", "replacement character U+FFFD"),
        ("half a \ud83d smiley", "lone surrogate"),
        ("Hello \ufeffworld", "byte-order mark inside the text"),
        ("trademark\x99 sign", "Windows-1252 character read as Latin-1"),
        ("Tom &amp; Jerry can&#39;t", "HTML entity as text"),
        ("Caf\\u00e9 is open, it\\u2019s fine", "escape sequence as text"),
    ],
)
def test_each_kind_of_damage_is_found(text: str, kind: str) -> None:
    found = find_damage(["Fine.", text, "Fine, too."])
    assert (1, "encoding-damage", kind) in {(f.text_index, f.rule, f.kind) for f in found}


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x08", "\x1b", "\x1f", "\x7f"])
def test_control_characters_are_found_where_they_stand(character: str) -> None:
    (found,) = find_damage(["Fine.", f"Über{character}all"])
    assert (found.text_index, found.rule) == (1, "control-character")
    assert (found.start, found.length) == (4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "Tabs\tand\r\nnewlines\nand\fpages are fine.",
        "Les élèves étaient « très » contents… à 10 €, l’été.",
        "Ünïcödé, Ærø, Øresund, Ñandú, São João, NÃO, ÇA VA",
        "Привет, мир. 你好，世界。 こんにちは 안녕하세요 שלום مرحبا",
        "√2 ≈ 1.41, √(x), │ ├── tree └── leaf",
        "😀 👩‍👩‍👧 🇩🇪",
        "<p>Tom &amp; Jerry</p>",
        "a && b; c & d; AT&T; R&D; x &= y;",
        r'print("caf\u00e9")',
        r"C:\users\u0041",
        "`&amp;` is how HTML writes an ampersand.",
    ],
)
def test_what_people_write_is_no_damage(text: str) -> None:
    assert find_damage([text]) == []


@given(st.lists(st.text(st.characters(codec=None), max_size=60), max_size=6))
def test_any_texts_can_be_searched(texts: list[str]) -> None:
    for finding in find_content(texts):
        assert 0 <= finding.text_index < len(texts)
        assert 0 < finding.length <= len(texts[finding.text_index]) - finding.start


def test_long_runs_take_no_time() -> None:
    for run in (
        "Ã©" * 100_000,
        "\ufffd" * 500_000,
        "Ã " * 200_000,
        "&a" * 300_000,
        "'\\u" * 100_000,
    ):
        find_damage([run])
