"""Draw the next token of every answer in a batch, each as its own sampling parameters say.

Log-probabilities are the model's own: before temperature, top_p, bias, penalties and grammar.
One number of the answer's own generator is used for each token, so that a seed gives the same
answer whoever else is in the batch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from selftune.core.errors import InvalidInput
from selftune.models.sampler import Sampling


@dataclass
class Drawing:
    """How one answer draws, and what it has drawn."""

    sampling: Sampling
    random: np.random.Generator
    used: Counter[int] = field(default_factory=Counter)
    allowed: np.ndarray | None = None
    """Bits of the tokens that a grammar allows next, 32 to a word; None allows all."""

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, with nothing to chance."""
        return self.sampling.temperature == 0 or self.sampling.top_p == 0

    def changes(self) -> Mapping[int, float]:
        """Return what is added to logits: OpenAI's bias, less its penalties for repetition."""
        sampling = self.sampling
        found = dict(sampling.logit_bias)
        if sampling.presence_penalty or sampling.frequency_penalty:
            for token, times in self.used.items():
                penalty = sampling.presence_penalty + sampling.frequency_penalty * times
                found[token] = found.get(token, 0.0) - penalty
        return found


class Drawn(NamedTuple):
    """One token of one answer."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens with their log-probabilities, as many as were asked for."""


def begin(sampling: Sampling, choice: int) -> Drawing:
    """Return how one of the `n` answers draws; with a seed, the same way every time."""
    seed = None if sampling.seed is None else [abs(sampling.seed), choice]
    return Drawing(sampling, np.random.default_rng(seed))


def check_bias(sampling: Sampling, vocabulary: int) -> None:
    """Refuse a bias for a token that the model does not have.

    Raises:
        InvalidInput: in OpenAI's words.

    """
    for token in sampling.logit_bias:
        if not 0 <= token < vocabulary:
            raise InvalidInput(
                f"Invalid key in 'logit_bias': {token}. Token ids of this model are from 0 to "
                f"{vocabulary - 1}.",
                code="invalid_value",
                param="logit_bias",
            )


def draw(logits: torch.Tensor, drawings: Sequence[Drawing]) -> list[Drawn | None]:
    """Draw a token for every row; None where the model's own numbers are not finite.

    `logits` has the shape (rows, vocabulary) and stays as it is.
    """
    own = logits.float()
    norms = own.logsumexp(dim=-1)
    chosen = _choose(_adjusted(own, drawings), drawings)
    logprobs = own.gather(1, chosen[:, None])[:, 0] - norms
    tops = _tops(own, norms, drawings)
    ids, numbers, sound = chosen.tolist(), logprobs.tolist(), torch.isfinite(norms).tolist()
    found: list[Drawn | None] = []
    for row, drawing in enumerate(drawings):
        if not sound[row]:
            found.append(None)
            continue
        drawing.used[ids[row]] += 1
        found.append(Drawn(ids[row], numbers[row], tops.get(row, ())))
    return found


def _adjusted(own: torch.Tensor, drawings: Sequence[Drawing]) -> torch.Tensor:
    rows, tokens, changes = [], [], []
    for row, drawing in enumerate(drawings):
        for token, change in drawing.changes().items():
            rows.append(row)
            tokens.append(token)
            changes.append(change)
    held = [row for row, drawing in enumerate(drawings) if drawing.allowed is not None]
    if not rows and not held:
        return own
    adjusted = own.clone()
    if rows:
        where = torch.tensor(rows, device=own.device), torch.tensor(tokens, device=own.device)
        amounts = torch.tensor(changes, dtype=own.dtype, device=own.device)
        adjusted.index_put_(where, amounts, accumulate=True)
    if held:
        words = np.stack([words for drawing in drawings if (words := drawing.allowed) is not None])
        barred = torch.from_numpy(_barred(words, own.shape[1])).to(own.device)
        places = torch.tensor(held, device=own.device)
        adjusted[places] = adjusted[places].masked_fill(barred, -torch.inf)
    return adjusted


def _barred(words: np.ndarray, vocabulary: int) -> np.ndarray:
    """Return which tokens the bits do not allow, shape (rows, vocabulary)."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")[:, :vocabulary]
    missing = vocabulary - bits.shape[1]
    if missing > 0:  # rows of the model that the tokenizer has no token for
        bits = np.pad(bits, ((0, 0), (0, missing)))
    barred: np.ndarray = bits == 0
    return barred


def _choose(adjusted: torch.Tensor, drawings: Sequence[Drawing]) -> torch.Tensor:
    chosen = adjusted.argmax(dim=-1)
    by_chance = [row for row, drawing in enumerate(drawings) if not drawing.greedy]
    whole = [row for row in by_chance if drawings[row].sampling.top_p == 1]
    part = [row for row in by_chance if drawings[row].sampling.top_p < 1]
    for rows in (whole, part):
        if rows:
            places = torch.tensor(rows, device=adjusted.device)
            few = [drawings[row] for row in rows]
            chosen[places] = _by_chance(adjusted[places], few, nucleus=rows is part)
    return chosen


def _by_chance(logits: torch.Tensor, drawings: Sequence[Drawing], *, nucleus: bool) -> torch.Tensor:
    device = logits.device
    temperatures = [drawing.sampling.temperature for drawing in drawings]
    logits = logits - logits.amax(dim=-1, keepdim=True)  # so that a low temperature overflows not
    logits = logits.double() / torch.tensor(temperatures, device=device).double()[:, None]
    weights = torch.softmax(logits, dim=-1)
    order = None
    if nucleus:
        weights, order = weights.sort(dim=-1, descending=True, stable=True)
        shares = torch.tensor([drawing.sampling.top_p for drawing in drawings], device=device)
        before = weights.cumsum(dim=-1) - weights
        weights = weights.masked_fill(before >= shares.double()[:, None], 0.0)
        # The likeliest token has nothing before it, so at least one is left.
    sums = weights.cumsum(dim=-1)
    numbers = torch.tensor([drawing.random.random() for drawing in drawings], device=device)
    total = sums[:, -1]
    reached = torch.minimum(
        numbers.double() * total, torch.nextafter(total, torch.zeros_like(total))
    )
    places = torch.searchsorted(sums, reached[:, None], right=True)
    if order is not None:
        places = order.gather(1, places)
    return places[:, 0]


def _tops(
    own: torch.Tensor, norms: torch.Tensor, drawings: Sequence[Drawing]
) -> dict[int, tuple[tuple[int, float], ...]]:
    counts = {
        row: count
        for row, drawing in enumerate(drawings)
        if (count := drawing.sampling.top_logprobs)
    }
    if not counts:
        return {}
    places = torch.tensor(list(counts), device=own.device)
    most = min(max(counts.values()), own.shape[1])
    values, tokens = own[places].topk(most, dim=-1)
    logprobs = (values - norms[places, None]).tolist()
    ids = tokens.tolist()
    return {
        row: tuple(zip(ids[at][:count], logprobs[at][:count], strict=True))
        for at, (row, count) in enumerate(counts.items())
    }
