"""Rows -> a file in the store, as if they had been uploaded."""

from collections.abc import Iterable
from typing import Any

from selftune.core.records import File, Identity
from selftune.data.sources.json_rows import json_line
from selftune.store.files import save_file
from selftune.store.store import Store


def keep_rows(store: Store, identity: Identity, rows: Iterable[Any], filename: str) -> File:
    """Store rows as JSONL with the purpose `fine-tune`; return the file."""
    with store.blobs.writer() as writer:
        for row in rows:
            writer.write(json_line(row))
        blob = writer.commit()
    file = File(
        id=store.ids.new("file-"),
        project_id=identity.project_id,
        filename=filename,
        purpose="fine-tune",
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_file(store, file)
    return file
