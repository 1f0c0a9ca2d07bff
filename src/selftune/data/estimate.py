"""What a training costs, what requests cost after it, and when it has paid for itself.

Before a cent is spent. Exact tokens, prices with their day, and `unknown` where one is not known.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.data.counting.distribution import Distribution, distribution
from selftune.data.counting.epochs import Epochs, resolve_epochs
from selftune.data.counting.lengths import Lengths, Numbers, Tokenizer, tokenizer_of
from selftune.data.counting.pieces import ASSISTANT, PARTS, SYSTEM, TOOL, TOOLS, USER
from selftune.data.counting.requests import Asked, Payback, RequestCost, paybacks, request_costs
from selftune.data.counting.survey import Survey, lines_of, refuse_without_rows, survey
from selftune.data.read import ReadOptions
from selftune.data.rows import Row
from selftune.models.builtin.heads import parse_number
from selftune.models.catalog import catalog
from selftune.models.costs import training_cost
from selftune.models.open_tokenizer import is_folder_of_a_model
from selftune.models.prices import Prices, load
from selftune.models.trainings import Answers, Duration, duration

_CACHED_FROM, _CACHED_STEP = 1024, 128
"""A shared beginning is cached from 1,024 tokens on, by steps of 128 (OpenAI's guide to prompt
caching)."""
_NUMBER_SHARE, _LABEL_SHARE = 0.97, 0.5
"""As the embedded engine tells numbers and labels from texts (`train/builtin/examples.py`)."""


class EstimateOptions(Record):
    """What to estimate."""

    models: tuple[str, ...] = ()
    """Names, or folders of open models; none means every model that trains on such rows at a known
    price, and the bases of the catalogue."""
    epochs: Literal["auto"] | int = "auto"
    """A number from 1 to 50, or as OpenAI decides it."""
    requests_per_day: Annotated[float, Field(gt=0)] | None = None
    compare: str | None = None
    """A larger model that answers today, with the whole prompt."""
    prices: Path | None = None
    """Your own file of prices."""
    read: ReadOptions = ReadOptions()


class TokenCount(Record):
    """The tokens of the file in one way of counting."""

    tokenizer: str
    example: Distribution
    """Of whole rows; `total` is one epoch."""
    trained: Distribution
    """Of the parts that are learned."""
    parts: dict[str, int]
    """Tokens by part, over all rows."""
    asked: Asked
    """What one request takes, on average."""
    unknown_images: int


class TrainingCost(Record):
    """What one training costs."""

    model: str
    tokenizer: str
    tokens: int
    """Of one epoch, each example cut at the model's limit."""
    epochs: Epochs | None
    """None where the engine decides by looking at the rows."""
    dollars: float | None
    """None is unknown."""
    limit: int | None
    """Tokens of an example; None is unknown."""
    cut_examples: int
    """Examples that are longer than the limit."""
    lost_answers: int
    """Of those, how many lose all of their last answer."""
    is_local: bool
    """Runs on your own machine."""
    duration: Duration | None
    """On your own machine, where like trainings were measured."""
    as_of: str | None
    source: str | None


class Estimate(Record):
    """What data costs."""

    source: str
    examples: int
    unreadable: int
    """Lines that are no rows, left out of every figure."""
    counts: tuple[TokenCount, ...]
    trainings: tuple[TrainingCost, ...]
    requests: tuple[RequestCost, ...]
    paybacks: tuple[Payback, ...]
    notes: tuple[str, ...]
    """What to know before relying on the figures."""


def estimate(
    source: str | Path | Sequence[Row],
    options: EstimateOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Estimate:
    """Return what training on a source costs, and what its requests cost.

    Raises:
        InvalidInput: the source cannot be read or has no chats; prices cannot be read.

    """
    options = options or EstimateOptions()
    prices = load(options.prices)
    resolve_epochs(1, options.epochs)  # refused before anything is read
    wanted = tuple(dict.fromkeys(options.models)) or _usual(prices)
    named = (*wanted, options.compare) if options.compare else wanted
    tokenizers = {model: tokenizer_of(model) for model in named}
    name = str(source) if isinstance(source, str | Path) else ""
    found = survey(lines_of(source, options.read), _distinct(tokenizers.values()), progress)
    _refuse_without_chats(found, name)
    models = wanted if options.models else _suited(wanted, prices, found)
    used = {tokenizers[model].name for model in (*models, options.compare or models[0])}
    counts = {name: _count(name, found) for name in found.lengths if name in used}
    asked = {m: counts[tokenizers[m].name].asked for m in (*models, options.compare or models[0])}
    costs = request_costs(models, prices, asked, options.requests_per_day, options.compare)
    trainings = tuple(_training(m, prices, tokenizers[m].name, found, options) for m in models)
    dollars = {one.model: one.dollars for one in trainings}
    rivals = {model: _rivals(model, options.compare, prices) for model in models}
    return Estimate(
        source=name,
        examples=found.rows,
        unreadable=found.unreadable,
        counts=tuple(counts.values()),
        trainings=trainings,
        requests=costs,
        paybacks=paybacks(costs, dollars, options.requests_per_day, rivals),
        notes=_notes(found, prices, (*models, *filter(None, (options.compare,)))),
    )


def _usual(prices: Prices) -> tuple[str, ...]:
    embedded = (base for base in catalog().base if base.source is None)
    local = [base.id for base in embedded if not base.for_tests]
    return (*(price.id for price in prices.trainable()), *local)


def _suited(models: Sequence[str], prices: Prices, found: Survey) -> tuple[str, ...]:
    """Return those models that train on rows like these."""
    shape = "completion" if set(found.kinds) == {"completion"} else "chat"
    known = {model: prices.find(model) for model in models}
    return tuple(m for m, price in known.items() if price is None or price.trains_on == shape)


def _rivals(model: str, compare: str | None, prices: Prices) -> tuple[str, ...]:
    """Return the model itself and the one to compare with, unless that is the same model."""
    own, other = prices.find(model), prices.find(compare or model)
    is_same = compare in (None, model) or (own is not None and own == other)
    return (model,) if is_same else (model, str(compare))


def _distinct(tokenizers: Iterable[Tokenizer]) -> list[Tokenizer]:
    return list({one.name: one for one in tokenizers}.values())


def _refuse_without_chats(found: Survey, source: str) -> None:
    refuse_without_rows(found, source)
    if set(found.kinds) <= {"fields", "item"}:
        fields = ", ".join(list(found.fields)[:8])
        raise InvalidInput(
            f"{source or 'The source'} has rows of fields ({fields}), not chats: say how a row "
            "becomes a chat with --user and --assistant."
        )


def _count(tokenizer: str, found: Survey) -> TokenCount:
    lengths = found.lengths[tokenizer]
    totals = lengths.parts.sum(axis=0)
    return TokenCount(
        tokenizer=tokenizer,
        example=distribution(lengths.total),
        trained=distribution(lengths.trained),
        parts={name: int(total) for name, total in zip(PARTS, totals, strict=True) if total},
        asked=Asked(
            prompt_tokens=float(lengths.prompt.mean()),
            system_tokens=float(lengths.system.mean()),
            answer_tokens=float(lengths.answer.mean()),
            cached_tokens=_cached(lengths, found.shared_system),
        ),
        unknown_images=int(lengths.images.sum()),
    )


def _cached(lengths: Lengths, shared: Numbers) -> float:
    """Return the tokens of a prompt that a warm cache holds, on average over all rows.

    The beginning that rows share is their system prompt and their tools.
    """
    if not shared.any():
        return 0.0
    beginning = lengths.system[shared] + lengths.parts[shared, TOOLS]
    common = int(beginning.min())
    kept = common // _CACHED_STEP * _CACHED_STEP if common >= _CACHED_FROM else 0
    return float(kept * shared.mean())


def _training(
    model: str, prices: Prices, tokenizer: str, found: Survey, options: EstimateOptions
) -> TrainingCost:
    price = prices.find(model)
    lengths, limit = found.lengths[tokenizer], price.example_limit if price else None
    total = lengths.total
    billed = total if limit is None else total.clip(max=limit)
    is_local = is_folder_of_a_model(model) or (price is not None and price.is_local)
    epochs = resolve_epochs(found.rows, options.epochs)
    rate = 0.0 if is_local else price.training if price else None
    return TrainingCost(
        model=model,
        tokenizer=tokenizer,
        tokens=int(billed.sum()),
        epochs=None if is_local and options.epochs == "auto" else epochs,
        dollars=training_cost(int(billed.sum()), epochs.value, rate),
        limit=limit,
        cut_examples=int((total > billed).sum()),
        lost_answers=int(((total - billed >= lengths.answer) & (total > billed)).sum()),
        is_local=is_local,
        duration=_duration(model, found, lengths, options),
        as_of=price.as_of if price and not price.is_local else None,
        source=price.source if price else None,
    )


def _duration(
    model: str, found: Survey, lengths: Lengths, options: EstimateOptions
) -> Duration | None:
    """Return how long the embedded engine may take; it does not read a system prompt all share."""
    read = int(lengths.parts[:, [SYSTEM, USER, ASSISTANT, TOOL]].sum())
    read -= int(lengths.parts[found.shared_system, SYSTEM].sum())
    epochs = None if options.epochs == "auto" else options.epochs
    base = catalog().root(model)
    return None if base is None else duration(base.id, _answers(found), read, epochs)


def _answers(found: Survey) -> Answers:
    """Return what the rows answer with."""
    counts, total = found.answers.counts, max(found.answers.total, 1)
    numbers = sum(times for text, times in counts.items() if parse_number(text) is not None)
    if numbers >= _NUMBER_SHARE * total and len(counts) > _LABEL_SHARE * total:
        return "numbers"
    return "labels" if len(counts) <= _LABEL_SHARE * total and not found.answers.others else "texts"


def _notes(found: Survey, prices: Prices, models: Sequence[str]) -> tuple[str, ...]:
    priced = {model: prices.find(model) for model in models}
    known = [price for price in priced.values() if price is not None]
    notes = list(dict.fromkeys(price.note for price in known if price.note))
    notes += [
        f"{price.id} is trained by reinforcement, billed at ${price.reinforcement_per_hour:g} for "
        "each hour of its core loop; how long that takes is not known before."
        for price in known
        if price.reinforcement_per_hour is not None
    ]
    notes += _shutdowns(tuple(dict.fromkeys(price.id for price in known)))
    unknown = [model for model, price in priced.items() if price is None]
    unknown = [model for model in unknown if not is_folder_of_a_model(model)]
    if unknown:
        notes.append(f"No price is known of {', '.join(unknown)}: state it with --prices FILE.")
    if any(lengths.system.any() for lengths in found.lengths.values()):
        notes.append(
            "To leave the system prompt out, train on rows without it, which costs less than is "
            "estimated here, and prove that the answers are as good."
        )
    if found.unreadable:
        notes.append(
            f"{found.unreadable} lines are no rows and are not counted: `selftune data check` "
            "names them."
        )
    if any(lengths.images.any() for lengths in found.lengths.values()):
        notes.append("Tokens of images whose detail is not low are not counted: they are unknown.")
    if found.kinds["preference"]:
        notes.append("Preference rows are counted with both answers.")
    if found.kinds["prompt"] and not found.kinds["chat"]:
        notes.append(
            "No row ends with an answer: there is nothing to learn by heart, and the costs of "
            "training by tokens do not apply. Reinforcement takes such rows."
        )
    return tuple(notes)


def _shutdowns(models: Sequence[str]) -> list[str]:
    """Return for each day the models that OpenAI ends on it."""
    ends = {alias.id: alias.shutdown_date for alias in catalog().alias}
    days = sorted({str(ends[model]) for model in models if ends.get(model)})
    return [
        f"OpenAI shuts down on {day}, with their fine-tunes: "
        + ", ".join(model for model in models if ends.get(model) == day)
        + "."
        for day in days
    ]
