"""Files at a provider: what is there is not uploaded again.

A file is known by its name, which holds the SHA-256 of its content. So a process that was killed
before it could note the id finds the file again, and so does another run with the same rows.
"""

import asyncio
import base64
import binascii
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from selftune.core.errors import JobFailed
from selftune.train.remote.once import once

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import FileObject

_DIGITS = 20
_NOT_READY = ("pending", "running", "processing")
_READY_SECONDS = 600.0
_POLL_SECONDS = 2.0
_PAGE = 1000
_RESULTS = "fine-tune-results"


async def uploaded(client: "AsyncOpenAI", part: str, content: bytes) -> str:
    """Return the id of a file for training with this content, uploaded unless it is there."""
    name = f"{part}-{sha256(content).hexdigest()[:_DIGITS]}.jsonl"
    unrepeated = client.with_options(max_retries=0)

    async def make() -> str:
        return (await unrepeated.files.create(file=(name, content), purpose="fine-tune")).id

    async def find() -> str | None:
        async for file in client.files.list(purpose="fine-tune", limit=_PAGE):
            if file.filename == name and file.bytes == len(content) and file.status != "error":
                return file.id
        return None

    return await find() or await once(make, find)


async def is_there(client: "AsyncOpenAI", file_id: str) -> bool:
    """Return whether a file is still at the provider, and of use."""
    from openai import NotFoundError

    try:
        return (await client.files.retrieve(file_id)).status != "error"
    except NotFoundError:
        return False


async def ready(client: "AsyncOpenAI", file_id: str) -> None:
    """Wait until the provider has looked at a file.

    OpenAI takes jobs for files that it has only received; Azure takes them when it has read them.

    Raises:
        JobFailed: it will not take the file.

    """
    until = time.monotonic() + _READY_SECONDS
    while True:
        file: FileObject = await client.files.retrieve(file_id)
        status = str(file.status)
        if status == "error":
            raise JobFailed(
                f"The provider does not take the file {file_id}: {file.status_details or status}",
                code="invalid_training_file",
            )
        if status not in _NOT_READY or time.monotonic() > until:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def content_of(client: "AsyncOpenAI", file_id: str) -> bytes:
    """Return a file's bytes; a result file, which OpenAI delivers as base64, as the text it is."""
    content = (await client.files.content(file_id)).content
    file = await client.files.retrieve(file_id)
    return plain(content) if file.purpose == _RESULTS else content


def plain(content: bytes) -> bytes:
    """Return a result file's text, whether it came as base64 or as it is."""
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:  # commas are no base64
        return content
