"""A model of a server as a sampler: for commands and evals, which ask without an API."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from selftune.core.records import Usage
from selftune.core.settings import load_settings
from selftune.models.sampler import (
    Alternative,
    Choice,
    Completion,
    Finish,
    Piece,
    Prompt,
    Token,
    ToolCall,
)
from selftune.serve.frames import Sampled, SampleRequest, WireChoice
from selftune.serve.remote.serving import Serving, no_vectors

_NO_PROCESS = Path("/dev/null")


class RemoteSampler:
    """Asks the server for every batch, all prompts at once."""

    def __init__(self, root: Path, engine: str, folder: str | None) -> None:
        self._settings = load_settings(home=root)
        self._engine, self._folder = engine, folder

    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer every prompt, in order."""
        return asyncio.run(self._sample(prompts))

    def stream(self, prompt: Prompt) -> Iterator[Piece]:
        """Answer one prompt; its pieces come when it is whole."""
        (found,) = self.sample([prompt])
        for index, choice in enumerate(found.choices):
            yield from choice.tokens
            yield from choice.tool_calls
            yield Finish(choice=index, reason=choice.finish_reason)
        yield found.usage

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, int]:
        """Refuse: a server for chats makes no vectors."""
        raise no_vectors()

    async def _sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        serving = Serving(_NO_PROCESS, self._settings)
        try:
            found = await asyncio.gather(*(serving.sample(self._asked(each)) for each in prompts))
        finally:
            await serving.close()
        return [_completion(each) for each in found]

    def _asked(self, prompt: Prompt) -> SampleRequest:
        return SampleRequest(
            id=0,
            engine=self._engine,
            folder=self._folder,
            messages=list(prompt.messages),
            sampling=prompt.sampling.model_dump(),
            with_tokens=True,
            text=prompt.text,
            tools=list(prompt.tools),
            tool_choice=prompt.tool_choice,
            parallel_tool_calls=prompt.parallel_tool_calls,
            response_format=prompt.response_format,
        )


def _completion(found: Sampled) -> Completion:
    usage = Usage(
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        cached_tokens=found.cached_tokens,
    )
    choices = tuple(_choice(index, choice) for index, choice in enumerate(found.choices))
    return Completion(choices=choices, usage=usage)


def _choice(index: int, found: WireChoice) -> Choice:
    tokens = tuple(
        Token(
            choice=index,
            text=token.text,
            id=-1,  # the server does not tell
            bytes=tuple(token.bytes),
            logprob=token.logprob,
            top=tuple(
                Alternative(token=text, bytes=tuple(read), logprob=logprob)
                for text, read, logprob in token.top
            ),
        )
        for token in found.tokens
    )
    calls = tuple(
        ToolCall(choice=index, name=call.name, arguments=call.arguments) for call in found.calls
    )
    return Choice(
        text=found.text, tokens=tokens, finish_reason=found.finish_reason, tool_calls=calls
    )
