"""From a prompt to the rows of a batch: what is asked, what bounds the answers, who is told."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput, SelftuneError
from selftune.core.records import Usage
from selftune.models.hf.decoding import Row
from selftune.models.hf.dialect import ToolGrammar
from selftune.models.hf.grammar import Shape, Shapes
from selftune.models.hf.renderer import Renderer
from selftune.models.hf.sampling import Drawing, Drawn, begin, check_bias
from selftune.models.hf.telling import Telling
from selftune.models.sampler import Piece, Prompt

Tell = Callable[[Piece | SelftuneError], None]


def prepare(
    prompt: Prompt, renderer: Renderer, shapes: Shapes, vocabulary: int, tell: Tell
) -> "Asked":
    """Return what a prompt asks of the model.

    Raises:
        InvalidInput: the model cannot do it.

    """
    check_bias(prompt.sampling, vocabulary)
    tools = () if prompt.tool_choice == "none" else prompt.tools
    if prompt.text is not None:
        ids, tools = renderer.text(prompt.text), ()
    else:
        ids = renderer.prompt(prompt.messages, tools)
    held = _Held(prompt, tools, renderer, shapes)
    return Asked(prompt, tools, ids or list(renderer.stop_ids[:1]), renderer, held, tell)


class _Held:
    """What shape the answers of a prompt are held to: from the start, or from a mark on."""

    def __init__(
        self, prompt: Prompt, tools: tuple[dict[str, Any], ...], renderer: Renderer, shapes: Shapes
    ) -> None:
        self._shapes = shapes
        self._strict = frozenset(
            tool["function"]["name"] for tool in tools if tool.get("function", {}).get("strict")
        )
        self.whole: Callable[[], Shape] | None = None
        self.after_mark: Callable[[], Shape] | None = None
        self.marks: frozenset[int] = frozenset()
        asked = prompt.response_format
        parallel = prompt.parallel_tool_calls
        before = renderer.proven.frame.before
        if not tools:
            if shapes.answer(asked, before) is not None:
                self.whole = lambda: _there(shapes.answer(asked, before))
            return
        forced = renderer.tool_grammar(tools, prompt.tool_choice, parallel)
        if forced is not None:
            self.whole = self._calling(forced, None)
            return
        free = renderer.call_grammar(_allowed(tools, prompt.tool_choice), parallel)
        if free is None:
            _check_free(asked)
            return
        if shapes.answer(asked, before) is not None:
            self.whole = self._calling(free, asked)
            return
        self.after_mark = self._calling(free, None)
        marks = () if renderer.family is None else renderer.family.marks
        first = self.after_mark()
        tokens = (shapes.token_of(mark) for mark in marks)
        self.marks = frozenset(
            token for token in tokens if token is not None and first.begins_with(token)
        )

    def _calling(
        self, grammar: ToolGrammar, otherwise: Mapping[str, Any] | None
    ) -> Callable[[], Shape]:
        self._shapes.calls(grammar, self._strict, otherwise)  # refuses here what is to be refused
        return lambda: self._shapes.calls(grammar, self._strict, otherwise)


class Asked:
    """One prompt and its answers under way."""

    def __init__(
        self,
        prompt: Prompt,
        tools: tuple[dict[str, Any], ...],
        ids: list[int],
        renderer: Renderer,
        held: _Held,
        tell: Tell,
    ) -> None:
        self._prompt, self._tools, self._ids = prompt, tools, ids
        self._renderer, self._held, self._tell = renderer, held, tell
        self._rows: list[Row] = []
        self._answers: list[_Answer] = []
        self._open = prompt.sampling.n

    def rows(self, adapter: Path | None, context: int) -> list[Row]:
        """Return a row for each of the `n` answers.

        Raises:
            InvalidInput: the prompt leaves no room for an answer in the model's context.

        """
        sampling, length = self._prompt.sampling, len(self._ids)
        if length >= context:
            raise InvalidInput(
                f"This model's maximum context length is {context} tokens. However, your "
                f"{'prompt' if self._prompt.text is not None else 'messages'} resulted in {length} "
                "tokens. Please reduce the length of the "
                f"{'prompt' if self._prompt.text is not None else 'messages'}.",
                code="context_length_exceeded",
                param="prompt" if self._prompt.text is not None else "messages",
            )
        most = context - length if sampling.max_tokens is None else max(1, sampling.max_tokens)
        for choice in range(sampling.n):
            drawing = begin(sampling, choice)
            telling = Telling(self._renderer, choice, sampling.stop, self._tools, self._tell)
            answer = _Answer(self._renderer.stop_ids, drawing, telling, self._held, self._ended)
            self._answers.append(answer)
            self._rows.append(
                Row(
                    list(self._ids),
                    min(length + most, context),
                    drawing,
                    answer.take,
                    answer.end,
                    adapter,
                    answer.permit if answer.may_be_held else None,
                )
            )
        return self._rows

    def drop(self) -> None:
        """Take the answers out of the batch, and tell nobody."""
        for row in self._rows:
            row.gone = True

    def _ended(self, error: SelftuneError | None) -> None:
        """Count an answer that has ended; tell the usage after the last, or the first error."""
        if self._open <= 0:
            return
        if error is not None:
            self._open = 0
            self.drop()
            self._tell(error)
            return
        self._open -= 1
        if self._open == 0:
            told = sum(answer.telling.told for answer in self._answers)
            self._tell(Usage(prompt_tokens=len(self._ids), completion_tokens=told))


class _Answer:
    """One of the `n` answers."""

    def __init__(
        self,
        stop_ids: tuple[int, ...],
        drawing: Drawing,
        telling: Telling,
        held: _Held,
        ended: Callable[[SelftuneError | None], None],
    ) -> None:
        self._stop_ids, self._drawing, self.telling = stop_ids, drawing, telling
        self._held, self._ended = held, ended
        self._shape = held.whole() if held.whole is not None else None

    @property
    def may_be_held(self) -> bool:
        """Whether it is held to a shape, or will be if it calls a tool."""
        return self._shape is not None or bool(self._held.marks)

    def permit(self) -> None:
        """Say which tokens may come next."""
        self._drawing.allowed = None if self._shape is None else self._shape.allowed()

    def take(self, drawn: Drawn) -> bool:
        """Take a token; whether the answer goes on."""
        if drawn.id in self._stop_ids:
            self._finish("stop")
            return False
        if self._shape is None and drawn.id in self._held.marks:
            assert self._held.after_mark is not None
            self._shape = self._held.after_mark()
        more = self._shape is None or self._shape.take(drawn.id)
        if not self.telling.take(drawn):
            self.telling.stop()
            self._ended(None)
            return False
        if not more:
            self._finish("stop")
        return more

    def end(self, error: SelftuneError | None) -> None:
        """End at the limit of tokens, or with an error."""
        if error is None:
            self._finish("length")
        else:
            self._ended(error)

    def _finish(self, reason: str) -> None:
        self.telling.finish(reason)
        self._ended(None)


def _there(shape: Shape | None) -> Shape:
    assert shape is not None
    return shape


def _allowed(
    tools: tuple[dict[str, Any], ...], choice: str | Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """Return the tools that may be called where none must."""
    if isinstance(choice, str):
        return tools
    inner = choice.get("allowed_tools", choice)
    names = {tool["function"]["name"] for tool in inner.get("tools") or ()}
    return tuple(tool for tool in tools if tool["function"]["name"] in names)


def _check_free(response_format: Mapping[str, Any] | None) -> None:
    """Refuse a shape for answers that may be calls which no answer can be held to."""
    if response_format is not None and response_format.get("type", "text") != "text":
        raise InvalidInput(
            "This model writes calls in a form that answers cannot be held to: ask for 'tools' or "
            "for a 'response_format', and not for both.",
            code="unsupported_parameter",
            param="response_format",
        )
