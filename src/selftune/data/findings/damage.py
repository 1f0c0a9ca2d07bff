"""Damage in texts: characters that were read in the wrong encoding, or that nobody typed.

ftfy says what is mojibake; a text counts only if ftfy can also repair it. HTML entities and
`\\u` escapes count only in texts that are no HTML and no code. A text has at most one finding of a
kind: the first.
"""

import html
import re
from collections.abc import Iterator, Sequence

import ftfy
import numpy as np
from ftfy.badness import is_bad

from selftune.data.findings.finding import Finding, Joined, Positions, join

RULE = "encoding-damage"
CONTROL_RULE = "control-character"

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_ODD = re.compile("(\ufffd+)|([\ud800-\udfff]+)|(\ufeff)|([\x80-\x84\x86-\x9f])")
_ODD_KINDS = (
    "replacement character U+FFFD",
    "lone surrogate",
    "byte-order mark inside the text",
    "Windows-1252 character read as Latin-1",
)

_AFTER = (
    "\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
)
_MOJIBAKE = re.compile(
    f"[\xc2-\xf4][{_AFTER}]|\u201a\xc4|\u221a[^\\s\\d(]|[\u251c\u252c][^\\s\u2500-\u257f]"
)
"""What UTF-8 looks like when it is read as Windows-1252, Mac Roman or code page 437."""
_LEADS = np.isin(np.arange(256), list(b"\xc2\xc5\xc6\xcb\xe2"))
"""First bytes of the characters of `_AFTER` in UTF-8."""
_AROUND = 40
"""Characters on each side that decide with a suspect whether it is mojibake."""

_ENTITY = re.compile(r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,5}|[A-Za-z]{2,8});")
_ESCAPE = re.compile(r"(?<=[a-z])\\u(?:00[a-f89][0-9a-f]|20[0-2][0-9a-f])(?=[a-z]|[ ,.!?]|$)", re.I)
_HTML_OR_CODE = re.compile(r"<[A-Za-z/!]|`|&[A-Za-z]+;?=|['\"][^'\"\n]{0,200}\\u")


def find_damage(texts: Sequence[str]) -> list[Finding]:
    """Return the damage in texts."""
    return list(damage_in(join(texts)))


def damage_in(joined: Joined) -> Iterator[Finding]:
    """Yield the damage in joined texts, kind by kind."""
    for index in joined.holding(_controls(joined)):
        yield from _first(index, joined.texts[index], _CONTROL, CONTROL_RULE, "control character")
    if not joined.buffer.isascii():
        odd, suspect = _beyond_ascii(joined)
        for index in joined.holding(odd):
            yield from _odd(index, joined.texts[index])
        for index in joined.holding(suspect):
            yield from _mojibake(index, joined.texts[index])
    for index in joined.holding(joined.positions(b"&")):
        yield from _entity(index, joined.texts[index])
    for index in joined.holding(joined.pairs(ord("\\"), ord("u"), ord("u"))):
        text = joined.texts[index]
        if _HTML_OR_CODE.search(text) is None:
            yield from _first(index, text, _ESCAPE, RULE, "escape sequence as text")


def _controls(joined: Joined) -> Positions:
    found = [np.empty(0, np.int64)]
    for position, window in joined.windows():
        if window.min() < 9 or (window - np.uint8(14)).min() < 18 or (window == 127).any():
            odd = (window < 9) | ((window - np.uint8(14)) < 18) | (window == 127)
            found.append(np.flatnonzero(odd) + position)
    return np.concatenate(found)


def _beyond_ascii(joined: Joined) -> tuple[Positions, Positions]:
    """Return where `_ODD` matches, and where `_MOJIBAKE` may match."""
    everything = np.frombuffer(joined.buffer, np.uint8)
    at = np.flatnonzero(everything >= 0xC2)  # the first byte of each character beyond ASCII
    first, second, third = everything[at], everything[at + 1], everything[at + 2]
    replaced = (first == 0xEF) & ((second == 0xBF) & (third == 0xBD))
    marks = (first == 0xEF) & ((second == 0xBB) & (third == 0xBF))
    surrogates = (first == 0xED) & (second >= 0xA0)
    controls = (first == 0xC2) & (second < 0xA0)
    letters = (first == 0xC3) & (second <= 0xB4) & (second >= 0x82) & _LEADS[third]
    rare = (first == 0xE2) & (
        ((third == 0x9A) & ((second == 0x80) | (second == 0x88)))
        | ((second == 0x94) & ((third == 0x9C) | (third == 0xAC)))
    )
    return at[replaced | marks | surrogates | controls], at[letters | rare]


def _first(
    index: int, text: str, pattern: re.Pattern[str], rule: str, kind: str
) -> Iterator[Finding]:
    found = pattern.search(text)
    if found is not None:
        yield Finding(index, rule, kind, found.start(), found.end() - found.start())


def _odd(index: int, text: str) -> Iterator[Finding]:
    seen = set()
    for found in _ODD.finditer(text):
        group = found.lastindex or 0
        if group not in seen:
            seen.add(group)
            length = found.end() - found.start()
            yield Finding(index, RULE, _ODD_KINDS[group - 1], found.start(), length)
        if len(seen) == len(_ODD_KINDS):
            return


def _mojibake(index: int, text: str) -> Iterator[Finding]:
    """Yield the first suspect that looks bad among its neighbours and better when repaired."""
    at = 0
    while (found := _MOJIBAKE.search(text, at)) is not None:
        near = text[max(0, found.start() - _AROUND) : found.end() + _AROUND]
        if is_bad(near) and ftfy.fix_encoding(near) != near:
            yield Finding(index, RULE, "mojibake", found.start(), found.end() - found.start())
            return
        at = found.end() + _AROUND


def _entity(index: int, text: str) -> Iterator[Finding]:
    if ";" not in text or _HTML_OR_CODE.search(text) is not None:
        return
    for found in _ENTITY.finditer(text):
        if html.unescape(found.group()) != found.group():
            length = found.end() - found.start()
            yield Finding(index, RULE, "HTML entity as text", found.start(), length)
            return
