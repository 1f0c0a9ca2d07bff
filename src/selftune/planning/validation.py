"""The rows that a search is judged by: validation rows, never test items.

Where the test items are in a file of their own, that file is not even opened. Where they are a share
of the training file, they are the same rows that `selftune run` holds out, and are left alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selftune.core.errors import InvalidInput
from selftune.core.runfile import EvaluationSection, RunFile
from selftune.data.likeness.questions import labels
from selftune.data.prepare import shared_system, to_chats
from selftune.data.read import ReadOptions, read_rows
from selftune.data.rows import Row, answer_text, fields_of
from selftune.data.sources.source import located
from selftune.data.split import SplitOptions, split
from selftune.evaluate.curve.report import Metric
from selftune.evaluate.items import Item, to_items

_SHARE = 0.2
"""Of the training rows, where the run file holds out no validation rows."""
_OF_TEST_ITEMS = ("category", "weight", "id")
"""Fields that test items have, and training rows need not."""
_SAME = {
    "type": "string_check",
    "operation": "eq",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.reference }}",
}
_ALIKE = {
    "type": "text_similarity",
    "evaluation_metric": "rouge_l",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.reference }}",
}


class HeldOut(NamedTuple):
    """What a search trains on, and what it asks."""

    training: tuple[Row, ...]
    items: tuple[Item, ...]
    """With the training file's fields, and the answer as what was given."""
    plain_items: tuple[Item, ...]
    """The same questions as chats, with the answer as `reference`."""
    notes: tuple[str, ...]

    def own_answers(self) -> tuple[dict[str, Any], Metric, str]:
        """Return a grader that needs only the rows' own answers, its metric, and why."""
        if labels(self.training) is not None:
            return _SAME, "accuracy", "an answer passes when it is the row's own"
        return _ALIKE, "score", "an answer counts by how much of the row's own it says (ROUGE-L)"


def hold_out(spec: RunFile, folder: Path) -> HeldOut:
    """Return training rows and validation items of a run file; no test item is among them.

    Raises:
        InvalidInput: a file or a row is not what it must be; or too few rows are left.

    """
    data = spec.data
    rows = read_rows(located(folder, data.training_file), ReadOptions(limit=data.limit))
    chats = to_chats(rows, data.template)
    options = SplitOptions(
        validation=data.validation_fraction, test=data.test_fraction, seed=spec.model.seed
    )
    # As `workflow.prepare` splits them: what it would test is held out here too.
    parts = split(chats, options, None if data.test_file is None else ())
    training, validation, notes = parts.train, parts.validation, []
    if not validation:
        own = options.model_copy(update={"validation": _SHARE})
        again = split([chats[at] for at in training], own, ())
        validation = tuple(training[at] for at in again.validation)
        training = tuple(training[at] for at in again.train)
        notes.append(
            f"The run file holds out no validation rows: {len(validation):,} of "
            f"{len(parts.train):,} training rows were taken."
        )
    if not validation:
        raise InvalidInput("There are too few rows to hold any out for validation.")
    kept = [chats[at] for at in training]
    asked = [chats[at] for at in validation]
    return HeldOut(
        training=tuple(kept),
        items=_items([rows[at] for at in validation], asked, spec, kept),
        plain_items=tuple(to_items(asked, _section(spec, asked), shared_system(kept))),
        notes=tuple(notes),
    )


def _items(
    rows: Sequence[Row], chats: Sequence[Row], spec: RunFile, training: Sequence[Row]
) -> tuple[Item, ...]:
    """Return the validation rows as items, each with its right answer given."""
    section = _section(spec, rows)
    items = to_items(rows, section, shared_system(training))
    return tuple(
        item.model_copy(update={"given": {"output_text": answer_text(chat)}})
        for item, chat in zip(items, chats, strict=True)
    )


def _section(spec: RunFile, rows: Sequence[Row]) -> EvaluationSection:
    """Return how to ask training rows, which may lack fields that test items have."""
    evaluation, template = spec.evaluation, spec.data.template
    changed: dict[str, Any] = dict.fromkeys(_OF_TEST_ITEMS)
    group = evaluation.group
    if group is not None and not all(group in fields_of(row) for row in rows):
        changed["group"] = None
    if template is not None:
        changed |= {"prompt": template.user, "system": evaluation.system or template.system}
    return evaluation.model_copy(update=changed)
