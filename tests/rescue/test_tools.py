"""Calls, shapes and log-probabilities through the proxy, whoever answers, with the official clients."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.rescue.proxied import FAKE, Proxied, eventually, proxied, stored, tuned
from tests.rescue.stand_in import TINY, StandIn, stand_in

from selftune.rescue.cutover import shadows, switch

NAMES = "x-selftune-answered-by"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
SHAPE: Any = {
    "type": "json_schema",
    "json_schema": {"name": "order", "schema": TOOL["function"]["parameters"], "strict": True},
}
ASKED: Any = [{"role": "user", "content": "Where is order 12?"}]
CALLING: Any = {"messages": ASKED, "tools": [TOOL], "tool_choice": "required"}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("openai"), size=TINY) as running:
        yield running


@pytest.fixture
def recorded(account: StandIn, tmp_path: Path) -> Iterator[Proxied]:
    upstream = account.base_url
    with proxied(tmp_path / "home", upstream, records=True, upstream_key=account.key) as server:
        yield server


@pytest.mark.parametrize("side", ["upstream", "replacement"])
def test_calls_shapes_and_log_probabilities_come_through(
    account: StandIn, recorded: Proxied, side: str
) -> None:
    model = tuned(account)
    switch(recorded.store, model, side, replacement=FAKE)
    with recorded.client() as client:
        raw = client.chat.completions.with_raw_response.create(model=model, **CALLING)
        assert raw.headers[NAMES] == side
        [call] = raw.parse().choices[0].message.tool_calls or []
        with client.chat.completions.stream(model=model, **CALLING) as stream:
            last = stream.get_final_completion().choices[0]
        shaped = client.chat.completions.create(model=model, messages=ASKED, response_format=SHAPE)
        probable = client.chat.completions.create(
            model=model, messages=ASKED, logprobs=True, top_logprobs=2
        )

    async def stream_again() -> list[Any]:
        async with AsyncOpenAI(base_url=recorded.url, api_key=recorded.key) as client:
            chunks = await client.chat.completions.create(model=model, stream=True, **CALLING)
            return [chunk async for chunk in chunks]

    chunks = asyncio.run(stream_again())
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("find_order", '{"number": 1}')
    [streamed] = last.message.tool_calls or []
    assert streamed.function.arguments == call.function.arguments
    assert last.finish_reason == chunks[-1].choices[0].finish_reason == "tool_calls"
    deltas = [each for chunk in chunks for each in chunk.choices[0].delta.tool_calls or []]
    assert "".join(each.function.arguments or "" for each in deltas) == call.function.arguments
    assert shaped.choices[0].message.content == '{"number": 1}'
    assert probable.choices[0].logprobs is not None
    assert len(probable.choices[0].logprobs.content or []) > 1
    eventually(lambda: len(stored(recorded.store)) == 5)
    kept = stored(recorded.store)
    calls = [each.message["tool_calls"][0] for each in kept if "tool_calls" in each.message]
    assert [each["function"]["arguments"] for each in calls] == ['{"number": 1}'] * 3
    assert {each.finish_reason for each in kept} == {"tool_calls", "stop"}
    assert kept[0].options["tools"] == [TOOL]
    assert kept[2].options["response_format"] == SHAPE
    assert kept[3].choices[0].logprobs is not None


def test_a_shadow_is_compared_by_its_calls(account: StandIn, recorded: Proxied) -> None:
    model = tuned(account)
    switch(recorded.store, model, "shadow=100", replacement=FAKE)
    with recorded.client() as client:
        client.chat.completions.create(model=model, **CALLING)
        for _ in client.chat.completions.create(model=model, stream=True, **CALLING):
            pass
    eventually(lambda: sum(each.asked for each in shadows(recorded.store)) == 2)
    [found] = shadows(recorded.store, model)
    assert found.failed.value == 0
    assert found.same is not None
    assert found.same.value == 1
