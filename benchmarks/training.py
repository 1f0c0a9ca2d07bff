"""How fast open models are trained, beside a plain PyTorch loop and TRL's trainer on the same rows.

On the processor: a small Llama-shaped model, one thread, CPU time, the rounds by turns. With a GPU
(`python benchmarks/training.py gpu`): a model of 1.2 billion parameters with random weights, LoRA in
bfloat16, tokens per second and the share of what matrix products alone reach.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.machine import machine
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, logging

from selftune.core.records import Hyperparameters, TrainOptions
from selftune.models.memory import TOKENS_AT_ONCE
from selftune.train.engine import Resolved, Reward, Sampled, StepMetrics, TrainRequest
from selftune.train.hf.adapters import find_start, linear_layers, load_trainee
from selftune.train.hf.learner import Learner, Limit
from selftune.train.hf.loop import Schedule, train
from selftune.train.hf.objective import Example, Tokens
from selftune.train.hf.peers import Peers
from selftune.train.hf.rows import Data, Order
from selftune.train.hf.supervised import Supervised

RESULTS = Path(__file__).parent / "results"
RANK, ALPHA, RATE, SEED = 32, 32.0, 1e-4, 0


@dataclass(frozen=True)
class Case:
    """What is trained, and on what."""

    config: LlamaConfig
    rows: int
    batch: int
    shortest: int
    longest: int
    rounds: int
    precision: str

    @property
    def steps(self) -> int:
        """Optimiser's steps of one round."""
        return self.rows // self.batch


SMALL = Case(
    config=LlamaConfig(
        vocab_size=8192,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    ),
    rows=32,
    batch=8,
    shortest=40,
    longest=250,
    rounds=2,
    precision="float32",
)
LARGE = Case(
    config=LlamaConfig(  # the sizes of Llama 3.2 1B
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    rows=512,
    batch=32,
    shortest=256,
    longest=2048,
    rounds=2,
    precision="bfloat16",
)


class Quiet:
    """A training run that listens to nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.cache = folder
        self.resume: Path | None = None

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Show what concerns memory: it would change what is measured."""
        if key.startswith("memory"):
            print(message)

    def resolved(self, values: dict[str, Resolved]) -> None:
        """Ignore it."""

    def step(self, metrics: StepMetrics) -> bool:
        """Ignore it."""
        return False

    def checkpoint(self, *what: Any) -> None:
        """Keep nothing."""

    def grade(self, answers: Any) -> list[Reward]:
        """Refuse: nothing is graded here."""
        raise NotImplementedError(Sampled)

    def check(self) -> None:
        """Go on."""


def main() -> int:
    """Measure, write the result, print it."""
    warnings.simplefilter("ignore")
    told: Any = logging
    told.set_verbosity_error()
    told.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", nargs="?", choices=("cpu", "gpu"), default="cpu")
    mode = parser.parse_args().mode
    if mode == "gpu" and not torch.cuda.is_available():
        print("There is no GPU here: this part was not measured.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        result = on_processor(Path(folder)) if mode == "cpu" else on_gpu(Path(folder), LARGE)
    name = "training.json" if mode == "cpu" else "training_gpu.json"
    (RESULTS / name).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


def on_processor(folder: Path) -> dict[str, Any]:
    """Compare on one thread of the processor."""
    torch.set_num_threads(1)
    made = make(folder, SMALL)
    rows = examples(SMALL)
    tokens = sum(row.tokens for row in rows)
    ways: dict[str, Callable[[], Callable[[], Any]]] = {}
    for kind in ("lora", "full"):
        ways[f"{kind}, selftune"] = partial(ours, made, rows, SMALL, kind)
        ways[f"{kind}, plain loop"] = partial(plain, made, rows, SMALL, kind)
        ways[f"{kind}, trl"] = partial(trl, made, rows, SMALL, kind)
    for at_once in (512, 2048, 8192):
        limit = Limit(SMALL.batch, at_once)
        ways[f"padded, {at_once} tokens at once"] = partial(ours, made, rows, SMALL, "lora", limit)
    ways["packed, 2048 tokens at once"] = partial(ours, made, rows, SMALL, "lora", packing=True)
    least: dict[str, float] = {}
    for _ in range(SMALL.rounds):
        for name, prepare in ways.items():
            work = prepare()
            started = time.process_time()
            work()
            took = time.process_time() - started
            least[name] = min(least.get(name, took), took)
    speeds = {name: round(tokens / took) for name, took in least.items()}
    return {
        "what": "supervised training of a small Llama-shaped model; one thread, CPU time, the best "
        f"of {SMALL.rounds} rounds by turns",
        "machine": machine() | {"torch": torch.__version__},
        "parameters": parameters(made),
        "rows": SMALL.rows,
        "batch": SMALL.batch,
        "tokens": tokens,
        "tokens_per_second": speeds,
        "times_the_plain_loop": {
            kind: round(speeds[f"{kind}, selftune"] / speeds[f"{kind}, plain loop"], 2)
            for kind in ("lora", "full")
        },
        "times_trl": {
            kind: round(speeds[f"{kind}, selftune"] / speeds[f"{kind}, trl"], 2)
            for kind in ("lora", "full")
        },
    }


def on_gpu(folder: Path, case: Case) -> dict[str, Any]:
    """Compare on one GPU, with the share of what matrix products alone reach."""
    made, rows = make(folder, case), examples(case)
    tokens, ceiling = sum(row.tokens for row in rows), matrix_ceiling()
    speeds: dict[str, float] = {}
    for name, prepare in (
        ("selftune", partial(ours, made, rows, case, "lora", packing=True)),
        ("trl", partial(trl, made, rows, case, "lora")),
    ):
        seconds = []
        for _ in range(case.rounds + 1):  # the first one warms up
            work = prepare()
            _wait()
            started = time.perf_counter()
            work()
            _wait()
            seconds.append(time.perf_counter() - started)
        speeds[name] = tokens / min(seconds[1:])
    cost = flops_per_token(case, rows)
    return {
        "what": "supervised training of a model with random weights on one GPU: LoRA on all linear "
        "layers, bfloat16; 4 FLOPs for each weight and token, for base weights have no gradient",
        "machine": machine() | {"torch": torch.__version__, "gpu": _gpu()},
        "parameters": parameters(made),
        "rank": RANK,
        "tokens": tokens,
        "matrix_teraflops": round(ceiling / 1e12, 1),
        "tokens_per_second": {name: round(speed) for name, speed in speeds.items()},
        "model_flop_utilisation": {
            name: round(speed * cost / ceiling, 3) for name, speed in speeds.items()
        },
        "times_trl": round(speeds["selftune"] / speeds["trl"], 2),
    }


def ours(
    folder: Path,
    rows: list[Example],
    case: Case,
    kind: Any,
    limit: Limit | None = None,
    *,
    packing: bool = False,
) -> Callable[[], Any]:
    """Return our own training, ready to start."""
    options = TrainOptions(adapter=kind, precision=case.precision)
    request = TrainRequest(
        base_folder=folder,
        training_file=folder,
        hyperparameters=Hyperparameters(),
        options=options,
        seed=SEED,
    )
    trainee = load_trainee(request, find_start(request), kind, RANK, ALPHA)
    fresh = replace(limit) if limit else Limit(case.batch, TOKENS_AT_ONCE[trainee.device.type])
    learner = Learner(trainee, Quiet(folder), fresh, Peers())
    learner.forward.packing = packing and learner.forward.can_pack()
    order = Order(rows=len(rows), batch_size=case.batch, n_epochs=1, seed=SEED)
    objective = Supervised(Data(rows, (), order), learner)
    schedule = Schedule(peak=RATE, total_steps=objective.total_steps)
    return lambda: train(learner, objective, schedule, lambda folder, is_last: None)


def plain(folder: Path, rows: list[Example], case: Case, kind: str) -> Callable[[], Any]:
    """Return the loop that anyone would write, ready to start."""
    model = adapted(folder, kind, case)
    order = Order(rows=len(rows), batch_size=case.batch, n_epochs=1, seed=SEED)
    learned = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=0.0)

    def work() -> None:
        for step in range(order.total_steps):
            some = [rows[row].sequences[0] for row in order.batch(step)]
            longest = max(len(one.ids) for one in some)
            ids = torch.zeros(len(some), longest, dtype=torch.long)
            labels, seen = torch.full_like(ids, -100), torch.zeros_like(ids)
            for number, one in enumerate(some):
                ids[number, : len(one.ids)] = torch.from_numpy(one.ids)
                seen[number, : len(one.ids)] = 1
                labels[number, : len(one.ids)] = torch.from_numpy(_labels(one))
            loss = model(input_ids=ids, attention_mask=seen, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()

    return work


def trl(folder: Path, rows: list[Example], case: Case, kind: str) -> Callable[[], Any]:
    """Return TRL's supervised training of rows that are tokens already, ready to start."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    columns = [
        {"input_ids": one.ids.tolist(), "labels": _labels(one).tolist()}
        for row in rows
        for one in row.sequences
    ]
    on_gpu = torch.cuda.is_available()
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=case.batch if not on_gpu else 8,
        gradient_accumulation_steps=1 if not on_gpu else case.batch // 8,
        num_train_epochs=1,
        learning_rate=RATE,
        max_length=case.longest,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not on_gpu,
        bf16=case.precision == "bfloat16",
        gradient_checkpointing=False,
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=_nobody(), eos_token="<end>", pad_token="<end>")
    trainer = SFTTrainer(
        model=adapted(folder, kind, case),
        args=config,
        train_dataset=Dataset.from_list(columns),
        processing_class=tokenizer,
    )
    quiet: Any = trainer
    quiet.log = lambda *args, **kwargs: None
    return trainer.train


def make(folder: Path, case: Case) -> Path:
    """Write the model, with random weights."""
    torch.manual_seed(SEED)
    dtype = getattr(torch, case.precision)
    kind: Any = AutoModelForCausalLM
    kind.from_config(case.config, dtype=dtype).save_pretrained(folder)
    return folder


def examples(case: Case) -> list[Example]:
    """Return rows of different lengths; from a tenth to a half of each is learned."""
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(case.rows):
        length = int(random.integers(case.shortest, case.longest + 1))
        weights = np.zeros(length, np.float32)
        weights[int(length * random.uniform(0.5, 0.9)) :] = 1
        ids = random.integers(0, case.config.vocab_size, length).astype(np.int32)
        found.append(Example((Tokens(ids, weights),)))
    return found


def adapted(folder: Path, kind: str, case: Case) -> Any:
    """Return the model as `plain` and TRL train it."""
    dtype = getattr(torch, case.precision)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    if kind == "full":
        return model
    torch.manual_seed(SEED)
    config = LoraConfig(
        r=RANK,
        lora_alpha=int(ALPHA),
        target_modules=list(linear_layers(model)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def parameters(folder: Path) -> int:
    """Return how many numbers the model has."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    return sum(value.numel() for value in model.parameters())


def flops_per_token(case: Case, rows: list[Example]) -> float:
    """Return the model's floating-point operations for a token, forward and back.

    Four for each weight of a matrix that tokens go through, two forward and two for the gradient of
    its inputs; of the head only tokens in the loss; attention over half of the sequence.
    """
    config: Any = case.config
    wide, head = config.hidden_size, config.head_dim
    attention = wide * head * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
    layers = config.num_hidden_layers * (attention + 3 * wide * config.intermediate_size)
    tokens = sum(row.tokens for row in rows)
    learned = sum(float(one.weights.sum()) for row in rows for one in row.sequences)
    squares = sum(row.tokens**2 for row in rows) / tokens
    scores = config.num_hidden_layers * config.num_attention_heads * head * squares
    return float(4 * layers + 4 * config.vocab_size * wide * learned / tokens + 6 * scores)


def matrix_ceiling(size: int = 8192, repeats: int = 50) -> float:
    """Return the operations per second of products of large bfloat16 matrices."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    for _ in range(3):
        one @ other
    _wait()
    started = time.perf_counter()
    for _ in range(repeats):
        one @ other
    _wait()
    return 2 * size**3 * repeats / (time.perf_counter() - started)


def _labels(one: Tokens) -> np.ndarray:
    return np.where(one.weights > 0, one.ids, -100).astype(np.int64)


def _nobody() -> Any:
    """Return a tokenizer that knows one token: the rows are tokens already."""
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"<end>": 0}, unk_token="<end>"))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


if __name__ == "__main__":
    raise SystemExit(main())
