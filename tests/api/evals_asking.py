"""Evals in process: requests to an application without a server, and items as a run keeps them."""

from typing import Any

from tests.wire.test_openapi_hostile import asked

from selftune.evaluate.sources.data_source import read_data_source
from selftune.evaluate.sources.output import content_without_answer
from selftune.store.eval_runs import Tallies
from selftune.store.output_items import ItemStatus, OutputItem, add_items
from selftune.store.store import Store

CHECK = {
    "type": "string_check",
    "name": "same",
    "input": "{{ sample.output_text }}",
    "operation": "eq",
    "reference": "{{ item.answer }}",
}
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
CONFIG = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
EVAL = {"name": "capitals", "data_source_config": CONFIG, "testing_criteria": [CHECK]}
ROW = {"item": {"question": "France?", "answer": "Paris"}, "sample": {"output_text": "Paris"}}
GIVEN = {"type": "jsonl", "source": {"type": "file_content", "content": [ROW]}}


def got(store: Store, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    """Return the JSON of an answer that has the status."""
    reply = asked(store, method, path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


def new_eval(store: Store, **changes: Any) -> Any:
    return got(store, "POST", "evals", EVAL | changes, 201)


def new_run(store: Store, made: Any, **changes: Any) -> Any:
    body = {"name": "first", "data_source": GIVEN} | changes
    return got(store, "POST", f"evals/{made['id']}/runs", body, 201)


def keep_items(store: Store, run_id: str, *statuses: ItemStatus, text: str = "a") -> list[str]:
    """Keep items as a run does; return their ids."""
    source = read_data_source(GIVEN)
    items = [
        OutputItem(
            id=store.ids.new("outputitem_"),
            run_id=run_id,
            number=number,
            status=status,
            created_at=store.now(),
            content=content_without_answer({"question": text}, text, source),
        )
        for number, status in enumerate(statuses)
    ]
    with store.db.write() as connection:
        add_items(connection, run_id, items, Tallies(criteria={"same-1": (1, 2)}))
    return [item.id for item in items]
