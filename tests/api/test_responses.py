"""Responses as the official client sees them, and what is refused."""

from typing import Any

import pytest
from openai import BadRequestError, InternalServerError, NotFoundError
from openai.types.responses import Response
from tests.api.asking import ANSWERS, MODEL, Asked, Play
from tests.api.test_stored_completions import fill

PATH = "responses"
ASK: dict[str, Any] = {"model": MODEL, "input": "capital?"}
LOGPROBS = ["message.output_text.logprobs"]


async def told(asked: Asked, **options: Any) -> Response:
    found = await asked.client.responses.create(**ASK | options)
    assert isinstance(found, Response)
    return found


def test_a_response_has_all_that_the_client_knows(play: Play) -> None:
    options = {
        "instructions": "Be kind.",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 100,
        "metadata": {"a": "b"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "p",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "truncation": "auto",
    }

    async def scene(asked: Asked) -> None:
        found = await told(asked, **options)
        assert found.output_text == ANSWERS["capital?"]
        assert (found.status, found.error, found.incomplete_details) == ("completed", None, None)
        assert found.completed_at is not None
        assert found.completed_at >= found.created_at
        assert found.usage is not None
        assert found.usage.total_tokens == found.usage.input_tokens + found.usage.output_tokens
        assert found.usage.input_tokens > 0
        assert found.to_dict()["store"] is True
        assert found.background is False
        assert (found.tools, found.tool_choice) == ([], "auto")
        echoed = found.to_dict()
        for name in ("reasoning", "text"):
            expected = options.pop(name)
            assert {key: echoed[name][key] for key in expected} == expected  # type: ignore[index, attr-defined]  # JSON objects
        assert {name: echoed[name] for name in options} == options
        again = await asked.client.responses.retrieve(found.id)
        assert again.to_dict() == echoed

    assert play(scene).sampler.batches == [["capital?"]]


def test_the_limit_makes_a_response_incomplete(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        asked.models.sampler._answers["long"] = "word " * 50
        found = await told(asked, input="long", max_output_tokens=16)
        assert found.status == "incomplete"
        assert found.incomplete_details is not None
        assert found.incomplete_details.reason == "max_output_tokens"
        assert found.completed_at is None
        assert found.output[0].status == "incomplete"  # type: ignore[union-attr]  # a message
        assert found.usage is not None
        assert found.usage.output_tokens == 16
        events = [event async for event in await told_events(asked, "long")]
        assert events[-1].type == "response.incomplete"

    async def told_events(asked: Asked, text: str) -> Any:
        return await asked.client.responses.create(
            model=MODEL, input=text, max_output_tokens=16, stream=True
        )

    play(scene)


def test_messages_come_in_every_shape_and_are_listed(play: Play) -> None:
    given = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "earlier"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "so ", "annotations": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "h"}, {"type": "input_text", "text": "i"}],
        },
    ]

    async def scene(asked: Asked) -> None:
        found = await told(asked, input=given, instructions="Be kind.")
        assert found.output_text == "hello"
        items = asked.client.responses.input_items
        page = await items.list(found.id, order="asc", limit=3)
        listed = [item async for item in page]
        assert [item.role for item in listed] == ["developer", "user", "assistant", "user"]
        assert [len(item.content) for item in listed] == [1, 1, 2, 2]
        assert listed[0].content[0].text == "Be brief."
        assert [part.type for part in listed[2].content] == ["output_text", "refusal"]
        assert len({item.id for item in listed}) == 4
        assert (page.has_more, len(page.data)) == (True, 3)
        newest = await items.list(found.id, limit=1)
        assert newest.data[0].id == listed[3].id
        rest = await items.list(found.id, after=listed[3].id)
        assert [item.id for item in rest.data] == [item.id for item in listed[2::-1]]

    play(scene)


def test_a_response_goes_on_from_an_earlier_one_without_its_instructions(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        first = await told(asked, instructions="Be kind.")
        second = await told(asked, input="hi", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        third = await told(
            asked, input=second.output[:0], previous_response_id=second.id, instructions="Now this."
        )
        assert third.output_text == "hello"  # the last thing that a user said
        await asked.client.responses.delete(first.id)
        page = await asked.client.responses.input_items.list(third.id, order="asc")
        texts = [item.content[0].text for item in page.data]
        assert texts == ["capital?", ANSWERS["capital?"], "hi", "hello"]
        with pytest.raises(BadRequestError) as caught:
            await told(asked, previous_response_id=first.id)
        assert caught.value.code == "previous_response_not_found"
        assert caught.value.param == "previous_response_id"

    play(scene)


def test_what_a_client_got_it_may_send_back(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await told(asked, include=LOGPROBS)
        sent = [item.to_dict() for item in found.output]
        more = await told(asked, input=[*sent, {"role": "user", "content": "hi"}])
        assert more.output_text == "hello"

    play(scene)


def test_a_stream_tells_the_answer_step_by_step(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        stream = await asked.client.responses.create(**ASK, stream=True, include=LOGPROBS)
        events = [event async for event in stream]
        kinds = [event.type.removeprefix("response.") for event in events]
        assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
        ended = ["output_text.done", "content_part.done", "output_item.done", "completed"]
        assert kinds[-4:] == ended
        deltas = [event for event in events if event.type == "response.output_text.delta"]
        assert "".join(event.delta for event in deltas) == ANSWERS["capital?"]
        assert len(deltas) == len(events) - 8 > 1
        assert all(len(event.logprobs) == 1 for event in deltas)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert {event.item_id for event in deltas} == {events[2].item.id}
        whole = events[-1].response
        assert whole.output_text == ANSWERS["capital?"]
        assert len(whole.output[0].content[0].logprobs) == len(deltas)
        assert events[0].response.usage is None
        assert events[0].response.status == "in_progress"
        kept = await asked.client.responses.retrieve(whole.id)
        assert kept == whole
        raw = await asked.post(PATH, ASK | {"stream": True})
        assert raw.text.startswith("event: response.created\ndata: {")
        assert "[DONE]" not in raw.text

    play(scene)


def test_the_clients_own_helper_follows_a_stream(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        async with asked.client.responses.stream(**ASK) as stream:
            events = [event async for event in stream]
            found = await stream.get_final_response()
        assert found.output_text == ANSWERS["capital?"]
        assert [event.snapshot for event in events if event.type == "response.output_text.delta"][
            -1
        ] == ANSWERS["capital?"]
        async with asked.client.responses.stream(response_id=found.id, starting_after=3) as again:
            late = [event async for event in again]
            assert (await again.get_final_response()).output_text == ANSWERS["capital?"]
        assert [event.sequence_number for event in late] == [4, 5, 6, 7, 8]

    play(scene)


def test_a_stored_response_is_streamed_again(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await told(asked)
        stream = await asked.client.responses.retrieve(found.id, stream=True, starting_after=5)
        events = [event async for event in stream]
        assert [event.sequence_number for event in events] == [6, 7, 8]
        assert events[-1].response == found

    play(scene)


def test_an_empty_answer_is_an_answer(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        asked.models.sampler._answers["silence"] = ""
        found = await told(asked, input="silence")
        assert (found.output_text, found.status) == ("", "completed")
        stream = await asked.client.responses.create(model=MODEL, input="silence", stream=True)
        assert [event.type async for event in stream][-1] == "response.completed"

    play(scene)


def test_a_response_is_deleted_or_was_never_stored(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        responses = asked.client.responses
        kept, unkept = await told(asked), await told(asked, store=False)
        assert unkept.to_dict()["store"] is False
        await responses.delete(kept.id)
        for name in (kept.id, unkept.id):
            looks = (
                responses.retrieve,
                responses.delete,
                responses.cancel,
                responses.input_items.list,
            )
            for look in looks:
                with pytest.raises(NotFoundError, match=f"Response with id '{name}' not found"):
                    await look(name)

    play(scene)


def test_chats_and_responses_are_apart(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        chat = await asked.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], store=True
        )
        response = await told(asked)
        assert [each.id async for each in asked.client.chat.completions.list()] == [chat.id]
        with pytest.raises(NotFoundError):
            await asked.client.chat.completions.retrieve(response.id)
        with pytest.raises(NotFoundError):
            await asked.client.responses.retrieve(chat.id)

    play(scene)


def test_a_response_that_is_over_cannot_be_cancelled(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await told(asked)
        with pytest.raises(BadRequestError, match="Cannot cancel a synchronous response"):
            await asked.client.responses.cancel(found.id)

    play(scene)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [{"content": "a"}]}, "input.0.role", "missing_required_parameter"),
        ({"input": [{"role": "user"}]}, "input.0.content", "missing_required_parameter"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"top_p": -1}, "top_p", "invalid_value"),
        ({"max_output_tokens": 15}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": 10**30}, "max_output_tokens", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools", "unsupported_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "schema": {}}}},
            "text.format.name",
            "missing_required_parameter",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]},
            "input",
            None,
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f"}]},
            "input.0.arguments",
            "missing_required_parameter",
        ),
        ({"background": True}, "background", "unsupported_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_value"),
        ({"prompt": {"id": "p"}}, "prompt", "unsupported_value"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort", "invalid_value"),
        ({"truncation": "left"}, "truncation", "invalid_value"),
        ({"previous_response_id": "\0"}, "previous_response_id", "invalid_value"),
    ],
)
def test_a_wrong_parameter_is_named(
    play: Play, change: dict[str, Any], param: str, code: str
) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused(PATH, ASK | change)
        assert (str(error["param"]).removesuffix(".str"), error["code"]) == (param, code)

    assert play(scene).sampler.batches == []


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://x/a.png"}]},
        {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        {"role": "user", "content": [{"type": "input_text"}]},
    ],
)
def test_what_is_no_text_is_refused_and_not_overlooked(play: Play, item: Any) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused(PATH, ASK | {"input": [item]})
        assert str(error["param"]).startswith("input.0")
        assert "read text only" in error["message"]

    play(scene)


def test_odd_texts_are_kept(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        found = await told(asked, input="\0 😀", instructions="\0", metadata={"ü": ""})
        page = await asked.client.responses.input_items.list(found.id)
        assert page.data[0].content[0].text == "\0 😀"
        assert (await asked.client.responses.retrieve(found.id)).instructions == "\0"

    play(scene)


def test_an_unknown_model_is_not_found(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        with pytest.raises(NotFoundError, match="The model `nope` does not exist"):
            await told(asked, model="nope")

    play(scene)


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_disk_is_said_before_anything_is_answered(play: Play, stream: bool) -> None:
    async def scene(asked: Asked) -> None:
        fill(asked.app.state.context.store)
        with pytest.raises(InternalServerError, match="disk is full") as caught:
            await told(asked, input="x" * 100_000, stream=stream)
        assert (caught.value.status_code, caught.value.code) == (503, "disk_full")
        assert (await told(asked, store=False)).output_text == ANSWERS["capital?"]

    play(scene)
