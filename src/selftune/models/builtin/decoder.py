"""The decoder: writes an answer token by token, from a small vocabulary or by copying.

A causal transformer of two layers that also attends to the encoder's states of the question. Its
vocabulary is what the training answers write on their own (`{"name": "`) and the 256 bytes; what
they take from the question (`Patel`) is copied by pointing at it. A token's probability is the sum
over every way to produce it.
"""

import math
from dataclasses import dataclass

import numpy as np

from selftune.models.builtin.copying import Source, continuing
from selftune.models.builtin.tree import END
from selftune.models.builtin.weights import Arrays

WIDE, HEADS, LAYERS = 256, 4, 2
NO_TOKEN = 0
"""Vocabulary index before the first token and after a copy; it is never predicted."""
_EPSILON = 1e-5
_IMPOSSIBLE = -1e9


def positions(start: int, stop: int) -> np.ndarray:
    """Return sinusoids of places, shape (stop - start, WIDE) (Vaswani et al., 2017)."""
    rates = np.exp(-np.log(10000.0) * np.arange(0, WIDE, 2) / WIDE)
    angles = np.arange(start, stop)[:, None] * rates
    both: np.ndarray = np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)
    return both


class Decoder:
    """The decoder's arrays, under the names of `train/builtin/decoder.py`."""

    def __init__(self, arrays: Arrays, longest: int) -> None:
        self.arrays, self.longest = arrays, longest
        self.vocabulary = arrays["vocabulary"].astype(np.int64)
        self.index_of = {int(token): index for index, token in enumerate(self.vocabulary)}

    def linear(self, name: str, value: np.ndarray) -> np.ndarray:
        """Return an affine map of the last axis."""
        result: np.ndarray = value @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]
        return result

    def norm(self, name: str, value: np.ndarray) -> np.ndarray:
        """Return a layer norm of the last axis."""
        centred = value - value.mean(-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(-1, keepdims=True) + _EPSILON)
        weight, bias = self.arrays[f"{name}.weight"], self.arrays[f"{name}.bias"]
        result: np.ndarray = centred / scale * weight + bias
        return result


@dataclass(frozen=True)
class _Written:
    """An answer so far."""

    steps: int
    grown: np.ndarray
    """How many copied tokens in a row each unit of the source would continue."""
    caches: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Keys and values of each layer, shape (HEADS, steps, WIDE / HEADS)."""
    probabilities: np.ndarray
    """Of each token that can follow, in the order of `DecoderDistribution.tokens`."""


class DecoderDistribution:
    """One question's distribution over answers that are written; a `Distribution`."""

    def __init__(self, decoder: Decoder, source: Source) -> None:
        self._decoder, self._source = decoder, source
        every = np.concatenate([decoder.vocabulary[1:], source.tokens])
        self._tokens, self._place = np.unique(every, return_inverse=True)
        self._attended = [self._pair(layer) for layer in range(LAYERS)]
        keys = decoder.linear("key", source.states) + decoder.linear("edge", source.previous)
        keys = keys + decoder.arrays["shapes.weight"][source.shapes]
        self._keys = keys / math.sqrt(WIDE)
        empty = np.zeros((HEADS, 0, WIDE // HEADS), np.float32)
        nothing = np.zeros(len(source.tokens), np.int64)
        self._start = self._step(NO_TOKEN, nothing, ((empty, empty),) * LAYERS, 0)

    def start(self) -> _Written:
        """Return the state before the first token."""
        return self._start

    def following(self, state: object) -> tuple[np.ndarray, np.ndarray]:
        """Return possible next tokens and their probabilities."""
        assert isinstance(state, _Written)
        if state.steps > self._decoder.longest:
            return np.array([END]), np.ones(1)
        return self._tokens, state.probabilities

    def advance(self, state: object, token: int) -> _Written | None:
        """Return the state after a token, or None when this token cannot follow."""
        assert isinstance(state, _Written)
        at = int(np.searchsorted(self._tokens, token))
        if at == len(self._tokens) or self._tokens[at] != token or token == END:
            return None
        matched = self._source.matched(state.grown, token)
        index = self._decoder.index_of.get(token, NO_TOKEN)
        return self._step(index, matched, state.caches, state.steps)

    def _step(
        self,
        before: int,
        matched: np.ndarray,
        caches: tuple[tuple[np.ndarray, np.ndarray], ...],
        place: int,
    ) -> _Written:
        """Read one token and predict the next."""
        decoder, source, arrays = self._decoder, self._source, self._decoder.arrays
        grown = source.grown(matched)
        value = arrays["tokens.weight"][before] * math.sqrt(WIDE) + positions(place, place + 1)[0]
        value = value + decoder.linear("copied", source.around(matched))
        value = value + decoder.linear("coming", source.around(grown))
        kept = []
        for layer, cache in enumerate(caches):
            value, cache = self._layer(layer, value, cache)
            kept.append(cache)
        value = decoder.norm("norm", value)
        words = arrays["tokens.weight"][1:] @ value + arrays["bias"][1:]
        kinds = continuing(source, grown)
        pointers = self._keys @ decoder.linear("point", value) + arrays["continues"][kinds]
        logits = np.concatenate([words, np.where(kinds == 0, _IMPOSSIBLE, pointers)])
        weights = np.exp((logits - logits.max()).astype(np.float64))
        sums = np.bincount(self._place, weights=weights, minlength=len(self._tokens))
        return _Written(place + 1, grown, tuple(kept), sums / sums.sum())

    def _layer(
        self, layer: int, value: np.ndarray, cache: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        decoder, name = self._decoder, f"layers.{layer}"
        qkv = decoder.linear(f"{name}.qkv", decoder.norm(f"{name}.norm1", value))
        query, key, content = qkv.reshape(3, HEADS, 1, -1)
        keys = np.concatenate([cache[0], key], axis=1)
        contents = np.concatenate([cache[1], content], axis=1)
        value = value + decoder.linear(f"{name}.out", _attend(query, keys, contents))
        query = decoder.linear(f"{name}.query", decoder.norm(f"{name}.norm2", value))
        mixed = _attend(query.reshape(HEADS, 1, -1), *self._attended[layer])
        value = value + decoder.linear(f"{name}.mixed", mixed)
        inner = decoder.linear(f"{name}.up", decoder.norm(f"{name}.norm3", value))
        return value + decoder.linear(f"{name}.down", _gelu(inner)), (keys, contents)

    def _pair(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a layer's keys and values of the source, shape (HEADS, units, WIDE / HEADS)."""
        both = self._decoder.linear(f"layers.{layer}.source", self._source.states)
        keys, values = both.reshape(-1, 2, HEADS, WIDE // HEADS).transpose(1, 2, 0, 3)
        return np.ascontiguousarray(keys), np.ascontiguousarray(values)


def _attend(query: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return what one query gets of each head, side by side; zeros when there is nothing."""
    if keys.shape[1] == 0:
        return np.zeros(WIDE, np.float32)
    scores = query @ keys.transpose(0, 2, 1) / math.sqrt(WIDE // HEADS)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed: np.ndarray = (weights / weights.sum(-1, keepdims=True) @ values).reshape(-1)
    return mixed


def _gelu(value: np.ndarray) -> np.ndarray:
    """Return GELU in its tanh form (Hendrycks and Gimpel, 2016)."""
    cubic = math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)
    result: np.ndarray = 0.5 * value * (1 + np.tanh(cubic))
    return result
