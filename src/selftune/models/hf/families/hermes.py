"""Calls between `<tool_call>` and `</tool_call>`, as Qwen, Hermes and SmolLM write them."""

from selftune.models.hf.dialect import Family, JsonCalls


def build() -> Family:
    """Return the family."""
    return JsonCalls(
        name="hermes",
        marks=("<tool_call>",),
        pattern=r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)",
        before='<tool_call>\n{"name": NAME, "arguments": ',
        after="}\n</tool_call>",
    )
