"""Which base fits a file and this machine: memory, tokens and time, before anything is started."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.settings import Settings
from selftune.data.counting.epochs import Epochs, resolve_epochs
from selftune.data.counting.lengths import Tokenizer, tokenizer_of
from selftune.data.counting.survey import Survey, lines_of, refuse_without_rows, survey
from selftune.data.read import ReadOptions
from selftune.models.bases import base_folder, is_here
from selftune.models.catalog import Base
from selftune.models.chosen import catalog_of
from selftune.models.machine import Machine
from selftune.models.memory import (
    ADAPTERS,
    Adapter,
    Footprint,
    Shape,
    footprint,
    shape_of_card,
    shape_of_folder,
)
from selftune.models.speed import Speed

SHARE = 0.8
"""Of the memory that a training may count on: the rest is for others, and for what is not known."""
SLOWEST, FASTEST = 0.15, 0.5
"""Share of the speed of matrix products that trainings reach: small models and short rows the least,
large ones about half (Chowdhery and others 2022, https://arxiv.org/abs/2204.02311, table 3)."""
_USUAL_TOKENS = 2048
"""In the model at once, at least: short rows are trained several at a time."""
_MOST_SECONDS = 24 * 3600
"""Longest training that is recommended."""
_FORWARD, _BACKWARD = 2, 2
"""Operations for each weight and token: through the model, and back to the inputs of each layer. The
gradients of weights, 2 more, are few with adapters (Kaplan and others 2020,
https://arxiv.org/abs/2001.08361, section 2.1)."""

Method = Literal["supervised", "dpo"]


class AdviseOptions(Record):
    """What to advise on."""

    models: tuple[str, ...] = ()
    """Bases to look at; none means all open ones."""
    method: Method = "supervised"
    epochs: Literal["auto"] | int = "auto"
    read: ReadOptions = ReadOptions()


class BaseAdvice(Record):
    """What one base would take."""

    base: str
    license: str
    is_here: bool
    parameters: int
    memory: dict[Adapter, Footprint]
    fits: tuple[Adapter, ...]
    """Ways to train it that fit this machine."""
    tokens: int
    """Of one epoch."""
    is_exact: bool
    """Counted by its own tokenizer; else by OpenAI's, which is near."""
    longest: int
    """Tokens of the longest row."""
    cut: int
    """Rows that are longer than it reads."""
    operations: float
    """Floating-point operations of the whole training, by adapters."""
    seconds: tuple[float, float] | None
    """The fastest and the slowest that is to be expected of adapters; None is unknown."""
    note: str | None = None


class Advice(Record):
    """Which base to take."""

    source: str
    rows: int
    epochs: Epochs
    machine: Machine
    speed: Speed | None
    bases: tuple[BaseAdvice, ...]
    recommended: str
    adapter: Adapter | None
    """How to train it; None where the base decides that itself."""
    reason: str


def advise(
    source: str | Path,
    settings: Settings,
    machine: Machine,
    speed: Speed | None,
    options: AdviseOptions | None = None,
    progress: Callable[[int], None] | None = None,
) -> Advice:
    """Return what each base would take on this machine, and which one to take.

    Raises:
        InvalidInput: the source cannot be read, or a base is not known.

    """
    options = options or AdviseOptions()
    bases = _bases(settings, options)
    root = settings.root
    folders = {base.id: base_folder(base, root) for base in bases if is_here(base, root)}
    tokenizers = {base.id: tokenizer_of(str(folders.get(base.id, base.id))) for base in bases}
    found = survey(lines_of(source, options.read), _distinct(tokenizers.values()), progress)
    refuse_without_rows(found, str(source))
    epochs = resolve_epochs(found.rows, options.epochs)
    plan = _Plan(found, epochs.value, options.method, machine, speed)
    advised = tuple(
        _advise(base, folders.get(base.id), tokenizers[base.id].name, plan) for base in bases
    )
    recommended, adapter, reason = _recommend(advised, machine)
    return Advice(
        source=str(source),
        rows=found.rows,
        epochs=epochs,
        machine=machine,
        speed=speed,
        bases=advised,
        recommended=recommended,
        adapter=adapter,
        reason=reason,
    )


class _Plan:
    """What is the same for every base."""

    def __init__(
        self,
        found: Survey,
        epochs: int,
        method: Method,
        machine: Machine,
        speed: Speed | None,
    ) -> None:
        self.found, self.epochs, self.method = found, epochs, method
        self.machine, self.speed = machine, speed


def _bases(settings: Settings, options: AdviseOptions) -> tuple[Base, ...]:
    known = catalog_of(settings)
    if not options.models:
        return tuple(base for base in known.base if _can_be_judged(base, settings.root))
    found = []
    for name in options.models:
        base = known.find(name)
        if base is None or base.engine != "hf":
            raise InvalidInput(
                f"{name!r} is no open base: `selftune models list --all` names them.", param="model"
            )
        found.append(base)
    return tuple(found)


def _can_be_judged(base: Base, root: Path) -> bool:
    """Return whether it is an open base whose size is known."""
    is_open = base.engine == "hf" and base.source is not None
    return is_open and (base.parameters is not None or is_here(base, root))


def _distinct(found: Iterable[Tokenizer]) -> list[Tokenizer]:
    return list({one.name: one for one in found}.values())


def _advise(base: Base, folder: Path | None, tokenizer: str, plan: _Plan) -> BaseAdvice:
    shape = _shape(base, folder)
    lengths = plan.found.lengths[tokenizer].total
    kept = lengths.clip(max=base.context)
    at_once = max(int(kept.max()), _USUAL_TOKENS)
    numbers: Literal[2, 4] = 2 if plan.machine.gpus else 4
    memory = {
        adapter: footprint(shape, adapter, tokens=at_once, bytes_of_number=numbers)
        for adapter in ADAPTERS
    }
    limit = SHARE * plan.machine.training_bytes
    fits = tuple(
        adapter
        for adapter, needed in memory.items()
        if needed.total <= limit and (adapter != "qlora" or plan.machine.gpus)
    )
    operations = plan.epochs * _operations(shape, kept.tolist(), plan.method)
    seconds = None
    if plan.speed is not None:
        best = operations / plan.speed.flops
        seconds = (best / FASTEST, best / SLOWEST)
    return BaseAdvice(
        base=base.id,
        license=base.license,
        is_here=folder is not None,
        parameters=shape.parameters,
        memory=memory,
        fits=fits,
        tokens=int(kept.sum()),
        is_exact=folder is not None,
        longest=int(lengths.max()),
        cut=int((lengths > base.context).sum()),
        operations=operations,
        seconds=seconds,
        note=base.note,
    )


def _shape(base: Base, folder: Path | None) -> Shape:
    if folder is not None:
        return shape_of_folder(folder)
    if base.parameters is None:
        raise InvalidInput(
            f"How large {base.id!r} is, is not known before it is here: `selftune models pull "
            f"{base.id}`, or set `parameters` in the home's catalog.toml."
        )
    return shape_of_card(base.parameters, base.layers, base.width)


def _operations(shape: Shape, lengths: Sequence[int], method: Method) -> float:
    """Return the operations of one epoch with adapters; a preference goes through a reference too.

    Attention grows with the square of a row: on average half of it is seen.
    """
    once = _FORWARD + _BACKWARD + (_FORWARD if method == "dpo" else 0)
    tokens = float(sum(lengths))
    squares = float(sum(length * length for length in lengths))
    return once * (shape.parameters * tokens + shape.layers * shape.width * squares)


def _recommend(advised: Sequence[BaseAdvice], machine: Machine) -> tuple[str, Adapter | None, str]:
    def suits(one: BaseAdvice) -> bool:
        is_quick = one.seconds is None or one.seconds[1] <= _MOST_SECONDS
        return "lora" in one.fits and not one.cut and is_quick and one.note is None

    suited = [one for one in advised if suits(one)]
    if not suited:
        return (
            "selftune/minilm",
            None,
            f"no open base that reads the longest row can be trained within a day on this machine "
            f"({machine.words}); the embedded model can be",
        )
    best = max(suited, key=lambda one: (one.parameters, one.is_here))
    where = "it is here" if best.is_here else f"fetch it with `selftune models pull {best.base}`"
    return (
        best.base,
        "lora",
        f"the largest one that fits with LoRA ({best.memory['lora'].total / 1e9:.0f} GB of "
        f"{machine.training_bytes / 1e9:.0f} GB), reads the longest row ({best.longest:,} tokens) "
        f"whole and takes less than a day; {where}",
    )
