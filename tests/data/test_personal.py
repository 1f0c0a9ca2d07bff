"""Personal data in texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.made_up import PERSONAL

from selftune.data.findings.personal import find_personal


@pytest.mark.parametrize("kind", PERSONAL)
@pytest.mark.parametrize("before", ["", "x" * 7 + " ", "Für Gäste — “siehe” ", "\ud800 "])
def test_each_kind_is_found_where_it_stands(kind: str, before: str) -> None:
    text = f"{before}{PERSONAL[kind]}, thank you"
    found = find_personal(["Nothing here.", "", text, "Nor here."])
    assert [(finding.text_index, finding.rule, finding.kind) for finding in found] == [
        (2, "personal-data", kind)
    ]
    assert text[found[0].start : found[0].start + found[0].length] == PERSONAL[kind]


@pytest.mark.parametrize(
    "text",
    [
        "Call +1 415 867 5309 today.",
        "Call (415) 867-5309 today.",
        "Call 415-867-5309 today.",
        "Call 1-415-867-5309 today.",
        "Call 415.867.5309 today.",
        "Rufen Sie +493020931234 an.",
        "Appelez le +33 1 42 68 53 00.",
    ],
)
def test_telephone_numbers_are_found_as_people_write_them(text: str) -> None:
    assert [finding.kind for finding in find_personal([text])] == ["telephone number"]


@pytest.mark.parametrize(
    "text",
    [
        "Write to support@hotel-alba.com or jane@example.com or x@y.test.",
        "Use user@yourdomain.com; the icon is logo@2x.png; git@github.com:a/b.git",
        "@app.route is a decorator, a @ b @ c is a product, and me@ is nothing.",
        "Our line is +1 800 555 0199, or (415) 555-0132 in the film.",
        "Order 4539578763621487 of 2024-01-15 10:30:00 costs $1,299.00.",
        "The test card 4242 4242 4242 4242 always works.",
        "UUID 123e4567-e89b-12d3-a456-426614174000, hash 9f3a7c10be58d2469f3a7c10be58d246",
        "Hash 4539578763621486abcdef0123456789 and 0.4539578763621486 and v4539578763621486",
        "SSN-like 000-12-3456 and 987-65-4321 and 123-45-6789.",
        "Pi is 3.14159265358979323846264338327950288.",
        "ISBN 978-3-16-148410-0, EAN 4006381333931, timestamp 1700000000000",
        "Between 2019-2023 we sold 123456789012 units, 1.234.567,89 EUR",
        "IP 192.168.100.200, version 10.0.22621.1702, 20240115T103000Z",
        "+35236450.6 and +1.5e10",
        "DE44 5001 0517 5407 3249 32 has the wrong check digits.",
    ],
)
def test_offices_examples_and_other_numbers_are_no_personal_data(text: str) -> None:
    assert find_personal([text]) == []


def test_a_number_is_found_wherever_it_lies_in_the_buffer() -> None:
    card = "4539578763621486"
    for shift in range(40):
        texts = ["a" * shift, card, "b"]
        assert [finding.text_index for finding in find_personal(texts)] == [1]
    long = " " * ((1 << 18) - 20)
    for shift in range(40):
        assert len(find_personal([long + " " * shift + card])) == 1


def test_a_card_is_not_also_a_telephone_number() -> None:
    assert len(find_personal([PERSONAL["payment card number"]])) == 1


def test_a_text_has_one_finding_of_a_kind() -> None:
    assert len(find_personal(["a.meier@gmx.de, b.meier@gmx.de"])) == 1


@given(st.lists(st.text(st.characters(codec=None), max_size=40), max_size=6))
def test_any_texts_can_be_searched(texts: list[str]) -> None:
    for finding in find_personal(texts):
        assert 0 <= finding.text_index < len(texts)
        assert 0 < finding.length <= len(texts[finding.text_index]) - finding.start


def test_long_runs_of_digits_and_signs_take_no_time() -> None:
    for run in ("1" * 1_000_000, "@" * 300_000, "a@" * 200_000, "+1 " * 300_000, "1-" * 500_000):
        assert find_personal([run]) == []
