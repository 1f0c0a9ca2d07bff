"""The model card of an export: what it is, where it comes from, how it was made, how to use it.

It has counts, settings and figures, never a row of anybody's data.
"""

from collections.abc import Mapping
from typing import Literal

from selftune.core.records import Record
from selftune.models.catalog import Base

Format = Literal["peft", "merged", "gguf"]
FORMATS: tuple[Format, ...] = ("peft", "merged", "gguf")

_USE: dict[Format, str] = {
    "peft": """\
```py
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto")
model = PeftModel.from_pretrained(base, ".")
tokenizer = AutoTokenizer.from_pretrained(".")
```
vLLM serves it with `--enable-lora --lora-modules {short}=.` on the same base.""",
    "merged": """\
```py
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(".")
```
vLLM serves it with `vllm serve .`.""",
    "gguf": "llama.cpp serves it with `llama-server --model model.gguf --jinja`.",
}


class Made(Record):
    """How a model was made, as far as it is known."""

    model: str
    base: Base | None = None
    base_id: str
    fingerprint: str | None = None
    """Of the base's configuration and weights."""
    method: str | None = None
    created: str | None = None
    """The day."""
    rows: int | None = None
    validation_rows: int | None = None
    trained_tokens: int | None = None
    seed: int | None = None
    hyperparameters: Mapping[str, int | float] = {}
    reasons: Mapping[str, str] = {}
    adapter: Mapping[str, int | float] = {}
    """Rank and alpha."""
    metrics: Mapping[str, float] = {}
    """Of the last step."""


def model_card(made: Made, kind: Format) -> str:
    """Return the README of an export, with the head that the Hugging Face hub reads."""
    parts = [
        _head(made, kind),
        f"# {made.model}\n",
        f"{_what(made, kind)}\n",
        "## Use\n",
        _USE[kind].format(base=_source(made), short=made.model.rpartition(":")[2] or "tuned"),
        "\n## Training\n",
        _table(_facts(made)),
    ]
    if made.hyperparameters:
        parts += ["\n## Settings\n", _settings(made)]
    if made.metrics:
        figures = {name: f"{value:.6g}" for name, value in sorted(made.metrics.items())}
        parts += ["\n## Figures of the last step\n", _table(figures)]
    parts += ["\n## Check\n", _CHECK.format(gguf=_GGUF if kind == "gguf" else "")]
    return "\n".join(parts).rstrip() + "\n"


_CHECK = (
    "`selftune models check FOLDER` compares every file with `export.json`{gguf}, and the "
    "log-probabilities of the chats in `probes.json` with those of the trained model."
)
_GGUF = (
    "; of GGUF that is all, since llama.cpp computes in its own way. In the merged format it does"
)


def _head(made: Made, kind: Format) -> str:
    lines = ["---"]
    source = _source(made)
    if made.base is not None and made.base.source and "/" in source and not source.startswith("/"):
        lines.append(f"base_model: {source}")
    if made.base is not None and made.base.license != "unknown":
        lines.append(f"license: {_license(made.base.license)}")
    lines += [f"library_name: {'peft' if kind == 'peft' else 'transformers'}", "tags:"]
    return "\n".join([*lines, "- selftune", "---", ""])


def _license(name: str) -> str:
    """Return the hub's own word for a licence, or `other`."""
    known = {"apache-2.0": "apache-2.0", "mit": "mit", "gemma": "gemma"}
    known |= {f"llama-{v}-community": f"llama{v}" for v in ("3.1", "3.2", "3.3")}
    return known.get(name.lower(), "other")


def _source(made: Made) -> str:
    """Return the base as others can find it; a folder of this machine says nothing to them."""
    source = made.base.source if made.base is not None else None
    return source if source and not source.startswith(("/", "~", ".")) else made.base_id


def _what(made: Made, kind: Format) -> str:
    shape = {
        "peft": "An adapter (LoRA, in PEFT's format) for",
        "merged": "A whole model (safetensors), fine-tuned from",
        "gguf": "A whole model for llama.cpp (GGUF), fine-tuned from",
    }[kind]
    license_ = f" Licence of the base: {made.base.license}." if made.base is not None else ""
    return f"{shape} `{_source(made)}`, made with selftune.{license_}"


def _facts(made: Made) -> dict[str, str]:
    found: dict[str, object] = {
        "method": made.method,
        "trained": made.created,
        "training rows": made.rows,
        "validation rows": made.validation_rows,
        "trained tokens": made.trained_tokens,
        "seed": made.seed,
        "fingerprint of the base": made.fingerprint,
    }
    found |= dict(made.adapter)
    return {
        name: f"{value:,}" if isinstance(value, int) and name != "seed" else str(value)
        for name, value in found.items()
        if value is not None
    }


def _settings(made: Made) -> str:
    lines = ["| setting | value | why |", "|---|--:|---|"]
    lines += [
        f"| {name} | {value:g} | {_cell(made.reasons.get(name, 'asked for'))} |"
        for name, value in sorted(made.hyperparameters.items())
    ]
    return "\n".join(lines)


def _table(found: Mapping[str, str]) -> str:
    return "\n".join(
        ["| what | value |", "|---|---|"] + [f"| {k} | {v} |" for k, v in found.items()]
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
