"""A model that streams, calls tools and keeps to a form, as the official client sees it."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import APIError, BadRequestError, InternalServerError
from pydantic import BaseModel
from tests.api.asking import MODEL, Asked, Play, over_http
from tests.serve.running import SteppedSampler

from selftune.core.errors import InvalidInput, Unavailable
from selftune.models.sampler import Prompt

HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "capital?"}]}
LOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"place": {"enum": ["here", "there"]}}},
    },
}
ASK_LOOK = HELLO | {"messages": [{"role": "user", "content": "please look"}], "tools": [LOOK]}
OLD_LOOK = HELLO | {"messages": ASK_LOOK["messages"], "functions": [LOOK["function"]]}
NAMED = {"type": "function", "function": {"name": "look"}}
RESPONSE_LOOK = {"type": "function", **LOOK["function"], "strict": False}
ARGUMENTS = '{"place": "here"}'


class Step(BaseModel):
    """One of several."""

    number: int
    is_last: bool


class Plan(BaseModel):
    """What a form looks like."""

    title: str
    steps: list[Step]
    note: str | None


class Look(BaseModel):
    """A tool's arguments."""

    place: str


PLAN = Plan(title="a", steps=[Step(number=1, is_last=True)], note="a")


def live(asked: Asked, *, steps: int = 10_000) -> SteppedSampler:
    """Make the model a live one."""
    sampler = SteppedSampler({"capital?": "It is Paris.", "hi": "hello"})
    if steps:
        sampler.let(steps)
    asked.models.everywhere = sampler
    return sampler


def test_a_chunk_is_sent_before_the_next_token_is_made(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        sampler = live(asked, steps=1)
        async with over_http(asked.app) as client:
            stream = await client.chat.completions.create(**HELLO, stream=True)
            text = ""
            async for chunk in stream:
                [choice] = chunk.choices
                text += choice.delta.content or ""
                if choice.delta.role is None:
                    sampler.let(1)
        assert text == "It is Paris."

    play(scene)


def test_answers_of_one_request_come_side_by_side(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        options: dict[str, Any] = {"stream_options": {"include_usage": True}}
        stream = await asked.client.chat.completions.create(
            **HELLO, n=2, logprobs=True, top_logprobs=1, stream=True, **options
        )
        chunks = [chunk async for chunk in stream]
        for index in (0, 1):
            own = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == index]
            assert [each.delta.role for each in own[:2]] == ["assistant", None]
            tokens = [t for each in own if each.logprobs for t in each.logprobs.content or []]
            assert "".join(token.token for token in tokens) == "It is Paris."
            assert own[-1].finish_reason == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 8

    play(scene)


def test_a_caller_who_closes_the_stream_is_dropped(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        sampler = live(asked, steps=1)
        sampler._answers["capital?"] = "word " * 1000
        async with over_http(asked.app) as client:
            stream = await client.chat.completions.create(**HELLO, stream=True)
            assert sampler.under_way == 1
            await stream.close()
            while sampler.under_way:
                sampler.let(1)
                await asyncio.sleep(0.01)

    play(scene)


def test_an_error_has_a_status_before_the_first_token_and_is_a_chunk_after_it(play: Play) -> None:
    error = Unavailable("Out of order.", code="c")

    async def scene(asked: Asked) -> None:
        sampler = live(asked, steps=1)
        async with over_http(asked.app) as client:
            chats = client.chat.completions
            sampler.error = error
            with pytest.raises(InternalServerError, match=r"Out of order\.") as early:
                await chats.create(**HELLO, stream=True)
            assert (early.value.status_code, early.value.code) == (503, "c")
            sampler.error = None
            sampler.let(1)
            stream = await chats.create(**HELLO, stream=True)
            sampler.error = error
            sampler.let(1)
            with pytest.raises(APIError, match=r"Out of order\.") as late:
                async for _ in stream:
                    pass
            assert (late.value.code, late.value.type) == ("c", "server_error")
            sampler.error = None
            sampler.let()
            assert (await chats.create(**HELLO)).choices

    play(scene)


def test_what_a_model_cannot_do_it_refuses_in_its_own_words(play: Play) -> None:
    def refuse(prompt: Prompt, _tell: Any) -> int:
        assert prompt.response_format == {"type": "json_object"}
        raise InvalidInput("No response_format here.", code="no", param="response_format")

    async def scene(asked: Asked) -> None:
        sampler = live(asked)
        sampler.start = refuse  # type: ignore[method-assign, assignment]  # a model that cannot
        for stream in (False, True):
            with pytest.raises(BadRequestError, match="No response_format") as chat:
                await asked.client.chat.completions.create(
                    **HELLO, response_format={"type": "json_object"}, stream=stream
                )
            assert (chat.value.code, chat.value.param) == ("no", "response_format")
            with pytest.raises(BadRequestError, match=r"No text\.format") as response:
                await asked.client.responses.create(
                    model=MODEL,
                    input="hi",
                    text={"format": {"type": "json_object"}},
                    stream=stream,
                )
            assert (response.value.code, response.value.param) == ("no", "text.format")

    play(scene)


def test_a_prompt_that_is_too_long_is_said_so(play: Play) -> None:
    messages = [{"role": "user", "content": "word " * 100_001}]

    async def scene(asked: Asked) -> None:
        live(asked)
        with pytest.raises(BadRequestError, match="maximum context length is") as caught:
            await asked.client.chat.completions.create(model=MODEL, messages=messages)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")

    play(scene)


def test_a_tool_is_called_and_its_result_goes_back(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        sampler = live(asked)
        chats = asked.client.chat.completions
        found = await chats.create(**ASK_LOOK, store=True)
        [choice] = found.choices
        assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
        [call] = choice.message.tool_calls or []
        assert call.id.startswith("call_")
        assert (call.function.name, call.function.arguments) == ("look", ARGUMENTS)
        kept = await chats.retrieve(found.id)
        assert kept.choices[0].message.tool_calls == [call]
        result = {"role": "tool", "tool_call_id": call.id, "content": "seen"}
        said = [*ASK_LOOK["messages"], choice.message.to_dict(), result]
        more = await chats.create(**ASK_LOOK | {"messages": said})
        assert more.choices[0].finish_reason == "stop"
        read = sampler.asked[-1]
        assert read.messages[1]["tool_calls"] == [call.to_dict()]
        assert read.messages[1]["content"] is None
        assert read.messages[2] == result
        assert read.tools == (LOOK,)

    play(scene)


@pytest.mark.parametrize("is_parallel", [True, False])
def test_a_stream_tells_calls_with_their_names_and_places(play: Play, is_parallel: bool) -> None:
    other = {"type": "function", "function": {"name": "listen"}}
    both = ASK_LOOK | {
        "messages": [{"role": "user", "content": "look and listen"}],
        "tools": [LOOK, other],
        "parallel_tool_calls": is_parallel,
    }

    async def scene(asked: Asked) -> None:
        live(asked)
        stream = await asked.client.chat.completions.create(**both, stream=True, store=True)
        chunks = [chunk async for chunk in stream]
        told = [call for c in chunks for call in c.choices[0].delta.tool_calls or []]
        assert [(call.index, call.function.name) for call in told] == [
            (0, "look"),
            (1, "listen"),
        ][: 1 + is_parallel]
        assert len({call.id for call in told}) == len(told)
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        kept = await asked.client.chat.completions.retrieve(chunks[0].id)
        calls = kept.choices[0].message.tool_calls or []
        assert [call.id for call in calls] == [call.id for call in told]

    play(scene)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("none", "stop"),
        ("auto", "stop"),
        ("required", "tool_calls"),
        (NAMED, "stop"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [NAMED]},
            },
            "tool_calls",
        ),
    ],
)
def test_the_choice_of_tools_is_kept_to(play: Play, choice: Any, reason: str) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        found = await asked.client.chat.completions.create(
            **HELLO, tools=[LOOK], tool_choice=choice
        )
        assert found.choices[0].finish_reason == reason
        assert bool(found.choices[0].message.tool_calls) == (choice not in ("none", "auto"))
        stream = await asked.client.chat.completions.create(
            **HELLO, tools=[LOOK], tool_choice=choice, stream=True
        )
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason == reason

    play(scene)


def test_functions_in_the_old_words_are_called_in_the_old_words(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        chats = asked.client.chat.completions
        found = await chats.create(**OLD_LOOK)
        [choice] = found.choices
        assert choice.finish_reason == "function_call"
        assert choice.message.tool_calls is None
        assert choice.message.function_call is not None
        assert choice.message.function_call.arguments == ARGUMENTS
        stream = await chats.create(**OLD_LOOK, function_call={"name": "look"}, stream=True)
        chunks = [chunk async for chunk in stream]
        told = [each for chunk in chunks if (each := chunk.choices[0].delta.function_call)]
        assert [each.name for each in told] == ["look"]
        assert chunks[-1].choices[0].finish_reason == "stop"
        said = [*OLD_LOOK["messages"], choice.message.to_dict()]
        said.append({"role": "function", "name": "look", "content": "seen"})
        assert (await chats.create(**OLD_LOOK | {"messages": said})).choices

    play(scene)


def test_the_clients_helpers_parse_answers_and_tools(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        chats = asked.client.chat.completions
        found = await chats.parse(**HELLO, response_format=Plan)
        assert found.choices[0].message.parsed == PLAN
        async with chats.stream(**HELLO, response_format=Plan) as stream:
            kinds = {event.type async for event in stream}
            whole = await stream.get_final_completion()
        assert whole.choices[0].message.parsed == PLAN
        assert {"content.delta", "content.done", "chunk"} <= kinds
        tool = openai.pydantic_function_tool(Look, name="look")
        called = await chats.parse(**ASK_LOOK | {"tools": [tool]})
        [call] = called.choices[0].message.tool_calls or []
        assert call.function.parsed_arguments == Look(place="a")
        async with chats.stream(**ASK_LOOK | {"tools": [tool]}) as stream:
            kinds = {event.type async for event in stream}
        assert "tool_calls.function.arguments.done" in kinds

    play(scene)


def test_a_response_calls_a_function_and_goes_on_from_its_result(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        sampler = live(asked)
        responses = asked.client.responses
        found = await responses.create(
            model=MODEL, input="please look", tools=[RESPONSE_LOOK], tool_choice="required"
        )
        [call] = found.output
        assert (call.type, call.name, call.arguments) == ("function_call", "look", ARGUMENTS)
        assert found.tools[0].name == "look"
        assert found.tool_choice == "required"
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "seen"}
        options: dict[str, Any] = {"model": MODEL, "tools": [RESPONSE_LOOK]}
        more = await responses.create(input=[result], previous_response_id=found.id, **options)
        assert more.output_text
        whole = [{"role": "user", "content": "please look"}, call.to_dict(), result]
        await responses.create(input=whole, **options)
        by_id, by_items = sampler.asked[-2:]
        assert by_id.messages == by_items.messages
        assert by_id.messages[1]["tool_calls"][0]["id"] == call.call_id
        items = (await responses.input_items.list(more.id, order="asc")).data
        assert [item.type for item in items] == [
            "message",
            "function_call",
            "function_call_output",
        ]
        assert items[1].call_id == items[2].call_id == call.call_id

    play(scene)


def test_a_response_streams_its_calls_and_its_forms(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        responses = asked.client.responses
        stream = await responses.create(
            model=MODEL, input="please look", tools=[RESPONSE_LOOK], stream=True
        )
        events = [event async for event in stream]
        kinds = [event.type.removeprefix("response.") for event in events]
        assert kinds == [
            "created",
            "in_progress",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
        assert events[5].item == events[-1].response.output[0]
        assert await responses.retrieve(events[-1].response.id) == events[-1].response
        again = await responses.retrieve(events[-1].response.id, stream=True)
        assert [event async for event in again] == events
        parsed = await responses.parse(model=MODEL, input="hi", text_format=Plan)
        assert parsed.output_parsed == PLAN
        async with responses.stream(model=MODEL, input="hi", text_format=Plan) as helper:
            async for _ in helper:
                pass
            assert (await helper.get_final_response()).output_parsed == PLAN

    play(scene)


def test_a_response_comes_piece_by_piece_and_says_that_it_failed(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        sampler = live(asked, steps=1)
        async with over_http(asked.app) as client:
            stream = await client.responses.create(model=MODEL, input="capital?", stream=True)
            kinds = []
            async for event in stream:
                kinds.append(event.type)
                if event.type == "response.output_text.delta":
                    sampler.error = Unavailable("Out of order.")
                    sampler.let(1)
            assert kinds.count("response.output_text.delta") == 1
            assert kinds[-1] == "response.failed"
            assert event.response.error.message == "Out of order."

    play(scene)


def test_texts_are_gone_on_with_side_by_side(play: Play) -> None:
    long = "word " * 300

    async def scene(asked: Asked) -> None:
        sampler = live(asked, steps=0)
        sampler._answers["capital?"] = long
        lenient = asked.client.copy(_extra_kwargs={"_strict_response_validation": False})
        asking = asyncio.ensure_future(
            lenient.completions.create(
                model=MODEL, prompt=["capital?", "hi"], max_tokens=1000, stream=True, echo=True
            )
        )
        while sampler.under_way < 2:  # the second joins while the first is answered
            sampler.let(1)
            await asyncio.sleep(0.01)
        sampler.let()
        texts = ["", ""]
        async for chunk in await asking:
            texts[chunk.choices[0].index] += chunk.choices[0].text
        assert texts == ["capital?" + long, "hihello"]
        assert [(prompt.text, prompt.messages) for prompt in sampler.asked] == [
            ("capital?", ()),
            ("hi", ()),
        ]

    play(scene)


def test_what_is_stored_of_a_stream_is_what_was_told(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        live(asked)
        stream = await asked.client.chat.completions.create(
            **HELLO, stream=True, store=True, logprobs=True
        )
        chunks = [chunk async for chunk in stream]
        kept = await asked.client.chat.completions.retrieve(chunks[0].id)
        assert kept.choices[0].message.content == "It is Paris."
        told = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
        assert kept.choices[0].to_dict()["logprobs"]["content"] == [
            token.to_dict() for each in told for token in each.content
        ]

    play(scene)


def test_many_callers_with_tools_and_forms_are_answered_together(play: Play) -> None:
    body = HELLO | {"response_format": {"type": "json_object"}}

    async def scene(asked: Asked) -> None:
        live(asked)
        whole = (await asked.post("chat/completions", body)).json()
        assert json.loads(whole["choices"][0]["message"]["content"]) == {}
        many = [asked.post("chat/completions", ASK_LOOK) for _ in range(8)]
        for reply in await asyncio.gather(*many):
            assert reply.json()["choices"][0]["finish_reason"] == "tool_calls"

    play(scene)
