"""Words of a text, beside its meaning: hashed TF-IDF features, and BM25.

The encoder knows that "shipping" and "delivery" are near; it is poor at exact figures, brands and
model numbers. The two together do better than either (docs/log.md has the measurements).
"""

import itertools
import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

BUCKETS = 4096
WEIGHT = 0.5
"""Length of a text's word vector beside its embedding, whose length is one."""
_WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*%?", re.UNICODE)
_SATURATION, _LENGTH_SHARE = 1.2, 0.75
"""BM25's k1 and b, the usual values (Robertson and Zaragoza, 2009)."""


def words(text: str) -> list[str]:
    """Return lower-case words and figures."""
    return _WORD.findall(text.lower())


def buckets(text: str) -> np.ndarray:
    """Return the hash buckets of a text's words and pairs of words, each once, ascending."""
    found = words(text)
    terms = {
        *found,
        *(f"{first} {second}" for first, second in itertools.pairwise(found)),
    }
    return np.array(sorted({zlib.crc32(term.encode()) % BUCKETS for term in terms}), np.int64)


def inverse_frequencies(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return each bucket's weight: the rarer in the rows, the larger."""
    counts = np.zeros(BUCKETS)
    for row in rows:
        counts[row] += 1
    weights: np.ndarray = np.log((len(rows) + 1) / (counts + 1)).astype(np.float32)
    return weights


def features(
    vectors: np.ndarray,
    texts: Sequence[str],
    frequencies: np.ndarray,
    *,
    weight: float = WEIGHT,
) -> np.ndarray:
    """Return embedding and word vector side by side, shape (texts, 384 + 4096), float32."""
    sparse = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in enumerate(texts):
        found = buckets(text)
        values = frequencies[found]
        norm = float(np.linalg.norm(values))
        if norm > 0:
            sparse[row, found] = weight * values / norm
    return np.concatenate([vectors, sparse], axis=1)


class Bm25:
    """Which documents share rare words with a question, from 0 to about 2.2."""

    def __init__(self, documents: Sequence[str]) -> None:
        counts = [Counter(words(document)) for document in documents]
        lengths = np.array([max(1, sum(count.values())) for count in counts], np.float64)
        self._count = len(documents)
        self._postings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        gathered: dict[str, tuple[list[int], list[int]]] = {}
        for index, count in enumerate(counts):
            for word, times in count.items():
                places, frequency = gathered.setdefault(word, ([], []))
                places.append(index)
                frequency.append(times)
        share = 1 - _LENGTH_SHARE + _LENGTH_SHARE * lengths / lengths.mean()
        for word, (places, frequency) in gathered.items():
            often = np.array(frequency, np.float64)
            gain = often * (_SATURATION + 1) / (often + _SATURATION * share[places])
            self._postings[word] = (np.array(places), gain)

    def scores(self, question: str) -> np.ndarray:
        """Return every document's score, divided by what the question's words could give."""
        total, best = np.zeros(self._count), 0.0
        for word in set(words(question)):
            posting = self._postings.get(word)
            rarity = np.log((self._count + 1) / ((len(posting[0]) if posting else 0) + 0.5))
            best += rarity
            if posting is not None:
                total[posting[0]] += rarity * posting[1]
        return total / best if best > 0 else total
