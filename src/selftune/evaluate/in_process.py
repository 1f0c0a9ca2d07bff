"""A model in this process, as something that answers questions: no server, no network."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from pydantic import ValidationError

from selftune.core.errors import InvalidInput
from selftune.evaluate.together import Taken, Together
from selftune.models.answers import Answer, Question, Status, Timing
from selftune.models.live import as_live
from selftune.models.messages import content_text
from selftune.models.sampler import Completion, Prompt, Sampler, Sampling

_AHEAD = 2
"""Questions that wait while one is answered, so that the model never waits for the next."""
_TOGETHER = 32
"""Questions on their way to a model that answers them together."""
_OTHER_NAMES = {"max_completion_tokens": "max_tokens", "max_completions_tokens": "max_tokens"}
_WARM = Prompt(messages=({"role": "user", "content": "hello"},), sampling=Sampling(max_tokens=1))
_UNHEEDED = ("model", "messages", "store", "metadata", "user", "reasoning_effort", "stream")
"""Words that change nothing of what this model says."""
_OF_FORM = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_OF_MESSAGE = ("name", "tool_calls", "tool_call_id", "function_call")


class InProcess:
    """One model, loaded when it is first asked, in a thread of its own.

    It is asked one question at a time, unless it takes new ones while it answers others.
    """

    def __init__(self, load: Callable[[], Sampler]) -> None:
        self._load = load
        self._sampler: Sampler | None = None
        self._together: Together | None = None
        self._loading = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "model")
        self._room = asyncio.Semaphore(1 + _AHEAD)
        self.requests = 0
        self.lag = 0.0

    async def __aenter__(self) -> "InProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._together is not None:
            self._together.close()
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
            try:
                began, ended, completion = await self._ask(prompt)
            except InvalidInput as error:
                return Answer(key=asked.key, status="rejected", reason=error.message)
        timing = Timing(queued=began - came, answering=ended - began)
        return _answer(asked, completion, timing)

    async def _ask(self, prompt: Prompt) -> Taken:
        async with self._loading:
            sampler = self._sampler or await self._loaded()
        if self._together is not None:
            return await self._together.answer(prompt)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _sample, sampler, prompt)

    async def _loaded(self) -> Sampler:
        loop = asyncio.get_running_loop()
        sampler = await loop.run_in_executor(self._thread, _warmed, self._load)
        live = as_live(sampler)
        if live is not None:
            self._together = Together(live, self._thread)
            for _ in range(_TOGETHER - _AHEAD - 1):
                self._room.release()
        self._sampler = sampler
        return sampler


def _warmed(load: Callable[[], Sampler]) -> Sampler:
    sampler = load()
    sampler.sample([_WARM])  # what is made once is no part of an answer's time
    return sampler


def _sample(sampler: Sampler, prompt: Prompt) -> Taken:
    began = perf_counter()
    [completion] = sampler.sample([prompt])
    return Taken(began, perf_counter(), completion)


def _prompt(body: dict[str, Any]) -> Prompt:
    """Return a request as samplers take it.

    Raises:
        ValueError: it is not a request, in words.

    """
    words = {_OTHER_NAMES.get(name, name): value for name, value in body.items()}
    form = {name: words.pop(name) for name in _OF_FORM if name in words}
    stop = words.pop("stop", None)
    if stop is not None:
        words["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    given = {name: value for name, value in words.items() if name not in _UNHEEDED}
    messages = tuple(_message(message) for message in body["messages"])
    try:
        return Prompt(
            messages=messages,
            sampling=Sampling(**given),
            **{name: value for name, value in form.items() if value is not None},
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"The request is not valid: {where!r}: {first['msg']}.") from error


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with one text, and with what was called."""
    rest = {name: message[name] for name in _OF_MESSAGE if message.get(name)}
    is_call = message.get("content") is None and ("tool_calls" in rest or "function_call" in rest)
    text = None if is_call else content_text(message)
    return {"role": str(message.get("role")), "content": text, **rest}


def _answer(asked: Question, completion: Completion, timing: Timing) -> Answer:
    choice, used = completion.choices[0], completion.usage
    status: Status = "cut" if choice.finish_reason == "length" else "answered"
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.tool_calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [
            {
                "id": f"call_{asked.key[:16]}_{index}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for index, call in enumerate(choice.tool_calls)
        ]
    is_empty = not choice.text.strip() and not choice.tool_calls
    return Answer(
        key=asked.key,
        status="malformed" if is_empty else status,
        text=choice.text,
        message=message,
        model=str(asked.body["model"]),
        usage=used,
        reason="The answer is empty." if is_empty else "",
        timing=timing,
    )
