"""The encoder in torch, with the arrays that `models/builtin` serves."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from selftune.models.builtin.weights import EPSILON, HEADS, INNER, LAYERS, WIDTH, Arrays

DROPOUT = 0.1
FROZEN = ("words", "positions", "norm.weight", "norm.bias")
"""Embeddings stay as they were: a few hundred rows say nothing about 30,000 words."""


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.up = nn.Linear(WIDTH, INNER)
        self.down = nn.Linear(INNER, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, value: Tensor, bias: Tensor) -> Tensor:
        rows, length, _ = value.shape
        qkv = self.qkv(value).view(rows, length, 3, HEADS, WIDTH // HEADS)
        query, key, content = qkv.permute(2, 0, 3, 1, 4)
        dropout = DROPOUT if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, content, attn_mask=bias, dropout_p=dropout
        )
        merged = mixed.transpose(1, 2).reshape(rows, length, WIDTH)
        value = self.norm1(value + functional.dropout(self.out(merged), DROPOUT, self.training))
        inner = self.down(functional.gelu(self.up(value)))
        result: Tensor = self.norm2(value + functional.dropout(inner, DROPOUT, self.training))
        return result


class EncoderNetwork(nn.Module):
    """Word pieces -> unit vectors; only the layers learn."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        for name in FROZEN:
            self.register_buffer(name.replace(".", "_"), torch.from_numpy(arrays[name]))
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        layers = {
            name.removeprefix("layers."): torch.from_numpy(array.copy())
            for name, array in arrays.items()
            if name.startswith("layers.")
        }
        self.layers.load_state_dict(layers)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return one unit vector a row."""
        words, positions = self.get_buffer("words"), self.get_buffer("positions")
        value = words[ids] + positions[: ids.shape[1]]
        value = functional.layer_norm(
            value, (WIDTH,), self.get_buffer("norm_weight"), self.get_buffer("norm_bias"), EPSILON
        )
        value = functional.dropout(value, DROPOUT, self.training)
        bias = torch.zeros(mask.shape).masked_fill(~mask, -1e9)[:, None, None, :]
        for layer in self.layers:
            value = layer(value, bias)
        weights = mask[:, :, None].float()
        pooled = (value * weights).sum(1) / weights.sum(1).clamp(min=1)
        return functional.normalize(pooled, dim=-1)

    def tuned(self) -> Arrays:
        """Return what training changed, under the names of `models/builtin/weights.py`."""
        return {
            f"layers.{name}": value.detach().numpy().copy()
            for name, value in self.layers.state_dict().items()
        }


def pad(rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and mask of rows of different length."""
    length = max(map(len, rows))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = True
    return ids, mask
