"""The tokenizer and chat template of an open model, from its folder: `tokenizer.json` and Jinja.

Nothing is downloaded. The template is rendered in Jinja's sandbox with the names that model authors
count on; the clock is not among them, so a chat always renders to the same text.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from selftune.core.errors import InvalidInput
from selftune.models.messages import whole_text

_SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token")


def is_folder_of_a_model(model: str) -> bool:
    """Return whether a name is a folder with a tokenizer in it."""
    return (Path(model).expanduser() / "tokenizer.json").is_file()


class OpenTokenizer:
    """Counts texts and renders chats as one open model does."""

    def __init__(self, name: str, tokenizer: Any, template: Any, specials: Mapping[str, str]):
        self.name = name
        self._tokenizer, self._template, self._specials = tokenizer, template, specials

    @property
    def has_template(self) -> bool:
        """Whether chats can be rendered."""
        return self._template is not None

    def count_many(self, texts: Sequence[str]) -> "np.ndarray[Any, Any]":
        """Return how many tokens each text has, shape (texts,), int64; no special ones are added."""
        whole = [whole_text(text) for text in texts]
        encoded = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return np.array([len(one.ids) for one in encoded], np.int64)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        asks: bool = False,
    ) -> str:
        """Return a chat as the model reads it; `asks` ends it where an answer begins.

        Raises:
            InvalidInput: there is no template, or it refuses this chat.

        """
        if self._template is None:
            raise InvalidInput(f"The model in {self.name!r} has no chat template.")
        try:
            text = self._template.render(
                messages=messages, tools=tools, add_generation_prompt=asks, **self._specials
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise InvalidInput(
                f"The chat template of {self.name!r} cannot render this chat: {error}."
            ) from error
        return str(text)


def load_tokenizer(folder: Path) -> OpenTokenizer:
    """Return the tokenizer of a model's folder.

    Raises:
        InvalidInput: there is none, or its files are damaged; names the file.

    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except Exception as error:  # the library raises bare Exception
        raise InvalidInput(f"{str(path)!r} is no tokenizer: {error}.") from error
    tokenizer.no_truncation()  # both are often saved in the file, and would change counts
    tokenizer.no_padding()
    config = _read_config(folder / "tokenizer_config.json")
    text = _template_text(folder, config)
    specials = {name: _special(config[name]) for name in _SPECIALS if config.get(name)}
    template = None if text is None else _compile(text, folder)
    return OpenTokenizer(str(folder), tokenizer, template, specials)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{str(path)!r} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{str(path)!r} is not a JSON object.")
    return found


def _template_text(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Return the template: of its own file, or of the configuration, where it may have names."""
    own = folder / "chat_template.jinja"
    if own.exists():
        return own.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several, of which one is called default
        named = {entry.get("name"): entry.get("template") for entry in found}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _special(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value)


def _compile(text: str, folder: Path) -> Any:
    try:
        return _environment().from_string(text)
    except TemplateError as error:
        raise InvalidInput(
            f"The chat template of {str(folder)!r} is not valid: {error}."
        ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    """Return Jinja as Transformers sets it up for chat templates, without its clock."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON without HTML's escapes, which models never saw."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks answers in some templates; it writes nothing."""

    tags = {"generation"}  # noqa: RUF012  # Jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return what stands inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
