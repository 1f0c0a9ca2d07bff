"""What a model was trained on: those prompts show what it learnt by heart, not how good it is."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from selftune.core.canonical import fingerprint
from selftune.core.errors import InvalidInput
from selftune.data.read import read_rows
from selftune.models.listed import is_tuned
from selftune.models.messages import SYSTEM_ROLES, content_text
from selftune.rescue.archive.reader import Archive
from selftune.rescue.record.requests import request_in

if TYPE_CHECKING:
    from selftune.rescue.record.prompts import Prompt


class Files(NamedTuple):
    """Files of the job that made a model."""

    job: dict[str, Any] | None
    training: Path | None
    validation: Path | None


def files_of(archive: Archive, model: str) -> Files:
    """Return the job of a model or of a checkpoint, and the files that are still there."""
    job = _job_of(archive, model)
    if job is None:
        return Files(None, None, None)
    return Files(
        job,
        _content(archive, job.get("training_file")),
        _content(archive, job.get("validation_file")),
    )


def chain_of(archive: Archive, model: str) -> Iterator[tuple[str, Files]]:
    """Yield a model with its files, then the tuned model that it was trained on from, and so on.

    The last one has no job where the archive does not know it.
    """
    seen: set[str] = set()
    name = model
    while name not in seen and (not seen or is_tuned(name)):
        seen.add(name)
        files = files_of(archive, name)
        yield name, files
        name = str((files.job or {}).get("model"))


def training_files(archive: Archive, model: str) -> tuple[Path | None, ...]:
    """Return the training files of a model and of the tuned ones that it was trained on from.

    None stands for one that is not there.
    """
    return tuple(files.training for _, files in chain_of(archive, model))


def chosen_models(named: Sequence[str], archive: Archive | None, *, everything: bool) -> list[str]:
    """Return the models that a command is for: those named, or all tuned ones of an archive.

    Raises:
        InvalidInput: there is none.

    """
    found = list(dict.fromkeys(named))
    if everything and archive is not None:
        jobs = [each.object for each in archive.list("job") if isinstance(each.object, dict)]
        made = [str(job["fine_tuned_model"]) for job in jobs if job.get("fine_tuned_model")]
        found += [name for name in made if _is_there(archive, name) and name not in found]
    if not found:
        raise InvalidInput(
            "Name a model (ft:…), or take all that an archive has: --archive, --all."
        )
    return found


def _is_there(archive: Archive, model: str) -> bool:
    entry = archive.get("model", model)
    return entry is not None and entry.state == "kept"


def _job_of(archive: Archive, model: str) -> dict[str, Any] | None:
    for entry in archive.list("job"):
        if isinstance(entry.object, dict) and entry.object.get("fine_tuned_model") == model:
            return entry.object
    for entry in archive.list("checkpoint"):
        found = entry.object if isinstance(entry.object, dict) else {}
        if found.get("fine_tuned_model_checkpoint") == model and entry.parent is not None:
            job = archive.get("job", entry.parent)
            return job.object if job is not None and isinstance(job.object, dict) else None
    return None


def _content(archive: Archive, name: Any) -> Path | None:
    entry = None if not isinstance(name, str) else archive.get("file", name)
    return None if entry is None or entry.blob is None else archive.blob(entry.blob)


def asked_in(path: Path) -> set[str]:
    """Return what the rows of a training file ask: each answer in a chat is trained on."""
    requests = (request_in(row) for row in read_rows(path))
    return set().union(*(answered_in(each["messages"]) for each in requests if each is not None))


def without_trained(
    prompts: Sequence["Prompt"], trained: Iterable[Path], model: str
) -> tuple[tuple["Prompt", ...], int]:
    """Return the prompts that no training row asks, and how many others there were.

    Raises:
        InvalidInput: all of them are training rows.

    """
    known: set[str] = set().union(*(asked_in(path) for path in trained))
    left = tuple(each for each in prompts if asked_at(each.messages)[-1] not in known)
    if prompts and not left:
        raise InvalidInput(
            f"All {len(prompts):,} prompts are rows that {model} was trained on: its answers to them "
            "show what it learnt by heart, and a replacement that was trained on the same rows "
            "would look as good whatever it is. Give prompts that it has not seen: a validation "
            "file, eval items, stored completions, logs."
        )
    return left, len(prompts) - len(left)


def answered_in(messages: Iterable[Any]) -> set[str]:
    """Return what is asked where a chat goes on with an answer, and at its end."""
    turns = list(_turns(messages))
    return {asked for role, asked in turns if role == "assistant"} | {turns[-1][1]}


def asked_at(messages: Iterable[Any]) -> list[str]:
    """Return what is asked before each turn of a chat, and last at its end: digests of all that was said.

    It is without the system message, which may have been changed since, and with pictures and sound.
    """
    return [asked for _, asked in _turns(messages)]


def _turns(messages: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield who speaks at each turn, at last nobody, and a digest of all that was said before."""
    said = sha256()
    for each in messages:
        role = str(each.get("role")) if isinstance(each, dict) else ""
        if role in SYSTEM_ROLES:
            continue
        yield role, said.hexdigest()
        said.update(fingerprint([role, content_text(each).strip(), _others(each)]).encode())
    yield "", said.hexdigest()


def _others(message: Any) -> list[Any]:
    """Return the parts of a message that are no texts."""
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    return [each for each in parts if not (isinstance(each, dict) and "text" in each)]
