"""Models that endpoints.toml names: chats, responses and graders are passed on to their endpoint."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError
from tests.api.asking import ANSWERS, MODEL, Asked, Play
from tests.wire.model_stub import ModelStub, name_models

from selftune.core.errors import InvalidInput
from selftune.models.relay import Relay

NAME = "big-model"
CHAT: dict[str, Any] = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
Reply = Callable[[dict[str, Any]], tuple[int, Any]]


class Upstream(ModelStub):
    """Answers with whole bodies."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(lambda _: "")
        self.reply = reply

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.bodies.append(body)
        return self.reply(body)


@contextmanager
def upstream(reply: Reply) -> Iterator[Upstream]:
    stub = Upstream(reply)
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()


def saying(text: str | None, **more: Any) -> Reply:
    """Return what answers with a text; further fields are of the message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}}
    return lambda body: (200, completion([choice | {"finish_reason": "stop"}]))


def completion(choices: list[Any], **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    usage |= {"prompt_tokens_details": {"cached_tokens": 5}}  # type: ignore[dict-item]  # as it is on the wire
    named = {"id": "x" * 100, "object": "chat.completion", "created": 1, "model": "big-model-2026"}
    return named | {"choices": choices, "usage": usage} | more


def home(asked: Asked) -> Path:
    root: Path = asked.app.state.context.store.root
    return root


def test_a_chat_reaches_the_endpoint_as_it_was_sent(play: Play) -> None:
    options: dict[str, Any] = {
        "temperature": 0.3,
        "max_tokens": 5,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}],
            }
        ],
    }

    async def scene(asked: Asked) -> None:
        with upstream(saying("yes")) as stub:
            name_models(home(asked), stub, "big-*")
            found = await asked.client.chat.completions.create(
                **CHAT | options,
                store=True,
                metadata={"a": "b"},
                extra_body={"unheard_of": {"x": 1}},
            )
            assert stub.bodies == [CHAT | options | {"unheard_of": {"x": 1}}]
            assert found.choices[0].message.content == "yes"
            assert found.model == "big-model-2026"
            assert found.id.startswith("chatcmpl-")
            assert found.created > 1
            assert found.usage.total_tokens == 10
            kept = await asked.client.chat.completions.retrieve(found.id)
            assert kept.model == NAME
            assert kept.choices == found.choices
            assert kept.usage.prompt_tokens_details.cached_tokens == 5
            here = await asked.client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}]
            )
            assert here.choices[0].message.content == ANSWERS["hi"]
            assert len(stub.bodies) == 1

    play(scene)


def test_an_answer_is_cut_into_the_chunks_of_a_stream(play: Play) -> None:
    logprobs = {"content": [{"token": "y", "logprob": -1.0, "bytes": [121], "top_logprobs": []}]}
    choices = [
        {
            "message": {"content": "yes", "role": "assistant"},
            "logprobs": logprobs,
            "finish_reason": "length",
        },
        {
            "message": {"content": None, "role": "assistant", "tool_calls": [CALL, CALL]},
            "finish_reason": "tool_calls",
        },
    ]

    async def scene(asked: Asked) -> None:
        with upstream(lambda _: (200, completion(choices))) as stub:
            name_models(home(asked), stub, NAME)
            stream = await asked.client.chat.completions.create(
                **CHAT, n=2, store=True, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert "stream" not in stub.bodies[0]
            assert "stream_options" not in stub.bodies[0]
        pieces = [chunk.choices[0] for chunk in chunks[:-1]]
        assert [piece.index for piece in pieces] == [0, 0, 0, 1, 1, 1, 1]
        assert pieces[1].delta.content == "yes"
        assert pieces[1].logprobs.content[0].token == "y"
        assert [piece.delta.tool_calls[0].index for piece in pieces[4:6]] == [0, 1]
        assert [piece.finish_reason for piece in pieces if piece.finish_reason] == [
            "length",
            "tool_calls",
        ]
        assert chunks[-1].usage.total_tokens == 10
        kept = await asked.client.chat.completions.retrieve(chunks[0].id)
        assert [len(choice.message.tool_calls or []) for choice in kept.choices] == [0, 2]
        assert kept.choices[0].logprobs.content[0].token == "y"

    play(scene)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "7", "completion_tokens": 3}])
def test_what_the_endpoint_does_not_tell_is_unknown(play: Play, usage: Any) -> None:
    bare = {"choices": [{"message": {"content": [{"type": "text", "text": "y"}], "refusal": 1}}]}

    async def scene(asked: Asked) -> None:
        with upstream(lambda _: (200, bare | {"usage": usage})) as stub:
            name_models(home(asked), stub, NAME)
            found = await asked.client.chat.completions.create(**CHAT, store=True)
            assert (found.model, found.usage) == (NAME, None)
            assert found.choices[0].message.content == "y"
            assert found.choices[0].finish_reason == "stop"
            assert (await asked.client.chat.completions.retrieve(found.id)).usage is None
            told = await asked.client.responses.create(model=NAME, input="hi")
            assert (told.output_text, told.usage) == ("y", None)

    play(scene)


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, {"error": {"message": "bad", "code": "invalid_value"}}, 400, "invalid_value"),
        (401, {"error": {"message": "sk-secret is wrong"}}, 503, "endpoint_refuses"),
        (403, {"error": {"message": "sk-secret may not"}}, 503, "endpoint_refuses"),
        (404, {"error": {"message": "no such model"}}, 404, "model_not_found"),
        (413, {"error": {"message": "large"}}, 413, None),
        (422, {"detail": "strange"}, 400, None),
        (429, {"error": {"message": "slow", "code": None}}, 429, "rate_limit_exceeded"),
        (
            429,
            {"error": {"message": "pay", "code": "insufficient_quota"}},
            429,
            "insufficient_quota",
        ),
        (500, {"error": {"message": "oops"}}, 503, "server_is_overloaded"),
        (503, "<html>", 503, "server_is_overloaded"),
        (200, {"choices": []}, 503, "server_is_overloaded"),
        (200, {"choices": [{"text": "a"}]}, 503, "server_is_overloaded"),
        (200, [], 503, "server_is_overloaded"),
    ],
)
def test_an_endpoints_trouble_is_told_in_openais_words(
    play: Play, status: int, body: Any, expected: int, code: str | None
) -> None:
    async def scene(asked: Asked) -> None:
        with upstream(lambda _: (status, body)) as stub:
            name_models(home(asked), stub, NAME)
            for path, sent in (
                ("chat/completions", CHAT | {"store": True}),
                ("chat/completions", CHAT | {"stream": True}),
                ("responses", {"model": NAME, "input": "hi"}),
            ):
                reply = await asked.post(path, sent)
                assert reply.status_code == expected, reply.text
                error = reply.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}
                assert error["code"] == code
                assert "sk-secret" not in reply.text
                assert stub.url not in reply.text
                assert ("retry-after" in reply.headers) == (expected in (429, 503))
            assert len(stub.bodies) == 3  # who asks tries again, not the server
        assert (await asked.client.chat.completions.list()).data == []

    play(scene)


def test_an_endpoint_that_is_down_or_needs_a_key_that_is_not_there(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        with upstream(saying("")) as stub:
            name_models(home(asked), stub, NAME)
        with pytest.raises(APIStatusError, match="does not answer") as down:
            await asked.client.chat.completions.create(**CHAT)
        assert (down.value.status_code, down.value.code) == (503, "server_is_overloaded")
        text = f'[[endpoint]]\nmodels = ["{NAME}"]\nbase_url = "{stub.url}"\n'
        text += 'api_key_variable = "SELFTUNE_TEST_NO_SUCH_KEY"\n'
        (home(asked) / "endpoints.toml").write_text(text, encoding="utf-8")
        with pytest.raises(APIStatusError) as keyless:
            await asked.client.chat.completions.create(**CHAT)
        assert (keyless.value.status_code, keyless.value.code) == (503, "endpoint_refuses")
        assert "NO_SUCH_KEY" not in str(keyless.value)

    play(scene)


def test_the_file_may_change_while_the_server_runs(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        refused = await asked.post("chat/completions", CHAT)
        assert refused.status_code == 404
        with upstream(saying("one")) as first, upstream(saying("other")) as second:
            for stub, text in ((first, "one"), (second, "other")):
                name_models(home(asked), stub, NAME)
                found = await asked.client.chat.completions.create(**CHAT)
                assert found.choices[0].message.content == text
            (home(asked) / "endpoints.toml").write_text("[[endpoint]]\nmodels = 7\n")
            found = await asked.client.chat.completions.create(**CHAT)
            assert found.choices[0].message.content == "other"
        (home(asked) / "endpoints.toml").unlink()
        assert (await asked.post("chat/completions", CHAT)).status_code == 404

    play(scene)


def test_a_server_does_not_begin_with_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text("[[endpoint]]\nmodels = 7\n")
    with pytest.raises(InvalidInput, match=r"endpoints\.toml"):
        Relay(tmp_path)


def test_no_more_requests_than_allowed_are_on_their_way(play: Play) -> None:
    import asyncio

    lock, seen = threading.Lock(), [0, 0]
    both = threading.Barrier(2, timeout=10)

    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        with lock:
            seen[0] += 1
            seen[1] = max(seen)
        both.wait()
        with lock:
            seen[0] -= 1
        return saying("yes")(body)

    async def scene(asked: Asked) -> None:
        with upstream(reply) as stub:
            name_models(home(asked), stub, NAME)
            path = home(asked) / "endpoints.toml"
            path.write_text(path.read_text() + "concurrency = 2\n")
            asks = [asked.client.chat.completions.create(**CHAT) for _ in range(6)]
            await asyncio.gather(*asks)

    play(scene)
    assert seen == [0, 2]


def test_a_response_is_asked_of_the_endpoint_as_a_chat(play: Play) -> None:
    form = {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}

    async def scene(asked: Asked) -> None:
        with upstream(saying('{"a": 1}')) as stub:
            name_models(home(asked), stub, NAME)
            first = await asked.client.responses.create(
                model=NAME,
                input=[{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
                instructions="Be kind.",
                max_output_tokens=20,
                reasoning={"effort": "low"},
                text={"format": form, "verbosity": "low"},
                store=True,
                metadata={"a": "b"},
            )
            assert first.output_text == '{"a": 1}'
            assert first.text.format.to_dict() == form
            assert first.usage.input_tokens_details.cached_tokens == 5
            said = [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            ]
            schema = {name: value for name, value in form.items() if name != "type"}
            assert stub.bodies == [
                {
                    "model": NAME,
                    "messages": said,
                    "max_completion_tokens": 20,
                    "reasoning_effort": "low",
                    "verbosity": "low",
                    "response_format": {"type": "json_schema", "json_schema": schema},
                }
            ]
            stream = await asked.client.responses.create(
                model=NAME, input="more", previous_response_id=first.id, stream=True
            )
            events = [event async for event in stream]
            assert "".join(e.delta for e in events if e.type.endswith("text.delta")) == '{"a": 1}'
            assert events[-1].type == "response.completed"
            roles = [message["role"] for message in stub.bodies[1]["messages"]]
            assert roles == ["user", "assistant", "user"]
            assert set(stub.bodies[1]) == {"model", "messages"}

    play(scene)


def test_a_refusal_is_told_as_one(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        with upstream(saying(None, refusal="I will not.")) as stub:
            name_models(home(asked), stub, NAME)
            found = await asked.client.responses.create(model=NAME, input="hi")
            assert found.output[0].content[0].refusal == "I will not."
            assert found.output_text == ""
            stream = await asked.client.responses.create(model=NAME, input="hi", stream=True)
            kinds = [event.type async for event in stream]
            assert "response.refusal.delta" in kinds
            assert "response.refusal.done" in kinds
            await asked.client.responses.create(
                model=NAME, input="why?", previous_response_id=found.id
            )
            part = {"type": "refusal", "refusal": "I will not."}
            assert stub.bodies[2]["messages"][1] == {"role": "assistant", "content": [part]}

    play(scene)


def test_a_grader_asks_the_endpoint(play: Play) -> None:
    grader = {
        "type": "score_model",
        "name": "judge",
        "model": NAME,
        "input": [{"role": "user", "content": "Is it good? {{sample.output_text}}"}],
    }

    async def scene(asked: Asked) -> None:
        with upstream(saying(json.dumps({"steps": [], "result": 0.75}))) as stub:
            name_models(home(asked), stub, NAME)
            found = await asked.client.fine_tuning.alpha.graders.run(
                grader=grader, model_sample="Yes"
            )
            assert found.reward == 0.75
            assert found.metadata.sampled_model_name == "big-model-2026"
            assert stub.bodies[0]["messages"][-1]["content"].startswith("Is it good? Yes")

    play(scene)
