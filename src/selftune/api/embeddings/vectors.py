"""Vectors as they go over the wire. Imported by the first request: numpy is slow to import."""

import base64

import numpy as np


def vectors_json(
    packed: bytes, count: int, *, dimensions: int | None, as_base64: bool
) -> list[str] | list[list[float]]:
    """Return each vector in base64 or as numbers, shortened to `dimensions`."""
    vectors = _shorten(np.frombuffer(packed, "<f4").reshape(count, -1), dimensions)
    if as_base64:
        return [base64.b64encode(each.astype("<f4").tobytes()).decode() for each in vectors]
    return [[float(value) for value in each] for each in vectors]


def _shorten(vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    """Keep the first dimensions, and the length of one."""
    if dimensions is None or dimensions >= vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions]
    unit: np.ndarray = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return unit
