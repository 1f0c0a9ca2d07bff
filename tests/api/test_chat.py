"""Chat as the official client sees it, and what is refused."""

import asyncio
from typing import Any

import httpx2
import pytest
from openai import NotFoundError
from starlette.types import Message
from tests.api.asking import ANSWERS, MODEL, Asked, Play
from tests.serve.running import until

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "capital?"}]}
PATH = "chat/completions"
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
NAMED = {"type": "function", "function": {"name": "g"}}


def test_an_answer_has_all_that_the_client_knows(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await asked.client.chat.completions.create(
            **CHAT, n=2, logprobs=True, top_logprobs=3, seed=-9007199254740991
        )
        assert found.model == MODEL
        assert found.id.startswith("chatcmpl-")
        assert [choice.index for choice in found.choices] == [0, 1]
        choice = found.choices[0]
        assert choice.message.content == ANSWERS["capital?"]
        assert choice.finish_reason == "stop"
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        raw = b"".join(bytes(token.bytes or []) for token in tokens)
        assert raw.decode() == ANSWERS["capital?"]
        assert found.usage is not None
        assert found.usage.completion_tokens == 2 * len(tokens)
        assert found.usage.total_tokens == found.usage.prompt_tokens + 2 * len(tokens)

    play(scene)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_both_names_of_the_limit_cut(play: Play, name: str, limit: int) -> None:
    async def scene(asked: Asked) -> None:
        found = await asked.client.chat.completions.create(**CHAT, **{name: limit})
        assert found.choices[0].finish_reason == "length"
        assert found.usage is not None
        assert found.usage.completion_tokens == limit

    play(scene)


def test_a_stream_tells_the_role_first_and_the_usage_last(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        stream = await asked.client.chat.completions.create(
            **CHAT, n=2, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        texts = {0: "", 1: ""}
        for chunk in chunks[:-1]:
            assert chunk.usage is None
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert set(texts.values()) == {ANSWERS["capital?"]}
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].choices == []
        assert chunks[-1].usage is not None
        assert {chunk.id for chunk in chunks} == {chunks[0].id}
        raw = await asked.post(PATH, CHAT | {"stream": True})
        assert raw.text.endswith("\n\ndata: [DONE]\n\n")
        assert '"usage"' not in raw.text

    play(scene)


def test_messages_come_in_every_shape(play: Play) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}]},
        {"role": "user", "content": "earlier"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "call_1"},
        {"role": "user", "content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
    ]

    async def scene(asked: Asked) -> None:
        found = await asked.client.chat.completions.create(model=MODEL, messages=messages)
        assert found.choices[0].message.content == "hello"

    play(scene)


def test_what_means_nothing_here_is_accepted(play: Play) -> None:
    extra: dict[str, Any] = {
        "user": "u",
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "reasoning_effort": "none",
        "verbosity": "low",
        "parallel_tool_calls": True,
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "logit_bias": {"foo": 0, "²": 1, "9" * 5000: 1, "50": -100},
        "stop": None,
        "unheard_of": {"x": 1},
    }

    async def scene(asked: Asked) -> None:
        reply = await asked.post(PATH, CHAT | extra)
        assert reply.status_code == 200, reply.text

    play(scene)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": 10**30}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens", "invalid_value"),
        ({"seed": -(10**30)}, "seed", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "invalid_value"),
        ({"stop": list("abcde")}, "stop", "invalid_value"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "g", "tools": [TOOL]}, "tool_choice", "invalid_value"),
        ({"tool_choice": NAMED, "tools": [TOOL]}, "tool_choice", "invalid_value"),
        ({"tools": [TOOL] * 129}, "tools", "invalid_value"),
        ({"tools": [{"type": "custom"}]}, "tools.0.type", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools.0.function.name",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]},
            "messages",
            "invalid_value",
        ),
    ],
)
def test_a_wrong_parameter_is_named(
    play: Play, change: dict[str, Any], param: str, code: str
) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused(PATH, CHAT | change)
        assert (error["param"], error["code"]) == (param, code)
        assert error["type"] == "invalid_request_error"

    play(scene)


@pytest.mark.parametrize("body", ["", "[]", "{", '{"model": "\\ud800"}', '{"n": 1e999}', "\x00"])
def test_a_body_that_is_no_object_is_refused(play: Play, body: str) -> None:
    async def scene(asked: Asked) -> None:
        await asked.refused(PATH, body)

    play(scene)


def test_pictures_are_refused_and_not_overlooked(play: Play) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    message = {"role": "user", "content": [part]}

    async def scene(asked: Asked) -> None:
        error = await asked.refused(PATH, CHAT | {"messages": [message]})
        assert error["param"] == "messages"
        assert "reads text only" in error["message"]

    play(scene)


def test_an_unknown_model_is_not_found_but_in_the_spec_profile_any_name_answers(
    play: Play,
) -> None:
    async def standard(asked: Asked) -> None:
        for name in ("nope", "ft:gpt-4o-mini:selftune::abc"):
            with pytest.raises(NotFoundError, match=f"The model `{name}` does not exist"):
                await asked.client.chat.completions.create(**CHAT | {"model": name})

    async def spec(asked: Asked) -> None:
        found = await asked.client.chat.completions.create(**CHAT | {"model": "gpt-6-astra"})
        assert found.model == "gpt-6-astra"

    play(standard)
    play(spec, profile="spec")


def test_a_caller_who_hangs_up_waits_for_the_model_no_more(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        asked.models.sampler.free.clear()
        busy = asyncio.create_task(asked.post(PATH, CHAT))
        await until(lambda: bool(asked.models.sampler.batches))
        hung_up = asyncio.Event()
        gone = asyncio.create_task(call(asked, CHAT | {"user": "gone"}, hung_up))
        await asyncio.sleep(0.1)
        hung_up.set()
        assert await gone == []
        await asyncio.sleep(0.1)  # the cancel is on the way
        asked.models.sampler.free.set()
        assert (await busy).status_code == 200

    models = play(scene)
    assert models.sampler.batches == [["capital?"]]


async def call(asked: Asked, body: dict[str, Any], hung_up: asyncio.Event) -> list[Message]:
    """Call the application, hang up when told; return what it still sent."""
    request = httpx2.Request("POST", f"http://test/v1/{PATH}", json=body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"/v1/{PATH}",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": None,
    }
    events: list[Message] = [{"type": "http.request", "body": request.content, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if events:
            return events.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await asked.app(scope, receive, send)
    return sent


def test_a_full_queue_and_a_long_wait_tell_when_to_come_back(play: Play) -> None:
    async def full(asked: Asked) -> None:
        asked.models.sampler.free.clear()
        first = asyncio.create_task(asked.post(PATH, CHAT))
        await until(lambda: bool(asked.models.sampler.batches))
        second = asyncio.create_task(asked.post(PATH, CHAT))
        await asyncio.sleep(0.1)
        refused = await asked.post(PATH, CHAT)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        asked.models.sampler.free.set()
        await asyncio.gather(first, second)

    play(full, serving_queue=1)
