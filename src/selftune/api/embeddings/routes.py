"""Texts -> vectors."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from selftune.api.context import Storable, answer, body_of, context, identity
from selftune.api.routing import Router
from selftune.api.sampling import served, text_of, while_connected
from selftune.core.errors import InvalidInput
from selftune.serve.frames import EmbedRequest

router = Router("/v1/embeddings")
_MOST_INPUTS = 2048


class CreateEmbedding(BaseModel):
    """The body of an embedding request."""

    input: str | list[str] | list[int] | list[list[int]]
    model: Annotated[Storable, Field(min_length=1, max_length=300)]
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
    from selftune.api.embeddings.vectors import vectors_json

    wanted = await body_of(request, CreateEmbedding)
    parts = context(request)
    model = served(parts, identity(request), wanted.model)
    embed = EmbedRequest(id=0, engine=model.engine, folder=model.folder, texts=wanted.texts())
    found = await while_connected(request, parts.serving.embed(embed))
    # Strict validation of the SDK comes before it decodes base64
    as_base64 = wanted.encoding_format == "base64" and not parts.is_spec_profile
    vectors = vectors_json(
        found.vectors, found.count, dimensions=wanted.dimensions, as_base64=as_base64
    )
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return answer({"object": "list", "data": data, "model": wanted.model, "usage": usage})
