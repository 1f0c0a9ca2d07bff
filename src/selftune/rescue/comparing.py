"""What two sides answered to the same request -> a line of `shadow.jsonl`, and lines -> figures.

The lines hold no texts: whether the answers are the same, how alike they are, and how long they took.
"""

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rapidfuzz.distance import Indel

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.evaluate.statistics.clusters import clustered_mean
from selftune.evaluate.statistics.interval import Interval
from selftune.evaluate.statistics.shares import clustered_share
from selftune.models.messages import calls_text
from selftune.models.noted import Heard, Note
from selftune.rescue.told import Said, said_in

FILE = "shadow.jsonl"
_MOST_ALIKE = 100_000
"""Characters of an answer that are looked at for how alike two are: the time grows by their square."""


class Took(Record):
    """How one side did."""

    status: int
    seconds: float
    completion_tokens: int | None = None


class Pair(Record):
    """One request that both sides answered."""

    at: int
    path: str
    model: str
    replacement: str
    request: str
    """SHA-256 of the request: the same question asked again says less than a new one."""
    is_same: bool | None = None
    """Whether text and calls are the same; None where a side gave no answer."""
    similarity: float | None = None
    """Of the texts, from 0 to 1: the share of characters that stay when one becomes the other."""
    upstream: Took
    shadow: Took


class Shadowed(Record):
    """How a replacement answered beside a model."""

    model: str
    replacement: str
    asked: int
    failed: Interval
    """Share of the requests that upstream answered and the replacement did not."""
    same: Interval | None
    similarity: Interval | None
    upstream_seconds: float | None
    """Median."""
    replacement_seconds: float | None
    slower_seconds: Interval | None
    """Mean of replacement minus upstream, request by request."""


def pair_of(note: Note) -> Pair | None:
    """Return the comparison of a note; None where upstream itself gave no answer to compare with."""
    shadow = note.shadow
    if shadow is None or note.answer.status != 200:
        return None
    try:
        first = said_in(note.path, note.answer)
    except ValueError:
        return None
    try:
        second: Said | None = said_in(note.path, shadow)
    except ValueError:
        second = None
    told = (
        {}
        if second is None
        else {"is_same": _is_same(first, second), "similarity": _alike(first, second)}
    )
    return Pair(
        at=note.at,
        path=note.path,
        model=note.answer.model,
        replacement=shadow.model,
        request=hashlib.sha256(note.request).hexdigest(),
        upstream=_took(note.answer, first),
        shadow=_took(shadow, second),
        **told,
    )


def read_pairs(folder: Path) -> Iterator[Pair]:
    """Yield what was compared, oldest first; a line that was cut by a crash is left out."""
    try:
        with (folder / FILE).open("rb") as handle:
            for line in handle:
                try:
                    yield Pair.model_validate_json(line)
                except ValueError:
                    continue
    except FileNotFoundError:
        return


def shadowed(pairs: Iterable[Pair]) -> tuple[Shadowed, ...]:
    """Return figures by model and replacement."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.model, pair.replacement), []).append(pair)
    return tuple(_figures(model, other, found) for (model, other), found in groups.items())


def _figures(model: str, replacement: str, pairs: list[Pair]) -> Shadowed:
    both = [pair for pair in pairs if pair.is_same is not None]
    asked = [pair.request for pair in both]
    failed = [float(pair.is_same is None) for pair in pairs]
    same = [float(bool(pair.is_same)) for pair in both]
    alike = [pair.similarity or 0.0 for pair in both]
    slower = [pair.shadow.seconds - pair.upstream.seconds for pair in both]
    return Shadowed(
        model=model,
        replacement=replacement,
        asked=len(pairs),
        failed=clustered_share(failed, [pair.request for pair in pairs]),
        same=clustered_share(same, asked) if both else None,
        similarity=clustered_share(alike, asked) if both else None,
        upstream_seconds=_median([pair.upstream.seconds for pair in both]),
        replacement_seconds=_median([pair.shadow.seconds for pair in both]),
        slower_seconds=_mean(slower, asked),
    )


def _mean(values: Sequence[float], groups: Sequence[str]) -> Interval | None:
    try:
        return clustered_mean(values, groups)
    except InvalidInput:  # too few, or all alike: nothing is known of the spread
        return None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _took(heard: Heard, said: Said | None) -> Took:
    usage = None if said is None else said.usage
    return Took(
        status=heard.status,
        seconds=round(heard.seconds, 4),
        completion_tokens=None if usage is None else usage.completion_tokens,
    )


def _is_same(first: Said, second: Said) -> bool:
    return _text(first) == _text(second) and calls_text(first.message) == calls_text(second.message)


def _alike(first: Said, second: Said) -> float:
    return round(Indel.normalized_similarity(_begin(first), _begin(second)), 4)


def _begin(said: Said) -> str:
    return f"{_text(said)}\n{calls_text(said.message)}".strip()[:_MOST_ALIKE]


def _text(said: Said) -> str:
    content = said.message.get("content") or ""  # beside calls, streams say "" and others null
    return content.strip() if isinstance(content, str) else json.dumps(content)
