"""Keeps what becomes of a run's items: in small transactions, under the run's lease, each item once."""

import time
from collections.abc import Iterable, Iterator

from selftune.core.errors import InvalidInput
from selftune.core.records import Usage
from selftune.evaluate.items import Item
from selftune.evaluate.results import Result
from selftune.evaluate.sources.data_source import DataSource
from selftune.evaluate.sources.items import ItemMaker, RawRow
from selftune.evaluate.sources.output import content_of, content_without_answer, status_of
from selftune.jobs.queue import Lease, fenced, reset_attempts
from selftune.store.eval_runs import Run, Tallies
from selftune.store.evals import Criterion
from selftune.store.output_items import OutputItem, add_items, finished_numbers
from selftune.store.store import Store

_AT_ONCE = 200
_SECONDS = 0.3
"""Longest that a finished item waits to be kept."""


class Recorder:
    """One run's items on their way into the store."""

    def __init__(
        self, store: Store, run: Run, lease: Lease, criteria: tuple[Criterion, ...]
    ) -> None:
        self._store, self._run, self._lease, self._criteria = store, run, lease, criteria
        self._finished = finished_numbers(store, run.id)
        self._asked: dict[int, Item] = {}
        self._new: list[OutputItem] = []
        self._kept = time.monotonic()
        self._passed = {
            each.id: list(run.tallies.criteria.get(each.id, (0, 0))) for each in criteria
        }
        self._used = {model: list(sums) for model, sums in run.tallies.models.items()}

    def unfinished(self, rows: Iterable[RawRow], maker: ItemMaker) -> Iterator[Item]:
        """Yield the items that are still to be done; a row that is none is done with at once."""
        for row in rows:
            if row.number in self._finished:
                continue
            try:
                item = maker.make(row)
            except InvalidInput as error:
                content = content_without_answer(row.item, error.message, maker.source)
                self._add(row.number, "error", content)
            else:
                self._asked[row.number] = item
                yield item

    def take(self, result: Result, source: DataSource) -> None:
        """Keep a result, soon."""
        number = result.index - 1
        item = self._asked.pop(number)
        for criterion, score in zip(self._criteria, result.scores, strict=False):
            if score.status == "scored":
                self._passed[criterion.id][0 if score.passed else 1] += 1
            for spent in score.spent:
                self._count(spent.model, spent.usage)
        if result.state != "unanswered" and item.given is None:
            self._count(result.model or source.model or "", result.usage)
        self._add(number, status_of(result), content_of(result, item, source, self._criteria))

    def keep(self, *, all_of_them: bool = False) -> None:
        """Write what waits, if there is much of it or it has waited long.

        Raises:
            Interrupted: the run was canceled, or belongs to another worker now.

        """
        waited = time.monotonic() - self._kept
        if not self._new or not (all_of_them or len(self._new) >= _AT_ONCE or waited > _SECONDS):
            return
        tallies = Tallies.model_validate({"criteria": self._passed, "models": self._used})
        with fenced(self._store, self._lease) as (connection, job):
            in_order = sorted(self._new, key=lambda item: item.number)
            add_items(connection, self._run.id, in_order, tallies)
            reset_attempts(connection, job.id)
        self._new = []
        self._kept = time.monotonic()

    def _add(self, number: int, status: str, content: dict[str, object]) -> None:
        values = {
            "id": self._store.ids.new("outputitem_"),
            "run_id": self._run.id,
            "number": number,
            "status": status,
            "created_at": self._store.now(),
            "content": content,
        }
        self._new.append(OutputItem.model_validate(values))
        self.keep()

    def _count(self, model: str, usage: Usage | None) -> None:
        sums = self._used.setdefault(model, [0, 0, 0, 0])
        sums[0] += 1
        if usage is not None:
            sums[1] += usage.prompt_tokens
            sums[2] += usage.completion_tokens
            sums[3] += usage.cached_tokens
