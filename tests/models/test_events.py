"""A stream's pieces become the completion that they are of, wherever they are cut."""

import json
import random
from typing import Any

import pytest

from selftune.models.events import EventStream


def chunk(delta: dict[str, Any], finish: str | None = None, **rest: Any) -> dict[str, Any]:
    return {
        "model": "wise",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    } | rest


def stream_of(*events: Any, end: str = "\n") -> bytes:
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in events]
    return "".join(f"data: {text}{end}{end}" for text in texts).encode()


def read(*pieces: bytes) -> dict[str, Any]:
    stream = EventStream()
    for piece in pieces:
        stream.feed(piece)
    return stream.completion()


WHOLE = stream_of(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Grüße, "}),
    chunk({"content": "日本\u2028\n"}),
    chunk({}, "stop"),
    {"model": "wise", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
    "[DONE]",
)
COMPLETION = {
    "model": "wise",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Grüße, 日本\u2028\n"},
            "finish_reason": "stop",
        }
    ],
}


def test_a_stream_may_be_cut_anywhere() -> None:
    assert read(WHOLE) == COMPLETION
    assert read(*(bytes([value]) for value in WHOLE)) == COMPLETION
    dice = random.Random(1)
    for _ in range(50):
        cuts = sorted(dice.choices(range(len(WHOLE)), k=5))
        assert (
            read(*(WHOLE[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)))
            == COMPLETION
        )


def test_comments_names_and_other_line_ends_are_no_matter() -> None:
    noisy = WHOLE.replace(b"\n\n", b"\r\n\r\n").replace(
        b"data: {", b": hello\r\nevent: x\r\ndata:{"
    )
    assert read(noisy) == COMPLETION
    assert read(b"data: \ndata: " + WHOLE.removeprefix(b"data: ")) == COMPLETION


def test_the_first_token_is_the_first_with_a_text() -> None:
    stream = EventStream()
    stream.feed(stream_of(chunk({"role": "assistant", "content": ""})))
    assert stream.first_token_at is None
    stream.feed(stream_of(chunk({"content": "a"})))
    first = stream.first_token_at
    assert first is not None
    stream.feed(stream_of(chunk({"content": "b"})))
    assert stream.first_token_at == first


def test_calls_grow_by_their_index() -> None:
    parts = [
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    events = [chunk({"tool_calls": [part]}) for part in parts]
    message = read(stream_of(*events, chunk({}, "tool_calls")))["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_only_the_first_choice_is_read() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}
    found = read(stream_of(chunk({"content": "one"}), other, chunk({}, "stop")))
    assert found["choices"][0]["message"]["content"] == "one"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        stream_of("[DONE]"),
        stream_of(chunk({"content": "half"})),
        stream_of(chunk({"content": "half"}), "{", "[DONE]"),
        stream_of(chunk({"content": "half"}), {"error": {"message": "overloaded"}}, "[DONE]"),
        stream_of("[]", "[DONE]"),
        stream_of({"choices": 5}, "[DONE]"),
        stream_of(chunk({"tool_calls": [{"index": [1], "id": "a"}]}), "[DONE]"),
        stream_of(chunk({"tool_calls": "a"}), chunk({"tool_calls": [{}]}), "[DONE]"),
        stream_of(
            chunk({"tool_calls": [{"index": 0}, {"index": "b"}]}), chunk({}, "stop"), "[DONE]"
        ),
        stream_of("[" * 100_000),
    ],
)
def test_what_broke_off_and_what_is_no_completion_are_said(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(raw)
