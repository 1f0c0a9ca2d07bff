"""Two distributions over answers as one: `p = weight * first + (1 - weight) * second`.

Token by token each part keeps the mass of what was written so far, so that the next token's
probability is exact: a part that did not expect the beginning has no say in the end.
"""

from dataclasses import dataclass

import numpy as np

from selftune.models.builtin.tree import Distribution, probability


@dataclass(frozen=True)
class _Both:
    """The states of both parts, and the share of each; None where a part cannot go on."""

    states: tuple[object | None, object | None]
    shares: tuple[float, float]


class Mixture:
    """A `Distribution` that mixes two."""

    def __init__(self, first: Distribution, second: Distribution, weight: float) -> None:
        self._parts = (first, second)
        self._weight = weight

    def start(self) -> _Both:
        """Return the state before the first token."""
        first, second = self._parts
        return _Both((first.start(), second.start()), (self._weight, 1 - self._weight))

    def following(self, state: object) -> tuple[np.ndarray, np.ndarray]:
        """Return possible next tokens and their probabilities."""
        assert isinstance(state, _Both)
        found = [
            (*part.following(inner), share)
            for part, inner, share in zip(self._parts, state.states, state.shares, strict=True)
            if inner is not None and share > 0
        ]
        tokens, places = np.unique(
            np.concatenate([tokens for tokens, _, _ in found]), return_inverse=True
        )
        masses = np.concatenate([share * probabilities for _, probabilities, share in found])
        return tokens, np.bincount(places, weights=masses, minlength=len(tokens))

    def advance(self, state: object, token: int) -> _Both | None:
        """Return the state after a token, or None when this token cannot follow."""
        assert isinstance(state, _Both)
        states: list[object | None] = [None, None]
        masses = [0.0, 0.0]
        for index, (part, inner) in enumerate(zip(self._parts, state.states, strict=True)):
            if inner is None or state.shares[index] == 0:
                continue
            masses[index] = state.shares[index] * probability(part, inner, token)
            if masses[index] > 0:
                states[index] = part.advance(inner, token)
        total = sum(masses)
        if total == 0:
            return None
        return _Both((states[0], states[1]), (masses[0] / total, masses[1] / total))
