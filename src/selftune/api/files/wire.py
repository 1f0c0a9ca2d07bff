"""Files in OpenAI's JSON."""

from typing import Any

from selftune.api.context import is_count
from selftune.core.errors import InvalidInput
from selftune.core.pages import Page
from selftune.core.records import File

PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
BATCH_DAYS = 30
_LEAST_EXPIRY, _MOST_EXPIRY = 3600, 2_592_000
_DAY = 86_400


def file_json(file: File) -> dict[str, Any]:
    """Return a file object."""
    value: dict[str, Any] = {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": file.bytes,
        "created_at": file.created_at,
        "status": file.status,
    }
    if file.expires_at is not None:
        value["expires_at"] = file.expires_at
    if file.status_details is not None:
        value["status_details"] = file.status_details
    return value


def page_json(page: Page[File]) -> dict[str, Any]:
    """Return a list of files."""
    return {
        "object": "list",
        "data": [file_json(file) for file in page.data],
        "first_id": page.data[0].id if page.data else "",
        "last_id": page.data[-1].id if page.data else "",
        "has_more": page.has_more,
    }


def checked_purpose(purpose: str | None) -> str:
    """Return the purpose, or raise in OpenAI's words."""
    if purpose is None:
        raise InvalidInput("'purpose' is a required property", param="purpose")
    if purpose not in PURPOSES:
        allowed = "['fine-tune', 'assistants', 'batch', 'user_data', 'vision', 'evals']"
        raise InvalidInput(f"'{purpose}' is not one of {allowed} - 'purpose'", param="purpose")
    return purpose


def expiry_seconds(anchor: object, seconds: object, purpose: str) -> int | None:
    """Return after how many seconds a file ends, or None for never."""
    if anchor is None and seconds is None:
        return BATCH_DAYS * _DAY if purpose == "batch" else None
    if anchor != "created_at":
        raise InvalidInput(
            "Invalid value for 'expires_after.anchor': it must be 'created_at'.",
            code="invalid_value",
            param="expires_after.anchor",
        )
    text = str(seconds)
    if not is_count(text) or not _LEAST_EXPIRY <= int(text) <= _MOST_EXPIRY:
        raise InvalidInput(
            f"Invalid value for 'expires_after.seconds': {text[:40]!r} is not from {_LEAST_EXPIRY} to "
            f"{_MOST_EXPIRY}.",
            code="invalid_value",
            param="expires_after.seconds",
        )
    return int(text)
