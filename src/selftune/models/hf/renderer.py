"""The one renderer: what training reads, what evaluation and serving ask with, is written here.

A conversation becomes tokens and a loss mask by the model's own chat template, and a mask is given
only where it can be shown: the training sequence begins with the prompt that serving would ask with,
and what is in the loss is what the assistant says and the token that ends its turn, no more.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from selftune.core.errors import InvalidInput, JobFailed
from selftune.models.hf import kept
from selftune.models.hf.answers import Answers
from selftune.models.hf.conversation import Message, chat_of, tools_of
from selftune.models.hf.dialect import Family, Tool, ToolGrammar
from selftune.models.hf.encoding import Encoder
from selftune.models.hf.proof import prove
from selftune.models.hf.template import Template
from selftune.models.hf.token_bytes import token_bytes
from selftune.models.sampler import ToolCall

Row = Mapping[str, Any]

_SHOWN = 120


class Example(NamedTuple):
    """Tokens to train on."""

    ids: list[int]
    weights: list[float]
    """Of predicting each token from those before it; 0 keeps it out of the loss."""


class _Turn(NamedTuple):
    """Where an answer of the assistant's stands in a rendered text."""

    start: int
    end: int
    """Behind the text of its stop token."""


class Renderer:
    """Renders for one model; made by `load`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, context: int, eos: set[int]) -> None:
        if not tokenizer.is_fast:
            raise JobFailed(
                "The model's folder has no tokenizer.json, and nothing else tells the places of "
                "tokens in a text: a loss mask needs them.",
                code="invalid_model",
            )
        backend: Any = tokenizer
        self.tokenizer = tokenizer
        self.context = context
        self.template = Template(tokenizer)
        self.encoder = Encoder(backend.backend_tokenizer, self.template.source)
        self.proven = prove(self.template, self.encoder)
        self._ends = self.encoder.numbers(self.proven.stops)
        own_end = {tokenizer.eos_token_id} - {None}
        self.stop_ids = tuple(sorted({*self._ends, *eos, *own_end}))
        self.answers = Answers(self.proven)
        self.bytes_of = token_bytes(self.encoder.plain)

    @classmethod
    def load(cls, folder: Path) -> "Renderer":
        """Return the renderer of a base's folder or of a model's that `save` wrote into.

        Raises:
            JobFailed: no correct loss mask can be shown for the template, or the folder does not
                render as it did when its model was trained.

        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            says = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise JobFailed(
                f"The tokenizer in {folder.name!r} cannot be loaded: {says}", code="invalid_model"
            ) from error
        told = kept.read(folder)
        if told is not None:
            renderer = cls(tokenizer, context=told.context, eos=set(told.stop_ids))
            kept.compare(told, renderer.told(), folder)
            return renderer
        return cls(tokenizer, context=kept.context_of(folder), eos=kept.ends_of(folder))

    def save(self, folder: Path) -> None:
        """Write the tokenizer, its template, and what its probe looks like into a model's folder."""
        self.tokenizer.save_pretrained(str(folder))
        kept.write(folder, self.told())

    @property
    def family(self) -> Family | None:
        """How the model writes tool calls; None where its template knows no tools."""
        return self.proven.family

    def told(self) -> kept.Told:
        """Return all that must be the same where the model is served."""
        return kept.told(
            self.template, self.encoder, self.proven, stop_ids=self.stop_ids, context=self.context
        )

    def training(self, row: Row, max_length: int) -> list[Example]:
        """Return what a row of a training file teaches, cut at the end where it is longer.

        One sequence for all answers that have weight, where each one's mask can be shown in it;
        else one for each answer, in the conversation as serving would prompt it then. An answer
        that is cut away whole is left out.

        Raises:
            InvalidInput: the template does not show what the assistant says in this row.

        """
        if "messages" not in row and "completion" in row:
            return _cut([self._completion(row)], max_length)
        chat = chat_of(row["messages"], self.proven.habits)
        tools = self._tools(tools_of(row))
        messages = [self.encoder.message(each) for each in chat.messages]
        turns = [at for at, weight in enumerate(chat.weights) if weight]
        if not turns:
            return []
        together = self._together(messages, turns, tools)
        if together is not None:
            return _cut([together], max_length)
        alone = [self._alone(messages[: at + 1], tools) for at in turns]
        return _cut(alone, max_length)

    def preference(self, row: Row, max_length: int) -> tuple[Example, Example]:
        """Return the preferred and the other answer of a row, each after the same prompt.

        Where the prompt alone is longer than `max_length`, no token of them has weight.
        """
        asked = row["input"]
        examples = []
        for name in ("preferred_output", "non_preferred_output"):
            chat = chat_of([*asked["messages"], *row[name]], self.proven.habits)
            messages = [self.encoder.message(each) for each in chat.messages]
            if messages[-1]["role"] != "assistant":
                raise InvalidInput(f"{name!r} does not end with the assistant.", param=name)
            whole = self._alone(messages, self._tools(tools_of(asked)))
            examples.append(Example(whole.ids[:max_length], whole.weights[:max_length]))
        return examples[0], examples[1]

    def prompt(self, messages: Sequence[Row], tools: Sequence[Tool] = ()) -> list[int]:
        """Return the tokens that ask for an answer; as in training, so in evaluation and serving.

        Raises:
            InvalidInput: the model cannot be shown this conversation.

        """
        chat = chat_of(messages, self.proven.habits)
        guarded = [self.encoder.message(each) for each in chat.messages]
        given = self._tools(tools_of({"tools": tools}))
        return self.encoder.encode(self.template.render(guarded, given, prompt=True)).ids

    def text(self, text: str) -> list[int]:
        """Return the tokens of a text with no chat around it; special tokens in it are letters."""
        own: list[int] = self.tokenizer("").input_ids  # what stands before any text, or nothing
        begin = [token for token in own if token == self.tokenizer.bos_token_id]
        return begin + self.encoder.encode(self.encoder.guarded(text)).ids

    def parse(self, text: str, tools: Sequence[Tool] = ()) -> tuple[str, tuple[ToolCall, ...]]:
        """Return what an answer says and the tools it calls; what it thinks is left out.

        `text` is the answer without its stop token, with the text of all other special tokens.
        """
        reading = self.answers.read(text, tools)
        return reading.content, reading.calls

    def said_so_far(self, text: str, tools: Sequence[Tool] = ()) -> str:
        """Return the beginning of an unfinished answer's content that no further token changes."""
        return self.answers.said_so_far(text, tools)

    def tool_grammar(
        self, tools: Sequence[Tool], tool_choice: str | Mapping[str, Any], parallel: bool
    ) -> ToolGrammar | None:
        """Return what an answer must look like by `tool_choice`; None where it may be free text.

        Raises:
            InvalidInput: the model cannot call tools, or the tool to call is not one of them.

        """
        return self.answers.grammar(tools, tool_choice, parallel)

    def call_grammar(self, tools: Sequence[Tool], parallel: bool) -> ToolGrammar | None:
        """Return what calls look like where the model is free to call or not.

        None where answers cannot be held to them: what the model writes is read all the same.
        """
        return self.answers.call_grammar(tools, parallel)

    def shown(self, example: Example) -> str:
        """Return the text of an example; ⟦ and ⟧ stand around what is in the loss."""
        pieces, inside = list[bytes](), False
        for token, weight in zip(example.ids, example.weights, strict=True):
            if (weight > 0) != inside:
                inside = weight > 0
                pieces.append(("⟦" if inside else "⟧").encode())
            pieces.append(self.bytes_of(token))
        pieces.append("⟧".encode() if inside else b"")
        return b"".join(pieces).decode("utf-8", "replace")

    def _tools(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.answers.check(tools)
        guarded: list[dict[str, Any]] = self.encoder.guarded(tools)
        return guarded

    def _together(
        self, messages: list[Message], turns: list[int], tools: list[dict[str, Any]]
    ) -> Example | None:
        """Return one sequence for these answers; None where it is not what serving would see."""
        whole = self.template.render(messages[: turns[-1] + 1], tools)
        spans = []
        for at in turns:
            prompt = self.template.render(messages[:at], tools, prompt=True)
            span = self._span(whole, len(prompt))
            if span is None or not whole.startswith(prompt):
                return None
            if not self._is_said(whole[span.start : span.end], messages[at], tools):
                return None
            spans.append(span)
        return self._masked(whole[: spans[-1].end], spans)

    def _alone(self, messages: list[Message], tools: list[dict[str, Any]]) -> Example:
        """Return the last answer after its prompt, each in tokens of its own where they must be."""
        together = self._together(messages, [len(messages) - 1], tools)
        if together is not None:
            return together
        prompt = self.template.render(messages[:-1], tools, prompt=True)
        whole = self.template.render(messages, tools)
        span = self._span(whole, len(prompt)) if whole.startswith(prompt) else None
        answer = whole[len(prompt) : span.end] if span is not None else ""
        if span is None or not self._is_said(answer, messages[-1], tools):
            said = self.encoder.bare(str(messages[-1].get("tool_calls") or messages[-1]["content"]))
            shown = self.encoder.bare(whole)[-_SHOWN:]
            raise InvalidInput(
                f"The assistant says {said[:_SHOWN]!r}, and the model's chat template writes "
                f"…{shown!r}; what would be trained is not what was said.",
                code="unsupported_content",
            )
        ids = self.encoder.encode(prompt).ids
        own = self.encoder.ids_after(answer, self.proven.frame.stop)
        return Example(ids + own, [0.0] * len(ids) + [1.0] * len(own))

    def _span(self, text: str, start: int) -> _Turn | None:
        """Return the answer that begins at a place: all up to its stop token, which is included."""
        stops = self.proven.stops
        ends = [at + len(stop) for stop in stops if (at := text.find(stop, start)) >= 0]
        return _Turn(start, min(ends)) if ends else None

    def _is_said(self, written: str, message: Message, tools: Sequence[Tool]) -> bool:
        """Whether a rendered answer is what the message says, and its frame, and nothing else."""
        stop = next(each for each in self.proven.stops if written.endswith(each))
        body = written.removesuffix(stop)
        if message.get("tool_calls"):
            return self.answers.is_call(body, message, tools, self.encoder.bare)
        frame, content = self.proven.frame, str(message["content"])
        if not body.startswith(frame.before) or not body.endswith(frame.after):
            return False
        said = body[len(frame.before) : len(body) - len(frame.after)]
        return said == content or (self.proven.trims and said.strip() == content.strip())

    def _masked(self, text: str, spans: Sequence[_Turn]) -> Example | None:
        """Return the tokens of a text and its mask; None where a token reaches over a border."""
        encoding = self.encoder.encode(text)
        ids = encoding.ids
        weights = [0.0] * len(ids)
        for span in spans:
            first = encoding.char_to_token(span.start)
            last = encoding.char_to_token(span.end - 1)
            if first is None or last is None or ids[last] not in self._ends:
                return None
            if (encoding.token_to_chars(first) or (-1, -1))[0] != span.start:
                return None
            # Spaces at a border may be cut into tokens differently where nothing follows them.
            if text[span.start].isspace():
                alone = self.encoder.encode(text[: span.start]).ids
                if alone != ids[:first]:
                    return None
            weights[first : last + 1] = [1.0] * (last + 1 - first)
        return Example(ids, weights)

    def _completion(self, row: Row) -> Example:
        """Return a prompt and what completes it, with no chat around them."""
        prompt = self.text(str(row.get("prompt") or ""))
        said = self.encoder.guarded(str(row["completion"]))
        stop = self.proven.frame.stop
        ids = self.encoder.ids_after(said + stop, stop)
        return Example(prompt + ids, [0.0] * len(prompt) + [1.0] * len(ids))


def _cut(examples: Sequence[Example], length: int) -> list[Example]:
    cut = [Example(each.ids[:length], each.weights[:length]) for each in examples]
    return [each for each in cut if any(each.weights)]
