"""The legacy endpoint: prompts of every kind, and its own shape of log-probabilities."""

from typing import Any

import pytest
from tests.api.asking import ANSWERS, MODEL, Asked, Play

from selftune.models.tokens import encode

LONG = {"model": MODEL, "max_tokens": 100}


def test_prompts_are_texts_or_tokens_one_or_many(play: Play) -> None:
    tokens = encode("capital?")
    prompts: list[Any] = ["capital?", ["capital?"], tokens, [tokens]]

    async def scene(asked: Asked) -> None:
        for prompt in prompts:
            found = await asked.client.completions.create(**LONG, prompt=prompt)
            assert [choice.text for choice in found.choices] == [ANSWERS["capital?"]]

    play(scene)


def test_many_prompts_are_answered_in_order_and_in_batches(play: Play) -> None:
    prompts = ["hi", "capital?"] * 50

    async def scene(asked: Asked) -> None:
        found = await asked.client.completions.create(**LONG, prompt=prompts)
        assert [choice.text for choice in found.choices] == [ANSWERS[each] for each in prompts]
        assert [choice.index for choice in found.choices] == list(range(100))

    models = play(scene)
    assert len(models.sampler.batches) < 50


def test_echo_and_logprobs_say_where_each_token_stands(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await asked.client.completions.create(
            **LONG, prompt="hi", echo=True, logprobs=1, best_of=2
        )
        choice = found.choices[0]
        assert choice.text == "hihello"
        assert choice.logprobs is not None
        assert choice.logprobs.text_offset is not None
        assert choice.logprobs.text_offset[0] == len("hi")
        assert "".join(choice.logprobs.tokens or []) == "hello"
        assert choice.logprobs.token_logprobs == [0.0] * len(choice.logprobs.tokens or [])

    play(scene)


def test_a_stream_gives_the_same_as_the_whole(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        # As the hosted API, chunks say `finish_reason: null`, which the client's type forbids.
        lenient = asked.client.copy(_extra_kwargs={"_strict_response_validation": False})
        stream = await lenient.completions.create(
            **LONG,
            prompt="capital?",
            echo=True,
            logprobs=1,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        pieces = [chunk.choices[0] for chunk in chunks[:-1]]
        assert "".join(piece.text for piece in pieces) == "capital?" + ANSWERS["capital?"]
        offsets = [
            at for piece in pieces if piece.logprobs for at in piece.logprobs.text_offset or []
        ]
        assert offsets == sorted(offsets)
        assert offsets[0] == len("capital?")
        assert chunks[-1].usage is not None

    play(scene)


def test_the_default_is_sixteen_tokens(play: Play) -> None:
    ANSWERS["count"] = " one" * 20

    async def scene(asked: Asked) -> None:
        found = await asked.client.completions.create(model=MODEL, prompt="count")
        assert found.usage is not None
        assert found.usage.completion_tokens == 16
        assert found.choices[0].finish_reason == "length"

    play(scene)


@pytest.mark.parametrize("prompt", [[10**9], [-1], [[199998]], [2**70], ["a"] * 3000, {"a": 1}])
def test_a_prompt_that_cannot_be_read_is_refused(play: Play, prompt: Any) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused("completions", {"model": MODEL, "prompt": prompt})
        assert str(error["param"]).startswith("prompt")

    play(scene)
