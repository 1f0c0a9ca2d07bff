"""How much memory a training takes, by what has to lie in it.

Weights, gradients and optimiser are exact; activations are counted as Korthikanti and others 2022 do
(https://arxiv.org/abs/2205.05198), with factors as measured. An estimate: peaks differ by model and
by kernel.
"""

import json
import struct
from pathlib import Path
from typing import Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record

Adapter = Literal["lora", "qlora", "full"]
ADAPTERS: tuple[Adapter, ...] = ("lora", "qlora", "full")

_NF4_BYTES = 0.5 + 4 / 64 + 0.02
"""Of one weight: 4 bits, a float32 scale for each 64 (QLoRA, https://arxiv.org/abs/2305.14314), and
what stays in 16 bits."""
_LARGEST_HEADER = 100 * 1024**2
"""As safetensors' own reader has it."""
_RESERVE_BYTES = 0.8e9
"""What torch and its kernels take for themselves."""
_OF_WIDTH, _OF_INNER = 36, 4
"""Activations that a layer keeps of a token: bytes by its width, norms being float32 whatever the
rest is, and numbers by the width inside its feed-forward block. Counted from what autograd keeps of
layers as transformers writes Llama's, without a matrix of attention: 26 to 27 by width with PEFT's
adapters and 36 where every weight learns; 4 inside for both."""
_LOGIT_BYTES = 4 + 4
"""Of one entry of the vocabulary for one token in the loss: float32, and its gradient."""
RANK = 32
"""Of adapters where nobody asks for another: "LoRA Without Regret", Thinking Machines 2025."""
TOKENS_AT_ONCE = {"cpu": 512, "cuda": 16_384}
"""Of a micro-batch. On a processor few are fastest, since rows of like length are together
(benchmarks/training.py); on a GPU it is halved where memory does not suffice."""
_MOST_LOGITS = 1 << 26
"""The training computes no more of them at once (`train/hf/forward.py`)."""


class Shape(Record):
    """The size of a model, as far as memory and time depend on it."""

    parameters: int
    layers: int
    width: int
    inner: int
    """Numbers of a token inside a feed-forward block."""
    vocabulary: int
    bytes_of_weights: int
    """As they lie on the disk."""


class Footprint(Record):
    """Bytes that a training needs, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    reserve: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserve


def shape_of_folder(folder: Path) -> Shape:
    """Read the shape of a model from its configuration and the headers of its weights.

    Raises:
        InvalidInput: a file is damaged; names it.

    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        width = int(config["hidden_size"])
        layers = int(config["num_hidden_layers"])
        vocabulary = int(config["vocab_size"])
        inner = int(config.get("intermediate_size") or 4 * width)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{str(path)!r} is no configuration of a language model.") from error
    parameters, size = 0, 0
    for weights in sorted(folder.glob("*.safetensors")):
        numbers, length = _counted(weights)
        parameters, size = parameters + numbers, size + length
    return Shape(
        parameters=parameters,
        layers=layers,
        width=width,
        inner=inner,
        vocabulary=vocabulary,
        bytes_of_weights=size,
    )


def shape_of_card(parameters: int, layers: int | None, width: int | None) -> Shape:
    """Return the shape of a model of which only the card is here.

    Unknown layers and widths are those of a usual model of this size: 12 · layers · width² weights,
    and a width of 100 · layers (Kaplan and others 2020, https://arxiv.org/abs/2001.08361).
    """
    layers = layers or max(1, round((parameters / 120_000) ** (1 / 3)))
    width = width or 100 * layers
    return Shape(
        parameters=parameters,
        layers=layers,
        width=width,
        inner=3 * width,
        vocabulary=128_000,
        bytes_of_weights=2 * parameters,
    )


def footprint(
    shape: Shape,
    adapter: Adapter,
    *,
    tokens: int,
    rank: int = RANK,
    bytes_of_number: Literal[2, 4] = 2,
) -> Footprint:
    """Return what training takes with so many tokens in the model at once.

    Adapters are float32 with AdamW's two float32 moments (12 bytes, and 4 for the gradient). Full
    training keeps float32 weights beside those of 16 bits. Activations are kept whole: the training
    recomputes them only where memory lacks.
    """
    trained = adapter_parameters(shape, rank) if adapter != "full" else shape.parameters
    held = _NF4_BYTES if adapter == "qlora" else bytes_of_number
    weights = round(shape.parameters * held) + (4 * trained if adapter != "full" else 0)
    if adapter == "full" and bytes_of_number == 2:
        weights += 4 * trained
    of_layer = _OF_WIDTH * shape.width + _OF_INNER * bytes_of_number * shape.inner
    by_layers = tokens * shape.layers * of_layer
    logits = min(tokens * shape.vocabulary, _MOST_LOGITS) * (_LOGIT_BYTES + bytes_of_number)
    return Footprint(
        weights=weights,
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=round(by_layers + logits),
        reserve=round(_RESERVE_BYTES),
    )


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Return about how many numbers adapters on all linear layers have.

    A layer has four square matrices of attention, of which two are smaller in most models, and
    three of the feed-forward block.
    """
    attention = 4 * 2 * shape.width
    forward = 3 * (shape.width + shape.inner)
    return rank * shape.layers * (attention + forward)


def _counted(path: Path) -> tuple[int, int]:
    """Return how many numbers a file of weights has, and its size; reads the header only."""
    size = path.stat().st_size
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > min(size, _LARGEST_HEADER):
                raise ValueError
            header = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        shapes = [entry["shape"] for entry in header.values()]
    except (OSError, ValueError, KeyError, struct.error, AttributeError) as error:
        raise InvalidInput(f"{str(path)!r} is no whole safetensors file.") from error
    total = 0
    for shape in shapes:
        numbers = 1
        for side in shape:
            numbers *= side
        total += numbers
    return total, size
