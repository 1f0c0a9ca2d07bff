"""Served equals trained: the same log-probabilities from the trainer's model and from what serves.

The trainer reads a whole chat at once through PEFT's layers; the server reads the folder that was
written, token by token through its cache and its own adapters. Where both agree on chats that were
written for this, nothing was lost between them: chat template, tokenizer, base, scale or matrices.
`probes.json` keeps these chats with the trainer's numbers, so that any copy can be checked later.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

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
Ids = Sequence[int]
Precision = Literal["float32", "bfloat16"]


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


def _one_forward(model: Any, ids: Ids, device: torch.device) -> list[float]:
    inputs = torch.tensor([list(ids)], device=device)
    logits = model(input_ids=inputs, use_cache=False).logits[0, :-1].float()
    chosen = torch.log_softmax(logits, dim=-1).gather(1, inputs[0, 1:, None])[:, 0]
    found: list[float] = chosen.tolist()
    return found
