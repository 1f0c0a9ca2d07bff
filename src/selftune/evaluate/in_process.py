"""A model in this process, as something that answers questions: no server, no network."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from pydantic import ValidationError

from selftune.core.records import Usage
from selftune.models.answers import Answer, Question, Status, Timing
from selftune.models.messages import content_text
from selftune.models.sampler import Completion, Prompt, Sampler, Sampling

_AHEAD = 2
"""Questions that wait while one is answered, so that the model never waits for the next."""
_OTHER_NAMES = {"max_completion_tokens": "max_tokens", "max_completions_tokens": "max_tokens"}
_WARM = Prompt(messages=({"role": "user", "content": "hello"},), sampling=Sampling(max_tokens=1))
_UNHEEDED = ("model", "messages", "store", "metadata", "user", "reasoning_effort", "stream")
"""Words that change nothing of what this model says."""


class InProcess:
    """One model, loaded when it is first asked; one question at a time, in a thread of its own."""

    def __init__(self, load: Callable[[], Sampler]) -> None:
        self._load = load
        self._sampler: Sampler | None = None
        self._thread = ThreadPoolExecutor(1, "model")
        self._room = asyncio.Semaphore(1 + _AHEAD)
        self.requests = 0
        self.lag = 0.0

    async def __aenter__(self) -> "InProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ready(self) -> int:
        """Return when one more question would be asked soon; return that it is one."""
        async with self._room:
            return 1

    async def answer(self, asked: Question) -> Answer:
        """Return the model's answer; `rejected` says that it cannot do what is asked."""
        try:
            prompt = _prompt(asked.body)
        except ValueError as error:
            return Answer(key=asked.key, status="rejected", reason=str(error))
        came = perf_counter()
        async with self._room:
            self.requests += 1
            loop = asyncio.get_running_loop()
            began, ended, completion = await loop.run_in_executor(self._thread, self._ask, prompt)
        timing = Timing(queued=began - came, answering=ended - began)
        return _answer(asked, completion, timing)

    def _ask(self, prompt: Prompt) -> tuple[float, float, Completion]:
        if self._sampler is None:
            self._sampler = self._load()
            self._sampler.sample([_WARM])  # what is made once is no part of an answer's time
        began = perf_counter()
        [completion] = self._sampler.sample([prompt])
        return began, perf_counter(), completion


def _prompt(body: dict[str, Any]) -> Prompt:
    """Return a request as samplers take it.

    Raises:
        ValueError: the model cannot do it, in words.

    """
    words = {_OTHER_NAMES.get(name, name): value for name, value in body.items()}
    form = (words.pop("response_format", None) or {}).get("type", "text")
    if form != "text":
        raise ValueError(f"This model cannot guarantee response_format {form!r}.")
    if words.pop("tool_choice", None) not in (None, "none", "auto"):
        raise ValueError("This model does not call tools.")
    words.pop("tools", None)
    stop = words.pop("stop", None)
    if stop is not None:
        words["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    given = {name: value for name, value in words.items() if name not in _UNHEEDED}
    messages = tuple(
        {"role": str(m.get("role")), "content": content_text(m)} for m in body["messages"]
    )
    try:
        return Prompt(messages=messages, sampling=Sampling(**given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"The request is not valid: {where!r}: {first['msg']}.") from error


def _answer(asked: Question, completion: Completion, timing: Timing) -> Answer:
    choice, used = completion.choices[0], completion.usage
    status: Status = "cut" if choice.finish_reason == "length" else "answered"
    return Answer(
        key=asked.key,
        status=status if choice.text.strip() else "malformed",
        text=choice.text,
        message={"role": "assistant", "content": choice.text},
        model=str(asked.body["model"]),
        usage=Usage(prompt_tokens=used.prompt_tokens, completion_tokens=used.completion_tokens),
        reason="" if choice.text.strip() else "The answer is empty.",
        timing=timing,
    )
