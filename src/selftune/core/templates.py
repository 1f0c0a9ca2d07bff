"""Fill `{{ item.field }}` and `{{ sample.output_text }}`: Jinja2 in its sandbox, two names, no more."""

from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from selftune.core.errors import InvalidInput


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def fill(template: str, item: dict[str, Any], sample: dict[str, Any] | None = None) -> str:
    """Return the text of a template.

    Raises:
        InvalidInput: the template is not valid, or names a field that is not there.

    """
    if "{{" not in template and "{%" not in template:
        return template
    try:
        return _environment().from_string(template).render(item=item, sample=sample or {})
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise InvalidInput(f"The template {template!r} cannot be filled: {error}.") from error
