"""What makes two texts the same: their words, without regard to case, spacing and punctuation.

Words are runs of letters, marks and digits after NFKC and case folding; symbols (currency, arithmetic,
emoji) are words of their own; punctuation is none, and apostrophes do not part words. Scripts that put no spaces between words are cut
into pairs of neighbouring characters, as search engines do.
"""

import re
import unicodedata
from functools import cache

_ASCII_WORDS = re.compile(r"[a-z0-9]+|[$+<=>^`|~]")
_FIGURE = re.compile(r"(?<!\w)[-+\u2212]?\d+(?:[.,:/]\d+)*")
_UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
"""They choose how an emoji is drawn, and say nothing."""
_LAST_OF_BASIC_PLANE = 0xFFFF
_LAST_SYMBOL = 0x1FFFF
"""What lies above is Han, private or nothing."""


def words(text: str) -> list[str]:
    """Return the words of a text, in their order."""
    text = text.replace("'", "").replace("’", "")  # "dont" is written as often
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = _all_words().findall(folded)
    if _UNSPACED.search(folded) is None:
        return found
    return [piece for word in found for piece in _pieces(word)]


def normal_form(text: str) -> str:
    """Return the words of a text with single spaces: texts that say the same have the same."""
    return " ".join(words(text)) or text.strip()


def similarity(first: str, second: str) -> float:
    """Return the share of words that two texts have in common (Jaccard index), from 0 to 1."""
    ours, theirs = set(words(first)), set(words(second))
    if not ours or not theirs:
        return float(first.strip() == second.strip())
    return len(ours & theirs) / len(ours | theirs)


def figures(text: str) -> frozenset[str]:
    """Return the numbers of a text with their signs: a figure is content, not wording."""
    return frozenset(_FIGURE.findall(text))


def _pieces(word: str) -> list[str]:
    """Cut the parts of a word that belong to a script without spaces into pairs of characters."""
    pieces, end = [], 0
    for run in _UNSPACED.finditer(word):
        pieces += [word[end : run.start()]] if run.start() > end else []
        characters = run[0]
        pieces += [characters[at : at + 2] for at in range(max(1, len(characters) - 1))]
        end = run.end()
    return pieces + ([word[end:]] if end < len(word) else [])


@cache
def _all_words() -> re.Pattern[str]:
    kinds = {code: unicodedata.category(chr(code)) for code in range(_LAST_SYMBOL + 1)}
    marks = [
        code for code, kind in kinds.items() if kind[0] == "M" and code not in _VARIATION_SELECTORS
    ]
    symbols = [code for code, kind in kinds.items() if kind[0] == "S"]
    mark = _any_of(marks)
    return re.compile(rf"[^\W_]+(?:(?:{mark})+[^\W_]*)*|{_any_of(symbols)}")


def _any_of(codes: list[int]) -> str:
    """Return a pattern for one of these characters; in two classes, each of which `re` is quick with."""
    near = "".join(re.escape(chr(code)) for code in codes if code <= _LAST_OF_BASIC_PLANE)
    far = [code for code in codes if code > _LAST_OF_BASIC_PLANE]
    spans: list[list[int]] = []
    for code in far:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return f"[{near}]|[{''.join(f'{chr(low)}-{chr(high)}' for low, high in spans)}]"
