"""What is in a source: rows, roles, lengths, prompts, answers, and one example as a model sees it."""

from collections.abc import Callable, Iterable, Sequence
from math import log2
from pathlib import Path

from selftune.core.records import Record
from selftune.data.counting.distribution import Bin, Distribution, distribution, histogram
from selftune.data.counting.lengths import tokenizer_of
from selftune.data.counting.pieces import PARTS
from selftune.data.counting.survey import (
    Example,
    Survey,
    Tally,
    lines_of,
    refuse_without_rows,
    survey,
)
from selftune.data.describing.rendering import Segment, render
from selftune.data.problems import Problem
from selftune.data.read import ReadOptions
from selftune.data.rows import Line, Row, answer_text, prompt_text
from selftune.models.catalog import catalog

_SHOWN_TEXTS, _SHOWN_CHARACTERS = 12, 300
_SHARED = 0.9
"""Share of rows with one system prompt from which on the embedded model does not read it."""
_CLOSED_SHARE, _CLOSED_MOST = 0.5, 1000
DEFAULT_MODEL = "gpt-4o-mini"


class Share(Record):
    """A text and how many rows have it."""

    text: str
    """Shortened."""
    rows: int
    share: float


class Texts(Record):
    """Texts of one kind, over all rows."""

    rows: int
    distinct: int
    """Exact up to 20,000; more are not told apart."""
    empty: int
    """Rows without one."""
    most: tuple[Share, ...]
    """The commonest."""
    entropy_bits: float
    """Of the choice of text: 0 where all are one, log2(distinct) where all are equally common."""
    evenness: float | None
    """Entropy as a share of the most that it could be; None with one text only."""


class Answers(Texts):
    """What rows answer."""

    is_closed: bool
    """At most half as many different answers as rows, and at most 1,000."""
    rarest: tuple[Share, ...]


class Field(Record):
    """One field of rows that are no chats."""

    name: str
    texts: Texts


class PartOfRows(Record):
    """One part of rows: the texts of a role, definitions of tools, overhead."""

    name: str
    share: float
    """Of all tokens."""
    tokens: Distribution
    """Over all rows."""


class Excerpt(Record):
    """A row that stands out, shortened."""

    line: int
    tokens: int
    prompt: str
    answer: str


class Rendered(Record):
    """One row as a model sees it."""

    line: int
    model: str
    segments: tuple[Segment, ...]


class Description(Record):
    """What is in a source."""

    source: str
    rows: int
    unreadable: int
    """Lines that are no rows."""
    problems: tuple[Problem, ...]
    """The first twenty of those."""
    model: str
    tokenizer: str
    kinds: dict[str, int]
    roles: dict[str, int]
    """Messages by role."""
    turns: dict[int, int]
    """Rows by their number of answers."""
    tokens: Distribution
    """Of whole rows."""
    histogram: tuple[Bin, ...]
    parts: tuple[PartOfRows, ...]
    trained: Distribution
    """Of what a training learns to write."""
    trained_histogram: tuple[Bin, ...]
    systems: Texts
    answers: Answers
    fields: tuple[Field, ...]
    with_tools: int
    with_images: int
    with_weights: int
    """Rows of which some answer has weight 0 and is not learned."""
    shortest: tuple[Excerpt, ...]
    longest: tuple[Excerpt, ...]
    example: Rendered


def describe(
    source: str | Path | Sequence[Row],
    model: str = DEFAULT_MODEL,
    read: ReadOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Description:
    """Return what is in a source, counted and rendered for a model.

    Raises:
        InvalidInput: the source cannot be read, or has no rows.

    """
    tokenizer = tokenizer_of(model)
    name = str(source) if isinstance(source, str | Path) else ""
    found = survey(lines_of(source, read), [tokenizer], progress)
    refuse_without_rows(found, name)
    lengths = found.lengths[tokenizer.name]
    example = found.first or Line(0, {})
    segments = render(
        example.row or {},
        tokenizer,
        embedded=_is_embedded(model),
        reads_system=bool(found.shared_system.mean() <= _SHARED),
    )
    return Description(
        source=name,
        rows=found.rows,
        unreadable=found.unreadable,
        problems=tuple(found.problems),
        model=model,
        tokenizer=tokenizer.name,
        kinds=dict(found.kinds.most_common()),
        roles=dict(found.roles.most_common()),
        turns=dict(sorted(found.turns.items())),
        tokens=distribution(lengths.total),
        histogram=histogram(lengths.total),
        parts=_parts(found, tokenizer.name),
        trained=distribution(lengths.trained),
        trained_histogram=histogram(lengths.trained),
        systems=_texts(found.systems),
        answers=_answers(found.answers),
        fields=tuple(Field(name=n, texts=_texts(tally)) for n, tally in found.fields.items()),
        with_tools=found.with_tools,
        with_images=found.with_images,
        with_weights=found.unweighted,
        shortest=tuple(_excerpt(one) for one in found.shortest),
        longest=tuple(_excerpt(one) for one in found.longest),
        example=Rendered(line=example.number, model=model, segments=segments),
    )


def _is_embedded(model: str) -> bool:
    base = catalog().root(model)
    return base is not None and base.engine == "builtin"


def _parts(found: Survey, tokenizer: str) -> tuple[PartOfRows, ...]:
    parts = found.lengths[tokenizer].parts
    whole = int(parts.sum()) or 1
    return tuple(
        PartOfRows(name=name, share=int(column.sum()) / whole, tokens=distribution(column))
        for name, column in zip(PARTS, parts.T, strict=True)
        if column.any()
    )


def _texts(tally: Tally) -> Texts:
    counts, total = tally.counts, tally.total
    present = {text: times for text, times in counts.items() if text.strip()}
    shares = [times / total for times in counts.values()]
    entropy = -sum(share * log2(share) for share in shares) if shares else 0.0
    return Texts(
        rows=total,
        distinct=len(present),
        empty=total - tally.others - sum(present.values()),
        most=_shares(counts.most_common(_SHOWN_TEXTS), total),
        entropy_bits=entropy + 0.0,
        evenness=entropy / log2(len(counts)) if len(counts) > 1 else None,
    )


def _answers(tally: Tally) -> Answers:
    texts = _texts(tally)
    least = sorted(tally.counts.items(), key=lambda item: (item[1], item[0]))[:_SHOWN_TEXTS]
    is_closed = 0 < texts.distinct <= min(_CLOSED_MOST, _CLOSED_SHARE * tally.total)
    return Answers(
        **texts.model_dump(),
        is_closed=is_closed and not tally.others,
        rarest=_shares(least, tally.total),
    )


def _shares(items: Iterable[tuple[str, int]], total: int) -> tuple[Share, ...]:
    return tuple(Share(text=_short(text), rows=n, share=n / total) for text, n in items)


def _excerpt(example: Example) -> Excerpt:
    row = example.line.row or {}
    return Excerpt(
        line=example.line.number,
        tokens=example.tokens,
        prompt=_short(prompt_text(row)),
        answer=_short(answer_text(row)),
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
