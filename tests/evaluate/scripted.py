"""An endpoint that answers as a test tells it, and a run of an eval against it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from selftune.core.records import Usage
from selftune.evaluate.arms import Arm
from selftune.evaluate.items import Item
from selftune.evaluate.responses import Responses
from selftune.evaluate.results import Result
from selftune.evaluate.rounds import Totals
from selftune.evaluate.runner import run_evaluation
from selftune.evaluate.task import Backing, Progress, Task
from selftune.models.answers import Answer, Question
from selftune.models.endpoint import Endpoint
from selftune.models.prices import Rates

EXACT = {"type": "string_check", "operation": "eq", "reference": "{{ item.truth }}"}
JUDGE = {
    "type": "score_model",
    "model": "judge",
    "input": [{"role": "user", "content": "Is {{ sample.output_text }} right?"}],
    "range": [0, 10],
    "pass_threshold": 5,
}
AT = Endpoint(model="m", base_url="http://127.0.0.1:1/v1")

Reply = Callable[[Question], Answer]


def said(asked: Question, text: str, **more: Any) -> Answer:
    message = {"role": "assistant", "content": text}
    usage = Usage(prompt_tokens=10, completion_tokens=5)
    return Answer(key=asked.key, status="answered", text=text, message=message, usage=usage, **more)


def echo(asked: Question) -> Answer:
    if asked.body["model"] == "judge":
        return said(asked, json.dumps({"steps": [], "result": 7}))
    return said(asked, asked.body["messages"][-1]["content"].removeprefix("say "))


class Scripted:
    """An endpoint that answers as it is told, after a turn of the loop."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[Question] = []
        self.requests = 0
        self.lag = 0.0

    async def ready(self) -> int:
        await asyncio.sleep(0)
        return 4

    async def answer(self, asked: Question) -> Answer:
        self.asked.append(asked)
        self.requests += 1
        await asyncio.sleep(0)
        return self.reply(asked)

    @asynccontextmanager
    async def open(self, _model: str, _endpoint: Endpoint | None) -> AsyncIterator["Scripted"]:
        yield self


def items(n: int, *, wrong: int = 0) -> tuple[Item, ...]:
    """Return n questions whose answer is their text; the first `wrong` have another truth."""
    return tuple(
        Item(
            index=at,
            id=f"q{at}",
            item={"truth": "no" if at <= wrong else f"t{at}"},
            messages=({"role": "user", "content": f"say t{at}"},),
        )
        for at in range(1, n + 1)
    )


class Ran:
    """What a run told."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.progress: list[Progress] = []
        self.totals = Totals()


def run(
    endpoint: Scripted,
    log: Path,
    asked: tuple[Item, ...],
    *,
    rates: Rates | None = None,
    **task: Any,
) -> Ran:
    found = Ran()
    given = {"arms": (Arm(name="a", model="m", endpoint=AT),), "graders": (EXACT,)} | task
    backing = Backing(
        open=endpoint.open, place=lambda model: AT, rates_of=lambda model, endpoint: rates
    )
    responses = Responses(log)
    try:
        found.totals = run_evaluation(
            Task(items=lambda: asked, total=len(asked), **given),
            backing,
            responses,
            found.results.append,
            found.progress.append,
        )
    finally:
        responses.close()
    return found
