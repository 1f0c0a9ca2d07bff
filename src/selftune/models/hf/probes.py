"""Served equals trained: the same log-probabilities from the trainer's model and from what serves.

The trainer reads a whole chat at once through PEFT's layers; the server reads the folder that was
written, token by token through its cache and its own adapters. Where both agree on chats that were
written for this, nothing was lost between them: chat template, tokenizer, base, scale or matrices.
`probes.json` keeps these chats with the trainer's numbers, so that any copy can be checked later.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError

from selftune.core.canonical import canonical_json
from selftune.core.errors import InvalidInput, JobFailed, SelftuneError
from selftune.core.records import Record
from selftune.models.hf.probe_chats import CHATS

FILE = "probes.json"
CODE = "served_differs"
_FEWEST = 3
"""Probe chats that a template must be able to write; some know no system message and no tools."""
_MOST_TOKENS = 512
"""Of one sequence of the job's own."""
_SLOPE = 0.25
"""How far what the training changed may be off, as a share, where rounding hides the numbers."""
_CLEAR = 2.5
"""How many times larger than rounding a change must be for its share to mean anything."""

Ids = Sequence[int]
Score = Callable[[list[list[int]]], list[list[float]]]
"""Log-probabilities of each token after the first, by the path that serves."""
Precision = Literal["float32", "bfloat16"]


class Tolerance(Record):
    """Largest differences of log-probabilities that rounding explains."""

    mean: float
    largest: float


TOLERANCES: dict[Precision, Tolerance] = {
    "float32": Tolerance(mean=1e-4, largest=5e-3),
    "bfloat16": Tolerance(mean=0.05, largest=1.0),
}
"""Between one forward and a cache, token by token, of Llama-, Qwen- and Gemma-shaped models with 2 and
8 layers and logits as sharp as real ones, we measured up to 2.5e-6 on average and 2e-5 at most in
float32, and 0.024 and 0.31 in bfloat16; larger models round more often, hence the room."""


class Scored(Record):
    """One probe chat and what the trained model said."""

    name: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token after the first."""
    before: tuple[float, ...] = ()
    """The same by the base, without what was trained; empty where that is not known."""


class Probes(Record):
    """What `probes.json` holds."""

    format: Literal[1] = 1
    precision: Precision
    probes: tuple[Scored, ...] = Field(min_length=1)


class Agreement(Record):
    """How near what is served is to what was trained."""

    tokens: int
    mean: float
    """Of the differences of log-probabilities."""
    largest: float
    share: float | None = None
    """Of what the training changed that is served: 1 is all; None where rounding hides it."""
    precision: Precision

    @property
    def words(self) -> str:
        """The figures in words."""
        return (
            f"log-probabilities of {self.tokens} tokens differ by {self.mean:.2g} on average and "
            f"by {self.largest:.2g} at most ({self.precision})"
        )


def render(renderer: Any) -> dict[str, tuple[int, ...]]:
    """Return the tokens of each probe chat that a renderer's template can write.

    Raises:
        JobFailed: it can write too few.

    """
    found: dict[str, tuple[int, ...]] = {}
    refusal = ""
    for name, row in CHATS.items():
        try:
            sequences = renderer.training(row, renderer.context)
        except SelftuneError as error:
            refusal = error.message
            continue
        if sequences:  # the last one is the whole chat
            found[name] = tuple(int(token) for token in sequences[-1].ids)
    if len(found) < _FEWEST:
        raise JobFailed(
            f"The chat template can write {len(found)} of {len(CHATS)} probe chats, so it cannot be "
            f"shown that what is served is what was trained: {refusal}",
            code=CODE,
        )
    return found


def trained_scores(
    model: Any, sequences: Sequence[Ids], dtype: torch.dtype | None = None
) -> list[list[float]]:
    """Return the log-probability of each token after the first: one forward of each sequence.

    `model` is a transformers model, or what PEFT made of one; it is left as it was.
    """
    was_training = bool(model.training)
    device = next(model.parameters()).device
    is_short = dtype is not None and dtype != torch.float32
    around: AbstractContextManager[Any] = (
        torch.autocast(device.type, dtype) if is_short else nullcontext()
    )
    torch.nn.Module.train(model, False)
    try:
        with torch.no_grad(), around:
            return [_one_forward(model, ids, device) for ids in sequences]
    finally:
        torch.nn.Module.train(model, was_training)


def make_probes(
    renderer: Any, model: Any, precision: Precision, extra: Sequence[Ids] = ()
) -> tuple[Probes, tuple[Scored, ...]]:
    """Return the probe chats with the trained model's numbers, and the same of the job's own rows.

    The second part has users' tokens and is never written.
    """
    chats = render(renderer)
    own = {f"row {number}": tuple(ids[:_MOST_TOKENS]) for number, ids in enumerate(extra, 1)}
    named = {name: ids for name, ids in (chats | own).items() if len(ids) > 1}
    sequences, dtype = list(named.values()), getattr(torch, precision)
    after = trained_scores(model, sequences, dtype)
    before: list[list[float]] = [[] for _ in sequences]
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            before = trained_scores(model, sequences, dtype)
    scored = [
        Scored(name=name, ids=ids, logprobs=tuple(logprobs), before=tuple(base))
        for (name, ids), logprobs, base in zip(named.items(), after, before, strict=True)
    ]
    kept = tuple(one for one in scored if one.name in chats)
    return Probes(precision=precision, probes=kept), tuple(scored[len(kept) :])


def write_probes(folder: Path, probes: Probes) -> None:
    """Keep the probe chats in a model's folder."""
    (folder / FILE).write_text(canonical_json(probes.model_dump(mode="json")), encoding="utf-8")


def read_probes(folder: Path) -> Probes:
    """Return what a folder's `probes.json` holds.

    Raises:
        InvalidInput: there is none, or it is damaged.

    """
    path = folder / FILE
    try:
        return Probes.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInput(
            f"{str(folder)!r} has no {FILE}: only models that selftune trained can be checked.",
            code="no_probes",
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{str(path)!r} is damaged.", code="no_probes") from error


def compare(
    scored: Sequence[Scored], score: Score, precision: Precision, renderer: Any = None
) -> Agreement:
    """Compare what was trained with what serves; with a renderer, how chats are written too.

    Raises:
        JobFailed: they differ by more than rounding; says what and by how much.

    """
    if renderer is not None:
        _compare_tokens({one.name: one.ids for one in scored}, render(renderer))
    served = score([list(one.ids) for one in scored])
    trained = np.array([value for one in scored for value in one.logprobs])
    found = np.array([value for values in served for value in values])
    if trained.shape != found.shape:
        raise JobFailed(
            f"The served model scored {found.size} tokens of {trained.size}.", code=CODE
        )
    if not np.isfinite(found).all() or not np.isfinite(trained).all():
        raise JobFailed("Log-probabilities are not finite numbers.", code=CODE)
    gaps = np.abs(found - trained)
    before = np.array([value for one in scored for value in one.before])
    agreement = Agreement(
        tokens=int(gaps.size),
        mean=float(gaps.mean()),
        largest=float(gaps.max()),
        share=_share(before, trained, found) if before.shape == trained.shape else None,
        precision=precision,
    )
    _judge(agreement, scored, gaps)
    return agreement


def _judge(agreement: Agreement, scored: Sequence[Scored], gaps: "np.ndarray[Any, Any]") -> None:
    limit = TOLERANCES[agreement.precision]
    share = agreement.share
    is_near = agreement.mean <= limit.mean and agreement.largest <= limit.largest
    if is_near and (share is None or abs(share - 1) <= _SLOPE):
        return
    lengths = [len(one.logprobs) for one in scored]
    worst = np.repeat(np.arange(len(lengths)), lengths)[int(gaps.argmax())]
    served = (
        f", and {share:.0%} of what the training changed is served" if share is not None else ""
    )
    raise JobFailed(
        f"What is served is not what was trained: {agreement.words}{served}; most on the probe "
        f"{scored[int(worst)].name!r}. Rounding explains {limit.mean:g} on average and "
        f"{limit.largest:g} at most. The model's files, its base or their scale differ from those "
        "of the training.",
        code=CODE,
    )


def _share(
    before: "np.ndarray[Any, Any]",
    trained: "np.ndarray[Any, Any]",
    served: "np.ndarray[Any, Any]",
) -> float | None:
    """Return which share of the change by training is served: the slope of a line through zero.

    It sees a wrong scale where each single difference is within rounding. Rounding blurs the change
    itself too, which would pull the slope to zero: small changes have none.
    """
    change, found = trained - before, served - before
    size = float(change @ change)
    if not size:
        return None
    slope = float(change @ found) / size
    rest = found - slope * change
    is_clear = size >= _CLEAR**2 * max(float(rest @ rest), 1e-12 * size)
    return slope if is_clear else None


def _compare_tokens(
    kept: Mapping[str, tuple[int, ...]], rendered: Mapping[str, tuple[int, ...]]
) -> None:
    for name, ids in kept.items():
        if name in CHATS and rendered.get(name) != ids:
            raise JobFailed(
                f"The probe chat {name!r} is written in other tokens than in training: the chat "
                "template or the tokenizer was changed.",
                code=CODE,
            )


def _one_forward(model: Any, ids: Ids, device: torch.device) -> list[float]:
    inputs = torch.tensor([list(ids)], device=device)
    logits = model(input_ids=inputs, use_cache=False).logits[0, :-1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(1, inputs[0, 1:, None])[:, 0]
    found: list[float] = chosen.tolist()
    return found
