"""The embedded model, tuned or not: chats in, distributions over answers out."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from selftune.core.canonical import fingerprint
from selftune.models.builtin.copying import make_source
from selftune.models.builtin.decoder import Decoder, DecoderDistribution
from selftune.models.builtin.encoder import Encoder, split_pieces, unit_mean
from selftune.models.builtin.folder import MANIFEST, ModelFiles, load_model
from selftune.models.builtin.graphs import base_encoder, tuned_encoder
from selftune.models.builtin.heads import load_head
from selftune.models.builtin.mixture import Mixture
from selftune.models.builtin.reading import read
from selftune.models.builtin.tree import Distribution
from selftune.models.builtin.zero_shot import zero_shot

_REMEMBERED = 128
"""Lists of texts whose vectors the base model keeps."""

Chats = Sequence[Sequence[dict[str, Any]]]


class Embedded(Protocol):
    """What a sampler needs of a model."""

    encoder: Encoder

    def distributions(self, chats: Chats) -> list[Distribution]:
        """Return one distribution over answers for each chat."""
        ...


class BaseModel:
    """The untuned model."""

    def __init__(self, cache: Path, *, threads: int) -> None:
        self.encoder = base_encoder(cache, precision="float32", threads=threads)
        self._embed = lru_cache(_REMEMBERED)(self.encoder.embed)

    def distributions(self, chats: Chats) -> list[Distribution]:
        """Return one distribution over answers for each chat."""
        return [zero_shot(self._embed, chat) for chat in chats]


class TunedModel:
    """A trained head, a decoder, or both, on the encoder that they were trained with."""

    def __init__(self, files: ModelFiles, encoder: Encoder) -> None:
        self.encoder = encoder
        self._reading, self._weight = files.reading, files.answers_weight
        self._head = None
        if files.kind != "written":
            self._head = load_head(files.kind, files.head, files.config)
        self._decoder = None
        if files.decoder is not None:
            self._decoder = Decoder(files.decoder, files.longest)

    def distributions(self, chats: Chats) -> list[Distribution]:
        """Return one distribution over answers for each chat."""
        return self.of_texts([read(chat, self._reading) for chat in chats])

    def of_texts(self, texts: Sequence[str]) -> list[Distribution]:
        """Return one distribution over answers for each text as the encoder reads it."""
        pieces = split_pieces(texts, self._reading.pieces)
        if self._decoder is None:
            assert self._head is not None
            return list(self._head.distributions(self.encoder.embed_pieces(pieces), texts))
        states = self.encoder.states(pieces)
        written: list[Distribution] = [
            DecoderDistribution(self._decoder, make_source(text, piece, state))
            for text, piece, state in zip(texts, pieces, states, strict=True)
        ]
        if self._head is None:
            return written
        chosen = self._head.distributions(np.stack([unit_mean(state) for state in states]), texts)
        return [
            Mixture(first, second, self._weight)
            for first, second in zip(chosen, written, strict=True)
        ]


def load_tuned(folder: Path, cache: Path, *, threads: int) -> TunedModel:
    """Read a model folder.

    Raises:
        InvalidInput: it is not a model of this format, or a file is not what was written.

    """
    files = load_model(folder)
    if files.encoder is None:
        return TunedModel(files, base_encoder(cache, precision=files.precision, threads=threads))
    sha256 = fingerprint((folder / MANIFEST).read_text(encoding="utf-8"))
    encoder = tuned_encoder(
        cache, sha256, files.encoder, precision=files.precision, threads=threads
    )
    return TunedModel(files, encoder)
