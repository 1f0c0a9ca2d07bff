"""`renderer.json`: what a model's folder keeps of how it was rendered, and the check at each load."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from selftune.core.errors import JobFailed
from selftune.core.records import Record
from selftune.models.hf.encoding import Encoder
from selftune.models.hf.proof import Proven, probe, probe_tools
from selftune.models.hf.template import Template

NAME = "renderer.json"
DIFFERS = "renderer_differs"
"""Code of the failure to load a model that would not be rendered as it was trained."""
_ODD = "naïve Σ 日本語 🙂 é\t 0123456789 <|im_end|></s>\r\n  \u00a0x"
"""Letters that tell tokenizers apart, and texts that are special tokens of some."""
_NO_LIMIT = 1_000_000_000
"""What `max_position_embeddings` is taken for where a model has none."""


class Told(Record):
    """All that must be the same where a model is served as where it was trained."""

    template_sha256: str
    template_arguments: dict[str, bool]
    family: str | None
    stop_ids: tuple[int, ...]
    context: int
    probe_text: str
    """A conversation, rendered."""
    probe_ids: tuple[int, ...]
    library: str
    """The version of transformers; another one is fine where all else is the same."""


def told(
    template: Template,
    encoder: Encoder,
    proven: Proven,
    *,
    stop_ids: tuple[int, ...],
    context: int,
) -> Told:
    """Return what a renderer keeps."""
    import transformers

    chat = probe(proven.habits)
    messages = [encoder.message(each) for each in chat.messages]
    first = next(each for each in messages if each["role"] == "user")
    first["content"] += encoder.guarded(_ODD)
    text = template.render(messages, probe_tools(proven.family))
    return Told(
        template_sha256=template.sha256,
        template_arguments=template.arguments,
        family=proven.family.name if proven.family else None,
        stop_ids=stop_ids,
        context=context,
        probe_text=encoder.bare(text),
        probe_ids=tuple(encoder.encode(text).ids),
        library=transformers.__version__,
    )


def write(folder: Path, record: Told) -> None:
    """Write what a renderer keeps into a model's folder."""
    (folder / NAME).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> Told | None:
    """Return what a model's folder keeps; None for a base, which was never trained here.

    Raises:
        JobFailed: the file is damaged.

    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return Told.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise JobFailed(
            f"{NAME} in {folder.name!r} is damaged; take the folder from a backup.", code=DIFFERS
        ) from error


def compare(before: Told, now: Told, folder: Path) -> None:
    """Check that a model is rendered as it was when it was trained.

    Raises:
        JobFailed: it is not; says in what.

    """
    differing = [
        name
        for name in Told.model_fields
        if name != "library" and getattr(before, name) != getattr(now, name)
    ]
    if not differing:
        return
    name = differing[0]
    then, today = _around(getattr(before, name), getattr(now, name))
    raise JobFailed(
        f"The model in {folder.name!r} would not be rendered as it was trained: of {NAME}, "
        f"{', '.join(differing)} differ; {name} was {then}, and is {today}. It was trained with "
        f"transformers {before.library}, and this is {now.library}. Put the tokenizer's files and "
        "chat_template.jinja of the trained model back.",
        code=DIFFERS,
    )


def context_of(folder: Path) -> int:
    """Return how many tokens a base reads, by its config.json."""
    config = _json(folder / "config.json")
    inner = config.get("text_config")
    limits = [
        each.get("max_position_embeddings") for each in (config, inner) if isinstance(each, dict)
    ]
    return next((limit for limit in limits if isinstance(limit, int)), _NO_LIMIT)


def ends_of(folder: Path) -> set[int]:
    """Return the tokens that end an answer by a base's generation_config.json and config.json."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        ends = _json(folder / name).get("eos_token_id")
        found.update(end for end in (ends if isinstance(ends, list) else [ends]) if end is not None)
    return found


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise JobFailed(f"{path.name} is no JSON: {error}.", code="invalid_model") from error
    return value if isinstance(value, dict) else {}


def _around(before: Any, now: Any) -> tuple[str, str]:
    """Return where two values differ first, with a little before it."""
    if isinstance(before, str | tuple) and isinstance(now, str | tuple):
        pairs = enumerate(zip(before, now, strict=False))
        at = next((at for at, (a, b) in pairs if a != b), min(len(before), len(now)))
        start = max(0, at - 5)
        before, now = before[start : at + 20], now[start : at + 20]
    return repr(before), repr(now)
