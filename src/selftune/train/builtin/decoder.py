"""Train the decoder: a small causal model that writes answers, and copies from the question.

`models/builtin/decoder.py` computes the same from the same arrays, token by token, without torch.
The encoder stays as it is, so its states are computed once.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from selftune.models.builtin.copying import (
    CONTINUATIONS,
    LONGEST_MATCH,
    SHAPES,
    WITHIN,
    Source,
    continuation,
    make_source,
)
from selftune.models.builtin.decoder import HEADS, LAYERS, WIDE, positions
from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.weights import WIDTH, Arrays
from selftune.models.tokens import encode
from selftune.train.builtin.examples import Examples
from selftune.train.builtin.optimizer import optimizer_state, restore_optimizer, under
from selftune.train.builtin.task import Plan, Scores
from selftune.train.builtin.writing import Batch, choose_vocabulary, make_batch, write_out

RATE = 1e-3
DROPOUT, STATES_DROPOUT, PREVIOUS_DROPOUT = 0.1, 0.3, 0.5
"""Much is dropped of the encoder's states, or the decoder knows the training names by heart."""
CONTINUES, CONTINUES_WORD = 4.0, 8.0
"""Logits with which a copy goes on before anything is learned; a word is hardly ever cut short."""
DECAY = 0.01
LONGEST_ANSWER = 512
"""Tokens of an answer that are learned; what comes after is not."""
_ROOM = 32
_IMPOSSIBLE = -1e9
_GRADIENT_NORM = 1.0
_EVALUATED = 32


class DecoderNetwork(nn.Module):
    """States of a source, and an answer so far -> logits of vocabulary and units."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDE)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.copied, self.coming = nn.Linear(WIDTH, WIDE), nn.Linear(WIDTH, WIDE)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDE)
        self.point = nn.Linear(WIDE, WIDE)
        self.key, self.edge = nn.Linear(WIDTH, WIDE), nn.Linear(WIDTH, WIDE)
        self.shapes = nn.Embedding(SHAPES, WIDE)
        for table in (self.tokens, self.shapes):
            nn.init.normal_(table.weight, std=0.02)
        continues = torch.zeros(CONTINUATIONS)
        for shape in range(SHAPES):
            first = continuation(shape, 1)
            continues[first : first + LONGEST_MATCH] = (
                CONTINUES_WORD if shape == WITHIN else CONTINUES
            )
        self.continues = nn.Parameter(continues)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits of the vocabulary and of the source's units."""
        value = self.tokens(batch.before) * math.sqrt(WIDE)
        value = value + torch.from_numpy(positions(0, batch.before.shape[1]))
        value = (
            value + self.copied(self._thin(batch.copied)) + self.coming(self._thin(batch.coming))
        )
        value = functional.dropout(value, DROPOUT, self.training)
        states = self._thin(batch.states)
        hidden = torch.zeros(batch.absent.shape).masked_fill(batch.absent, _IMPOSSIBLE)
        for layer in self.layers:
            value = layer(value, states, hidden[:, None, None, :])
        value = self.norm(value)
        words = value @ self.tokens.weight.T + self.bias
        words = torch.cat([torch.full_like(words[:, :, :1], _IMPOSSIBLE), words[:, :, 1:]], 2)
        keys = self.key(states) + self.edge(self._alone(batch.previous)) + self.shapes(batch.shapes)
        pointers = self.point(value) @ keys.transpose(1, 2) / math.sqrt(WIDE)
        pointers = pointers + self.continues[batch.kinds]
        return words, pointers.masked_fill(batch.kinds == 0, _IMPOSSIBLE)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return each step's negative log-likelihood, and whether its token has most of the mass.

        A token that both the vocabulary and units of the source can give has the sum of their
        probabilities.
        """
        words, pointers = self(batch)
        total = torch.logsumexp(torch.cat([words, pointers], 2), 2)
        given = words.gather(2, batch.targets.clamp(min=0)[:, :, None]).squeeze(2)
        given = given.masked_fill(batch.targets < 0, _IMPOSSIBLE)
        copied = pointers.masked_fill(~batch.copies, _IMPOSSIBLE)
        right = torch.logsumexp(torch.cat([given[:, :, None], copied], 2), 2)
        return total - right, right - total > math.log(0.5)

    def _alone(self, previous: Tensor) -> Tensor:
        """Return nothing for some rows: what comes before a name helps, but is not all."""
        if not self.training:
            return previous
        kept = torch.rand(len(previous), 1, 1) >= PREVIOUS_DROPOUT
        return self._thin(previous) * kept

    def _thin(self, states: Tensor) -> Tensor:
        return functional.dropout(states, STATES_DROPOUT, self.training)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDE) for _ in range(3))
        self.qkv, self.out = nn.Linear(WIDE, 3 * WIDE), nn.Linear(WIDE, WIDE)
        self.query, self.mixed = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE)
        self.source = nn.Linear(WIDTH, 2 * WIDE)
        self.up, self.down = nn.Linear(WIDE, 4 * WIDE), nn.Linear(4 * WIDE, WIDE)

    def forward(self, value: Tensor, states: Tensor, hidden: Tensor) -> Tensor:
        rows, length, _ = value.shape
        qkv = self.qkv(self.norm1(value)).view(rows, length, 3, HEADS, WIDE // HEADS)
        query, key, content = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, content, is_causal=True)
        value = value + self._drop(self.out(mixed.transpose(1, 2).reshape(rows, length, WIDE)))
        query = self.query(self.norm2(value)).view(rows, length, HEADS, -1).transpose(1, 2)
        pair = self.source(states).view(rows, -1, 2, HEADS, WIDE // HEADS)
        key, content = pair.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, content, attn_mask=hidden)
        value = value + self._drop(self.mixed(mixed.transpose(1, 2).reshape(rows, length, WIDE)))
        inner = functional.gelu(self.up(self.norm3(value)), approximate="tanh")
        return value + self._drop(self.down(inner))

    def _drop(self, value: Tensor) -> Tensor:
        return functional.dropout(value, DROPOUT, self.training)


class DecoderPart:
    """The decoder in training, beside a head or alone."""

    def __init__(self, examples: Examples, encoder: Encoder, seed: int) -> None:
        torch.manual_seed(seed)
        self._encoder, self._pieces = encoder, examples.reading.pieces
        self._sources = self._read(examples.texts)
        self._answers = [_learned(target) for target in examples.targets]
        self.lengths = [len(answer) for answer in self._answers]
        self._vocabulary = choose_vocabulary(self._answers, self._sources)
        self._index_of = {int(token): index for index, token in enumerate(self._vocabulary)}
        self._longest = max(self.lengths) + max(self.lengths) // 2 + _ROOM
        self._network = DecoderNetwork(len(self._vocabulary))
        self._optimizer = torch.optim.AdamW(self._network.parameters(), RATE, weight_decay=DECAY)

    def step(self, rows: list[int], index: int, plan: Plan) -> Scores:
        """Learn from one batch; return loss and accuracy of a token before."""
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * plan.rate(index) * plan.learning_rate_multiplier
        self._network.train()
        batch = self._batch(
            [self._sources[row] for row in rows], [self._answers[row] for row in rows]
        )
        losses, right = self._network.losses(batch)
        loss = losses[batch.real].mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no type for it
        nn.utils.clip_grad_norm_(self._network.parameters(), _GRADIENT_NORM)
        self._optimizer.step()
        return Scores(loss.item(), float(right[batch.real].float().mean()))

    def evaluate(self, texts: list[str], targets: list[str]) -> Scores:
        """Return loss and accuracy of a token of answers that are not learned from."""
        losses = self.losses(texts, targets)
        return Scores(
            float(np.concatenate([loss for loss, _ in losses]).mean()),
            float(np.concatenate([right for _, right in losses]).mean()),
        )

    @torch.inference_mode()
    def losses(self, texts: list[str], targets: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each answer's losses by token, and which of its tokens are right."""
        self._network.eval()
        found = []
        for at in range(0, len(texts), _EVALUATED):
            sources = self._read(texts[at : at + _EVALUATED])
            answers = [_learned(target) for target in targets[at : at + _EVALUATED]]
            batch = self._batch(sources, answers)
            for loss, right, real in zip(*self._network.losses(batch), batch.real, strict=True):
                found.append((loss[real].numpy(), right[real].numpy()))
        return found

    def arrays(self) -> tuple[Arrays, int]:
        """Return what `models/builtin/decoder.py` reads, and the tokens of the longest answer."""
        kept = {k: v.detach().numpy().copy() for k, v in self._network.state_dict().items()}
        return kept | {"vocabulary": self._vocabulary}, self._longest

    def state(self) -> Arrays:
        """Return all that resuming needs, but torch's random state."""
        kept = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        kept |= optimizer_state(self._optimizer)
        return {f"decoder.{name}": value.numpy().copy() for name, value in kept.items()}

    def restore(self, state: Arrays) -> None:
        """Go back to a state."""
        every = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        tensors = under(every, "decoder.")
        self._network.load_state_dict(under(tensors, "network."))
        restore_optimizer(self._optimizer, tensors)

    def _batch(self, sources: list[Source], answers: list[list[int]]) -> Batch:
        written = [
            write_out(answer, self._index_of, source)
            for answer, source in zip(answers, sources, strict=True)
        ]
        return make_batch(sources, written)

    def _read(self, texts: list[str]) -> list[Source]:
        pieces = split_pieces(texts, self._pieces)
        found = zip(texts, pieces, self._encoder.states(pieces), strict=True)
        return [_small(make_source(text, piece, states)) for text, piece, states in found]


def _learned(target: str) -> list[int]:
    return encode(target)[:LONGEST_ANSWER]


def _small(source: Source) -> Source:
    """Return a source with states in half precision: a file's are kept all through training."""
    return replace(
        source,
        states=source.states.astype(np.float16),
        previous=source.previous.astype(np.float16),
    )
