"""A model's chat template, rendered the same way today and in a year."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from selftune.core.errors import InvalidInput, JobFailed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REFUSED = "chat_template_refused"
"""Code of jobs that fail since no correct loss mask can be shown for the model's chat template."""
_FAULTS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can raise that stumbles over a conversation."""
_DATE = {
    "%d": "26",
    "%-d": "26",
    "%m": "07",
    "%b": "Jul",
    "%B": "July",
    "%Y": "2024",
    "%y": "24",
    "%A": "Friday",
    "%a": "Fri",
    "%H": "12",
    "%M": "00",
    "%S": "00",
}
"""The day that templates are told it is, as Llama 3.1's own says where it has no clock: a prompt
that changed every day would not be the one that was trained."""


class Template:
    """Renders conversations with the tokenizer's own chat template, in transformers' sandbox."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        source = tokenizer.chat_template
        if not source:
            raise JobFailed(
                "The model's folder has no chat template, so nobody can tell how it is to be asked. "
                "Take the model that was trained for chats, or add a chat_template.jinja.",
                code=REFUSED,
            )
        self._tokenizer: Any = tokenizer
        self.source = source if isinstance(source, str) else json.dumps(source, sort_keys=True)
        self.sha256 = hashlib.sha256(self.source.encode()).hexdigest()
        self.arguments = {"enable_thinking": False} if "enable_thinking" in self.source else {}

    def render(
        self, messages: Sequence[dict[str, Any]], tools: Sequence[Any] = (), *, prompt: bool = False
    ) -> str:
        """Return the text of a conversation; as a prompt, it ends where the assistant begins.

        Raises:
            InvalidInput: the template refuses the conversation; in its own words.

        """
        chosen = self._tokenizer.get_chat_template(None, list(tools) or None)
        if "strftime_now" in chosen:
            chosen = _clock() + chosen
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tools=list(tools) or None,
                    chat_template=chosen,
                    tokenize=False,
                    add_generation_prompt=prompt,
                    **self.arguments,
                )
            )
        except _FAULTS as error:
            says = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise InvalidInput(
                f"The model's chat template refuses this conversation: {says}.",
                code="invalid_messages",
                param="messages",
            ) from error


def _clock() -> str:
    """Return a macro that stands before the sandbox's own clock."""
    filters = "".join(f' | replace("{sign}", "{told}")' for sign, told in _DATE.items())
    return f"{{%- macro strftime_now(format) -%}}{{{{ format{filters} }}}}{{%- endmacro -%}}\n"
