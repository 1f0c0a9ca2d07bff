"""Batches as they are asked for: what happens before a worker takes one."""

from typing import Any

import pytest
from openai import BadRequestError, ConflictError, NotFoundError
from tests.api.asking import Asked, Play

CHATS = "/v1/chat/completions"


def wanted(**changes: Any) -> dict[str, Any]:
    return {"input_file_id": "file-x", "endpoint": CHATS, "completion_window": "24h"} | changes


def test_a_new_batch_waits_with_all_that_was_said_of_it(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        expiry = {"anchor": "created_at", "seconds": 3600}
        made = await asked.client.batches.create(
            **wanted(metadata={"a": "b"}, output_expires_after=expiry)
        )
        assert made.id.startswith("batch_")
        assert (made.status, made.endpoint, made.completion_window) == ("validating", CHATS, "24h")
        assert made.expires_at == made.created_at + 24 * 3600
        assert made.metadata == {"a": "b"}
        assert made.request_counts.to_dict() == {"total": 0, "completed": 0, "failed": 0}
        assert made.usage.total_tokens == 0
        raw = (await asked.post("batches", wanted())).json()
        assert [name for name, value in raw.items() if value is None] == [
            *("model", "errors", "output_file_id", "error_file_id", "in_progress_at"),
            *("finalizing_at", "expired_at", "cancelling_at", "completed_at", "failed_at"),
            *("cancelled_at", "metadata"),
        ]
        assert await asked.client.batches.retrieve(made.id) == made

    play(scene)


def test_a_list_goes_from_the_newest_to_the_oldest(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        create = asked.client.batches.create
        made = [(await create(**wanted(metadata={"n": str(n)}))).id for n in range(5)]
        page = await asked.client.batches.list(limit=2)
        assert [batch.id for batch in page.data] == [made[4], made[3]]
        assert page.has_more
        assert [batch.id async for batch in page] == made[::-1]
        assert (await asked.client.batches.list(after=made[0])).data == []
        with pytest.raises(BadRequestError, match="No batch found with id 'nope'"):
            await asked.client.batches.list(after="nope")

    play(scene)


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"endpoint": "/v1/files"}, "endpoint", "Invalid value: '/v1/files'. Supported values"),
        ({"endpoint": "/v1/moderations"}, "endpoint", "'/v1/chat/completions'"),
        ({"completion_window": "1h"}, "completion_window", "Supported values are: '24h'."),
        ({"input_file_id": ""}, "input_file_id", "Invalid value"),
        ({"input_file_id": None}, "input_file_id", "Missing required parameter"),
        ({"input_file_id": "a\0"}, "input_file_id", "NUL"),
        ({"metadata": {"a": "b" * 513}}, "metadata.a", "Invalid value"),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
            "output_expires_after.seconds",
            "3600",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    play: Play, changes: dict[str, Any], param: str, words: str
) -> None:
    async def scene(asked: Asked) -> None:
        error = await asked.refused("batches", wanted(**changes))
        assert error["param"] == param
        assert words in error["message"]

    play(scene)


def test_a_batch_that_no_worker_has_is_cancelled_at_once(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        made = await asked.client.batches.create(**wanted())
        over = await asked.client.batches.cancel(made.id)
        assert over.status == "cancelled"
        assert over.cancelling_at is not None
        assert over.cancelled_at is not None
        assert await asked.client.batches.cancel(made.id) == over

    play(scene)


def test_a_batch_that_is_not_there_is_told_in_openais_words(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        for look in (asked.client.batches.retrieve, asked.client.batches.cancel):
            with pytest.raises(NotFoundError, match="No batch found with id 'batch_nope'"):
                await look("batch_nope")

    play(scene)


def test_a_create_that_is_repeated_makes_no_second_batch(play: Play) -> None:
    async def scene(asked: Asked) -> None:
        key = {"extra_headers": {"Idempotency-Key": "k"}}
        made = [await asked.client.batches.create(**wanted(), **key) for _ in range(2)]
        assert made[0] == made[1]
        with pytest.raises(ConflictError):
            await asked.client.batches.create(**wanted(metadata={"a": "b"}), **key)
        assert len((await asked.client.batches.list()).data) == 1

    play(scene)
