"""A run of an eval reads the chats of an archive, which its worker does not know."""

import asyncio
from pathlib import Path
from typing import Any

from tests.rescue.beside import START, Served, all_of, entry, made_archive, play, stored_chat

from selftune.jobs.queue import claim
from selftune.rescue.archive.format import Entry
from selftune.store.accounts import DEFAULT_PROJECT
from selftune.store.completions import (
    archived_completions,
    expire_completions,
    save_completion,
)
from selftune.store.owners import this_process
from selftune.worker import run_child

MODEL, TEAM = "ft:gpt-4o-mini-2024-07-18:acme:support:AbC", {"team": "support"}
LOGS: Any = {"type": "stored_completions", "metadata": TEAM}
ANSWERED: Any = {
    "type": "string_check",
    "name": "answered",
    "input": "{{ sample.output_text }}",
    "operation": "like",
    "reference": "b",
}


def chat(number: int, **told: Any) -> tuple[Entry, ...]:
    """Return an archived chat and its messages, as the API lists them."""
    name = f"chatcmpl-{number}"
    message = {"role": "assistant", "content": "b", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    asked: dict[str, Any] = {"role": "user", "content": f"question {number}"}
    about: dict[str, Any] = {
        "object": "chat.completion",
        "created": START + number,
        "choices": [choice],
    }
    about |= {"model": MODEL, "metadata": TEAM, "usage": None, "input_user": None}
    return (
        entry("completion", name, **(about | told)),
        entry("completion_message", f"{name}-0", name, **asked),
    )


async def graded(here: Served, eval_id: str, **wanted: Any) -> dict[str, Any]:
    """Run an eval on stored chats as a worker does; return what was graded by its id."""
    source: Any = {"type": "completions", "source": {"type": "stored_completions", **wanted}}
    run = await here.client.evals.runs.create(eval_id, data_source=source)
    claimed = claim(here.store, this_process(), only=run.id)
    assert claimed is not None
    await asyncio.to_thread(run_child, here.store, run.id, claimed[1].token)
    done = await here.client.evals.runs.retrieve(run.id, eval_id=eval_id)
    assert done.status == "completed", done.error
    assert done.result_counts.passed == done.result_counts.total
    items = await all_of(here.client.evals.runs.output_items.list(run.id, eval_id=eval_id))
    return {each["datasource_item"]["id"]: each["datasource_item"] for each in items}


def test_a_run_reads_archived_chats_beside_those_of_this_server(tmp_path: Path) -> None:
    entries = [
        *(each for number in range(4) for each in chat(number)),
        *chat(4, model="another"),
        *chat(5, choices=[]),
        entry("completion", "chatcmpl-6", model=MODEL, metadata=TEAM),  # whose messages are lost
    ]
    archive = made_archive(tmp_path / "archive", *entries)

    async def scene(here: Served) -> None:
        store, client = here.store, here.client
        own = stored_chat(store, model=MODEL, metadata=TEAM)
        save_completion(store, own, stored_chat(store, model=MODEL))
        before = await all_of(client.chat.completions.list())
        assert len(before) == 9
        made = await client.evals.create(
            data_source_config=LOGS,
            testing_criteria=[ANSWERED],
        )
        found = await graded(here, made.id, model=MODEL)
        assert list(found) == [*(f"chatcmpl-{number}" for number in range(4)), own.id]
        assert found["chatcmpl-3"]["input_text"] == "question 3"
        assert found["chatcmpl-3"]["created_at"] == START + 3
        assert len(await graded(here, made.id, model=MODEL, limit=2)) == 2
        dated = await graded(here, made.id, created_after=START + 1, created_before=START + 5)
        assert list(dated) == ["chatcmpl-2", "chatcmpl-3", "chatcmpl-4"]
        assert expire_completions(store) == 0
        assert len(archived_completions(store, DEFAULT_PROJECT)) == 5
        assert await all_of(client.chat.completions.list()) == before

    play(scene, archive, tmp_path / "home", lambda: START + 400 * 86_400)
