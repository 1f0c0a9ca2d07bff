"""From drawn tokens to what the caller is told of an answer: text, calls of tools, the end.

A token is told when its text is settled: no stop string can begin in it, it is no part of what the
model thinks or of a call, and its last character is whole. Tokens whose text is not for the caller
are told with none.
"""

import codecs
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from selftune.models.hf.renderer import Renderer
from selftune.models.hf.sampling import Drawn
from selftune.models.sampler import Alternative, Finish, Piece, Token, ToolCall


class _Held(NamedTuple):
    """A token that is not told yet, and where its text stands in all that was drawn."""

    drawn: Drawn
    raw: bytes
    start: int
    end: int


class Telling:
    """The text of one answer, on its way to the caller."""

    def __init__(
        self,
        renderer: Renderer,
        choice: int,
        stops: Sequence[str],
        tools: Sequence[dict[str, Any]],
        tell: Callable[[Piece], None],
    ) -> None:
        self._renderer, self._choice, self._tell = renderer, choice, tell
        self._stops = tuple(stop for stop in stops if stop)
        self._tools = tools
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._held: deque[_Held] = deque()
        self._shown = 0
        """Characters of the content that the caller has."""
        self._first: int | None = None
        """Where the content begins in the text; None while nothing of it is settled."""
        self.told = 0
        """How many tokens the caller has."""

    def take(self, drawn: Drawn) -> bool:
        """Take a token; False when a stop string ends the answer."""
        start, raw = len(self._text), self._renderer.bytes_of(drawn.id)
        self._text += self._decoder.decode(raw)
        self._held.append(_Held(drawn, raw, start, len(self._text)))
        content = self._renderer.said_so_far(self._text, self._tools)
        if not content:
            return True
        cut = self._cut(content)
        if cut is not None:
            self._show(content[:cut], last=True)
            self._held.clear()
            return False
        self._show(content[: len(content) - self._open(content)], last=False)
        return True

    def finish(self, reason: str) -> None:
        """Tell the rest of the answer, its calls, and why it ends."""
        content, calls = self._renderer.parse(self._text, self._tools)
        if len(content) > self._shown:
            cut = self._cut(content)
            self._show(content[:cut], last=True)
            if cut is not None:
                self._held.clear()
                reason = "stop"
        while self._held:
            self._token(self._held.popleft(), "")
        for call in calls:
            self._tell(ToolCall(choice=self._choice, name=call.name, arguments=call.arguments))
        if calls and reason == "stop":
            reason = "tool_calls"
        self._tell(Finish(choice=self._choice, reason=reason))

    def stop(self) -> None:
        """End the answer where a stop string was found."""
        self._tell(Finish(choice=self._choice, reason="stop"))

    def _cut(self, content: str) -> int | None:
        """Return where the first stop string begins, if there is one that was not looked for."""
        found = [
            at
            for stop in self._stops
            if (at := content.find(stop, max(0, self._shown - len(stop)))) >= 0
        ]
        return min(found, default=None)

    def _open(self, content: str) -> int:
        """Return how many of the last characters may be the beginning of a stop string."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(content) + 1))
                if content.endswith(stop[:length])
            ),
            default=0,
        )

    def _show(self, content: str, *, last: bool) -> None:
        """Tell tokens up to the end of this content; where it is the last, a part of one too."""
        if self._first is None and content:
            self._first = max(0, self._text.rfind(content))
        first = self._first or 0
        end = first + len(content)
        if self._text[first:end] != content:  # something was taken out of its midst
            self._rewritten(content)
            return
        while self._held and self._held[0].end <= end:
            held = self._held.popleft()
            self._token(held, self._text[max(held.start, first) : held.end])
        if last and self._held and self._held[0].start < end:
            held = self._held.popleft()
            self._token(held, self._text[max(held.start, first) : end])
        begun = self._held[0].start - first if self._held else len(content)
        self._shown = max(self._shown, min(len(content), begun))

    def _rewritten(self, content: str) -> None:
        """Tell what remains of a content that is no piece of the text, with the first token."""
        rest, self._shown = content[self._shown :], len(content)
        if self._held and rest:
            self._token(self._held.popleft(), rest)

    def _token(self, held: _Held, text: str) -> None:
        self.told += 1
        self._tell(
            Token.model_construct(
                choice=self._choice,
                text=text,
                id=held.drawn.id,
                bytes=tuple(held.raw),
                logprob=held.drawn.logprob,
                top=tuple(self._alternative(*each) for each in held.drawn.top),
            )
        )

    def _alternative(self, token: int, logprob: float) -> Alternative:
        raw = self._renderer.bytes_of(token)
        return Alternative.model_construct(
            token=raw.decode("utf-8", errors="replace"), bytes=tuple(raw), logprob=logprob
        )
