"""Many texts as sets of words in flat arrays, and exact counts of what two sets share."""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from selftune.data.likeness.words import words

Integers = NDArray[Any]

_WORDS_AT_ONCE = 1 << 22
_SKETCH_BYTES = 1 << 26
"""Memory of all sketches, from which they are not made longer."""
_SEED = 0x9E3779B97F4A7C15


class WordSets(NamedTuple):
    """Distinct texts as sets of words, one behind the other in flat arrays."""

    form_of: Integers
    """For each text, its distinct form."""
    first: Integers
    """For each form, the first text that has it."""
    hashes: Integers
    """A 64-bit number for each word, text after text."""
    kinds: Integers
    """For each form, the number of its kind: only texts of one kind are compared."""
    starts: Integers
    """Where each form's words begin; one more entry says where the last ends."""

    @property
    def sizes(self) -> Integers:
        """Return how many words each form has."""
        return np.diff(self.starts)


def sets_of(texts: Sequence[str], kinds: Sequence[str] | None = None) -> WordSets:
    """Return the distinct texts; equal ones of one kind are looked at once."""
    seen: dict[tuple[str, str], int] = {}
    forms: dict[tuple[str, str], int] = {}
    numbers: dict[str, int] = {}
    kind_numbers: dict[str, int] = {}
    flat, starts, form_of = array("I"), array("Q", [0]), array("I")
    first, kind_of = array("I"), array("I")
    for position, (text, kind) in enumerate(zip(texts, kinds or [""] * len(texts), strict=True)):
        form = seen.get((text, kind))
        if form is None:
            found = words(text)
            form = forms.setdefault((" ".join(found) or text.strip(), kind), len(forms))
            seen[text, kind] = form
            if form == len(first):
                first.append(position)
                kind_of.append(kind_numbers.setdefault(kind, len(kind_numbers)))
                flat.extend([numbers.setdefault(word, len(numbers)) for word in set(found)])
                starts.append(len(flat))
        form_of.append(form)
    return WordSets(
        form_of=np.array(form_of, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
        hashes=_numbered(len(numbers))[np.array(flat, dtype=np.int64)],
        kinds=_numbered(len(kind_numbers))[np.array(kind_of, dtype=np.int64)],
        starts=np.array(starts, dtype=np.int64),
    )


def _numbered(count: int) -> Integers:
    """Return so many different well mixed numbers."""
    return mixed(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_SEED))


def first_on(sets: WordSets, low: int, high: int) -> Integers:
    """Return for each form the first of the texts `low` to `high` that has it, or -1."""
    first = np.full(len(sets.first), -1, dtype=np.int64)
    backwards = np.arange(high - 1, low - 1, -1)
    first[sets.form_of[backwards]] = backwards  # the last that is written is the first
    return first


def mixed(values: Integers) -> Integers:
    """Return well mixed 64-bit numbers (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Integers = values ^ (values >> np.uint64(31))
    return mixed


def sketches(sets: WordSets) -> Integers:
    """Return 256 bits a set, or more where sets are large, each the parity of the words that fall on it.

    Two sets' sketches differ in at most as many bits as the sets differ in words.
    """
    rows = len(sets.sizes)
    lanes = 4
    while lanes * 64 < sets.sizes.max(initial=0) and rows * lanes * 8 < _SKETCH_BYTES:
        lanes *= 2
    bits = np.zeros((rows, lanes), dtype=np.uint64)
    owners = np.repeat(np.arange(rows) * lanes, sets.sizes)
    places = owners + (sets.hashes >> np.uint64(6) & np.uint64(lanes - 1)).astype(np.int64)
    np.bitwise_xor.at(bits.reshape(-1), places, np.uint64(1) << (sets.hashes & np.uint64(63)))
    return bits


def bits_apart(sketched: Integers, i: Integers, j: Integers) -> Integers:
    """Return in how many bits the sketches of each pair differ."""
    apart = np.empty(len(i), dtype=np.int64)
    step = max(1, _WORDS_AT_ONCE // sketched.shape[1])
    for at in range(0, len(i), step):
        ours, theirs = sketched[i[at : at + step]], sketched[j[at : at + step]]
        apart[at : at + step] = np.bitwise_count(ours ^ theirs).sum(axis=1, dtype=np.int64)
    return apart


def similarities(sets: WordSets, i: Integers, j: Integers) -> NDArray[np.float64]:
    """Return the exact Jaccard index of each pair."""
    sizes = sets.sizes
    result = np.empty(len(i))
    volume = np.cumsum(sizes[i] + sizes[j])
    begin = 0
    while begin < len(i):
        past = volume[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(volume, past + _WORDS_AT_ONCE)))
        a, b = i[begin:end], j[begin:end]
        shared = _shared_words(sets, a, b)
        result[begin:end] = shared / np.maximum(1, sizes[a] + sizes[b] - shared)
        begin = end
    return result


def _shared_words(sets: WordSets, i: Integers, j: Integers) -> Integers:
    """Return how many words the sets of each pair share."""
    rows = np.arange(len(i))
    sizes = sets.sizes
    owners = np.concatenate([np.repeat(rows, sizes[i]), np.repeat(rows, sizes[j])])
    found = sets.hashes[np.concatenate([places_of(sets, i), places_of(sets, j)])]
    order = np.lexsort((found, owners))
    owners, found = owners[order], found[order]
    twice = (owners[1:] == owners[:-1]) & (found[1:] == found[:-1])
    return np.bincount(owners[1:][twice], minlength=len(i))


def places_of(sets: WordSets, forms: Integers) -> Integers:
    """Return the places of all words of these forms, form after form."""
    sizes = sets.sizes[forms]
    ends = np.cumsum(sizes)
    places: Integers = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
        sets.starts[forms] - (ends - sizes), sizes
    )
    return places
