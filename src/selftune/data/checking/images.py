"""Parts of a message's content: text and images, as OpenAI's vision training takes them."""

import re
from collections.abc import Iterator
from typing import Any

MAX_IMAGES = 10
"""OpenAI's limit for one row."""
MAX_IMAGE_BYTES = 10_000_000
_DATA_URL = re.compile(r"data:image/(jpeg|jpg|png|webp);base64,", re.IGNORECASE)
_WEB_ADDRESS = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
_DETAILS = ("low", "high", "auto")
_ALLOWED = {"user": ("text", "image_url"), "assistant": ("text", "refusal")}
_TEXT_ONLY = ("text",)
_TYPES = ("text", "image_url", "refusal")

PartFault = tuple[str, str]
"""A rule, and what is wrong."""


def part_faults(parts: list[Any], role: str) -> Iterator[PartFault]:
    """Yield what is wrong with the parts of one message."""
    if not parts:
        yield "content-invalid", "has an empty list of parts as its content"
    for number, part in enumerate(parts, start=1):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in _TYPES:
            yield "part-invalid", f"has a part {number} whose type is not text or image_url"
        elif kind not in _ALLOWED.get(role, _TEXT_ONLY):
            yield "part-not-allowed", f"has a part {number} of type {kind}, from the {role}"
        elif kind == "image_url":
            yield from _image_faults(number, part.get("image_url"))
        elif not isinstance(part.get(kind), str):
            yield "part-invalid", f"has a part {number} without {kind}"


def images_of(messages: list[Any]) -> int:
    """Return how many images a row shows."""
    return sum(
        isinstance(part, dict) and part.get("type") == "image_url"
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _image_faults(number: int, image: Any) -> Iterator[PartFault]:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        yield "part-invalid", f"has a part {number} without image_url.url"
        return
    inline = _DATA_URL.match(url)
    if inline is None and not _WEB_ADDRESS.match(url):
        yield "image-invalid", f"has a part {number} whose image is no address or data URL"
    if inline is not None and (len(url) - inline.end()) * 3 // 4 > MAX_IMAGE_BYTES:
        yield "image-too-large", f"has a part {number} whose image is larger than 10 MB"
    if image.get("detail", "auto") not in _DETAILS:
        yield "part-invalid", f"has a part {number} whose detail is not low, high or auto"
