"""What every parameter does where answers are drawn from a model, by the official client.

The models are tiny, with random weights: what they say has no sense, and every form that an answer
has is one that it is held to.
"""

import asyncio
import json
from typing import Any

import pytest
from openai import BadRequestError
from tests.contracts.ways import CONTEXT, HI, Serve, Served, asked

pytestmark = pytest.mark.xdist_group("contract of serving")

CHANCE = {"temperature": 1.5, "max_tokens": 12}
SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["mood", "stars"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "rating", "strict": True, "schema": SCHEMA}}
RATE = {
    "type": "function",
    "function": {"name": "rate", "strict": True, "parameters": SCHEMA},
}
WAIT = {
    "type": "function",
    "function": {
        "name": "wait",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"for": {"enum": ["ever", "you"]}},
            "required": ["for"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "rate"}}
ROOM = 120
"""Tokens that are enough for any value of the schema, with the white space that it may have."""


def is_rating(text: str) -> bool:
    found = json.loads(text)
    return (
        set(found) == {"mood", "stars"}
        and found["mood"] in ("good", "bad")
        and found["stars"] in range(1, 6)
    )


async def said(client: Any, model: str, **options: Any) -> str:
    found = await client.chat.completions.create(**asked(model, **options))
    return str(found.choices[0].message.content)


async def streamed(client: Any, model: str, **options: Any) -> list[Any]:
    stream = await client.chat.completions.create(**asked(model, stream=True, **options))
    return [chunk async for chunk in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_a_seed_and_no_chance_repeat_an_answer(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        for options in ({}, CHANCE | {"seed": 5}, CHANCE | {"seed": 5, "top_p": 0.9}):
            assert await said(client, served.tuned, **options) == await said(
                client, served.tuned, **options
            )
        likeliest = await said(client, served.tuned, max_tokens=12)
        assert await said(client, served.tuned, **CHANCE | {"top_p": 1e-9}) == likeliest
        drawn = [await said(client, served.tuned, **CHANCE, seed=seed) for seed in range(4)]
        assert len({likeliest, *drawn}) > 2

    draw(scene)


def test_several_answers_are_drawn_apart(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = asked(served.tuned, **CHANCE, n=4, seed=2)
        found = await client.chat.completions.create(**options)
        assert len({choice.message.content for choice in found.choices}) == 4
        chunks = await streamed(client, served.tuned, **CHANCE, n=4, seed=2)
        texts = ["", "", "", ""]
        for chunk in chunks:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert texts == [choice.message.content for choice in found.choices]

    draw(scene)


def test_an_answer_ends_before_the_text_that_stops_it(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = CHANCE | {"seed": 3, "max_tokens": 40}
        whole = await said(client, served.tuned, **options)
        middle = len(whole) // 2
        for stop in (whole[middle : middle + 3], whole[middle]):
            before = whole[: whole.index(stop)]
            for stops in (stop, ["never said", stop]):
                found = await client.chat.completions.create(
                    **asked(served.tuned, **options, stop=stops)
                )
                [choice] = found.choices
                assert (choice.message.content, choice.finish_reason) == (before, "stop")
            assert text_of(await streamed(client, served.tuned, **options, stop=stop)) == before

    draw(scene)


def test_a_bias_makes_a_token_certain_or_impossible(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        own = await said(client, served.tuned)
        for token in (70, 90):
            found = await client.chat.completions.create(
                **asked(served.tuned, logit_bias={token: 100}, logprobs=True)
            )
            [choice] = found.choices
            assert len({entry.token for entry in choice.logprobs.content}) == 1
            assert choice.logprobs.content[0].logprob < -0.1  # the model's own, without the bias
        banned = dict.fromkeys(range(300), -100)
        assert await said(client, served.tuned, logit_bias=banned) != own

    draw(scene)


@pytest.mark.parametrize("name", ["frequency_penalty", "presence_penalty"])
def test_penalties_turn_an_answer_away_from_what_it_has_said(draw: Serve, name: str) -> None:
    async def scene(client: Any, served: Served) -> None:
        bias = dict.fromkeys(range(70, 90), 100)  # among these the model chooses
        counts = {}
        for penalty in (-2, 0, 2):
            found = await client.chat.completions.create(
                **asked(
                    served.tuned,
                    **{"max_tokens": 40, "logit_bias": bias, "logprobs": True, name: penalty},
                )
            )
            counts[penalty] = len({entry.token for entry in found.choices[0].logprobs.content})
        assert counts[-2] <= counts[0] <= counts[2]
        assert counts[-2] < counts[2]

    draw(scene)


def test_logprobs_are_of_the_tokens_of_the_text_in_a_stream_too(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = CHANCE | {"seed": 1, "logprobs": True, "top_logprobs": 4}
        found = await client.chat.completions.create(**asked(served.tuned, **options))
        [choice] = found.choices
        entries = choice.logprobs.content
        assert len(entries) == found.usage.completion_tokens
        raw = bytes(byte for entry in entries for byte in entry.bytes)
        assert raw.decode(errors="ignore") == choice.message.content.replace("�", "")
        for entry in entries:
            best = [each.logprob for each in entry.top_logprobs]
            assert len(best) == 4
            assert best == sorted(best, reverse=True)
            assert entry.logprob <= best[0] <= 0
        chunks = await streamed(client, served.tuned, **options)
        told = [c.choices[0].logprobs.content for c in chunks if c.choices[0].logprobs]
        assert [entry.token for each in told for entry in each] == [e.token for e in entries]
        assert [entry.logprob for each in told for entry in each] == pytest.approx(
            [entry.logprob for entry in entries], abs=1e-4
        )

    draw(scene)


def test_limits_have_both_names_and_a_stream_tells_its_usage(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = asked(served.tuned, max_completion_tokens=3)
        del options["max_tokens"]
        found = await client.chat.completions.create(**options)
        assert (found.choices[0].finish_reason, found.usage.completion_tokens) == ("length", 3)
        chunks = await streamed(client, served.tuned, stream_options={"include_usage": True})
        assert chunks[-1].choices == []
        assert chunks[-1].usage.completion_tokens == 6
        assert all(chunk.usage is None for chunk in chunks[:-1])

    draw(scene)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_is_too_long_is_told_in_openais_words(draw: Serve, is_streamed: bool) -> None:
    async def scene(client: Any, served: Served) -> None:
        long = [{"role": "user", "content": "and so on " * CONTEXT}]
        with pytest.raises(BadRequestError, match=f"maximum context length is {CONTEXT}") as caught:
            await client.chat.completions.create(
                model=served.tuned, messages=long, stream=is_streamed
            )
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
        with pytest.raises(BadRequestError, match="maximum context length"):
            await client.completions.create(model=served.tuned, prompt=long[0]["content"])

    draw(scene)


def test_an_answer_is_held_to_a_schema(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = {"temperature": 1.5, "max_tokens": ROOM, "seed": 1, "response_format": FORM}
        found = await client.chat.completions.create(**asked(served.tuned, **options, n=5))
        for choice in found.choices:
            assert choice.finish_reason == "stop"
            assert is_rating(choice.message.content)
        assert len({choice.message.content for choice in found.choices}) > 1
        assert is_rating(text_of(await streamed(client, served.base, **options)))
        free = {"type": "json_object"}
        text = await said(client, served.other, **options | {"response_format": free, "seed": 4})
        assert text.startswith("{")

    draw(scene)


def test_a_schema_that_cannot_be_kept_is_refused(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        broken = {"name": "a", "strict": True, "schema": {"type": "nothing known"}}
        with pytest.raises(BadRequestError):
            await said(
                client,
                served.tuned,
                response_format={"type": "json_schema", "json_schema": broken},
            )
        assert await said(client, served.tuned)

    draw(scene)


@pytest.mark.parametrize(
    ("choice", "reason"), [("required", "tool_calls"), (NAMED, "stop")], ids=["any", "named"]
)
def test_a_tool_is_called_with_arguments_of_its_schema(
    draw: Serve, choice: Any, reason: str
) -> None:
    options = {
        "temperature": 1.5,
        "max_tokens": ROOM,
        "seed": 1,
        "tools": [WAIT, RATE],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }

    async def scene(client: Any, served: Served) -> None:
        found = await client.chat.completions.create(**asked(served.tuned, **options, n=4))
        for each in found.choices:
            assert each.finish_reason == reason
            assert not each.message.content
            [call] = each.message.tool_calls
            assert call.function.name in (["rate"] if choice is NAMED else ["rate", "wait"])
            if call.function.name == "rate":
                assert is_rating(call.function.arguments)
        chunks = await streamed(client, served.tuned, **options)
        told = [call for c in chunks for call in c.choices[0].delta.tool_calls or []]
        assert told[0].id.startswith("call_")
        assert {call.index for call in told} == {0}
        assert json.loads("".join(call.function.arguments or "" for call in told))
        assert chunks[-1].choices[0].finish_reason == reason

    draw(scene)


def test_a_tool_is_left_alone_where_none_is_to_be_called(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        found = await client.chat.completions.create(
            **asked(served.tuned, tools=[RATE], tool_choice="none")
        )
        [choice] = found.choices
        assert choice.message.tool_calls is None
        assert choice.message.content
        assert choice.finish_reason == "length"

    draw(scene)


def test_the_result_of_a_call_is_read(draw: Serve) -> None:
    function = {"name": "rate", "arguments": '{"mood": "good", "stars": 5}'}
    called = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function"}]}
    called["tool_calls"][0]["function"] = function  # type: ignore[index]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "noted"}

    async def scene(client: Any, served: Served) -> None:
        options = asked(served.tuned, tools=[RATE], tool_choice="none")
        short = await client.chat.completions.create(**options)
        more = await client.chat.completions.create(**options | {"messages": [*HI, called, result]})
        assert more.usage.prompt_tokens > short.usage.prompt_tokens
        assert more.choices[0].message.content

    draw(scene)


def test_responses_say_what_chats_say(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        chat = await said(client, served.tuned, max_tokens=20)
        options = {"model": served.tuned, "max_output_tokens": 20, "temperature": 0}
        text = HI[0]["content"]
        found = await client.responses.create(input=text, **options)
        assert (found.output_text, found.status) == (chat, "incomplete")
        assert found.incomplete_details.reason == "max_output_tokens"
        stream = await client.responses.create(input=text, stream=True, **options)
        deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
        assert "".join(deltas) == chat
        more = options | {"max_output_tokens": ROOM, "temperature": 1.5}
        shape = {"type": "json_schema", "name": "rating", "strict": True, "schema": SCHEMA}
        rated = await client.responses.create(input=text, text={"format": shape}, **more)
        assert is_rating(rated.output_text)
        tool = {"type": "function", **RATE["function"]}  # type: ignore[dict-item]
        called = await client.responses.create(
            input=text, tools=[tool], tool_choice="required", parallel_tool_calls=False, **more
        )
        [call] = called.output
        assert (call.type, call.name, is_rating(call.arguments)) == ("function_call", "rate", True)

    draw(scene)


def test_texts_are_gone_on_with_by_the_same_parameters(draw: Serve) -> None:
    async def scene(client: Any, served: Served) -> None:
        options = {"model": served.tuned, "max_tokens": 8, "temperature": 0}
        alone = await client.completions.create(prompt="Once upon", **options)
        text = alone.choices[0].text
        many = await client.completions.create(
            prompt=["Once upon", "a time"], n=2, echo=True, logprobs=2, **options
        )
        assert [choice.text for choice in many.choices[:2]] == [f"Once upon{text}"] * 2
        logprobs = many.choices[0].logprobs
        assert len(logprobs.tokens) == len(logprobs.top_logprobs) == 8
        assert logprobs.text_offset[0] == len("Once upon")
        cut = text[len(text) // 2 :][:2]
        stopped = await client.completions.create(prompt="Once upon", stop=[cut], **options)
        assert stopped.choices[0].text == text[: text.index(cut)]
        # As the hosted API, chunks say `finish_reason: null`, which the client's type forbids.
        lenient = client.copy(_extra_kwargs={"_strict_response_validation": False})
        stream = await lenient.completions.create(prompt="Once upon", stream=True, **options)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == text

    draw(scene)


def test_a_base_and_its_models_answer_at_once_as_they_do_alone(draw: Serve) -> None:
    """Long and short, drawn and not, held to a form and free: in one batch."""
    kinds: list[dict[str, Any]] = [
        {"max_tokens": 30},
        CHANCE | {"seed": 9, "n": 2},
        {"temperature": 1.2, "seed": 4, "max_tokens": ROOM, "response_format": FORM},
    ]

    async def scene(client: Any, served: Served) -> None:
        wanted = [asked(model, **kind) for kind in kinds for model in served]
        create = client.chat.completions.create
        alone = [await create(**each) for each in wanted]
        together = await asyncio.gather(*(create(**each) for each in wanted * 2))
        texts = [[choice.message.content for choice in each.choices] for each in alone]
        assert [[c.message.content for c in each.choices] for each in together] == texts * 2
        assert [each.model for each in together] == [each["model"] for each in wanted * 2]
        assert len({each[0] for each in texts[:3]}) == 3

    draw(scene)


def test_who_leaves_in_the_middle_disturbs_nobody(draw: Serve) -> None:
    async def read(client: Any, wanted: dict[str, Any], leaves_after: int | None) -> str | None:
        stream = await client.chat.completions.create(**wanted, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if leaves_after is not None and len(text) >= leaves_after:
                await stream.close()
                return None
        return text

    async def scene(client: Any, served: Served) -> None:
        wanted = [
            asked(
                served[number % 3],
                max_tokens=10 + 7 * number % 40,
                messages=[{"role": "user", "content": f"{number} and so on " * (number % 5 + 1)}],
            )
            for number in range(32)
        ]
        alone = [await read(client, each, None) for each in wanted[:8]]
        leaves = [(None, 0, None, 5, 1)[number % 5] for number in range(32)]
        found = await asyncio.gather(*(map(read, [client] * 32, wanted, leaves)))
        stayed = [number for number in range(8) if leaves[number] is None]
        assert [found[number] for number in stayed] == [alone[number] for number in stayed]
        assert all(found[number] for number, leave in enumerate(leaves) if leave is None)

    draw(scene)
