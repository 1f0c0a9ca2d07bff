"""An eval file -> a config of promptfoo."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from selftune.core.errors import InvalidInput
from selftune.evaluate.evalfile import EvalFile, Model
from selftune.evaluate.interchange.found import OPENAI, Row, name_of
from selftune.evaluate.interchange.gaps import Gap, Gaps
from selftune.evaluate.interchange.nunjucks import is_template, untranslated
from selftune.evaluate.interchange.promptfoo_graders import assertion_of
from selftune.evaluate.interchange.yaml_text import write_yaml
from selftune.evaluate.items import Item

_SCHEMA = "# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json\n"
_LOCAL = "http://127.0.0.1:8000/v1"
_MESSAGES = "messages"
_PREFIXES = ("file://", "package:", "javascript:")


@dataclass(frozen=True)
class Exported:
    """A config, and what is not in it."""

    text: str
    tests: int
    gaps: tuple[Gap, ...]


def export(spec: EvalFile, items: Iterable[Item]) -> Exported:
    """Return the config that asks and judges the same.

    Raises:
        InvalidInput: no grader has a counterpart, or no item can be written.

    """
    gaps = Gaps()
    assertions = _assertions(spec, gaps)
    prompt = _prompt(spec)
    tests = [test for item in items if (test := _test(item, prompt is None, gaps)) is not None]
    if not tests:
        said = "".join(f"\n  {gap}" for gap in gaps.told())
        raise InvalidInput(f"No item of {spec.name!r} can be written for promptfoo.{said}")
    section = spec.evaluation
    if section.weight is not None:
        gaps.part("items of different weight: promptfoo counts every test once")
    config: dict[str, Any] = {
        "description": spec.name,
        "prompts": [f"{{{{{_MESSAGES}}}}}" if prompt is None else prompt],
        "providers": [_provider(model, spec, gaps) for model in spec.models],
        "defaultTest": {"options": {"disableVarExpansion": True}, "assert": assertions},
        "tests": tests,
    }
    if section.samples > 1:
        config["evaluateOptions"] = {"repeat": section.samples, "cache": False}
    if not spec.models:
        gaps.part("the eval names no model: write one under `providers`")
    lines = "".join(f"# {gap}\n" for gap in gaps.told())
    return Exported(_SCHEMA + lines + write_yaml(config), len(tests), gaps.told())


def _assertions(spec: EvalFile, gaps: Gaps) -> list[Row]:
    found = []
    for number, grader in enumerate(spec.evaluation.graders, start=1):
        try:
            found.append(assertion_of(grader, gaps))
        except InvalidInput as error:
            name = name_of(grader.get("name"), str(grader.get("type")))
            why = error.message.removesuffix(".")
            gaps.part(
                f"grader {name!r} of type {grader.get('type')!r}: {why}", f"graders[{number}]"
            )
    if not found:
        said = "".join(f"\n  {gap}" for gap in gaps.told())
        raise InvalidInput(f"No grader of {spec.name!r} has a counterpart in promptfoo.{said}")
    return found


def _prompt(spec: EvalFile) -> str | None:
    """Return the prompt as a template; None where each test must bring its whole chat."""
    section = spec.evaluation
    if section.prompt is None or (section.system is not None and is_template(section.system)):
        return None
    try:
        text = untranslated(section.prompt)
    except InvalidInput:
        return None
    if section.system is None:
        return text
    chat = [{"role": "system", "content": section.system}, {"role": "user", "content": text}]
    return json.dumps(chat, ensure_ascii=False)


def _test(item: Item, is_chat: bool, gaps: Gaps) -> Row | None:
    place = f"item {item.index}"
    fields = dict(item.item)
    if is_chat:
        fields[_MESSAGES] = json.dumps(list(item.messages), ensure_ascii=False)
    strange = [name for name in fields if not name.isidentifier()]
    if strange:
        gaps.note("fields whose names are no words cannot be read by promptfoo's templates")
    if any(_is_read_again(value) for value in fields.values()):
        gaps.row("a field has braces or a prefix that promptfoo would evaluate", place)
        return None
    test: Row = {"vars": fields}
    return {**test, "metadata": {"category": item.category}} if item.category else test


def _is_read_again(value: Any) -> bool:
    """Return whether promptfoo would take a value for a template or a file."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return is_template(text) or text.startswith(_PREFIXES)


def _provider(model: Model, spec: EvalFile, gaps: Gaps) -> Row:
    name = model.name or model.model
    if model.system is not None or model.examples is not None:
        gaps.part(f"model {name!r}: its own system message or examples; promptfoo asks it without")
    config: Row = {"temperature": spec.evaluation.temperature}
    if spec.evaluation.max_tokens is not None:
        config["max_tokens"] = spec.evaluation.max_tokens
    if spec.evaluation.seed is not None:
        config["seed"] = spec.evaluation.seed
    config |= model.sampling
    if model.base_url is None:
        gaps.note(
            f"model {name!r} is asked at {_LOCAL}: start `selftune serve`, or change `apiBaseUrl`"
        )
    if model.base_url != OPENAI:
        config["apiBaseUrl"] = model.base_url or _LOCAL
    if model.api_key_variable != "OPENAI_API_KEY":
        config["apiKeyEnvar"] = model.api_key_variable
    return {"id": f"openai:chat:{model.model}", "label": name, "config": config}
