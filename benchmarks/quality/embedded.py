"""How well the embedded model answers after tuning, on published data.

`python benchmarks/quality/embedded.py [SET ...]` tunes through the engine, asks through the sampler
and writes `results/quality_SET.json`. Nothing is chosen on test rows: hyperparameters are `auto`,
or stand in the name of a measurement. Data is read from `--data` (`../shared/data` by default) and
is no part of this repository.
"""

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.machine import machine
from benchmarks.quality.extraction import Chat, make_extraction
from benchmarks.quality.style import GREETING, make_style

from selftune.core.records import Hyperparameters
from selftune.models.sampler import Prompt, Sampling
from selftune.models.samplers import builtin as sampler
from selftune.train.engine import Resolved, Reward, Sampled, StepMetrics, TrainRequest
from selftune.train.engines import builtin as engine

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
AUTO = Hyperparameters()
SEEDS = range(5)
FOLDS = 5

Report = dict[str, Any]


class FolderRun:
    """A `TrainingRun` that keeps the last model in a folder, and what was said."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.resume: Path | None = None
        self.model = folder / "model"
        self.said: list[str] = []

    def note(self, key: str, message: str, data: dict[str, Any] | None = None) -> None:
        """Remember the choice."""
        self.said.append(message)

    def resolved(self, values: dict[str, Resolved]) -> None:
        """Remember the numbers."""
        self.said.append("; ".join(f"{k}={v.value} ({v.reason})" for k, v in values.items()))

    def step(self, metrics: StepMetrics) -> bool:
        """Metrics are not kept, and nothing pauses this run."""
        return False

    def checkpoint(
        self,
        metrics: StepMetrics,
        epoch: int,
        save_model: Callable[[Path], None] | None,
        save_state: Callable[[Path], None],
    ) -> None:
        """Keep the last model."""
        if save_model is not None and metrics.step == metrics.total_steps:
            self.model.mkdir()
            save_model(self.model)

    def grade(self, answers: Sequence[Sampled]) -> list[Reward]:
        """Supervised training has no grader."""
        raise NotImplementedError

    def check(self) -> None:
        """Nothing stops this run."""


class Tuned:
    """A model that was tuned on chats, and how long that took; `chats` None is the base."""

    def __init__(
        self, chats: Iterable[Chat] | None, seed: int = 0, wanted: Hyperparameters = AUTO
    ) -> None:
        self._kept = tempfile.TemporaryDirectory()
        folder = Path(self._kept.name)
        cache = ROOT / ".work" / "benchmark-cache"
        self.seconds, self.said, model = 0.0, [""], None
        if chats is not None:
            lines = (json.dumps({"messages": chat}) + "\n" for chat in chats)
            (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")
            run = FolderRun(folder, cache)
            request = TrainRequest(
                base_folder=None,
                training_file=folder / "train.jsonl",
                hyperparameters=wanted,
                seed=seed,
            )
            started = time.monotonic()
            engine.build(engine.Params()).train(request, run)
            self.seconds, self.said, model = time.monotonic() - started, run.said, run.model
        self._sampler = sampler.build(sampler.Params(folder=model, cache=cache))

    def answers(self, chats: Iterable[Chat], max_tokens: int | None = None) -> list[str]:
        """Return the greedy answer to each chat."""
        sampling = Sampling(temperature=0, max_tokens=max_tokens)
        prompts = [Prompt(messages=tuple(chat), sampling=sampling) for chat in chats]
        return [done.choices[0].text for done in self._sampler.sample(prompts)]


def chat(question: str, answer: str | None = None, system: Chat | None = None) -> Chat:
    """Return one question as a chat, with its answer if it has one."""
    messages: Chat = [*(system or []), {"role": "user", "content": question}]
    return messages if answer is None else [*messages, {"role": "assistant", "content": answer}]


def folds(rows: int) -> np.ndarray:
    """Return each row's fold; the same every time."""
    return np.random.default_rng(0).permutation(rows) % FOLDS


def share(answers: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the share of equal answers."""
    return float(np.mean([a == b for a, b in zip(answers, wanted, strict=True)]))


def hospitality(data: Path) -> Report:
    """Measure 40 intents: 400 chats -> 100 test rows with five seeds, and five folds of the 400."""
    train = [json.loads(line)["messages"] for line in _lines(data / "hospitality" / "train.jsonl")]
    test = [json.loads(line)["item"] for line in _lines(data / "hospitality" / "test.jsonl")]
    system, labels = train[0][:1], [row["correct_label"] for row in test]
    asked = [chat(row["input_text"], system=system) for row in test]
    models = [Tuned(train, seed) for seed in SEEDS]
    scores = [share(model.answers(asked), labels) for model in models]
    fold, inner = folds(len(train)), []
    for number in range(FOLDS):
        model = Tuned([row for row, f in zip(train, fold, strict=True) if f != number])
        held = [row for row, f in zip(train, fold, strict=True) if f == number]
        found = model.answers(row[:-1] for row in held)
        inner.append(share(found, [row[-1]["content"] for row in held]))
    return {
        "n_test": len(test),
        "seeds": list(SEEDS),
        "base": share(Tuned(None).answers(asked), labels),
        "test_by_seed": scores,
        "test_mean": float(np.mean(scores)),
        "folds": inner,
        "folds_mean": float(np.mean(inner)),
        "tune_seconds": [model.seconds for model in models],
        "choices": [model.said for model in models],
    }


def policy(data: Path) -> Report:
    """Measure 164 chats -> 40 questions by the keyword rule of the set."""
    train = [json.loads(line)["messages"] for line in _lines(data / "policy" / "train.jsonl")]
    test = [json.loads(line) for line in _lines(data / "policy" / "test.jsonl")]
    system = [m for m in train[0][:1] if m["role"] in ("system", "developer")]
    asked = [chat(row["question"], system=system) for row in test]
    report: Report = {"n_test": len(test)}
    for name, model in (
        ("base", Tuned(None)),
        ("tuned", Tuned(train)),
        ("tuned_3_epochs", Tuned(train, wanted=Hyperparameters(n_epochs=3))),
    ):
        found = model.answers(asked, max_tokens=150)
        points = [_keywords(a, row["keywords"]) for a, row in zip(found, test, strict=True)]
        report[name] = {
            "points": float(np.mean(points)),
            "full_credit": float(np.mean([p == 1.0 for p in points])),
            "tune_seconds": model.seconds,
        }
    return report


def prices(data: Path) -> Report:
    """Measure prices of 1,752 products: mean absolute error over five folds."""
    items = [json.loads(line) for line in _lines(data / "prices" / "items.jsonl")]
    fold, errors, constant, seconds = folds(len(items)), [], [], []
    for number in range(FOLDS):
        kept = [item for item, f in zip(items, fold, strict=True) if f != number]
        held = [item for item, f in zip(items, fold, strict=True) if f == number]
        model = Tuned(chat(_priced(item), f"${item['price']:.2f}") for item in kept)
        found = model.answers((chat(_priced(item)) for item in held), max_tokens=7)
        truth = np.array([item["price"] for item in held])
        guesses = np.array([float(text.removeprefix("$")) for text in found])
        errors += np.abs(guesses - truth).tolist()
        constant += np.abs(np.median([item["price"] for item in kept]) - truth).tolist()
        seconds.append(model.seconds)
    return {
        "n": len(items),
        "mean_absolute_error": float(np.mean(errors)),
        "standard_error": float(np.std(errors) / np.sqrt(len(errors))),
        "constant_median": float(np.mean(constant)),
        "tune_seconds": seconds,
    }


def banking77(data: Path) -> Report:
    """Measure BANKING77: the full set by `auto`, with three epochs asked for, and ten a class."""
    train, test = (_banking(data / "banking77" / f"{name}.csv") for name in ("train", "test"))
    asked, labels = [chat(text) for text, _ in test], [label for _, label in test]
    report: Report = {"n_train": len(train), "n_test": len(test)}
    measured = {
        "full_auto": Tuned([chat(*row) for row in train]),
        "full_3_epochs": Tuned([chat(*row) for row in train], 0, Hyperparameters(n_epochs=3)),
    }
    measured |= {f"ten_a_class_{n}": Tuned([chat(*r) for r in _few(train, n)]) for n in range(3)}
    for name, model in measured.items():
        accuracy = share(model.answers(asked), labels)
        report[name] = {"accuracy": accuracy, "tune_seconds": model.seconds, "said": model.said}
    return report


def persona(data: Path) -> Report:
    """Measure adherence of this repository's own persona example: greeting and right link."""
    del data
    folder = ROOT / "examples" / "persona"
    train = [row["messages"] for row in json.loads((folder / "train.json").read_text("utf-8"))]
    test = [json.loads(line)["item"] for line in _lines(folder / "test.jsonl")]
    greeting = _common_start([row[-1]["content"] for row in train])
    asked = [(chat(row["question"], system=train[0][:1]), row["link"]) for row in test]
    report: Report = {"n_test": len(test), "greeting": greeting}
    for name, model in (("base", Tuned(None)), ("tuned", Tuned(train))):
        right = _adherence(model, greeting, asked)
        report[name] = {"adherence": right, "tune_seconds": model.seconds}
    return report


def extraction(data: Path) -> Report:
    """Measure exact JSON of names that no training row has; 300 rows made by a seed, 90 asked."""
    del data
    made = make_extraction()
    model, base = Tuned(made.train), Tuned(None)
    known, new = _exact(model, made.known), _exact(model, made.new)
    report: Report = {
        "n_train": len(made.train),
        "base": float(np.mean(_exact(base, [*made.known, *made.new]))),
        "tuned": float(np.mean([*known, *new])),
        "tuned_known_wordings": float(np.mean(known)),
        "tuned_new_wordings": float(np.mean(new)),
    }
    return report | {"tune_seconds": model.seconds, "said": model.said}


def style(data: Path) -> Report:
    """Measure greeting and right link on paraphrases; 144 rows made by a seed, 84 asked."""
    del data
    made = make_style()
    report: Report = {"n_train": len(made.train)}
    for name, model in (("base", Tuned(None)), ("tuned", Tuned(made.train))):
        report[name] = {"tune_seconds": model.seconds}
        for kind, rows in (("new_wordings", made.worded), ("new_names_of_topics", made.named)):
            asked = [(row[:-1], link) for row, link in rows]
            right = _adherence(model, GREETING, asked)
            report[name][kind] = {"n": len(rows), "adherence": right}
    return report


def _adherence(model: Tuned, greeting: str, asked: Sequence[tuple[Chat, str]]) -> float:
    """Return the share of answers that begin with the greeting and have their own link."""
    found = model.answers(messages for messages, _ in asked)
    right = [
        answer.startswith(greeting) and link in answer
        for answer, (_, link) in zip(found, asked, strict=True)
    ]
    return float(np.mean(right))


def _exact(model: Tuned, chats: Sequence[Chat]) -> list[bool]:
    """Return for each chat whether its last message is answered, letter by letter."""
    found = model.answers(row[:-1] for row in chats)
    return [answer == row[-1]["content"] for answer, row in zip(found, chats, strict=True)]


def _keywords(answer: str, keywords: Sequence[str]) -> float:
    """Return the set's own credit: half of the keywords is enough, two fifths give 0.7."""
    covered = sum(word.lower() in answer.lower() for word in keywords) / len(keywords)
    if covered >= 0.5:
        return 1.0
    return 0.7 if covered >= 0.4 else 0.0


def _priced(item: dict[str, Any]) -> str:
    return f"How much does this cost to the nearest dollar?\n\n{item['summary']}"


def _banking(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [(row["text"], row["category"]) for row in csv.DictReader(handle)]


def _few(rows: Sequence[tuple[str, str]], seed: int) -> list[tuple[str, str]]:
    """Return ten rows of each class, drawn at random."""
    taken: dict[str, int] = {}
    few = []
    for index in np.random.default_rng(seed).permutation(len(rows)):
        row = rows[int(index)]
        taken[row[1]] = taken.get(row[1], 0) + 1
        if taken[row[1]] <= 10:
            few.append(row)
    return few


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


SETS = {
    "hospitality": hospitality,
    "policy": policy,
    "prices": prices,
    "persona": persona,
    "banking77": banking77,
    "extraction": extraction,
    "style": style,
}


def main() -> int:
    """Measure the sets that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parsed = parser.parse_args()
    for name in parsed.sets:
        started = time.monotonic()
        report = SETS[name](parsed.data)
        report = {"what": SETS[name].__doc__, "engine": "builtin"} | report
        report["seconds"] = round(time.monotonic() - started, 1)
        report["machine"] = machine()
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(report, indent=2) + "\n"
        (RESULTS / f"quality_{name}.json").write_text(text, encoding="utf-8")
        print(name, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
