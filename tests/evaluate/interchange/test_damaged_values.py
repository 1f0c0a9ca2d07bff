"""Any value of any file replaced by any other: an import may refuse it, and never breaks."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.interchange.bringing import bring, written
from tests.evaluate.interchange.test_inspect_log import SAMPLES, log
from tests.evaluate.interchange.test_lm_eval import DATE, line, totals
from tests.evaluate.interchange.test_openai_evals import EVAL, output_item, run
from tests.evaluate.interchange.test_promptfoo import CONFIG
from tests.evaluate.interchange.test_promptfoo_results import results, row

from selftune.core.errors import SelftuneError
from selftune.evaluate.interchange.yaml_text import load_yaml

STRANGE: list[Any] = [
    None,
    True,
    -1,
    1e308,
    2**70,
    float("nan"),
    "",
    "x\n\x00",
    [],
    [[]],
    {},
    {"a": 1},
    "{{ x }}",
]
ROUNDS = 150


def examples(folder: Path) -> dict[str, tuple[str, Any]]:
    """Return a whole file of each tool, by its name."""
    openai = [EVAL, run("evalrun_a", "m", 5), output_item("evalrun_a", 0, "a")]
    shown = results(folder, row("one", 0, True, True), row("two", 0, True, False))
    config = load_yaml(CONFIG, folder)
    return {
        "openai": ("all.json", openai),
        "promptfoo": ("config.json", config),
        "promptfoo_results": ("results.json", json.loads(shown.read_text(encoding="utf-8"))),
        "inspect": ("log.json", log(*SAMPLES)),
        "lm_eval": (f"samples_cap_{DATE}.jsonl", [line(0, "x", 1.0), line(1, "y", 0.0)]),
        "lm_eval_totals": (
            f"results_{DATE}.json",
            json.loads(totals(folder).read_text(encoding="utf-8")),
        ),
    }


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@pytest.mark.parametrize(
    "tool",
    ["openai", "promptfoo", "promptfoo_results", "inspect", "lm_eval", "lm_eval_totals"],
)
def test_a_value_of_another_kind_never_breaks_an_import(tmp_path: Path, tool: str) -> None:
    name, whole = examples(tmp_path / "made")[tool]
    draw = random.Random(7)
    used = 0
    for number in range(ROUNDS):
        damaged = copy.deepcopy(whole)
        for _ in range(draw.randint(1, 3)):
            container, key = draw.choice(list(places(damaged)) or [(damaged, None)])
            if key is not None:
                container[key] = copy.deepcopy(draw.choice(STRANGE))
        folder = tmp_path / str(number)
        paths = [written(folder / name, damaged)]
        if tool == "lm_eval_totals":
            paths.append(written(folder / f"samples_cap_{DATE}.jsonl", [line(0, "x", 1.0)]))
        try:
            found = bring(folder, *paths)
        except SelftuneError:
            continue
        used += 1
        for path in range(len(found.kept.rounds)):
            record, items, answers = found.round(path)
            assert record.items == len(items)
            assert {answer.item for answer in answers} <= {item.id for item in items}
        if found.kept.evals:
            assert found.spec.evaluation.graders
    assert used > ROUNDS / 3
