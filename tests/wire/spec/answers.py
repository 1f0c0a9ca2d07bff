"""Checks answers against OpenAI's description, and remembers which operations answered."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from tests.wire.spec.mistakes import STREAMS, UNDESCRIBED, repaired
from tests.wire.spec.operations import operation_of, shape
from tests.wire.spec.reduce import REDUCED

Operation = tuple[str, str]
_EVENT = "data: "
ENDS = ("response.completed", "response.incomplete", "response.failed")


class Answers:
    """Every answer that it was shown, checked."""

    def __init__(self) -> None:
        text = REDUCED.read_text(encoding="utf-8")
        document = repaired(yaml.load(text, Loader=yaml.CSafeLoader))
        self._components = document["components"]
        self.described: dict[Operation, dict[str, Any]] = {
            (method, shape(path)): _success(operation)[1].get("content", {})
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self._statuses = {
            (method, shape(path)): int(_success(operation)[0])
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self.seen: Counter[tuple[Operation | None, int]] = Counter()
        self.chunks: Counter[Operation] = Counter()

    def client(self, base_url: str, key: str | None) -> httpx.Client:
        """Return a client that checks each answer."""
        return httpx.Client(
            base_url=base_url,
            headers={} if key is None else {"authorization": f"Bearer {key}"},
            event_hooks={"response": [self.check]},
            timeout=60,
        )

    def check(self, response: httpx.Response) -> None:
        """Raise AssertionError unless the answer is as described."""
        response.read()
        request = response.request
        operation = operation_of(request.method, request.url.path)
        what = f"{request.method} {request.url.path} answered {response.status_code}"
        self.seen[operation, response.status_code] += 1
        for schema, value in self._values(operation, response):
            validator = Draft202012Validator(schema | {"components": self._components})
            problem = best_match(validator.iter_errors(value))
            assert problem is None, (
                f"{what}: {problem.json_path}: {problem.message}\n{json.dumps(value, indent=1)}"
            )

    def _values(
        self, operation: Operation | None, response: httpx.Response
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield each JSON value of an answer with its schema."""
        kind = response.headers["content-type"].partition(";")[0]
        if response.status_code >= 400:
            assert kind == "application/json"
            yield _named("ErrorResponse"), response.json()
            return
        assert operation is not None
        assert response.status_code == self._statuses[operation]
        if operation in UNDESCRIBED:
            return
        content = self.described[operation]
        if not content:  # nothing is said of the answer
            return
        if kind == "application/json":
            yield content[kind]["schema"], response.json()
            return
        assert kind == "text/event-stream"
        schema = _named(STREAMS[operation]) if operation in STREAMS else content[kind]["schema"]
        for chunk in _chunks(response.text):
            self.chunks[operation] += 1
            yield schema, chunk


def _success(operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the status of an operation's good answer, and what is said of it."""
    return next(
        (status, answer) for status, answer in operation["responses"].items() if status[0] == "2"
    )


def _chunks(text: str) -> list[Any]:
    """Return the chunks of a stream, which must end as OpenAI's do."""
    if text.startswith("event: "):
        return _typed(text)
    end = f"{_EVENT}[DONE]\n\n"
    assert text.endswith(end)
    events = text.removesuffix(end).split("\n\n")[:-1]
    assert all(event.startswith(_EVENT) for event in events)
    return [json.loads(event.removeprefix(_EVENT)) for event in events]


def _typed(text: str) -> list[Any]:
    """Return the events of a response's stream; each says its type twice, the last one the end."""
    *events, rest = text.split("\n\n")
    assert rest == ""
    chunks = []
    for event in events:
        kind, _, data = event.removeprefix("event: ").partition("\n")
        chunks.append(json.loads(data.removeprefix(_EVENT)))
        assert chunks[-1]["type"] == kind
    assert chunks[-1]["type"] in ENDS
    return chunks


def _named(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}
