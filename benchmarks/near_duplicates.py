"""How long verified near-duplicates of a million short rows take, and whether any is missed or wrong.

Makes three kinds of rows (free words, sentences with slots, one pattern), plants near-duplicates among
them, and writes `results/near_duplicates.json`: CPU seconds, peak memory, how many of the planted
pairs were found, and on a sample how many of all pairs brute force finds too. Pin it to one core:
`taskset -c 0 python -m benchmarks.near_duplicates`.
"""

import json
import multiprocessing
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

from selftune.data.likeness.near import THRESHOLD, clusters, near_pairs_between
from selftune.data.likeness.words import normal_form, words

ROWS = 1_000_000
PLANTED = 0.05
"""Share of rows that are another row with one or two words changed, or fewer."""
REPEATED = 0.03
SAMPLE = 4_000
"""Rows of the sample that brute force goes through."""
RESULTS = Path(__file__).parent / "results" / "near_duplicates.json"
LIMIT_SECONDS, LIMIT_MB = 60, 2_000


def main() -> int:
    """Measure each kind in a process of its own, write the result."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    measured = {}
    for kind in KINDS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured[kind] = pool.apply(_measured, (kind, rows))
            print(kind, json.dumps(measured[kind]), flush=True)
    worst = max(found["cpu_seconds"] for found in measured.values())
    most = max(found["peak_mb"] for found in measured.values())
    report = {
        "what": f"near-duplicates (Jaccard of words >= {THRESHOLD}) of {rows:,} short rows, one core",
        "rows": rows,
        "limit_cpu_seconds": LIMIT_SECONDS,
        "limit_mb": LIMIT_MB,
        "slowest_cpu_seconds": worst,
        "most_mb": most,
        "kinds": measured,
        "machine": {**machine(), "used_cores": len(os.sched_getaffinity(0))},
    }
    if rows == ROWS:
        RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if worst < LIMIT_SECONDS and most < LIMIT_MB else 1


def _measured(kind: str, rows: int) -> dict[str, Any]:
    draw = random.Random(7)
    texts, planted = _with_planted(KINDS[kind](draw, rows), draw)
    before = time.process_time()
    found = clusters(texts)
    seconds = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    near = [(i, j) for i, j in planted if _similarity(texts[i], texts[j]) >= THRESHOLD]
    return {
        "cpu_seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        "peak_mb": round(peak),
        "texts_mb": round(sum(len(text) for text in texts) / 1e6),
        "clusters_of_several": _several(found),
        "planted_pairs": len(near),
        "planted_pairs_found": sum(found[i] == found[j] for i, j in near),
        "sample": _against_brute_force(texts, draw),
    }


def _several(found: list[int]) -> int:
    """Return how many clusters have more than one row."""
    return len({first for at, first in enumerate(found) if at != first})


def _against_brute_force(texts: list[str], draw: random.Random) -> dict[str, int]:
    """Compare all pairs of a sample that is dense in near ones: neighbours in the order of words."""
    begin = draw.randrange(max(1, len(texts) - SAMPLE))
    forms = list(dict.fromkeys(map(normal_form, sorted(texts)[begin : begin + SAMPLE])))
    sets = [frozenset(words(form)) for form in forms]
    wanted = {
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if _jaccard(sets[i], sets[j]) >= THRESHOLD
    }
    half = set(range(0, len(forms), 2))
    ours, theirs = forms[::2], forms[1::2]
    found = [(2 * p.first, 2 * p.second + 1) for p in near_pairs_between(ours, theirs)]
    across = {(min(pair), max(pair)) for pair in found}
    expected = {(i, j) for i, j in wanted if (i in half) != (j in half)}
    return {
        "rows": len(forms),
        "pairs_by_brute_force": len(wanted),
        "clusters_differ": int(clusters(forms) != _connected(len(forms), wanted)),
        "pairs_across_by_brute_force": len(expected),
        "rows_across_missed": len(_rows_of(expected) - _rows_of(across)),
        "pairs_across_wrong": len(across - expected),
    }


def _rows_of(pairs: set[tuple[int, int]]) -> set[int]:
    return {at for pair in pairs for at in pair}


def _connected(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    parents = list(range(count))

    def root(at: int) -> int:
        while parents[at] != at:
            at = parents[at]
        return at

    for i, j in sorted(pairs):
        low, high = sorted((root(i), root(j)))
        parents[high] = low
    return [root(at) for at in range(count)]


def _similarity(first: str, second: str) -> float:
    return _jaccard(frozenset(words(first)), frozenset(words(second)))


def _jaccard(ours: frozenset[str], theirs: frozenset[str]) -> float:
    shared = len(ours & theirs)
    return shared / (len(ours) + len(theirs) - shared)


def _with_planted(texts: list[str], draw: random.Random) -> tuple[list[str], list[tuple[int, int]]]:
    """Return texts of which some are others, changed or not, and which pairs were made so."""
    planted: list[tuple[int, int]] = []
    for at in draw.sample(range(1, len(texts)), int(len(texts) * (PLANTED + REPEATED))):
        source = draw.randrange(at)
        changed = texts[source].split()
        if len(planted) < len(texts) * PLANTED:
            for _ in range(draw.randint(1, 2)):
                place = draw.randrange(len(changed))
                if draw.random() < 0.5:
                    changed[place] = f"new{draw.randrange(10_000)}"
                elif len(changed) > 2:
                    del changed[place]
        planted.append((source, at))
        texts[at] = " ".join(changed)
    return texts, planted


def _free_words(draw: random.Random, rows: int) -> list[str]:
    """Return rows of 5 to 21 words, as frequent as words are (Zipf's law, 50,000 of them)."""
    vocabulary = [f"word{n:x}" for n in range(50_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    stream = iter(draw.choices(vocabulary, weights, k=rows * 22))
    return [
        " ".join(next(stream) for _ in range(length)) + "?"
        for length in draw.choices(range(5, 22), k=rows)
    ]


def _sentences_with_slots(draw: random.Random, rows: int) -> list[str]:
    """Return rows of 300 sentences with three slots, each with one of 3,000 words."""
    common = [f"common{n}" for n in range(300)]
    sentences = [
        " ".join(["{}", *draw.choices(common, k=draw.randint(3, 14)), "{} {}"]) for _ in range(300)
    ]
    slots = [f"slot{n}" for n in range(3_000)]
    return [draw.choice(sentences).format(*draw.choices(slots, k=3)) for _ in range(rows)]


def _one_pattern(draw: random.Random, rows: int) -> list[str]:
    """Return rows of one sentence with two slots, each with one of 2,000 words."""
    cities = [f"city{n}" for n in range(2_000)]
    return [
        "Please book a flight from {} to {} on Monday".format(*draw.choices(cities, k=2))
        for _ in range(rows)
    ]


KINDS: dict[str, Callable[[random.Random, int], list[str]]] = {
    "free words": _free_words,
    "sentences with slots": _sentences_with_slots,
    "one pattern": _one_pattern,
}

if __name__ == "__main__":
    sys.exit(main())
