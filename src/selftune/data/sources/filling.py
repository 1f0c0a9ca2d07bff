"""A row of fields and a template -> a chat."""

from selftune.core.runfile import Template
from selftune.core.templates import fill
from selftune.data.rows import Row, fields_of


def filled_chat(row: Row, template: Template) -> Row:
    """Return the chat that a template makes of a row's fields.

    Raises:
        InvalidInput: the template cannot be filled; names it and the fields that there are.

    """
    fields = fields_of(row)
    parts = (
        ("system", template.system),
        ("user", template.user),
        ("assistant", template.assistant),
    )
    messages = [
        {"role": role, "content": fill(text, fields)} for role, text in parts if text is not None
    ]
    return {"messages": messages}
