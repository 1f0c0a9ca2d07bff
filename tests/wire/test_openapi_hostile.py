"""Requests that crashed a handler once: each is refused in OpenAI's envelope, on each database."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from selftune.api.app import create_app
from selftune.serve.client import ServingClient
from selftune.store.store import Store

NUL_IN_BODY = [
    ("chat/completions", {"model": "ft:\0", "messages": [{"role": "user", "content": "a"}]}),
    ("completions", {"model": "ft:\0", "prompt": "a"}),
    ("chat/completions/x", {"metadata": {"\0": "a"}}),
    ("responses", {"model": "ft:\0", "input": "a"}),
    ("responses", {"model": "m", "input": "a", "previous_response_id": "\0"}),
    ("responses", {"model": "m", "input": "a", "user": "\0"}),
    ("responses", {"model": "m", "input": "a", "metadata": {"\0": "a"}}),
    ("embeddings", {"model": "ft:\0", "input": "a"}),
    ("fine_tuning/jobs", {"model": "ft:\0", "training_file": "file-1"}),
    ("fine_tuning/jobs", {"model": "selftune/fake", "training_file": "\0"}),
    (
        "fine_tuning/jobs",
        {"model": "selftune/fake", "training_file": "file-1", "validation_file": "\0"},
    ),
    (
        "fine_tuning/jobs",
        {"model": "selftune/fake", "training_file": "file-1", "metadata": {"k": "\0"}},
    ),
    (
        "fine_tuning/jobs",
        {"model": "selftune/fake", "training_file": "file-1", "metadata": {"\0": "v"}},
    ),
    ("fine_tuning/checkpoints/x/permissions", {"project_ids": ["\0"]}),
    ("uploads", {"filename": "\0", "purpose": "fine-tune", "bytes": 1, "mime_type": "t"}),
    ("uploads", {"filename": "a", "purpose": "fine-tune", "bytes": 1, "mime_type": "\0"}),
]
NUL_IN_URL = [
    ("GET", "files/%00"),
    ("GET", "files/a%00b/content"),
    ("DELETE", "files/%00"),
    ("POST", "uploads/%00/cancel"),
    ("GET", "fine_tuning/jobs/%00"),
    ("GET", "fine_tuning/jobs/%00/events"),
    ("POST", "fine_tuning/jobs/%00/cancel"),
    ("GET", "fine_tuning/checkpoints/%00/permissions"),
    ("GET", "models/ft:%00"),
    ("DELETE", "models/ft:%00"),
    ("GET", "chat/completions/%00"),
    ("POST", "chat/completions/%00"),
    ("GET", "chat/completions/%00/messages"),
    ("GET", "chat/completions?after=%00"),
    ("GET", "chat/completions?metadata[%00]=a"),
    ("GET", "chat/completions?model=%00"),
    ("GET", "responses/%00"),
    ("GET", "responses/%00/input_items"),
    ("POST", "responses/%00/cancel"),
    ("GET", "batches/%00"),
    ("POST", "batches/%00/cancel"),
    ("GET", "batches?after=%00"),
    ("GET", "evals/%00"),
    ("POST", "evals/%00/runs"),
    ("GET", "evals/a/runs/%00/output_items"),
    ("GET", "files?after=%00"),
    ("GET", "evals?after=%00"),
    ("GET", "files?purpose=%00"),
    ("GET", "fine_tuning/jobs?after=%00"),
    ("GET", "fine_tuning/jobs?metadata[%00]=a"),
    ("GET", "fine_tuning/jobs?metadata[a]=%00"),
]
NOT_COUNTS = ("²", "9" * 5000)
"""What `str.isdigit` takes and `int` does not."""
LONG_BOUNDARY = "multipart/form-data; boundary=" + "B" * 300


def asked(store: Store, method: str, path: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        serving = ServingClient(Path("nowhere"), wait_seconds=1, most_waiting=1)
        transport = httpx.ASGITransport(create_app(store, serving, without_keys=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://x/v1/") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


def assert_refused(response: httpx.Response, *statuses: int) -> None:
    assert response.status_code in statuses, response.text
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("path", "body"), NUL_IN_BODY)
def test_a_nul_in_a_body(any_store: Store, path: str, body: Mapping[str, Any]) -> None:
    assert_refused(asked(any_store, "POST", path, json=body), 400)


@pytest.mark.parametrize(("method", "path"), NUL_IN_URL)
def test_a_nul_in_a_url(any_store: Store, method: str, path: str) -> None:
    assert_refused(asked(any_store, method, path), 400 if "?" in path else 404)


def form(filename: str, **fields: str) -> dict[str, Any]:
    """Return a form as it is: clients escape names."""
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts.append(f'name="file"; filename="{filename}"\r\n\r\n{{}}')
    text = "".join(f"--B\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    kind = {"content-type": "multipart/form-data; boundary=B"}
    return {"content": f"{text}--B--\r\n".encode(), "headers": kind}


def test_a_nul_in_a_files_name(any_store: Store) -> None:
    assert asked(any_store, "POST", "files", **form("a", purpose="evals")).status_code == 200
    assert_refused(asked(any_store, "POST", "files", **form("\0", purpose="evals")), 400)


@pytest.mark.parametrize("seconds", NOT_COUNTS)
def test_an_expiry_that_is_no_number(store: Store, seconds: str) -> None:
    expiry = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    assert_refused(asked(store, "POST", "files", **form("a", purpose="evals", **expiry)), 400)
    after = {"anchor": "created_at", "seconds": seconds}
    body = {"filename": "a", "purpose": "evals", "bytes": 1, "mime_type": "t"}
    assert_refused(asked(store, "POST", "uploads", json=body | {"expires_after": after}), 400)


@pytest.mark.parametrize("count", NOT_COUNTS)
def test_a_retry_count_that_is_no_number_is_none(store: Store, count: str) -> None:
    kept = form("a", purpose="evals")
    kept["headers"][b"x-stainless-retry-count"] = count.encode("latin-1")
    first, second = (asked(store, "POST", "files", **kept).json() for _ in "ab")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("path", ["files", "uploads"])
def test_a_boundary_that_no_parser_takes(store: Store, path: str) -> None:
    if path == "uploads":
        body = {"filename": "a", "purpose": "evals", "bytes": 1, "mime_type": "t"}
        opened = asked(store, "POST", "uploads", json=body).json()
        path = f"uploads/{opened['id']}/parts"
    headers = {"content-type": LONG_BOUNDARY}
    assert_refused(asked(store, "POST", path, content=b"--B--", headers=headers), 400)


@pytest.mark.parametrize(
    "integration",
    [
        {},
        {"type": "wandb"},
        {"type": "nope", "wandb": {"project": "p"}},
        {"type": "wandb", "wandb": {"project": None}},
        {"type": "wandb", "wandb": {"project": "p", "entity": False}},
        {"type": "wandb", "wandb": {"project": "p", "tags": [1]}},
    ],
)
def test_an_integration_that_could_not_be_echoed(store: Store, integration: Any) -> None:
    body = {"model": "selftune/fake", "training_file": "file-1", "integrations": [integration]}
    refused = asked(store, "POST", "fine_tuning/jobs", json=body)
    assert_refused(refused, 400)
    assert refused.json()["error"]["param"].startswith("integrations.0")
