"""Write what was brought in: an eval file with its questions beside it, and folders of rounds."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.core.records import Record
from selftune.core.runfile import EvaluationSection
from selftune.evaluate.evalfile import Data, EvalFile
from selftune.evaluate.interchange.found import MOST_NAME, Found, FoundEval, FoundRound, different
from selftune.evaluate.interchange.gaps import Gap
from selftune.evaluate.interchange.untrusted import QUESTIONS
from selftune.evaluate.items import Item
from selftune.evaluate.rounds import Round, RoundFolder, Totals, eval_folder, make_eval_folder
from selftune.store.whole_files import write_whole

_ID_DIGITS = 12


@dataclass(frozen=True)
class Kept:
    """What was written."""

    evals: tuple[Path, ...] = ()
    """Files that `selftune eval run` runs."""
    questions: tuple[Path, ...] = ()
    """Files of questions, those without an eval file too."""
    rounds: tuple[Path, ...] = ()


def keep(
    found: Sequence[Found], gaps: Sequence[Gap], folder: Path, home: Path, *, force: bool = False
) -> Kept:
    """Write eval files into a folder, and rounds into the home folder.

    What was written before is written again; a file that somebody has changed stays, unless forced.

    Raises:
        InvalidInput: there is another file of the same name, or nothing can be written there.

    """
    evals = [each for one in found for each in one.evals]
    stems = different([eval_folder(home, each.name).name for each in evals])
    files = [
        file for each, stem in zip(evals, stems, strict=True) for file in _files(each, stem, gaps)
    ]
    try:
        _check_free(folder, files, force)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            write_whole(folder / name, content, durable=False)
        rounds = [_keep_round(one, each, home) for one in found for each in one.rounds]
    except OSError as error:
        where = error.filename or f"{folder} or {home}"
        raise InvalidInput(f"{where} cannot be written: {error.strerror}.") from error
    paths = [folder / name for name, _ in files]
    return Kept(
        evals=tuple(path for path in paths if path.suffix == ".toml"),
        questions=tuple(path for path in paths if path.suffix == ".jsonl"),
        rounds=tuple(rounds),
    )


def _files(found: FoundEval, stem: str, gaps: Sequence[Gap]) -> list[tuple[str, bytes]]:
    """Return the questions and, where there are graders, the eval file."""
    questions = f"{stem}{QUESTIONS}"
    files = [(questions, _lines(found.rows))]
    if found.graders:
        whole = EvalFile(
            name=found.name[:MOST_NAME],
            description=found.description,
            data=Data(file=questions),
            evaluation=EvaluationSection(**found.evaluation, graders=found.graders),
            **({"models": found.models} if found.models else {}),
        )
        files.append((f"{stem}.toml", _toml(whole, gaps)))
    return files


def _toml(whole: EvalFile, gaps: Sequence[Gap]) -> bytes:
    """Return an eval file's text, with what is missing in it as comments."""
    import tomli_w

    value = whole.model_dump(mode="json", exclude_unset=True)
    text = tomli_w.dumps(value, multiline_strings=True)
    if tomllib.loads(text) != value:  # multi-line strings lose carriage returns
        text = tomli_w.dumps(value)
    missing = [str(gap) for gap in gaps if gap.kind != "row"]
    comments = "".join(f"# {line}\n" for line in missing)
    return (comments + ("\n" if comments else "") + text).encode()


def _keep_round(whole: Found, found: FoundRound, home: Path) -> Path:
    """Write a round; its record comes last, so that half a round is none."""
    digest = fingerprint([whole.tool, whole.name, found.key])[:_ID_DIGITS]
    tool = "".join(c if c.isalnum() else "-" for c in whole.tool.lower())
    folder = RoundFolder(make_eval_folder(home, whole.name) / "rounds" / f"{tool}-{digest}")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.record.unlink(missing_ok=True)
    write_whole(folder.items, _records(found.items), durable=False)
    write_whole(folder.results, _records(found.results), durable=False)
    states = [result.state for result in found.results]
    folder.write(
        Round(
            id=folder.path.name,
            eval=whole.name,
            created_at=found.created_at,
            finished_at=found.finished_at or found.created_at,
            status=found.status,
            reason=found.reason,
            arms=found.arms,
            graders=found.graders,
            samples=found.samples,
            items=len(found.items),
            items_sha256=_digest(found.items),
            facts=found.facts,
            totals=Totals(
                unanswered=states.count("unanswered"),
                errored=states.count("errored"),
                reused=sum(result.reused for result in found.results),
            ),
            source=whole.tool,
            version=version("selftune"),
        )
    )
    return folder.path


def _digest(items: Sequence[Item]) -> str:
    """Return the SHA-256 of ids, as every round has it."""
    return sha256("".join(f"{item.id}\n" for item in items).encode(errors="replace")).hexdigest()


def _check_free(folder: Path, files: Sequence[tuple[str, bytes]], force: bool) -> None:
    for name, content in files:
        path = folder / name
        if not force and path.exists() and (not path.is_file() or path.read_bytes() != content):
            raise InvalidInput(
                f"There is another {str(path)!r} already: choose a folder with -o, a name with "
                "--name, or --force to write over it."
            )


def _records(records: Iterable[Record]) -> bytes:
    return b"".join(
        record.model_dump_json(exclude_defaults=True).encode() + b"\n" for record in records
    )


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
