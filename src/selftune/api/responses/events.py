"""A response as the events of a stream."""

from collections.abc import Iterable, Iterator
from typing import Any

from selftune.api.responses.wire import begun_json, output_json, response_json
from selftune.store.completions import StoredCompletion

Delta = tuple[str, list[dict[str, Any]]]
"""A piece of the answer, and how likely its tokens were."""


def events_json(found: StoredCompletion, deltas: Iterable[Delta]) -> Iterator[dict[str, Any]]:
    """Yield the events of a response that is over, numbered."""
    for number, event in enumerate(_events(found, deltas)):
        yield event | {"sequence_number": number}


def whole(found: StoredCompletion) -> tuple[Delta, ...]:
    """Return the answer as one piece."""
    part = output_json(found)["content"][0]
    text = part.get("text") or part.get("refusal") or ""
    return ((text, part.get("logprobs", [])),) if text else ()


def _events(found: StoredCompletion, deltas: Iterable[Delta]) -> Iterator[dict[str, Any]]:
    begun, item = begun_json(found), output_json(found)
    [part] = item["content"]
    is_text = part["type"] == "output_text"
    kind, field = ("output_text", "text") if is_text else ("refusal", "refusal")
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    blank = part | {field: ""} | ({"logprobs": []} if is_text else {})
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    opened = item | {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": 0, "item": opened}
    yield {"type": "response.content_part.added", "part": blank} | place
    for text, logprobs in deltas:
        more = {"logprobs": logprobs} if is_text else {}
        yield {"type": f"response.{kind}.delta", "delta": text} | place | more
    more = {"logprobs": part["logprobs"]} if is_text else {}
    yield {"type": f"response.{kind}.done", field: part[field]} | place | more
    yield {"type": "response.content_part.done", "part": part} | place
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    ended = response_json(found)
    yield {"type": f"response.{ended['status']}", "response": ended}
