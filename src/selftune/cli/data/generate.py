"""`selftune data generate`: a teacher writes new training examples."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selftune.cli.data.asking import (
    MeansOptions,
    Seed,
    TeacherOptions,
    Test,
    counted,
    rows_of,
    show_outcome,
    show_terms,
    shown_asking,
    system_alone,
)
from selftune.cli.data.reading import Json, ReadingOptions
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.generate import Generated, Generation


@dataclass(frozen=True)
class WhatOptions:
    """What to write."""

    task: Annotated[Path, typer.Option(help="Text file: what the model has to do.")]
    count: Annotated[int, typer.Option(min=1, help="How many examples.")]
    labels: Annotated[
        str | None,
        typer.Option(help="The right answers: a,b,c or a file, one a line (name TAB meaning)."),
    ] = None
    seeds: Annotated[
        str | None, typer.Option(help="Real examples, any source. Their system message is kept.")
    ] = None
    labels_from_seeds: Annotated[
        bool, typer.Option("--labels-from-seeds", help="The seeds' answers are the labels.")
    ] = False
    test: Test = None
    per_request: Annotated[
        int, typer.Option(min=1, max=100, help="Examples that one request asks for.")
    ] = 10
    seed: Seed = 0

    def wanted(self, reading: ReadingOptions) -> "Generation":
        """Return what to write, with everything read that the options name."""
        from selftune.core.errors import InvalidInput
        from selftune.data.generate import Generation
        from selftune.data.read import read_rows
        from selftune.data.synthesis.labels import labels_of, read_labels

        try:
            task = self.task.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The task {str(self.task)!r} cannot be read: {error}.") from error
        if not task:
            raise InvalidInput(
                f"The task {str(self.task)!r} is empty: say what the model has to do."
            )
        seeds = rows_of(self.seeds, reading)
        labels = read_labels(self.labels) if self.labels else ()
        return Generation(
            task=task,
            count=self.count,
            labels=labels_of(seeds) if self.labels_from_seeds else labels,
            seeds=seeds,
            test=tuple(read_rows(self.test)) if self.test else (),
            system=system_alone(reading),
            seed=self.seed,
            per_request=self.per_request,
        )


@grouped
def generate(
    teacher: TeacherOptions,
    what: WhatOptions,
    reading: ReadingOptions,
    means: MeansOptions,
    json: Json = False,
) -> None:
    """Let a teacher write new examples, balanced over labels and unlike each other.

    Options of reading are about --seeds. Resumable: the same command goes on where a killed one ended, and pays for no answer twice.
    """
    from selftune.data.generate import generate as write_examples

    asking = teacher.asking()
    wanted = what.wanted(reading)
    show_terms(asking)
    with shown_asking() as progress:
        outcome = write_examples(means.out, asking, wanted, means.means(), progress)
    show_outcome(outcome, _lines(outcome), json=json)


def _lines(outcome: "Generated") -> list[str]:
    found = outcome.diversity
    lines = [
        *counted("not kept", outcome.dropped),
        "new examples by round: "
        + ", ".join(f"{part.kept} of {part.written}" for part in outcome.rounds),
    ]
    if found.distinct_2 is not None and found.self_similarity is not None:
        lines.append(
            f"different word pairs {found.distinct_2:.0%}, words that two examples share "
            f"{found.self_similarity:.0%}, {found.shortest_words} to {found.longest_words} words"
        )
    if outcome.per_label:
        counts = outcome.per_label.values()
        lines.append(f"{len(counts)} labels with {min(counts)} to {max(counts)} examples each")
    if outcome.seeds_left_out:
        lines.append(f"{outcome.seeds_left_out} seeds are in the test set and were not shown")
    return lines
