"""What the runs of a plan took, and what larger ones would: tokens, time, money."""

from collections.abc import Sequence

import numpy as np

from selftune.core.runfile import RunFile
from selftune.data.counting.epochs import resolve_epochs
from selftune.evaluate.curve.report import Bill
from selftune.models.chosen import catalog_of
from selftune.models.costs import training_cost
from selftune.planning.log import Run
from selftune.prove.home import Home


class Biller:
    """Knows whose prices count."""

    def __init__(self, home: Home, spec: RunFile, priced_as: str | None) -> None:
        known = catalog_of(home.settings)
        base = known.find(spec.model.base)
        self.model = known.snapshot(spec.model.base)
        """What is trained, by its dated name."""
        trained = spec.model.base if base is None else base.id
        self.name = priced_as or trained
        self._price = home.prices.find(self.name)
        self._epochs = spec.hyperparameters.n_epochs

    def bills(self, runs: Sequence[Run]) -> dict[int, Bill]:
        """Return what one run of each size took, on average."""
        found = {}
        for size in sorted({run.rows for run in runs}):
            own = [run for run in runs if run.rows == size]
            tokens = float(np.mean([_in_an_epoch(run) for run in own]))
            took = float(np.mean([run.seconds for run in own]))
            trained = float(np.mean([run.tokens for run in own]))
            found[size] = self._bill(size, tokens, trained, took)
        return found

    def forecast(self, runs: Sequence[Run], rows: int) -> Bill:
        """Return what a run of so many rows would take.

        Tokens grow with the rows, from the largest size; seconds by the straight line through all
        runs, never falling.
        """
        largest = max(run.rows for run in runs)
        bill = self.bills(runs)[largest]
        own = [run for run in runs if run.rows == largest]
        times = rows / largest
        tokens = times * float(np.mean([_in_an_epoch(run) for run in own]))
        trained = times * float(np.mean([run.tokens for run in own]))
        sizes = np.array([run.rows for run in runs], float)
        seconds = np.array([run.seconds for run in runs])
        away = sizes - sizes.mean()
        slope = max(0.0, float((away * seconds).sum() / (away**2).sum()))
        return self._bill(rows, tokens, trained, (bill.seconds or 0.0) + slope * (rows - largest))

    def _bill(self, rows: int, tokens: float, trained: float, seconds: float) -> Bill:
        """Return a bill: what another model would be billed is by its own rule of epochs."""
        if self._price is None:
            return Bill(tokens=trained, seconds=seconds, dollars=None)
        if self._price.is_local:
            return Bill(tokens=trained, seconds=seconds, dollars=0.0)
        epochs = resolve_epochs(rows, self._epochs).value
        dollars = training_cost(round(tokens), epochs, self._price.training)
        return Bill(tokens=tokens * epochs, seconds=seconds, dollars=dollars)


def _in_an_epoch(run: Run) -> float:
    return run.tokens / run.used.get("n_epochs", 1.0)
