"""Models of this machine as evals ask them: with tools and forms, and together where they can."""

import asyncio
import json
from typing import Any

import pytest
from tests.serve.running import SteppedSampler, WatchedSampler, until

from selftune.core.errors import InvalidInput
from selftune.evaluate.in_process import InProcess
from selftune.models.answers import Answer, question
from selftune.models.sampler import Sampler

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "look"}}
SHAPE: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}}


def answers(sampler: Sampler, *bodies: dict[str, Any]) -> list[Answer]:
    async def run() -> list[Answer]:
        async with InProcess(lambda: sampler) as model:
            return list(await asyncio.gather(*(model.answer(question(each)) for each in bodies)))

    return asyncio.run(run())


@pytest.mark.parametrize("is_live", [True, False])
def test_tools_and_forms_reach_the_model(is_live: bool) -> None:
    sampler: Any = SteppedSampler({"hi": "hello"}) if is_live else WatchedSampler({"hi": "hello"})
    if is_live:
        sampler.let()
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SHAPE}}
    plain, shaped, called = answers(
        sampler,
        ASK,
        ASK | {"response_format": form},
        ASK | {"tools": [TOOL], "tool_choice": "required", "max_completion_tokens": 5},
    )
    assert (plain.text, plain.status) == ("hello", "answered")
    assert json.loads(shaped.text) == {"n": 1}
    assert called.status == "answered"
    assert called.message["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}


def test_a_live_model_is_asked_many_questions_at_once() -> None:
    sampler = SteppedSampler()

    async def run() -> list[Answer]:
        sampler.let(100)  # for the first question of all, which warms the model
        async with InProcess(lambda: sampler) as model:
            await model.answer(question(ASK))
            sampler.may_step = type(sampler.may_step)(0)
            asked = [model.answer(question(ASK, sample)) for sample in range(20)]
            coming = asyncio.gather(*asked)
            await asyncio.sleep(0)
            sampler.let(1)
            await until(lambda: sampler.under_way == 20)
            sampler.let()
            return list(await coming)

    found = asyncio.run(run())
    assert {answer.status for answer in found} == {"answered"}
    assert all(answer.timing is not None and answer.timing.answering > 0 for answer in found)


def test_what_the_model_refuses_is_rejected_and_what_breaks_is_raised() -> None:
    sampler = SteppedSampler()
    sampler.let()
    [long] = answers(sampler, ASK | {"messages": [{"role": "user", "content": "a " * 100_001}]})
    assert (long.status, "maximum context" in long.reason) == ("rejected", True)
    [odd] = answers(sampler, ASK | {"temperature": 3})
    assert odd.status == "rejected"
    assert "temperature" in odd.reason

    def break_down() -> bool:
        raise ZeroDivisionError

    live = SteppedSampler()
    live.sample = lambda _prompts: []  # type: ignore[method-assign, assignment]  # is not warmed
    live.step = break_down  # type: ignore[method-assign]  # a broken model
    with pytest.raises(ZeroDivisionError):
        answers(live, ASK)


def test_a_whole_model_that_refuses_is_told_so() -> None:
    class Plain(WatchedSampler):
        def sample(self, prompts: Any) -> Any:
            if prompts[0].response_format is not None:
                raise InvalidInput("I only write.")
            return super().sample(prompts)

    [answer] = answers(Plain(), ASK | {"response_format": {"type": "json_object"}})
    assert (answer.status, answer.reason) == ("rejected", "I only write.")
