"""A promptfoo config -> its tests, prompts and models, each by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.evalfile import Model
from selftune.evaluate.interchange.criteria import without_null
from selftune.evaluate.interchange.found import (
    OPENAI,
    Row,
    different,
    name_of,
    object_at,
    rows_in,
)
from selftune.evaluate.interchange.gaps import Gaps
from selftune.evaluate.interchange.nunjucks import as_javascript_text, is_template, translated
from selftune.evaluate.interchange.promptfoo_files import (
    is_file,
    load_rows,
    load_text,
    load_value,
)
from selftune.evaluate.interchange.questions import plain_messages
from selftune.evaluate.interchange.untrusted import parse_json
from selftune.evaluate.interchange.yaml_text import load_yaml

_MOST_COMBINATIONS = 10_000
_TEST_KEYS = frozenset(
    ("vars", "assert", "description", "metadata", "threshold", "options", "id", "tags", "author")
)
_OPTION_KEYS = frozenset(("provider", "disableVarExpansion", "disableConversationVar"))
_SAMPLING = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "tools",
    "tool_choice",
)
_KNOWN_CONFIG = frozenset(("apiBaseUrl", "apiKeyEnvar", "apiKey", "label", "cost"))
_OLLAMA = "http://localhost:11434/v1"


@dataclass(frozen=True)
class Test:
    """One test, with the defaults of all tests in it."""

    fields: Row
    assertions: tuple[Row, ...]
    threshold: float | None
    judge: Any
    """Provider that judges."""
    place: str


@dataclass(frozen=True)
class Prompt:
    """One prompt, as messages whose variables are the item's fields."""

    label: str
    messages: tuple[Row, ...]
    sources: tuple[str, ...]
    """promptfoo's own templates of the messages."""


def tests_of(config: Row, base: Path, place: str, gaps: Gaps) -> Iterator[Test]:
    """Yield the tests of a config; what cannot be one is a gap."""
    default = _default(config, base, place, gaps)
    for number, given in enumerate(_given_tests(config.get("tests"), base, place, gaps), start=1):
        where = f"{place}: tests[{number}]"
        if not isinstance(given, dict):
            gaps.row("a test is not an object", where)
            continue
        try:
            yield from _tests(given, default, config, base, where)
        except InvalidInput as error:
            gaps.row(error.message.removesuffix("."), where)


def prompts_of(given: Any, base: Path, place: str, gaps: Gaps) -> list[Prompt]:
    """Return the prompts; one that is a program or has logic is a gap."""
    found: list[Prompt] = []
    for number, each in enumerate(_listed(given), start=1):
        where = f"{place}: prompts[{number}]"
        try:
            for label, text in _texts(each, base):
                found.append(prompt_of(label, text, len(found) + 1))
        except InvalidInput as error:
            gaps.part(f"prompt: {error.message}", where)
    return found


def prompt_of(label: str, text: str, number: int) -> Prompt:
    """Return the prompt of a text.

    Raises:
        InvalidInput: it has logic, or more than text in it.

    """
    chat = chat_of(text)
    messages = tuple(m | {"content": translated(m["content"])} for m in chat)
    plain = "" if is_template(label) or "\n" in label else label
    return Prompt(name_of(plain, f"prompt {number}"), messages, tuple(m["content"] for m in chat))


def models_of(given: Any, place: str, gaps: Gaps) -> tuple[Model, ...]:
    """Return the providers that speak OpenAI's chat API; others are gaps."""
    found: list[Model] = []
    for number, each in enumerate(_listed(given), start=1):
        provider = {"id": each} if isinstance(each, str) else each
        if isinstance(provider, dict) and "id" not in provider and len(provider) == 1:
            ((id, inner),) = provider.items()
            provider = {"id": id, **(inner if isinstance(inner, dict) else {})}
        if isinstance(provider, dict):
            found += _model(provider, f"{place}: providers[{number}]", gaps)
    names = different([model.name or model.model for model in found])
    return tuple(m.model_copy(update={"name": n}) for m, n in zip(found, names, strict=True))


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given] if isinstance(given, str | dict) else []


def _default(config: Row, base: Path, place: str, gaps: Gaps) -> Row:
    default = config.get("defaultTest")
    if isinstance(default, str):
        try:
            default = load_value(base, default)
        except InvalidInput as error:
            gaps.part(f"defaultTest: {error.message}", place)
    for key in ("scenarios", "extensions", "nunjucksFilters", "redteam", "targets"):
        if config.get(key):
            gaps.part(f"`{key}` has no counterpart", place)
    return default if isinstance(default, dict) else {}


def _given_tests(given: Any, base: Path, place: str, gaps: Gaps) -> Iterator[Any]:
    for each in given if isinstance(given, list) else [given] if given else []:
        if not isinstance(each, str):
            yield each
        elif is_file(each):
            try:
                yield from load_rows(base, each)
            except InvalidInput as error:
                gaps.part(f"tests: {error.message}", place)
        else:
            gaps.part(f"tests {name_of(each, 'empty')!r}: not a file of tests", place)


def _tests(given: Row, default: Row, config: Row, base: Path, place: str) -> Iterator[Test]:
    options = {**object_at(default, "options"), **object_at(given, "options")}
    _refuse(given, _TEST_KEYS, "")
    _refuse(default, _TEST_KEYS, "defaultTest.")
    _refuse(options, _OPTION_KEYS, "options.")
    own = given.get("vars")
    if is_file(own):
        own = load_value(base, str(own))
    fields = {**object_at(default, "vars"), **(own if isinstance(own, dict) else {})}
    assertions = [*rows_in(default.get("assert")), *rows_in(given.get("assert"))]
    if given.get("disableDefaultAsserts") is True:
        assertions = rows_in(given.get("assert"))
    threshold = given.get("threshold", default.get("threshold"))
    if threshold is not None and not isinstance(threshold, int | float):
        raise InvalidInput("its threshold is not a number")
    resolved = tuple(_assertion(each, config) for each in assertions)
    for each in _combined(fields, base, expand=options.get("disableVarExpansion") is not True):
        yield Test(each, resolved, threshold or None, options.get("provider"), place)


def _refuse(given: Row, known: frozenset[str], prefix: str) -> None:
    others = sorted(key for key in given if key not in known and given[key] not in (None, "", {}))
    if others:
        raise InvalidInput(f"`{prefix}{others[0]}` has no counterpart")


def _combined(fields: Row, base: Path, *, expand: bool) -> Iterator[Row]:
    """Yield one set of variables for each combination of those that are lists."""
    loaded = {name: _variable(value, base) for name, value in fields.items()}
    lists = [name for name, value in loaded.items() if expand and isinstance(value, list)]
    combinations = list(islice(product(*(loaded[n] for n in lists)), _MOST_COMBINATIONS + 1))
    if len(combinations) > _MOST_COMBINATIONS:
        raise InvalidInput(f"its variables make more than {_MOST_COMBINATIONS:,} combinations")
    for values in combinations:
        chosen = {**loaded, **dict(zip(lists, values, strict=True))}
        yield {name: as_javascript_text(value) for name, value in chosen.items()}


def _variable(value: Any, base: Path) -> Any:
    return load_text(base, value) if isinstance(value, str) and value[:7] == "file://" else value


def _assertion(given: Row, config: Row) -> Row:
    """Return an assertion; one that refers to a template of the config is that template."""
    reference = given.get("$ref")
    if not isinstance(reference, str):
        return given
    found = object_at(config, "assertionTemplates", reference.rpartition("/")[2])
    return {**found, **{key: value for key, value in given.items() if key != "$ref"}}


def _texts(given: Any, base: Path) -> Iterator[tuple[str, str]]:
    """Yield the label and text of each prompt that an entry means."""
    label, value = "", given
    if isinstance(given, dict):
        label, value = str(given.get("label") or ""), given.get("raw") or given.get("id")
    if not isinstance(value, str):
        raise InvalidInput("It is not a text.")
    name = value.removeprefix("file://")
    suffix = Path(name).suffix.lower() if "\n" not in name and " " not in name else ""
    if not value.startswith("file://") and suffix not in (".txt", ".md", ".json", ".yaml", ".py"):
        yield label or value, value
        return
    text = load_text(base, value)
    parts = text.split("\n---\n") if suffix == ".txt" else [text]
    for number, part in enumerate(parts, start=1):
        own = name if len(parts) == 1 else f"{name} {number}"
        yield label or own, part.strip()


def chat_of(text: str) -> tuple[Row, ...]:
    """Return a prompt's messages: JSON or YAML of a chat, else the user's text.

    Raises:
        InvalidInput: there is more than text in it.

    """
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            value = parse_json(stripped, "prompt")
        except InvalidInput:
            value = None
        if rows_in(value) and all("role" in each for each in rows_in(value)):
            return plain_messages(value)
    if stripped.startswith("- role:"):
        return plain_messages(load_yaml(stripped, Path("prompt")))
    return plain_messages(text)


def _model(provider: Row, place: str, gaps: Gaps) -> list[Model]:
    id = str(provider.get("id") or "")
    config = object_at(provider, "config")
    kind, _, rest = id.partition(":")
    model = rest.removeprefix("chat:").removeprefix("responses:")
    url = {"openai": OPENAI, "ollama": _OLLAMA}.get(kind)
    if url is None or not model or rest.startswith(("embedding", "image", "assistant", "realtime")):
        gaps.part(
            f"provider {name_of(id, 'without a name')!r}: not a chat model of OpenAI's API", place
        )
        return []
    given = config.get("apiBaseUrl")
    variable = config.get("apiKeyEnvar")
    if isinstance(given, str):
        url = given
        gaps.note(
            f"questions, and the key, go to {name_of(url, 'an address')}: see that you want it"
        )
    if "apiKey" in config:
        gaps.note("a key in the config was not copied: put it into the environment", place)
    words = {key: value for key, value in config.items() if key in _SAMPLING}
    for key in sorted(set(config) - set(_SAMPLING) - _KNOWN_CONFIG):
        gaps.part(f"`config.{name_of(key, 'key')}` of a provider has no counterpart", place)
    return [
        Model(
            name=name_of(provider.get("label"), model),
            model=model,
            base_url=url,
            api_key_variable=variable if isinstance(variable, str) else "OPENAI_API_KEY",
            sampling=without_null(words, f"provider {model!r}", gaps),
        )
    ]
