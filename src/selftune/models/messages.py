"""What is said in a message of a chat, and by whom."""

from typing import Any

SYSTEM_ROLES = ("system", "developer")


def content_text(message: Any) -> str:
    """Return the text of a message, of its text parts where it has parts; else nothing."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def whole_text(text: str) -> str:
    """Return a text with each lone surrogate as U+FFFD: UTF-8 and tokenizers take no others."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
