"""Lists of an archive's objects and the server's own: one order, and cursors that work across both."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.beside import (
    ROW,
    START,
    Served,
    all_of,
    entry,
    error_of,
    made_archive,
    play,
    stored_chat,
)

from selftune.rescue.archive.format import Entry, Kind
from selftune.store.completions import save_completion

SCHEMA: dict[str, object] = {"type": "object", "properties": {"answer": {"type": "string"}}}
CRITERION = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
    "reference": "{{ item.answer }}",
}


LISTED: dict[Kind, tuple[str, ...]] = {
    "file": ("asc", "desc"),
    "job": ("desc",),
    "eval": ("asc", "desc"),
    "batch": ("desc",),
    "completion": ("asc", "desc"),
}


class Mixed:
    """Objects of one kind, archived and own, made in a random order with equal times among them."""

    def __init__(self, kind: Kind, seed: int) -> None:
        draws = random.Random(seed)
        self.kind, self.now = kind, START
        self.archived: list[Entry] = []
        self.own: list[int] = []
        """When the server's own ones are made."""
        for number in range(16):
            self.now += draws.choice((0, 0, 1, 5))
            if draws.random() < 0.5:
                claimed = self.now - (30 if number % 5 == 4 else 0)  # clocks of others go wrong
                self.archived.append(
                    entry(kind, f"old-{number}", created_at=claimed, created=claimed)
                )
            else:
                self.own.append(self.now)
        self.now = START

    def expected(self, own: Sequence[str]) -> list[str]:
        """Return all ids, oldest first; of one second, what is archived comes first."""
        latest, times = 0, []
        for each in self.archived:
            latest = max(latest, each.object["created_at"])
            times.append((latest, 0, each.id))
        mine = [(time, 1, name) for time, name in zip(self.own, own, strict=True)]
        return [name for *_, name in sorted([*times, *mine], key=lambda each: each[:2])]


async def make(here: Served, kind: Kind, training: str) -> str:
    """Make an object of the server's own; return its id."""
    client, store = here.client, here.store
    if kind == "file":
        return (await client.files.create(file=("a.jsonl", ROW), purpose="fine-tune")).id
    if kind == "job":
        job = await client.fine_tuning.jobs.create(
            model="selftune/fake",
            training_file=training,
            seed=random.Random(store.now()).randrange(99999),
            metadata={"n": store.ids.letters(8)},
        )
        return job.id
    if kind == "eval":
        made = await client.evals.create(
            name=store.ids.letters(8),
            data_source_config={"type": "custom", "item_schema": SCHEMA},
            testing_criteria=[CRITERION],  # type: ignore[list-item]
        )
        return made.id
    if kind == "batch":
        batch = await client.batches.create(
            input_file_id=training,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"n": store.ids.letters(8)},
        )
        return batch.id
    chat = stored_chat(store, model="selftune/fake")
    save_completion(store, chat)
    return chat.id


def listing(here: Served, kind: Kind, **query: Any) -> Any:
    client = here.client
    lists: dict[Kind, Any] = {
        "file": client.files.list,
        "job": client.fine_tuning.jobs.list,
        "eval": client.evals.list,
        "batch": client.batches.list,
        "completion": client.chat.completions.list,
    }
    return lists[kind](extra_query=query)


@pytest.mark.parametrize("kind", LISTED)
def test_own_and_archived_objects_are_one_list_by_time_from_every_page_of_any_size(
    kind: Kind, tmp_path: Path
) -> None:
    mixed = Mixed(kind, seed=10)
    archive = made_archive(tmp_path / "archive", *mixed.archived)

    async def scene(here: Served) -> None:
        training = await make(here, "file", "") if kind != "file" else ""
        own = []
        for moment in mixed.own:
            mixed.now = moment  # the server's clock
            own.append(await make(here, kind, training))
        expected = mixed.expected(own)
        assert len(set(own)) > 3 < len(mixed.archived)
        for order in LISTED[kind]:
            wanted = expected if order == "asc" else expected[::-1]
            query = {"order": order} if len(LISTED[kind]) > 1 else {}
            for limit in (1, 3, 100):
                found = await all_of(listing(here, kind, limit=limit, **query))
                assert [each["id"] for each in found] == wanted
            for place, name in enumerate(wanted):
                page = await listing(here, kind, limit=2, after=name, **query)
                assert [each.id for each in page.data] == wanted[place + 1 : place + 3]
                assert page.has_more == (place + 3 < len(wanted))
        refused = await error_of(listing(here, kind, after="nothing"))
        assert refused.status_code == 400
        assert "nothing" in refused.message

    play(scene, archive, tmp_path / "home", lambda: mixed.now)
