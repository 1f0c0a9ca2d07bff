"""Personal data in texts: e-mail addresses, telephone numbers, cards, accounts, identity numbers.

A number counts only where its check digits or its numbering plan say that it is one, so that
orders, prices, dates and UUIDs do not. No findings are what a text is meant to give out: the
addresses of offices (`support@…`) and freephone numbers; nor domains that are reserved for examples
(RFC 2606), the fictitious 555-01 numbers, and the card numbers that payment services publish for
tests. Telephone numbers are found in international form (`+49 …`) or in North American form. A text
has at most one finding of a kind: the first.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import phonenumbers
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.fr import nir
from stdnum.us import ssn

from selftune.data.findings.finding import Finding, Joined, join

RULE = "personal-data"

_LOCAL = re.compile(r"[A-Za-z0-9._%+-]{1,64}\Z")
_ACCOUNT = re.compile(r"://[^\s/]*\Z")
"""Before an account of a server, as in `https://name:password@server`."""
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}([A-Za-z]{2,24})(?![A-Za-z0-9-])")
_OFFICE = re.compile(
    r"abuse|accounts|admin|billing|bookings|careers|contact|customercare|customerservice|desk"
    r"|enquiries|feedback|frontdesk|git|hello|help|helpdesk|hi|hr|info|inquiries|jobs|legal"
    r"|mail|marketing|me|name|no-reply|noreply|office|orders|postmaster|press|privacy|reception"
    r"|reservations|root|sales|security|service|services|shop|spam|ssh|support|team|test|user"
    r"|username|webmaster|you|your\.name|youremail|yourname"
)
_EXAMPLES = re.compile(
    r"(?i)(?:^|\.)(?:example|test|invalid|localhost|local)$|(?:^|\.)example\.(?:com|org|net|edu)$"
    r"|(?:^|\.)(?:domain|email|mail|yourdomain|yourcompany|company|mycompany|acme|foo|bar)\.com$"
)
_FILE_ENDING = re.compile(r"css|gif|html|jpeg|jpg|js|json|md|pdf|png|py|svg|txt|webp|xml|yaml")

_DECIMAL = re.compile(r"\d\.\d{1,2}$")
_PRIVATE_LINES = (
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
    phonenumbers.PhoneNumberType.PAGER,
    phonenumbers.PhoneNumberType.VOIP,
)
_FICTITIOUS = re.compile(r"^\+1\d{3}555\d{4}$|^\+447700900\d{3}$")
"""Numbers set aside for fiction: of North America, and mobile ones of Ofcom."""

_TEST_CARD = re.compile(
    r"4111111111111111|4242424242424242|4012888888881881|4000056655665556|5555555555554444"
    r"|5200828282828210|5105105105105100|378282246310005|371449635398431|6011111111111117"
    r"|6011000990139424|30569309025904|38520000023237|3566002020360505|3530111333300000"
)
_CARD = re.compile(
    r"4(?:\d{12}|\d{15})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}"
    r"|6(?:011|[245]\d\d)\d{12}"
)
"""Length and first digits of the cards of the great networks."""
_FEWEST_DIGITS = 9
"""Fewest digits of any number that is looked for."""
_FEWEST_TOGETHER = 5
"""Fewest digits in eight characters of it."""
_AROUND = np.arange(-2, 4)
"""Groups of four characters, from the first of two, that are near."""
_ALL_FOUR = np.uint32(0x01010101)


def _is_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    known = _CARD.fullmatch(digits) is not None and _TEST_CARD.fullmatch(digits) is None
    return known and len(set(digits)) > 3 and bool(luhn.is_valid(digits))


def _is_us_number(text: str) -> bool:
    return text not in ("123-45-6789", "111-22-3333") and bool(ssn.is_valid(text))


def _is_telephone(text: str) -> bool:
    if _DECIMAL.search(text):
        return False
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return False
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return (
        _FICTITIOUS.match(written) is None
        and phonenumbers.is_valid_number(number)
        and phonenumbers.number_type(number) in _PRIVATE_LINES
    )


# Each begins with a set of characters, which `re` skips to, and then looks back over the first one.
_NUMBERS: tuple[tuple[str, re.Pattern[bytes], Callable[[str], bool]], ...] = (
    (
        "payment card number",
        re.compile(
            rb"[2-6](?<![\w.+/#:-].)(?:\d{3}([ -])\d{4}\1\d{4}\1\d{4}|\d{3}([ -])\d{6}\2\d{5}"
            rb"|\d{12,15})(?![\w-]|\.\d)"
        ),
        _is_card,
    ),
    (
        "bank account number (IBAN)",
        re.compile(
            rb"[A-Z](?<![\w-].)[A-Z]\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])"
        ),
        iban.is_valid,
    ),
    (
        "US social security number",
        re.compile(rb"\d(?<![\w-].)\d\d-\d\d-\d{4}(?![\w-])"),
        _is_us_number,
    ),
    (
        "Brazilian tax number (CPF)",
        re.compile(rb"\d(?<![\w.-].)\d\d\.\d{3}\.\d{3}-\d\d(?![\w-])"),
        cpf.is_valid,
    ),
    (
        "French social security number",
        re.compile(rb"[12](?<![\w.-].) ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d(?![\w-])"),
        nir.is_valid,
    ),
    (
        "telephone number",
        re.compile(rb"\+(?<![\w+.-].)[1-9][\d ().\-/]{6,22}\d(?![\w-])"),
        _is_telephone,
    ),
    (
        "telephone number",
        re.compile(rb"\((?<![\w+.-].)[2-9]\d{2}\) ?[2-9]\d{2}[-. ]\d{4}(?![\w-]|\.\d)"),
        _is_telephone,
    ),
    (
        "telephone number",
        re.compile(rb"[1-9](?<![\w+./:-].)(?:[-. ]\d{3}|\d\d)[-. ]\d{3}[-. ]\d{4}(?![\w-]|\.\d)"),
        _is_telephone,
    ),
)
_LETTERED_NUMBERS = tuple(number for number in _NUMBERS if "IBAN" in number[0])
_MANY_DIGITS = re.compile(rb"\d(?:[ ().\-/]{0,3}\d){8}")
"""What every number holds, but those with letters."""
_MOST_TRIES = 1000
"""Candidates of one kind that are tried in one text, so that no text is slow."""
_REACH = 48
"""Bytes around many digits that may belong to the number: an IBAN has up to 42 with its spaces."""


def find_personal(texts: Sequence[str]) -> list[Finding]:
    """Return the personal data in texts."""
    return list(personal_in(join(texts)))


def personal_in(joined: Joined) -> Iterator[Finding]:
    """Yield the personal data in joined texts: first all addresses, then all numbers."""
    for index in joined.holding(joined.positions(b"@")):
        place = _address(joined.texts[index])
        if place is not None:
            yield Finding(index, RULE, "e-mail address", *place)
    yield from _numbers(joined)


def _numbers(joined: Joined) -> Iterator[Finding]:
    taken: dict[int, list[Finding]] = {}
    tries: Counter[tuple[int, str]] = Counter()
    for kind, found, is_valid in _candidates(joined):
        index = joined.text_at(found.start())
        others = taken.setdefault(index, [])
        tries[index, kind] += 1
        if tries[index, kind] > _MOST_TRIES or any(other.kind == kind for other in others):
            continue
        if is_valid(found.group().decode()):
            finding = joined.finding(RULE, kind, *found.span())
            if not any(other.overlaps(finding) for other in others):
                others.append(finding)
                yield finding


def _candidates(joined: Joined) -> Iterator[tuple[str, re.Match[bytes], Callable[[str], bool]]]:
    for begin, end in _digit_runs(joined):
        is_number = _MANY_DIGITS.search(joined.buffer, begin, end) is not None
        for kind, pattern, is_valid in _NUMBERS if is_number else _LETTERED_NUMBERS:
            for found in pattern.finditer(joined.buffer, begin, end):
                yield kind, found, is_valid


def _digit_runs(joined: Joined) -> Iterator[tuple[int, int]]:
    """Yield the pieces of the buffer that may hold a number, with what is around them.

    A number has eleven characters or more that are digits or signs between them, so that two groups
    of four, counted from the buffer's beginning, lie in it; and nine digits are near.
    """
    found = [np.empty(0, np.int64)]
    for position, window in joined.windows(overlap=24):
        fours = window[: len(window) // 4 * 4]
        inside = ((fours - np.uint8(32)) < 26).view(np.uint32) == _ALL_FOUR  # from space to 9
        at = np.flatnonzero(inside[:-1] & inside[1:])
        digits = np.bitwise_count(((fours - np.uint8(48)) < 10).view(np.uint32))
        at = at[digits[at] + digits[at + 1] >= _FEWEST_TOGETHER]
        near = digits[np.clip(at[:, None] + _AROUND, 0, len(digits) - 1)].sum(axis=1)
        at_edge = (at < -_AROUND[0]) | (at > len(digits) - 1 - _AROUND[-1])
        found.append(at[(near >= _FEWEST_DIGITS) | at_edge] * 4 + position)
    blocks = np.concatenate(found)
    if len(blocks):
        gaps = np.flatnonzero(np.diff(blocks) > 2 * _REACH)
        begins = np.append(blocks[0], blocks[gaps + 1]) - _REACH
        ends = np.append(blocks[gaps], blocks[-1]) + 8 + _REACH
        yield from zip(np.maximum(begins, 0).tolist(), ends.tolist(), strict=True)


def _address(text: str) -> tuple[int, int] | None:
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - 64), at)
        domain = _DOMAIN.match(text, at + 1)
        if local is not None and domain is not None and _is_someone(local, domain):
            return local.start(), domain.end() - local.start()
        at = text.find("@", at + 1)
    return None


def _is_someone(local: re.Match[str], domain: re.Match[str]) -> bool:
    name, place = local.group().strip(".").lower(), domain.group().lower()
    before = local.string[max(0, local.start() - 200) : local.start()]
    return (
        re.search("[a-z]", name) is not None
        and _ACCOUNT.search(before) is None
        and _OFFICE.fullmatch(name) is None
        and _EXAMPLES.search(place) is None
        and _FILE_ENDING.fullmatch(domain.group(1).lower()) is None
    )
