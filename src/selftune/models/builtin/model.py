"""The embedded model, tuned or not: chats in, distributions over answers out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from selftune.core.canonical import fingerprint
from selftune.models.builtin.encoder import Encoder, split_pieces
from selftune.models.builtin.folder import MANIFEST, load_model
from selftune.models.builtin.graphs import base_encoder, tuned_encoder
from selftune.models.builtin.heads import load_head
from selftune.models.builtin.reading import read
from selftune.models.builtin.tree import Distribution
from selftune.models.builtin.zero_shot import zero_shot

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

    def distributions(self, chats: Chats) -> list[Distribution]:
        """Return one distribution over answers for each chat."""
        return [zero_shot(self.encoder, chat) for chat in chats]


class TunedModel:
    """A model folder in memory."""

    def __init__(self, folder: Path, cache: Path, *, threads: int) -> None:
        files = load_model(folder)
        self._reading = files.reading
        self._head = load_head(files.kind, files.head, files.config)
        if files.encoder is None:
            self.encoder = base_encoder(cache, precision=files.precision, threads=threads)
        else:
            sha256 = fingerprint((folder / MANIFEST).read_text(encoding="utf-8"))
            self.encoder = tuned_encoder(
                cache, sha256, files.encoder, precision=files.precision, threads=threads
            )

    def distributions(self, chats: Chats) -> list[Distribution]:
        """Return one distribution over answers for each chat."""
        texts = [read(chat, self._reading) for chat in chats]
        vectors = self.encoder.embed_pieces(split_pieces(texts, self._reading.pieces))
        return list(self._head.distributions(vectors, texts))
