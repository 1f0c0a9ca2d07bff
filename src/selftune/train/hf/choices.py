"""What `auto` means: each setting as a number, with the reason that the job's events give."""

from collections.abc import Sequence
from dataclasses import dataclass

from selftune.core.errors import JobFailed
from selftune.core.records import Method
from selftune.models.memory import RANK, TOKENS_AT_ONCE
from selftune.train.engine import Resolved, TrainRequest
from selftune.train.hf.adapters import Kind, Start, adapter_settings

RATES: dict[Method, float] = {"supervised": 5e-5, "dpo": 1e-6, "reinforcement": 1e-6}
"""Learning rates of full training. Supervised: Schulman and Thinking Machines 2025, "LoRA Without
Regret", with its cookbook; the others: the defaults of TRL 1.16's DPOConfig and GRPOConfig."""
LORA_RATE = 10.0
""""LoRA Without Regret" again: the best rate for adapters is about ten times that of full training,
whatever the rank, as long as the scale is alpha / rank."""
HIDDEN, LLAMA_EXPONENT, OTHER_EXPONENT = 2000, 0.781, 0.0775
"""The same source: rates fall with the width of the model, of Llama's much faster than of Qwen's."""
ALPHA = 32.0
"""The same source: alpha 32 for every rank; rank 32 is its service's default."""
BETA = 0.1
"""Rafailov et al. 2023 (DPO), appendix B; TRL's default too."""
TARGET_EPOCHS, LEAST_SHOWN, MOST_SHOWN, MOST_EPOCHS = 3, 100, 25_000, 25
"""OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning"."""
BATCH_SHARE, LARGEST_BATCH = 0.002, 256
"""OpenAI: about 0.2 % of the examples, at most 256."""
SMALL_BATCH, STEPS_PER_EPOCH = 8, 10
"""Where 0.2 % is less than 8: up to 8, which is quicker, as long as an epoch has ten steps."""


@dataclass(frozen=True)
class Model:
    """What the choice depends on, of the model."""

    hidden: int
    family: str
    """transformers' name of the architecture."""
    context: int
    device: str


@dataclass(frozen=True)
class Choice:
    """Every setting as a number."""

    hyperparameters: dict[str, Resolved]
    """In OpenAI's names, for `run.resolved`."""
    settings: dict[str, Resolved]
    """All else that was decided."""

    def number(self, name: str) -> float:
        """Return the number that stands for a setting."""
        found = self.hyperparameters.get(name) or self.settings[name]
        return float(found.value)

    def said(self) -> str:
        """Return the settings in words."""
        return "; ".join(f"{name}={one.value:g} ({one.reason})" for name, one in self._all())

    def _all(self) -> list[tuple[str, Resolved]]:
        return sorted(self.settings.items())


def kind_of(request: TrainRequest) -> Kind:
    """Return what is trained."""
    wanted = request.options.adapter
    return "lora" if wanted == "auto" else wanted


def choose_length(request: TrainRequest, context: int) -> Resolved:
    """Return how many tokens of a sequence are kept."""
    wanted = request.options.max_length
    if wanted == "auto":
        return Resolved(value=context, reason="auto: what the model reads")
    if wanted > context:
        return Resolved(value=context, reason=f"{wanted} asked for, and the model reads {context}")
    return Resolved(value=wanted, reason="asked for")


def choose_adapter(request: TrainRequest, start: Start) -> dict[str, Resolved]:
    """Return rank and alpha.

    Raises:
        JobFailed: an adapter goes on, and another rank was asked for.

    """
    asked = request.options
    if start.adapter is not None:
        rank, alpha = adapter_settings(start.adapter)
        if asked.rank not in ("auto", rank) or asked.alpha not in ("auto", alpha):
            raise JobFailed(
                f"The model to go on from has adapters of rank {rank} and alpha {alpha:g}, which "
                "cannot be changed. Leave rank and alpha out.",
                code="invalid_value",
                param="rank",
            )
        why = "of the model that training goes on from"
        return {
            "rank": Resolved(value=rank, reason=why),
            "alpha": Resolved(value=alpha, reason=why),
        }
    source = 'auto: "LoRA Without Regret", Thinking Machines 2025'
    return {
        "rank": _asked(asked.rank) or Resolved(value=RANK, reason=source),
        "alpha": _asked(asked.alpha) or Resolved(value=ALPHA, reason=source),
    }


def choose(request: TrainRequest, model: Model, lengths: Sequence[int]) -> Choice:
    """Return every setting; `lengths` are the tokens of each example's longest sequence."""
    asked, rows = request.hyperparameters, len(lengths)
    hyperparameters = {
        "n_epochs": _asked(asked.n_epochs) or _epochs(rows),
        "batch_size": _asked(asked.batch_size) or _batch(rows),
        "learning_rate_multiplier": _asked(asked.learning_rate_multiplier)
        or Resolved(value=1.0, reason="auto: the model's own learning rate"),
    }
    if request.method == "dpo":
        hyperparameters["beta"] = _asked(asked.beta) or Resolved(
            value=BETA, reason="auto: Rafailov et al. 2023"
        )
    multiplier = float(hyperparameters["learning_rate_multiplier"].value)
    rate = choose_rate(request, model)
    settings = {
        "learning_rate": Resolved(
            value=float(rate.value) * multiplier,
            reason=f"{rate.reason}, times learning_rate_multiplier",
        ),
        "micro_batch": _micro(request, model, int(hyperparameters["batch_size"].value), lengths),
    }
    return Choice(hyperparameters, settings)


def choose_rate(request: TrainRequest, model: Model) -> Resolved:
    """Return the learning rate that `learning_rate_multiplier` multiplies."""
    method, is_full = request.method, kind_of(request) == "full"
    if request.learning_rate is not None:
        if is_full:
            why = f"the catalogue's, divided by {LORA_RATE:g} since every weight learns"
            return Resolved(value=request.learning_rate / LORA_RATE, reason=why)
        return Resolved(value=request.learning_rate, reason="the catalogue's")
    exponent = LLAMA_EXPONENT if "llama" in model.family else OTHER_EXPONENT
    rate = RATES[method] * min(1.0, (HIDDEN / model.hidden) ** exponent)
    why = f"auto: {method}, {model.hidden} wide"
    if is_full:
        return Resolved(value=rate, reason=why)
    return Resolved(value=rate * LORA_RATE, reason=f"{why}, {LORA_RATE:g} x for adapters")


def _asked(value: float | str) -> Resolved | None:
    return None if isinstance(value, str) else Resolved(value=value, reason="asked for")


def _epochs(rows: int) -> Resolved:
    shown = rows * TARGET_EPOCHS
    if shown < LEAST_SHOWN:
        value = min(MOST_EPOCHS, LEAST_SHOWN // rows)
        return Resolved(value=value, reason=f"auto: {rows} examples are few")
    if shown > MOST_SHOWN:
        value = max(1, MOST_SHOWN // rows)
        return Resolved(value=value, reason=f"auto: {rows} examples are many")
    return Resolved(value=TARGET_EPOCHS, reason=f"auto: usual for {rows} examples")


def _batch(rows: int) -> Resolved:
    share = min(LARGEST_BATCH, round(rows * BATCH_SHARE))
    value = max(1, share, min(SMALL_BATCH, rows // STEPS_PER_EPOCH))
    return Resolved(value=value, reason=f"auto: for {rows} examples")


def _micro(request: TrainRequest, model: Model, batch: int, lengths: Sequence[int]) -> Resolved:
    wanted = request.options.micro_batch
    if wanted != "auto":
        return Resolved(value=wanted, reason="asked for")
    tokens = TOKENS_AT_ONCE[model.device]
    value = max(1, min(batch, tokens // max(lengths)))
    return Resolved(value=value, reason=f"auto: {tokens} tokens at once; more where they are short")
