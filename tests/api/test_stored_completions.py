"""Chats that are stored with their answers, as the official client sees them."""

import json
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError
from openai.types.chat import ChatCompletion
from tests.api.asking import ANSWERS, MODEL, Asked, Play

from selftune.core.records import Usage
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.completions import (
    CompletionQuery,
    StoredChoice,
    StoredCompletion,
    each_completion,
    expire_completions,
    get_completion,
    list_completions,
    save_completion,
)
from selftune.store.store import Store

PATH = "chat/completions"
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "capital?"}]}
PARTS = [{"type": "text", "text": "capi"}, {"type": "text", "text": "tal?"}]


async def stored(asked: Asked, **options: Any) -> ChatCompletion:
    found = await asked.client.chat.completions.create(**CHAT | {"store": True} | options)
    assert isinstance(found, ChatCompletion)
    return found


def test_a_stored_chat_is_given_back_as_it_was_answered(play: Play) -> None:
    options = {
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "metadata": {"team": "blue", "ü": ""},
        "temperature": 0.5,
        "seed": -9007199254740991,
        "user": "u",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }

    async def scene(asked: Asked) -> None:
        told = await stored(asked, **options)
        found = await asked.client.chat.completions.retrieve(told.id)
        assert found.choices == told.choices
        assert found.usage == told.usage
        assert (found.id, found.created, found.model) == (told.id, told.created, MODEL)
        kept = found.to_dict()
        assert kept["metadata"] == options["metadata"]
        assert kept["tools"] == options["tools"]
        assert (kept["temperature"], kept["top_p"]) == (0.5, 1.0)
        assert (kept["seed"], kept["input_user"]) == (options["seed"], "u")
        assert str(kept["request_id"]).startswith("req_")
        assert kept["tool_choice"] is kept["response_format"] is None

    play(scene)


def test_a_chat_is_not_stored_unless_that_is_asked(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        for options in ({}, {"store": False}, {"metadata": {"a": "b"}}):
            told = await asked.client.chat.completions.create(**CHAT | options)
            with pytest.raises(NotFoundError, match=f"'{told.id}' not found"):
                await asked.client.chat.completions.retrieve(told.id)
        assert (await asked.client.chat.completions.list()).data == []

    play(scene)


def test_a_streamed_chat_is_stored_whole(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        stream = await asked.client.chat.completions.create(**CHAT, store=True, stream=True)
        [name] = {chunk.id async for chunk in stream}
        found = await asked.client.chat.completions.retrieve(name)
        assert found.choices[0].message.content == ANSWERS["capital?"]
        assert found.choices[0].logprobs is None

    play(scene)


def test_chats_are_found_by_model_and_metadata(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        completions = asked.client.chat.completions
        first = await stored(asked, metadata={"team": "a", "run": "1"})
        second = await stored(asked, metadata={"team": "a", "run": "2"})
        other = await stored(asked, model="gpt-4o-mini", metadata={"team": "b"})
        wanted: list[tuple[dict[str, Any], list[ChatCompletion]]] = [
            ({}, [first, second, other]),
            ({"order": "desc"}, [other, second, first]),
            ({"model": MODEL}, [first, second]),
            ({"model": "nobody"}, []),
            ({"metadata": {"team": "a"}}, [first, second]),
            ({"metadata": {"team": "a", "run": "2"}}, [second]),
            ({"metadata": {"team": "A"}}, []),
            ({"after": first.id}, [second, other]),
            ({"after": second.id, "order": "desc"}, [first]),
        ]
        for query, expected in wanted:
            page = await completions.list(**query)
            assert [each.id for each in page.data] == [each.id for each in expected], query
        page = await completions.list(limit=2)
        assert page.has_more
        assert [each.id async for each in page] == [first.id, second.id, other.id]
        with pytest.raises(BadRequestError, match="chatcmpl-nope"):
            await completions.list(after="chatcmpl-nope")

    play(scene)


def test_metadata_is_replaced_and_a_chat_is_deleted(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        completions = asked.client.chat.completions
        told = await stored(asked, metadata={"a": "b"})
        found = await completions.update(told.id, metadata={"c": "d"})
        assert found.to_dict()["metadata"] == {"c": "d"}
        assert (await completions.list(metadata={"a": "b"})).data == []
        gone = await completions.delete(told.id)
        assert (gone.id, gone.deleted) == (told.id, True)
        looks = (completions.retrieve, completions.delete, completions.messages.list)
        for look in looks:
            with pytest.raises(NotFoundError):
                await look(told.id)
        with pytest.raises(NotFoundError):
            await completions.update(told.id, metadata={})

    play(scene)


def test_messages_are_listed_with_their_roles_and_parts(play: Play) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "name": "Zoë", "content": PARTS},
    ]

    async def scene(asked: Asked) -> None:
        told = await stored(asked, messages=said)
        async with loose(asked) as client:  # the SDK's type has no role but the assistant's
            page = await client.chat.completions.messages.list(told.id, limit=1)
            messages = [message.to_dict() async for message in page]
            assert [message["id"] for message in messages] == [f"{told.id}-0", f"{told.id}-1"]
            assert [message["role"] for message in messages] == ["system", "user"]
            assert [message["content"] for message in messages] == ["Be brief.", "capital?"]
            assert [message["content_parts"] for message in messages] == [None, PARTS]
            assert [message["name"] for message in messages] == [None, "Zoë"]
            turned = await client.chat.completions.messages.list(told.id, order="desc")
            assert [message.id for message in turned.data] == [f"{told.id}-1", f"{told.id}-0"]
            with pytest.raises(BadRequestError):
                await client.chat.completions.messages.list(told.id, after=f"{told.id}-2")

    play(scene)


def loose(asked: Asked) -> AsyncOpenAI:
    transport = httpx2.ASGITransport(asked.app)
    http = httpx2.AsyncClient(transport=transport, base_url="http://test")
    return AsyncOpenAI(base_url="http://test/v1", api_key="none", http_client=http, max_retries=0)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {"k": "\0"}}, "metadata.k"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"user": "\0"}, "user"),
        ({"user": 5}, "user"),
        ({"tools": [{"x": 10**30}]}, "tools"),
    ],
)
def test_what_could_not_be_given_back_is_refused_before_the_model_is_asked(
    play: Play, change: dict[str, Any], param: str
) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused(PATH, CHAT | {"store": True} | change)
        assert str(error["param"]).startswith(param)

    assert play(scene).sampler.batches == []


def test_deep_and_odd_texts_are_refused_or_kept(play: Play) -> None:
    deep = json.dumps(CHAT | {"store": True, "tools": 0}).replace("0}", "[" * 600 + "]" * 600 + "}")

    async def scene(asked: Asked) -> None:
        await asked.refused(PATH, deep)
        told = await stored(asked, messages=[{"role": "user", "content": "\0 😀 \u2028"}])
        async with loose(asked) as client:
            page = await client.chat.completions.messages.list(told.id)
            assert page.data[0].content == "\0 😀 \u2028"

    play(scene)


def test_a_number_that_came_as_text_is_kept_as_a_number(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        reply = await asked.post(PATH, CHAT | {"store": True, "temperature": "0.5", "seed": "7"})
        found = await asked.client.chat.completions.retrieve(reply.json()["id"])
        assert (found.to_dict()["temperature"], found.to_dict()["seed"]) == (0.5, 7)

    play(scene)


def test_an_update_says_what_it_changes(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        told = await stored(asked, metadata={"a": "b"})
        for body in ({}, {"metadata": None}, {"metadata": {"a": 1}}):
            error = await asked.refused(f"{PATH}/{told.id}", body)
            assert str(error["param"]).startswith("metadata")
        found = await asked.client.chat.completions.retrieve(told.id)
        assert found.to_dict()["metadata"] == {"a": "b"}

    play(scene)


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_disk_is_said_before_anything_is_answered(play: Play, stream: bool) -> None:
    async def scene(asked: Asked) -> None:
        fill(asked.app.state.context.store)
        with pytest.raises(InternalServerError, match="disk is full") as caught:
            await stored(
                asked, messages=[{"role": "user", "content": "x" * 100_000}], stream=stream
            )
        assert (caught.value.status_code, caught.value.code) == (503, "disk_full")
        told = await asked.client.chat.completions.create(**CHAT)
        assert told.choices[0].message.content == ANSWERS["capital?"]

    play(scene)


def fill(store: Store) -> None:
    """Leave the database no page to grow by."""
    from sqlalchemy import event

    @event.listens_for(store.db.engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")


def made(store: Store, name: str, **fields: Any) -> StoredCompletion:
    found = StoredCompletion(
        id=name,
        project_id=fields.pop("project_id", DEFAULT_PROJECT),
        kind=fields.pop("kind", "response"),
        model=fields.pop("model", "m"),
        created_at=fields.pop("created_at", store.now()),
        metadata=fields.pop("metadata", {}),
        messages=({"role": "user", "content": f"question {name}"},),
        choices=(
            StoredChoice(message={"role": "assistant", "content": "a"}, finish_reason="stop"),
        ),
        usage=Usage(prompt_tokens=3, completion_tokens=1),
        options=fields,
    )
    save_completion(store, found)
    return found


def names(store: Store, **query: Any) -> list[str]:
    """Return what both ways of reading find."""
    wanted = CompletionQuery(**query)
    found = [each.id for each in each_completion(store, DEFAULT_PROJECT, wanted)]
    page = list_completions(store, DEFAULT_PROJECT, wanted)
    assert [each.id for each in page.data] == found[: wanted.limit or 20]
    return found


def test_what_is_kept_is_what_was_saved(any_store: Store) -> None:
    saved = made(any_store, "a", temperature=0.1, instructions="Be\0 kind", metadata={"k": "v"})
    assert get_completion(any_store, DEFAULT_PROJECT, "response", "a") == saved
    assert (saved.output_text, saved.finish_reason, saved.message["role"]) == (
        "a",
        "stop",
        "assistant",
    )


def test_evals_find_responses_by_what_was_asked(any_store: Store) -> None:
    now = any_store.now()
    function = {"type": "function", "name": "look"}
    made(any_store, "old", created_at=now - 100, temperature=0.2, user="ann")
    made(any_store, "kind", instructions="Be KIND, Straße", top_p=0.5, user="bob")
    made(any_store, "tool", tools=[function, 7], reasoning_effort="low")
    made(
        any_store,
        "chat",
        kind="chat.completion",
        tools=[{"type": "function", "function": function}],
    )
    made(any_store, "odd", kind="chat.completion", tools=7)
    assert names(any_store, created_after=now - 50, kind="response") == ["kind", "tool"]
    assert names(any_store, created_before=now) == ["old"]
    assert names(any_store, temperature=0.2) == ["old"]
    assert names(any_store, top_p=0.5) == ["kind"]
    assert names(any_store, users=("ann", "bob", "eve")) == ["old", "kind"]
    assert names(any_store, instructions_search="be kind, STRASSE") == ["kind"]
    assert names(any_store, instructions_search="%") == []
    assert names(any_store, tools=("look",)) == ["tool", "chat"]
    assert names(any_store, tools=("look",), kind="response") == ["tool"]
    assert names(any_store, reasoning_effort="low") == ["tool"]
    assert names(any_store, limit=2, order="desc") == ["odd", "chat"]


def test_all_are_iterated_though_the_store_grows_meanwhile(store: Store) -> None:
    expected = [
        made(store, f"a{n}", instructions="x" if n % 7 == 0 else None).id for n in range(100)
    ]
    found = []
    for each in each_completion(store, DEFAULT_PROJECT, CompletionQuery()):
        made(store, f"new{each.id}")
        found.append(each.id)
    assert found == expected
    some = CompletionQuery(instructions_search="x", limit=4)
    first = list_completions(store, DEFAULT_PROJECT, some)
    assert [each.id for each in first.data] == ["a0", "a7", "a14", "a21"]
    assert first.has_more
    rest = some.model_copy(update={"after": "a21", "limit": 50})
    last = list_completions(store, DEFAULT_PROJECT, rest)
    assert [each.id for each in last.data] == [f"a{n}" for n in range(28, 100, 7)]
    assert not last.has_more


def test_a_completion_is_over_after_its_days(any_store: Store) -> None:
    days = any_store.settings.keep_completions_days
    made(any_store, "over", created_at=any_store.now() - days * 86_400, metadata={"a": "b"})
    made(any_store, "new", metadata={"a": "b"})
    assert names(any_store) == ["new"]
    assert expire_completions(any_store) == 1
    assert expire_completions(any_store) == 0
    assert names(any_store, metadata={"a": "b"}) == ["new"]
