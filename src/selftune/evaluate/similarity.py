"""How alike two texts are, from 0 to 1: the published measures of words in common.

Words are runs of letters and digits of any script, without regard to case; BLEU, GLEU and METEOR
count each other sign as a word too. Two texts without a word are alike when both have none.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import snowballstemmer
from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq

from selftune.core.errors import InvalidInput

MOST_CHARACTERS = 100_000
"""Longest text that is compared: the time grows with the product of both lengths."""
_MOST_WORDS = 20_000
_LONGEST_GRAM = 4
_WORD = re.compile(r"[^\W_]+")
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")
_METEOR_ALPHA, _METEOR_BETA, _METEOR_GAMMA = 0.9, 3.0, 0.5
"""Banerjee and Lavie 2005: recall weighs nine times as much as precision; penalty 0.5 c^3."""

Words = Sequence[str]


def similarity(metric: str, output: str, reference: str) -> float:
    """Return how alike two texts are by a measure of `METRICS`.

    Raises:
        InvalidInput: a text is too long to compare.

    """
    if max(len(output), len(reference)) > MOST_CHARACTERS:
        raise InvalidInput(f"A text has more than {MOST_CHARACTERS:,} characters to compare.")
    return METRICS[metric](output, reference)


def fuzzy_match(output: str, reference: str) -> float:
    """Return the normalised similarity of two texts by insertions and deletions (rapidfuzz)."""
    return fuzz.ratio(output, reference) / 100


def bleu(output: str, reference: str) -> float:
    """Return sentence BLEU up to four words (Papineni et al. 2002).

    An order without a match counts as 1 / 2^k matches at the k-th such order, as sacreBLEU smooths
    sentences (Chen and Cherry 2014, method 3); orders longer than the output are left out.
    """
    said, wanted = _words(output, _WORD_OR_SIGN), _words(reference, _WORD_OR_SIGN)
    if not said or not wanted:
        return float(said == wanted)
    logarithms, halves = [], 1.0
    for size in range(1, min(_LONGEST_GRAM, len(said)) + 1):
        found, given = _common(said, wanted, size), len(said) - size + 1
        if size == 1 and not found:
            return 0.0
        if not found:
            halves *= 2
        logarithms.append(math.log((found or 1 / halves) / given))
    brevity = min(0.0, 1 - len(wanted) / len(said))
    return min(math.exp(brevity + sum(logarithms) / len(logarithms)), 1.0)


def gleu(output: str, reference: str) -> float:
    """Return Google's GLEU (Wu et al. 2016): the lesser of recall and precision of 1 to 4 words."""
    said, wanted = _words(output, _WORD_OR_SIGN), _words(reference, _WORD_OR_SIGN)
    sizes = range(1, _LONGEST_GRAM + 1)
    found = sum(_common(said, wanted, size) for size in sizes)
    most = max(sum(max(len(words) - size + 1, 0) for size in sizes) for words in (said, wanted))
    return found / most if most else 1.0


def rouge_n(size: int) -> Callable[[str, str], float]:
    """Return ROUGE-N, the harmonic mean of precision and recall of N words (Lin 2004)."""

    def rouge(output: str, reference: str) -> float:
        said, wanted = _words(output, _WORD), _words(reference, _WORD)
        counts = [max(len(words) - size + 1, 0) for words in (said, wanted)]
        if not any(counts):
            return float(said == wanted)
        return _harmonic(_common(said, wanted, size), *counts)

    return rouge


def rouge_l(output: str, reference: str) -> float:
    """Return ROUGE-L: precision and recall of the longest common subsequence (Lin 2004)."""
    said, wanted = _words(output, _WORD), _words(reference, _WORD)
    if not said and not wanted:
        return 1.0
    return _harmonic(int(LCSseq.similarity(said, wanted)), len(said), len(wanted))


def meteor(output: str, reference: str) -> float:
    """Return METEOR (Banerjee and Lavie 2005), with words that match exactly or by Porter's stem.

    WordNet's synonyms, which the paper matches as well, are left out: they are English only, and a
    download. What differs only by a synonym scores lower here.
    """
    said, wanted = _words(output, _WORD_OR_SIGN), _words(reference, _WORD_OR_SIGN)
    if not said or not wanted:
        return float(said == wanted)
    pairs = _aligned(said, wanted)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(said), len(pairs) / len(wanted)
    mean = precision * recall / (_METEOR_ALPHA * precision + (1 - _METEOR_ALPHA) * recall)
    breaks = sum((here + 1, there + 1) != after for (here, there), after in pairwise(pairs))
    penalty = _METEOR_GAMMA * math.pow((breaks + 1) / len(pairs), _METEOR_BETA)
    return mean * (1 - penalty)


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the cosine of two vectors, at least 0."""
    lengths = math.hypot(*left) * math.hypot(*right)
    if not lengths:
        return 0.0
    dot = math.fsum(one * other for one, other in zip(left, right, strict=True))
    return min(max(dot / lengths, 0.0), 1.0)


def _words(text: str, pattern: re.Pattern[str]) -> list[str]:
    found = pattern.findall(text.lower())
    if len(found) > _MOST_WORDS:
        raise InvalidInput(f"A text has more than {_MOST_WORDS:,} words to compare.")
    return found


def _common(said: Words, wanted: Words, size: int) -> int:
    """Return how many runs of `size` words both have, each as often as the rarer says."""
    runs = [Counter(zip(*(w[i:] for i in range(size)), strict=False)) for w in (said, wanted)]
    return (runs[0] & runs[1]).total()


def _harmonic(found: int, said: int, wanted: int) -> float:
    return 2 * found / (said + wanted) if found else 0.0


def _aligned(said: Words, wanted: Words) -> list[tuple[int, int]]:
    """Return pairs of places, exact matches first, each word used once."""
    pairs: list[tuple[int, int]] = []
    for form in (str, _stem):
        used = {here for here, _ in pairs}, {there for _, there in pairs}
        places: dict[str, list[int]] = {}
        for there in range(len(wanted) - 1, -1, -1):
            if there not in used[1]:
                places.setdefault(form(wanted[there]), []).append(there)
        for here, word in enumerate(said):
            waiting = None if here in used[0] else places.get(form(word))
            if waiting:
                pairs.append((here, waiting.pop()))
    return sorted(pairs)


@cache
def _porter() -> "snowballstemmer.stemmer":
    return snowballstemmer.stemmer("porter")


def _stem(word: str) -> str:
    stem: str = _porter().stemWord(word)
    return stem


METRICS: dict[str, Callable[[str, str], float]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    "rouge_l": rouge_l,
    **{f"rouge_{size}": rouge_n(size) for size in range(1, 6)},
}
