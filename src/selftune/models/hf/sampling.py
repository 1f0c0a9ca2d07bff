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

_COLDEST = 1e-30
"""Temperatures below mean the same: the likeliest token."""
_BLOCK = 512
_NUCLEUS = 1024
"""Tokens that top_p looks at first; sorting a vocabulary takes sixty times as long."""


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

    @property
    def counts(self) -> bool:
        """Whether it matters how often a token was drawn."""
        return bool(self.sampling.presence_penalty or self.sampling.frequency_penalty)

    def changes(self) -> Mapping[int, float]:
        """Return what is added to logits: OpenAI's bias, less its penalties for repetition."""
        sampling = self.sampling
        found = dict(sampling.logit_bias)
        if self.counts:
            for token, times in self.used.items():
                penalty = sampling.presence_penalty + sampling.frequency_penalty * times
                found[token] = found.get(token, 0.0) - penalty
        return found


class Drawn(NamedTuple):
    """One token of one answer."""

    id: int
    logprob: float
    """0 where nobody asked for it."""
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
    sound = torch.isfinite(own.amax(dim=-1)).tolist()
    chosen = _choose(_adjusted(own, drawings), drawings)
    known = _known(own, chosen, drawings)
    found: list[Drawn | None] = []
    for row, (token, drawing) in enumerate(zip(chosen.tolist(), drawings, strict=True)):
        if not sound[row]:
            found.append(None)
            continue
        if drawing.counts:
            drawing.used[token] += 1
        found.append(Drawn(token, *known.get(row, (0.0, ()))))
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
    greedy = [row for row, drawing in enumerate(drawings) if drawing.greedy]
    if len(greedy) == len(drawings):
        return _likeliest(adjusted)
    chosen = torch.empty(len(drawings), dtype=torch.long, device=adjusted.device)
    by_chance = [row for row, drawing in enumerate(drawings) if not drawing.greedy]
    whole = [row for row in by_chance if drawings[row].sampling.top_p == 1]
    part = [row for row in by_chance if drawings[row].sampling.top_p < 1]
    for rows in (greedy, whole, part):
        if rows:
            places = torch.tensor(rows, device=adjusted.device)
            some = adjusted if len(rows) == len(drawings) else adjusted[places]
            few = [drawings[row] for row in rows]
            chosen[places] = (
                _likeliest(some) if rows is greedy else _by_chance(some, few, whole=rows is whole)
            )
    return chosen


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    if logits.device.type == "cpu":  # numpy is six times as fast as torch here
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


def _by_chance(logits: torch.Tensor, drawings: Sequence[Drawing], *, whole: bool) -> torch.Tensor:
    device = logits.device
    temperatures = [max(_COLDEST, drawing.sampling.temperature) for drawing in drawings]
    if any(temperature != 1 for temperature in temperatures):
        logits = logits - logits.amax(dim=-1, keepdim=True)  # so that a low one overflows not
        logits.div_(torch.tensor(temperatures, device=device)[:, None])
    weights = torch.softmax(logits, dim=-1)
    numbers = [drawing.random.random() for drawing in drawings]
    chances = torch.tensor(numbers, dtype=torch.float64, device=device)
    if whole:
        return _reached(weights, chances)
    shares = torch.tensor(
        [drawing.sampling.top_p for drawing in drawings], dtype=torch.float64, device=device
    )
    return _reached_in_nucleus(weights, chances, shares)


def _reached(weights: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """Return the place of each row where the sum of weights first exceeds a part of the whole.

    A block is found by the blocks' sums, then the place in the block: a running sum over a whole
    vocabulary takes ten times as long.
    """
    rows, size = weights.shape
    blocks = torch.nn.functional.pad(weights, (0, -size % _BLOCK)).view(rows, -1, _BLOCK)
    sums = blocks.sum(dim=-1).double().cumsum(dim=-1)
    aims = chances * sums[:, -1]
    block = _first_above(sums, aims)
    before = torch.nn.functional.pad(sums, (1, 0)).gather(1, block)[:, 0]
    inside = blocks[torch.arange(rows, device=weights.device), block[:, 0]].double().cumsum(dim=-1)
    return (block * _BLOCK + _first_above(inside, aims - before))[:, 0]


def _reached_in_nucleus(
    weights: torch.Tensor, chances: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Return the same among the likeliest tokens that have a share of the whole together."""
    few = min(_NUCLEUS, weights.shape[1])
    likeliest, order = weights.topk(few, dim=-1)
    found = _cut(likeliest, order, chances, shares)
    wide = likeliest.double().sum(dim=-1) < shares
    if few < weights.shape[1] and bool(wide.any()):
        whole, all_of_them = weights[wide].sort(dim=-1, descending=True, stable=True)
        found[wide] = _cut(whole, all_of_them, chances[wide], shares[wide])
    return found


def _cut(
    ordered: torch.Tensor, order: torch.Tensor, chances: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    ordered = ordered.double()
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= shares[:, None], 0.0)
    # The likeliest token has nothing before it, so at least one is left.
    sums = kept.cumsum(dim=-1)
    return order.gather(1, _first_above(sums, chances * sums[:, -1]))[:, 0]


def _first_above(sums: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
    """Return the first place of each row with a sum above the aim, shape (rows, 1).

    Rounding may bring an aim to the last sum or over it. A weight of nothing is never chosen.
    """
    last = sums[:, -1]
    aims = torch.minimum(aims, torch.nextafter(last, torch.zeros_like(last)))
    places = torch.searchsorted(sums, aims[:, None], right=True)
    return places.clamp(max=sums.shape[1] - 1)  # where numbers are not finite


def _known(
    own: torch.Tensor, chosen: torch.Tensor, drawings: Sequence[Drawing]
) -> dict[int, tuple[float, tuple[tuple[int, float], ...]]]:
    """Return the log-probability of what was chosen and the alternatives, of rows that ask."""
    counts = {
        row: drawing.sampling.top_logprobs
        for row, drawing in enumerate(drawings)
        if drawing.sampling.logprobs or drawing.sampling.top_logprobs
    }
    if not counts:
        return {}
    places = torch.tensor(list(counts), device=own.device)
    logits = own if len(counts) == len(drawings) else own[places]
    logprobs = torch.log_softmax(logits, dim=-1)
    numbers = logprobs.gather(1, chosen[places][:, None])[:, 0].tolist()
    most = min(max(counts.values()), own.shape[1])
    values, tokens = logprobs.topk(most, dim=-1)
    best = [
        list(zip(*each, strict=True)) for each in zip(tokens.tolist(), values.tolist(), strict=True)
    ]
    return {
        row: (numbers[at], tuple(best[at][:count]))
        for at, (row, count) in enumerate(counts.items())
    }
