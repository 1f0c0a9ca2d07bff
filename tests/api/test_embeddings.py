"""Vectors in both forms, shortened, and in the order of the texts."""

import base64
from typing import Any

import numpy as np
import pytest
from tests.api.asking import MODEL, Asked, Play

from selftune.models.tokens import encode

TEXTS = ["a cat", "a dog", "a cat"]


def test_texts_and_their_tokens_have_the_same_vectors(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        create = asked.client.embeddings.create
        texts = await create(model=MODEL, input=TEXTS, encoding_format="float")
        tokens = await create(
            model=MODEL, input=[encode(text) for text in TEXTS], encoding_format="float"
        )
        vectors = [entry.embedding for entry in texts.data]
        assert vectors == [entry.embedding for entry in tokens.data]
        assert vectors[0] == vectors[2] != vectors[1]
        assert texts.usage.prompt_tokens == 6
        assert [entry.index for entry in texts.data] == [0, 1, 2]

    play(scene)


def test_base64_is_the_same_vector_in_little_endian_floats(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        body = {"model": MODEL, "input": "a cat"}
        plain = (await asked.post("embeddings", body)).json()["data"][0]["embedding"]
        packed = (await asked.post("embeddings", body | {"encoding_format": "base64"})).json()
        raw = base64.b64decode(packed["data"][0]["embedding"])
        assert np.frombuffer(raw, "<f4").tolist() == plain

    play(scene)


def test_a_shorter_vector_has_the_length_of_one_still(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        body = {"model": MODEL, "input": TEXTS, "dimensions": 3}
        data = (await asked.post("embeddings", body)).json()["data"]
        vectors = np.array([entry["embedding"] for entry in data])
        assert vectors.shape == (3, 3)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)

    play(scene)


@pytest.mark.parametrize(
    "wrong", ["", [], [""], [[]], [10**9], [[2**70]], ["a"] * 2049, {"a": 1}, [1.5], None]
)
def test_an_input_that_cannot_be_read_is_refused(play: Play, wrong: Any) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused("embeddings", {"model": MODEL, "input": wrong})
        assert str(error["param"]).startswith("input")

    play(scene)


@pytest.mark.parametrize("dimensions", [0, -1, 10**30])
def test_a_vector_has_at_least_one_dimension_and_at_most_what_there_are(
    play: Play, dimensions: int
) -> None:
    async def scene(asked: Asked) -> None:
        reply = await asked.post(
            "embeddings", {"model": MODEL, "input": "a", "dimensions": dimensions}
        )
        assert reply.status_code == (400 if dimensions < 1 else 200)

    play(scene)
