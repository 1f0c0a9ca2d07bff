"""Calls in one list after `[TOOL_CALLS]`, as Mistral wrote them until 2024."""

from selftune.models.hf.dialect import Family, JsonCalls


def build() -> Family:
    """Return the family."""
    return JsonCalls(
        name="mistral",
        marks=("[TOOL_CALLS]",),
        pattern=r"\[TOOL_CALLS\]\s*(\[.*\])\s*\Z",
        begin="[TOOL_CALLS] [",
        between=", ",
        end="]",
    )
