"""Draw answers from a distribution, one token at a time, as OpenAI's sampling parameters say.

Log-probabilities are the model's own, before temperature, top_p, bias and penalties.
"""

import codecs
from collections import Counter
from collections.abc import Sequence

import numpy as np

from selftune.models.builtin.tree import END, Distribution
from selftune.models.sampler import Alternative, Choice, Sampling, Token
from selftune.models.tokens import token_bytes

NEVER = -9999.0
"""OpenAI's stand-in for the logarithm of zero."""
LONGEST = 4096
"""Tokens after which an answer without an end is cut."""


def generate(distribution: Distribution, sampling: Sampling) -> tuple[Choice, ...]:
    """Return `n` answers; with a seed, the same ones every time."""
    return tuple(_answer(distribution, sampling, index) for index in range(sampling.n))


def likeliest(distribution: Distribution) -> str:
    """Return the answer that taking the likeliest token each time gives."""
    return generate(distribution, Sampling(temperature=0))[0].text


def _answer(distribution: Distribution, sampling: Sampling, index: int) -> Choice:
    seed = None if sampling.seed is None else [abs(sampling.seed), index]
    random = np.random.default_rng(seed) if sampling.temperature > 0 else None
    limit = LONGEST if sampling.max_tokens is None else min(sampling.max_tokens, LONGEST)
    state: object | None = distribution.start()
    used: Counter[int] = Counter()
    pieces = _Pieces(sampling, index)
    while len(pieces.tokens) < limit:
        assert state is not None
        tokens, probabilities = distribution.following(state)
        at = _draw(tokens, probabilities, sampling, used, random)
        token = int(tokens[at])
        if token == END:
            return pieces.finish("stop")
        pieces.add(token, tokens, probabilities, at)
        if pieces.cut_at_stop():
            return pieces.finish("stop")
        used[token] += 1
        state = distribution.advance(state, token)
    return pieces.finish("length")


def _draw(
    tokens: np.ndarray,
    probabilities: np.ndarray,
    sampling: Sampling,
    used: Counter[int],
    random: np.random.Generator | None,
) -> int:
    """Return the position of the chosen token."""
    if len(tokens) == 1:
        return 0
    adjusted = _adjust(tokens, probabilities, sampling, used)
    if random is None:
        return int(np.argmax(adjusted))
    with np.errstate(divide="ignore"):
        logits = np.log(adjusted) / sampling.temperature
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    if sampling.top_p < 1:
        weights = _nucleus(weights, sampling.top_p)
    return int(random.choice(len(tokens), p=weights))


def _adjust(
    tokens: np.ndarray, probabilities: np.ndarray, sampling: Sampling, used: Counter[int]
) -> np.ndarray:
    """Return weights after logit bias and penalties, which OpenAI adds to the logits."""
    penalised = used and (sampling.presence_penalty or sampling.frequency_penalty)
    if not sampling.logit_bias and not penalised:
        return probabilities
    change = np.zeros(len(tokens))
    for at, token in enumerate(tokens):
        change[at] += sampling.logit_bias.get(int(token), 0.0)
        if times := used[int(token)]:
            change[at] -= sampling.presence_penalty + sampling.frequency_penalty * times
    adjusted: np.ndarray = probabilities * np.exp(np.clip(change, -100, 100))
    return adjusted if adjusted.sum() > 0 else probabilities


def _nucleus(weights: np.ndarray, top_p: float) -> np.ndarray:
    """Keep the likeliest tokens whose probabilities reach `top_p`, at least one."""
    order = np.argsort(-weights, kind="stable")
    reached = np.cumsum(weights[order]) - weights[order] >= top_p
    kept = weights.copy()
    kept[order[reached]] = 0.0
    if kept.sum() == 0:
        kept[order[0]] = 1.0
    normal: np.ndarray = kept / kept.sum()
    return normal


class _Pieces:
    """The tokens of one answer so far, and their text."""

    def __init__(self, sampling: Sampling, index: int) -> None:
        self._sampling, self._index = sampling, index
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.tokens: list[Token] = []
        self._text = ""

    def add(self, token: int, tokens: np.ndarray, probabilities: np.ndarray, at: int) -> None:
        raw = token_bytes(token)
        text = self._decoder.decode(raw)
        self._text += text
        top: tuple[Alternative, ...] = ()
        if self._sampling.top_logprobs:
            top = _alternatives(tokens, probabilities, self._sampling.top_logprobs)
        self.tokens.append(
            Token.model_construct(
                choice=self._index,
                text=text,
                id=token,
                bytes=tuple(raw),
                logprob=_log(float(probabilities[at])),
                top=top,
            )
        )

    def cut_at_stop(self) -> bool:
        """Cut the text before the first stop string, if there is one; return whether there is."""
        found = [at for stop in self._sampling.stop if stop and (at := self._text.find(stop)) >= 0]
        if not found:
            return False
        self._text = self._text[: min(found)]
        kept, length = [], 0
        for token in self.tokens:
            room = len(self._text) - length
            if room <= 0:
                break
            kept.append(token.model_copy(update={"text": token.text[:room]}))
            length += len(token.text)
        self.tokens = kept
        return True

    def finish(self, reason: str) -> Choice:
        tail = self._decoder.decode(b"", final=True) if reason == "length" else ""
        if tail and self.tokens:
            last = self.tokens[-1]
            self.tokens[-1] = last.model_copy(update={"text": last.text + tail})
        return Choice.model_construct(
            text=self._text + tail, tokens=tuple(self.tokens), finish_reason=reason
        )


def _alternatives(
    tokens: np.ndarray, probabilities: np.ndarray, count: int
) -> tuple[Alternative, ...]:
    """Return the likeliest tokens; the end mark is shown as empty text."""
    best: Sequence[int] = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return tuple(_alternative(int(tokens[at]), float(probabilities[at])) for at in best)


def _alternative(token: int, probability: float) -> Alternative:
    raw = b"" if token == END else token_bytes(token)
    return Alternative(
        token=raw.decode("utf-8", errors="replace"), bytes=tuple(raw), logprob=_log(probability)
    )


def _log(probability: float) -> float:
    return float(np.log(probability)) if probability > 0 else NEVER
