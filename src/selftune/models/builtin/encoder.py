"""Text -> vectors, by ONNX Runtime: all-MiniLM-L6-v2, pretrained or tuned."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from selftune.models.builtin.weights import WIDTH, model_folder

BATCH = 64
EMBED_PIECES = 256
"""The pretrained model's own limit for sentence embeddings."""


@dataclass(frozen=True)
class Pieces:
    """A text as word pieces, with where each stands in the text."""

    ids: list[int]
    offsets: list[tuple[int, int]]


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def split_pieces(texts: Sequence[str], limit: int) -> list[Pieces]:
    """Return each text's word pieces; of a text that is too long the end is kept."""
    split = []
    for found in _tokenizer().encode_batch(list(texts)):
        ids, offsets = found.ids, found.offsets
        if len(ids) > limit:
            ids = ids[:1] + ids[1 - limit :]
            offsets = offsets[:1] + offsets[1 - limit :]
        split.append(Pieces(ids, offsets))
    return split


def length_batches(lengths: Sequence[int], size: int = BATCH) -> list[list[int]]:
    """Return indices in batches of similar length, so that little is padded."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + size] for start in range(0, len(order), size)]


class Encoder:
    """One encoder graph in memory; thread-safe."""

    def __init__(self, graph: Path, *, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def embed(self, texts: Sequence[str], *, limit: int = EMBED_PIECES) -> np.ndarray:
        """Return unit vectors, shape (texts, 384)."""
        return self.embed_pieces(split_pieces(texts, limit))

    def embed_pieces(self, pieces: Sequence[Pieces]) -> np.ndarray:
        """Return unit vectors of texts that are split already."""
        vectors = np.empty((len(pieces), WIDTH), np.float32)
        for batch in length_batches([len(piece.ids) for piece in pieces]):
            hidden, mask = self._run([pieces[index] for index in batch])
            vectors[batch] = mean_pool(hidden, mask)
        return vectors

    def states(self, pieces: Sequence[Pieces]) -> list[np.ndarray]:
        """Return the last hidden states of each text, shape (length, 384)."""
        states: list[np.ndarray] = [np.empty(0)] * len(pieces)
        for batch in length_batches([len(piece.ids) for piece in pieces]):
            hidden, _ = self._run([pieces[index] for index in batch])
            for row, index in enumerate(batch):
                states[index] = hidden[row, : len(pieces[index].ids)]
        return states

    def _run(self, pieces: Sequence[Pieces]) -> tuple[np.ndarray, np.ndarray]:
        length = max(len(piece.ids) for piece in pieces)
        ids = np.zeros((len(pieces), length), np.int64)
        mask = np.zeros((len(pieces), length), np.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece.ids)] = piece.ids
            mask[row, : len(piece.ids)] = 1
        return self._session.run(None, {"ids": ids, "mask": mask})[0], mask


def mean_pool(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the unit vector of each row: the mean of its states, normalised."""
    weights = mask[:, :, None].astype(np.float32)
    means = (hidden * weights).sum(1) / np.maximum(weights.sum(1), 1)
    unit: np.ndarray = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return unit


def unit_mean(states: np.ndarray) -> np.ndarray:
    """Return the unit vector of one text's states, as `mean_pool` does."""
    mask = np.ones((1, len(states)), np.int64)
    vector: np.ndarray = mean_pool(states[None], mask)[0]
    return vector
