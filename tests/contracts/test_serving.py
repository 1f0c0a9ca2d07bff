"""What every way of serving must do alike, by the official client.

The serving process with the fake model and with open models, and a stand-in for vLLM; a real vLLM
too, where the variable SELFTUNE_TEST_VLLM names the Python of an environment that has it.
"""

import asyncio
from typing import Any

import pytest
from openai import APIStatusError
from tests.contracts.ways import Serve, Served, asked

pytestmark = pytest.mark.xdist_group("contract of serving")


def test_each_model_answers_under_its_own_name_and_differs_from_its_base(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        texts = []
        for name in served:
            found = await client.chat.completions.create(**asked(name))
            assert found.model == name
            assert found.id.startswith("chatcmpl-")
            (choice,) = found.choices
            assert (choice.index, choice.message.role) == (0, "assistant")
            usage = found.usage
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            texts.append(choice.message.content)
        assert len(set(texts)) == 3

    serve(scene)


def test_a_stream_says_what_the_whole_answer_says(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        whole = await client.chat.completions.create(**asked(served.tuned))
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = await client.chat.completions.create(**asked(served.tuned, **options))
        chunks = [chunk async for chunk in stream]
        pieces = [chunk.choices[0] for chunk in chunks if chunk.choices]
        text = "".join(piece.delta.content or "" for piece in pieces)
        assert text == whole.choices[0].message.content
        assert pieces[-1].finish_reason == whole.choices[0].finish_reason
        assert {chunk.model for chunk in chunks} == {served.tuned}
        assert chunks[-1].usage == whole.usage

    serve(scene)


def test_an_answer_ends_at_its_limit(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        found = await client.chat.completions.create(**asked(served.tuned, max_tokens=2))
        assert found.choices[0].finish_reason == "length"
        assert found.usage.completion_tokens == 2

    serve(scene)


def test_logprobs_have_a_row_for_each_token_and_the_alternatives_that_were_asked_for(
    serve: Serve,
) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = {"logprobs": True, "top_logprobs": 2}
        found = await client.chat.completions.create(**asked(served.tuned, **options))
        entries = found.choices[0].logprobs.content
        assert len(entries) == found.usage.completion_tokens
        for entry in entries:
            assert entry.logprob <= 0
            assert len(entry.top_logprobs) <= 2
            assert entry.logprob <= max((top.logprob for top in entry.top_logprobs), default=0)

    serve(scene)


def test_several_answers_are_counted_together(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        one = await client.chat.completions.create(**asked(served.tuned))
        many = await client.chat.completions.create(**asked(served.tuned, n=3))
        assert [choice.index for choice in many.choices] == [0, 1, 2]
        assert {c.message.content for c in many.choices} == {one.choices[0].message.content}
        assert many.usage.completion_tokens == 3 * one.usage.completion_tokens

    serve(scene)


def test_many_clients_of_several_models_get_each_its_own_answer(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        names = [served.tuned, served.other] * 4
        found = await asyncio.gather(
            *(client.chat.completions.create(**asked(name, seed=1)) for name in names)
        )
        assert [each.model for each in found] == names
        said = {(each.model, each.choices[0].message.content) for each in found}
        assert len(said) == 2

    serve(scene)


def test_a_text_is_gone_on_with(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        found = await client.completions.create(
            model=served.tuned, prompt="Once upon", max_tokens=3, temperature=0
        )
        assert (found.object, found.model) == ("text_completion", served.tuned)
        assert found.usage.completion_tokens <= 3

    serve(scene)


def test_a_model_that_is_not_there_is_not_found(serve: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        with pytest.raises(APIStatusError) as refused:
            await client.chat.completions.create(**asked(f"{served.tuned[:-1]}x"))
        assert (refused.value.status_code, refused.value.code) == (404, "model_not_found")

    serve(scene)
