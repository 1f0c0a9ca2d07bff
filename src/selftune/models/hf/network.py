"""The model's forward pass over rows that share a cache.

Rows are padded on the left, so that all of them end in the same column: the next token of every
row is one column more. A row's tokens are contiguous, so a sliding window over columns is one over
its tokens, and the cache keeps all columns of every layer: what padding shifts out of a window
would be lost otherwise.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from selftune.core.errors import InvalidInput
from selftune.models.hf.loading import Loaded
from selftune.models.hf.lora import Adapter, AdapterBank

_PADDING = 0
"""Token that fills what is masked; which one does not matter."""


@dataclass
class Cached:
    """What the model has read of some rows."""

    cache: DynamicCache = field(default_factory=DynamicCache)
    lengths: list[int] = field(default_factory=list)
    """Tokens of each row, without the padding."""
    columns: int = 0


class Network:
    """A base with its adapters, read row by row or many rows at once."""

    def __init__(self, loaded: Loaded, bank: AdapterBank) -> None:
        _check_attention(loaded)
        self.loaded, self.bank = loaded, bank
        names = inspect.signature(loaded.model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in names else {}

    def bytes_per_token(self) -> int:
        """Return the memory that one token takes in the cache."""
        config = self.loaded.model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        number = 2 if self.loaded.precision == "bfloat16" else 4
        return int(2 * config.num_hidden_layers * heads * width * number)

    def read(
        self,
        cached: Cached,
        columns: Sequence[Sequence[int]],
        adapters: Sequence[Adapter | None],
        *,
        every: bool = False,
    ) -> torch.Tensor:
        """Read more tokens of each row, and return the logits after the last, or after `every` one.

        `columns` has a list for each row. Lists shorter than the longest are padded on the left,
        which is possible only where the row has nothing in the cache yet.
        """
        device = self.loaded.device
        wide = max(len(tokens) for tokens in columns)
        rows = [[_PADDING] * (wide - len(tokens)) + list(tokens) for tokens in columns]
        if not cached.lengths:
            cached.lengths = [0] * len(rows)
        cached.lengths = [
            before + len(tokens) for before, tokens in zip(cached.lengths, columns, strict=True)
        ]
        cached.columns += wide
        padded = any(length != cached.columns for length in cached.lengths)
        starts = torch.tensor([[cached.columns - length] for length in cached.lengths])
        places = torch.arange(cached.columns)[None, :]
        positions = (places[:, -wide:] - starts).clamp(min=0)
        mask = (places >= starts).long().to(device) if padded else None
        with torch.inference_mode(), self.bank.rows(adapters, wide):
            found = self.loaded.model(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=mask,
                position_ids=positions.to(device),
                past_key_values=cached.cache,
                use_cache=True,
                **({} if every else self._last_only),
            )
        logits: torch.Tensor = found.logits
        return logits if every else logits[:, -1]


def selected(cached: Cached, rows: Sequence[int]) -> Cached:
    """Return some rows, in this order and as often as named, without padding they do not need."""
    if list(rows) == list(range(len(cached.lengths))) and cached.columns == max(cached.lengths):
        return cached
    lengths = [cached.lengths[row] for row in rows]
    result = Cached(DynamicCache(), lengths, max(lengths))
    start = cached.columns - result.columns
    for number, (keys, values) in _tensors(cached).items():
        places = torch.tensor(rows, device=keys.device)
        result.cache.update(
            keys[:, :, start:].index_select(0, places),
            values[:, :, start:].index_select(0, places),
            number,
        )
    return result


def joined(first: Cached, second: Cached) -> Cached:
    """Return the rows of both, one after the other."""
    if not first.lengths:
        return second
    columns = max(first.columns, second.columns)
    result = Cached(DynamicCache(), first.lengths + second.lengths, columns)
    others = _tensors(second)
    for number, (keys, values) in _tensors(first).items():
        more_keys, more_values = others[number]
        result.cache.update(
            _stacked(keys, more_keys, columns), _stacked(values, more_values, columns), number
        )
    return result


def _tensors(cached: Cached) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """Return keys and values by layer; one that reads another layer's cache has none of its own."""
    found = {}
    for number, layer in enumerate(cached.cache.layers):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is not None and values is not None:
            found[number] = keys, values
    return found


def _stacked(first: torch.Tensor, second: torch.Tensor, columns: int) -> torch.Tensor:
    rows, heads, _, width = first.shape
    both = first.new_zeros((rows + second.shape[0], heads, columns, width))
    both[:rows, :, columns - first.shape[2] :] = first
    both[rows:, :, columns - second.shape[2] :] = second
    return both


def _check_attention(loaded: Loaded) -> None:
    """Refuse models whose memory is no list of tokens: their rows could not be padded.

    Raises:
        InvalidInput: the model is recurrent, wholly or in some layers, or no decoder.

    """
    config = loaded.model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    odd = sorted(kinds - {"full_attention", "sliding_attention", "chunked_attention"})
    if odd or getattr(loaded.model, "_is_stateful", False):
        raise InvalidInput(
            f"The model in {loaded.folder.name!r} has layers of kind {', '.join(odd) or 'recurrent'!r};"
            " this runtime serves models whose layers are all attention. Serve it with vLLM.",
            code="unsupported_model",
        )
    if getattr(loaded.model.config, "is_encoder_decoder", False):
        raise InvalidInput(
            f"The model in {loaded.folder.name!r} is an encoder and a decoder; this runtime serves "
            "models that only decode.",
            code="unsupported_model",
        )
