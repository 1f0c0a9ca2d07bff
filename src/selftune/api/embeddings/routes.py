"""Texts -> vectors."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from selftune.api.context import answer, body_of, context, identity
from selftune.api.sampling import served, text_of, while_connected
from selftune.core.errors import InvalidInput
from selftune.serve.frames import EmbedRequest

router = APIRouter(prefix="/v1/embeddings")
_MOST_INPUTS = 2048


class CreateEmbedding(BaseModel):
    """The body of an embedding request."""

    input: str | list[str] | list[int] | list[list[int]]
    model: Annotated[str, Field(min_length=1, max_length=300)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None

    def texts(self) -> list[str]:
        """Return the inputs as texts; tokens are o200k."""
        found: list[Any] = self.input if isinstance(self.input, list) else [self.input]
        if not found or len(found) > _MOST_INPUTS:
            raise InvalidInput(
                f"'input' must have 1 to {_MOST_INPUTS} entries.",
                code="invalid_value",
                param="input",
            )
        if isinstance(found[0], int):
            found = [found]
        texts = [each if isinstance(each, str) else text_of(each, "input") for each in found]
        if not all(texts):
            raise InvalidInput("'input' must not be empty.", code="invalid_value", param="input")
        return texts


@router.post("")
async def create(request: Request) -> Response:
    """Embed texts."""
    wanted = await body_of(request, CreateEmbedding)
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    embed = EmbedRequest(id=0, engine=model.engine, folder=model.folder, texts=wanted.texts())
    found = await while_connected(request, parts.serving.embed(embed))
    vectors = np.frombuffer(found.vectors, "<f4").reshape(found.count, -1)
    vectors = _shorten(vectors, wanted.dimensions)
    if parts.is_spec_profile:  # strict validation of the SDK comes before it decodes base64
        wanted = wanted.model_copy(update={"encoding_format": "float"})
    data = [
        {"object": "embedding", "index": index, "embedding": _encode(vector, wanted)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return answer({"object": "list", "data": data, "model": wanted.model, "usage": usage})


def _shorten(vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    """Keep the first dimensions, and the length of one."""
    if dimensions is None or dimensions >= vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions]
    unit: np.ndarray = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return unit


def _encode(vector: np.ndarray, wanted: CreateEmbedding) -> str | list[float]:
    if wanted.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
