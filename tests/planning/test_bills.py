"""What runs took and what larger ones would."""

from pathlib import Path

import pytest

from selftune.core.records import Hyperparameters
from selftune.core.runfile import RunFile
from selftune.core.settings import load_settings
from selftune.planning.bills import Biller
from selftune.planning.log import Run
from selftune.prove.home import Home

PRICES = """
[[price]]
id = "provider/large"
as_of = "2026-11-20"
training = 5.0
"""


def runs() -> list[Run]:
    """Return runs of 100 and 200 rows, 80 tokens each, over ten epochs of the engine's own."""
    return [
        Run(
            key=f"{rows} {seed}",
            rows=rows,
            seed=seed,
            asked=Hyperparameters(),
            used={"n_epochs": 10.0},
            model="m",
            job="j",
            tokens=80 * rows * 10,
            seconds=5 + rows / 10 + seed,
            asking_seconds=1.0,
            passed=(1.0,),
            values=(1.0,),
            credits=(1.0,),
        )
        for rows in (100, 200)
        for seed in (0, 2)
    ]


def biller(folder: Path, priced_as: str | None, n_epochs: int | None = None) -> Biller:
    (folder / "prices.toml").write_text(PRICES, encoding="utf-8")
    spec = RunFile.model_validate(
        {
            "name": "x",
            "data": {"training_file": "x"},
            "hyperparameters": {} if n_epochs is None else {"n_epochs": n_epochs},
            "evaluation": {"graders": [{"type": "regex"}]},
        }
    )
    settings = load_settings(home=folder, prices=str(folder / "prices.toml"))
    return Biller(Home(settings), spec, priced_as)


def test_this_machine_bills_nobody(tmp_path: Path) -> None:
    bill = biller(tmp_path, None).bills(runs())[200]
    assert (bill.tokens, bill.seconds, bill.dollars) == (160_000, 26.0, 0.0)


def test_a_forecast_grows_with_the_rows(tmp_path: Path) -> None:
    bill = biller(tmp_path, None).forecast(runs(), 2_000)
    assert bill.tokens == 1_600_000
    assert bill.seconds == pytest.approx(26 + 0.1 * 1_800)


def test_another_models_price_counts_its_own_epochs(tmp_path: Path) -> None:
    found = biller(tmp_path, "provider/large")
    # OpenAI's rule: 3 epochs of 200 rows; of 80 tokens each, at $5 for a million.
    assert found.bills(runs())[200].dollars == pytest.approx(80 * 200 * 3 / 1e6 * 5)
    # 2 epochs where 3 would show more than 25,000 rows.
    assert found.forecast(runs(), 10_000).dollars == pytest.approx(80 * 10_000 * 2 / 1e6 * 5)
    asked = biller(tmp_path, "provider/large", n_epochs=1)
    assert asked.bills(runs())[200].dollars == pytest.approx(80 * 200 / 1e6 * 5)


def test_a_price_that_nobody_stated_is_unknown(tmp_path: Path) -> None:
    assert biller(tmp_path, "nobody/knows").bills(runs())[100].dollars is None
    assert biller(tmp_path, "nobody/knows").forecast(runs(), 400).dollars is None
