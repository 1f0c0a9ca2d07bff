"""Put sequences through a model, and return the log-probabilities of the tokens in the loss.

Sequences are padded on the right, which a causal model cannot see, so that no mask is needed; or
packed one after the other, where positions start again at each and attention stays within it.
Logits are computed only for tokens in the loss, and a part of them at a time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from selftune.train.hf.objective import Scores, Tokens

MOST_LOGITS = 1 << 26
"""Logits that are in memory at once, 256 MB of float32; more are computed twice instead of kept."""
_CHECKED_IDS = 48
_TOLERANCE = 1e-4
"""Largest difference of log-probabilities in float32 between two ways of computing the same."""
_TOLERANCE_SHORT = 0.15
"""The same in bfloat16, whose numbers have three digits: two sums in another order differ by it."""


class Forward:
    """One model's way from sequences to log-probabilities."""

    def __init__(self, model: Any, device: torch.device, dtype: torch.dtype) -> None:
        self._model, self._device, self._dtype = model, device, dtype
        self._cap: float | None = getattr(
            model.config.get_text_config(decoder=True), "final_logit_softcapping", None
        )
        self.packing = False
        self._is_split = False
        self._is_split = self._agrees_with_whole()

    def scores(self, sequences: Sequence[Tokens]) -> list[Scores]:
        """Return the scores of each sequence; with gradients where they are enabled."""
        spots = [np.flatnonzero(sequence.weights[1:]) for sequence in sequences]
        counts = [len(spot) for spot in spots]
        targets = np.concatenate(
            [sequence.ids[1:][spot] for sequence, spot in zip(sequences, spots, strict=True)]
        )
        weights = np.concatenate(
            [sequence.weights[1:][spot] for sequence, spot in zip(sequences, spots, strict=True)]
        )
        if not len(targets):
            nothing = torch.zeros(0, device=self._device)
            return [Scores(nothing, nothing.bool(), nothing) for _ in sequences]
        inputs, rows = self._packed(sequences) if self.packing else self._padded(sequences)
        flat = np.concatenate([row + spot for row, spot in zip(rows, spots, strict=True)])
        with torch.autocast(self._device.type, self._dtype, enabled=self._is_short):
            states = self._states(inputs)
            chosen = states.flatten(0, 1)[self._tensor(flat)]
            log_probs, right = self._read(chosen, self._tensor(targets))
        parts = zip(
            torch.split(log_probs, counts),
            torch.split(right, counts),
            torch.split(self._tensor(weights), counts),
            strict=True,
        )
        return [Scores(*part) for part in parts]

    def can_pack(self) -> bool:
        """Return whether packed sequences have the log-probabilities of single ones.

        Many ways of attention do not know of packing, and would let one example read another; so
        it is tried on this very model.
        """
        sequences = _probes(self._model)
        was, self.packing = self.packing, False
        try:
            with torch.no_grad():
                single = torch.cat([self.scores([one])[0].log_probs for one in sequences])
                self.packing = True
                packed = torch.cat([one.log_probs for one in self.scores(sequences)])
        except (RuntimeError, ValueError, TypeError):  # the model refuses positions
            return False
        finally:
            self.packing = was
        return self._is_near(single, packed)

    @property
    def _is_short(self) -> bool:
        return self._dtype != torch.float32

    def _is_near(self, one: Tensor, other: Tensor) -> bool:
        tolerance = _TOLERANCE_SHORT if self._is_short else _TOLERANCE
        return bool((one - other).abs().max() <= tolerance)

    def _agrees_with_whole(self) -> bool:
        """Return whether decoder and head, called one by one, compute what the whole model does."""
        sequences = _probes(self._model)[:1]
        with torch.no_grad():
            whole = self.scores(sequences)[0].log_probs
            self._is_split = True
            try:
                split = self.scores(sequences)[0].log_probs
            except (AttributeError, RuntimeError, TypeError):
                return False
        return self._is_near(whole, split)

    def _states(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return what the head reads; of a model that cannot be split, its logits."""
        if self._is_split:
            found = self._model.get_decoder()(**inputs, use_cache=False).last_hidden_state
        else:
            found = self._model(**inputs, use_cache=False).logits
        assert isinstance(found, Tensor)
        return found

    def _read(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not self._is_split:
            return _read_logits(states, targets)
        head = self._model.get_output_embeddings()
        width = int(head.weight.shape[0])
        if states.shape[0] * width <= MOST_LOGITS:
            return self._read_part(head, states, targets)
        size = max(1, MOST_LOGITS // width)
        parts = [
            checkpoint(self._read_part, head, some, wanted, use_reentrant=False)
            for some, wanted in zip(
                torch.split(states, size), torch.split(targets, size), strict=True
            )
        ]
        log_probs, right = zip(*parts, strict=True)
        return torch.cat(log_probs), torch.cat(right)

    def _read_part(self, head: nn.Module, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(states)
        if self._cap is not None:
            logits = torch.tanh(logits / self._cap) * self._cap
        return _read_logits(logits, targets)

    def _padded(self, sequences: Sequence[Tokens]) -> tuple[dict[str, Tensor], list[int]]:
        longest = max(len(sequence.ids) for sequence in sequences)
        ids = np.zeros((len(sequences), longest), np.int64)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence.ids)] = sequence.ids
        return {"input_ids": self._tensor(ids)}, [n * longest for n in range(len(sequences))]

    def _packed(self, sequences: Sequence[Tokens]) -> tuple[dict[str, Tensor], list[int]]:
        lengths = [len(sequence.ids) for sequence in sequences]
        ids = np.concatenate([sequence.ids for sequence in sequences]).astype(np.int64)
        positions = np.concatenate([np.arange(length) for length in lengths])
        inputs = {
            "input_ids": self._tensor(ids[None]),
            "position_ids": self._tensor(positions[None]),
        }
        return inputs, [0, *np.cumsum(lengths[:-1]).tolist()]

    def _tensor(self, values: np.ndarray) -> Tensor:
        if values.dtype.kind == "i":
            values = values.astype(np.int64)
        return torch.from_numpy(values).to(self._device, non_blocking=True)


def _read_logits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return each target's log-probability in float32, and whether it is the likeliest token."""
    log_probs = -functional.cross_entropy(logits.float(), targets, reduction="none")
    return log_probs, logits.detach().argmax(-1) == targets


def _probes(model: Any) -> list[Tokens]:
    """Return sequences of any tokens: what they say has no influence on how they are computed."""
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    drawn = np.random.default_rng(0).integers(0, vocabulary, _CHECKED_IDS).astype(np.int32)
    parts = (drawn[:24], drawn[24:31], drawn[31:])
    return [Tokens(part, np.ones(len(part), np.float32)) for part in parts]
