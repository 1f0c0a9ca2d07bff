"""ONNX graphs on disk, made from weights when first needed and kept by the weights' hash."""

import fcntl
from functools import lru_cache
from pathlib import Path

from selftune.models.builtin.encoder import Encoder
from selftune.models.builtin.weights import SHA256, Arrays, pretrained


@lru_cache(maxsize=2)  # one for each precision, shared by every model that did not tune it
def base_encoder(cache: Path, *, precision: str, threads: int) -> Encoder:
    """Return the pretrained encoder."""
    return Encoder(_graph(cache, SHA256, precision, None), threads=threads)


def tuned_encoder(
    cache: Path, sha256: str, arrays: Arrays, *, precision: str, threads: int
) -> Encoder:
    """Return a tuned encoder: `arrays` are what training changed, `sha256` names them."""
    return Encoder(_graph(cache, sha256, precision, arrays), threads=threads)


def _graph(cache: Path, sha256: str, precision: str, tuned: Arrays | None) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{sha256[:32]}-{precision}.onnx"
    if path.exists():
        return path
    with (cache / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes may want it at once
        if not path.exists():
            from selftune.models.builtin.graph import write_graph

            write_graph(pretrained() | (tuned or {}), path, quantize=precision == "int8")
    return path
