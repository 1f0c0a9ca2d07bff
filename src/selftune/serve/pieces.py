"""Answers and their pieces: as samplers tell them, as they travel, and whole again."""

from collections.abc import Iterable, Iterator

from selftune.core.records import Usage
from selftune.models.sampler import Choice, Completion, Finish, Piece, Prompt, Sampling, Token
from selftune.serve.frames import (
    CallPiece,
    EndPiece,
    FinishPiece,
    Sampled,
    SampleRequest,
    TokenPiece,
    WireCall,
    WireChoice,
    WirePiece,
    WireToken,
)


def prompt_of(asked: SampleRequest) -> Prompt:
    """Build the prompt without checking its messages again: the API did."""
    return Prompt.model_construct(
        messages=tuple(asked.messages),
        sampling=Sampling(**asked.sampling),  # an eighth of the time that `model_construct` takes
        text=asked.text,
        tools=tuple(asked.tools),
        tool_choice=asked.tool_choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        response_format=asked.response_format,
    )


def sampled_of(asked: SampleRequest, completion: Completion) -> Sampled:
    """Return a whole answer as it travels."""
    choices = [
        WireChoice(
            choice.text,
            choice.finish_reason,
            _tokens(choice) if asked.with_tokens else [],
            [WireCall(call.name, call.arguments) for call in choice.tool_calls],
        )
        for choice in completion.choices
    ]
    usage = completion.usage
    return Sampled(
        asked.id, choices, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens
    )


def wire_piece(piece: Piece) -> WirePiece:
    """Return a piece as it travels."""
    if isinstance(piece, Token):
        return TokenPiece(piece.choice, _token(piece))
    if isinstance(piece, Finish):
        return FinishPiece(piece.choice, piece.reason)
    if isinstance(piece, Usage):
        return EndPiece(piece.prompt_tokens, piece.completion_tokens, piece.cached_tokens)
    return CallPiece(piece.choice, WireCall(piece.name, piece.arguments))


def gathered(asked: SampleRequest, pieces: Iterable[WirePiece]) -> Sampled:
    """Return an answer that came in pieces, whole."""
    choices = [WireChoice("", "stop", []) for _ in range(asked.sampling.get("n", 1))]
    texts: list[list[str]] = [[] for _ in choices]
    found = Sampled(asked.id, choices, 0, 0)
    for piece in pieces:
        if isinstance(piece, TokenPiece):
            texts[piece.choice].append(piece.token.text)
            if asked.with_tokens:
                choices[piece.choice].tokens.append(piece.token)
        elif isinstance(piece, CallPiece):
            choices[piece.choice].calls.append(piece.call)
        elif isinstance(piece, FinishPiece):
            choices[piece.choice].finish_reason = piece.reason
        else:
            found.prompt_tokens = piece.prompt_tokens
            found.completion_tokens = piece.completion_tokens
            found.cached_tokens = piece.cached_tokens
    for choice, text in zip(choices, texts, strict=True):
        choice.text = "".join(text)
    return found


def pieces_of(found: Sampled) -> Iterator[WirePiece]:
    """Yield the pieces of an answer that came whole, with its tokens."""
    for index, choice in enumerate(found.choices):
        for token in choice.tokens:
            yield TokenPiece(index, token)
        for call in choice.calls:
            yield CallPiece(index, call)
        yield FinishPiece(index, choice.finish_reason)
    yield EndPiece(found.prompt_tokens, found.completion_tokens, found.cached_tokens)


def _tokens(choice: Choice) -> list[WireToken]:
    return [_token(token) for token in choice.tokens]


def _token(token: Token) -> WireToken:
    return WireToken(
        token.text,
        list(token.bytes),
        token.logprob,
        [(other.token, list(other.bytes), other.logprob) for other in token.top],
    )
