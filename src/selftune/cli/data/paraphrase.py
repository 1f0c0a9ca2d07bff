"""`selftune data paraphrase`: the same rows, said in other ways."""

from dataclasses import dataclass
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
)
from selftune.cli.data.reading import Json, ReadingOptions, Source
from selftune.cli.grouping import grouped

if TYPE_CHECKING:
    from selftune.data.paraphrase import Paraphrasing


@dataclass(frozen=True)
class VariantOptions:
    """What to vary, and how."""

    variants: Annotated[
        int, typer.Option(min=0, max=50, help="Paraphrases of each row, by the teacher.")
    ] = 3
    noise: Annotated[
        str, typer.Option(help="Kinds of damage, with commas: typos,case,space,punctuation.")
    ] = ""
    with_originals: Annotated[
        bool, typer.Option("--with-originals", help="Put the rows themselves in the result too.")
    ] = False
    label_field: Annotated[
        str | None, typer.Option(help="Field of the right answer, for rows that are not chats.")
    ] = None
    test: Test = None
    seed: Seed = 0

    def wanted(self, source: str, reading: ReadingOptions) -> "Paraphrasing":
        """Return what to vary, with everything read that the options name."""
        from selftune.core.errors import InvalidInput
        from selftune.data.paraphrase import Paraphrasing
        from selftune.data.read import read_rows
        from selftune.data.synthesis.noise import NOISES

        kinds = [kind.strip() for kind in self.noise.split(",") if kind.strip()]
        unknown = [kind for kind in kinds if kind not in NOISES]
        if unknown:
            raise InvalidInput(f"--noise {unknown[0]!r} is not one of {', '.join(NOISES)}.")
        return Paraphrasing(
            rows=rows_of(source, reading),
            test=tuple(read_rows(self.test)) if self.test else (),
            variants=self.variants,
            noise=tuple(kind for kind in NOISES if kind in kinds),
            with_originals=self.with_originals,
            label_field=self.label_field,
            seed=self.seed,
        )


@grouped
def paraphrase(
    source: Source,
    variants: VariantOptions,
    teacher: TeacherOptions,
    reading: ReadingOptions,
    means: MeansOptions,
    json: Json = False,
) -> None:
    """Say what rows ask in other ways, or with typing mistakes; their answers stay."""
    from selftune.data.paraphrase import paraphrase as write_variants

    wanted = variants.wanted(source, reading)
    asking = teacher.asking() if teacher.teacher else None
    if asking is not None:
        show_terms(asking)
    with shown_asking() as progress:
        outcome = write_variants(means.out, asking, wanted, means.means(), progress)
    lines = [*counted("rows by kind", outcome.by_kind), *counted("not kept", outcome.dropped)]
    if outcome.left_out:
        lines.append(f"{outcome.left_out:,} rows are in the test set, or nearly: left out")
    show_outcome(outcome, lines, json=json)
