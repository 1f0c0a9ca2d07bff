"""Check a folder: a model that was just trained, and at any later time that model or an export.

It is loaded by the sampler that serves, and its log-probabilities on the chats in `probes.json` are
compared with those that the trained model had.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selftune.core import plugins
from selftune.core.errors import InvalidInput, JobFailed
from selftune.models import samplers
from selftune.models.hf.agreement import Agreement, Score, Served, compare, measure
from selftune.models.hf.export import BASE, check_files, read_export
from selftune.models.hf.probes import CODE, Probes, Scored, read_probes, write_probes
from selftune.models.hf.renderer import Renderer


def check_folder(folder: Path, base_folder: Path | None = None) -> str:
    """Return in words how near a folder's model is to the one that was trained.

    `base_folder` is where the base of an adapter is, where the folder does not say it.

    Raises:
        JobFailed: it is not what was trained; says what differs.
        InvalidInput: a file is missing, or was changed since the export.

    """
    folder = folder.expanduser().absolute()
    made = read_export(folder)
    if made is not None:
        check_files(folder, made)
        if made.format == "gguf":
            return (
                f"{len(made.files)} files are as they were written; log-probabilities of GGUF are "
                "not compared, because llama.cpp computes in its own way"
            )
    probes = read_probes(folder)
    with _with_base(folder, base_folder) as whole, tempfile.TemporaryDirectory() as cache:
        renderer = Renderer.load(whole)  # first: it says what was changed of a template
        served = serving(whole, Path(cache))
        agreement = compare(probes.probes, served, probes.precision, renderer)
    return agreement.words


def prove_served(
    folder: Path, probes: Probes, own: Sequence[Scored], cache: Path, threads: int = 0
) -> Agreement:
    """Keep the probes in a folder that was just written, load it as serving does, and compare.

    `own` are sequences of the job's data, which are compared and not kept.

    Raises:
        JobFailed: what would be served is not what was trained; says what differs.

    """
    renderer, served = _loaded(folder, probes, cache, threads)
    return compare((*probes.probes, *own), served, probes.precision, renderer)


def keep_served(folder: Path, probes: Probes, cache: Path, threads: int = 0) -> Agreement:
    """Keep the probes with what serves says of them; return how near that is to the training.

    For a model that is served on another base than it was trained on: the same in 16 bits for 4.

    Raises:
        JobFailed: what was trained cannot be served.

    """
    _, served = _loaded(folder, probes, cache, threads)
    agreement, _ = measure(probes.probes, served, probes.precision)
    ids = [list(one.ids) for one in probes.probes]
    before = served.score(ids) if served.bare is None else served.bare(ids)
    kept = tuple(
        one.model_copy(update={"logprobs": tuple(logprobs), "before": tuple(base)})
        for one, logprobs, base in zip(probes.probes, served.score(ids), before, strict=True)
    )
    write_probes(folder, probes.model_copy(update={"probes": kept}))
    return agreement


def serving(folder: Path, cache: Path, threads: int = 0) -> Served:
    """Return the scoring of the sampler that serves a folder."""
    plugin = plugins.load(samplers, "hf")
    sampler = plugin.build(plugin.Params(folder=folder, cache=cache, threads=threads))
    score: Score = sampler.score
    return Served(score, None if base_of(folder) is None else sampler.score_bare)


def _loaded(folder: Path, probes: Probes, cache: Path, threads: int) -> tuple[Renderer, Served]:
    """Keep the probes in a folder and load it as serving does."""
    write_probes(folder, probes)
    try:
        return Renderer.load(folder), serving(folder, cache, threads)
    except InvalidInput as error:
        raise JobFailed(
            f"The model that was trained cannot be served: {error.message}", code=CODE
        ) from error


def base_of(folder: Path) -> str | None:
    """Return the id of an adapter's base; None for a whole model."""
    path = folder / BASE
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{str(path)!r} is damaged.") from error


@contextmanager
def _with_base(folder: Path, base_folder: Path | None) -> Iterator[Path]:
    """Give a folder that says where its base is; an export does not, a copy may say it wrong."""
    if base_of(folder) is None or base_folder is None:
        yield folder
        return
    told = json.loads((folder / BASE).read_text(encoding="utf-8"))
    if Path(told.get("folder") or "/").absolute() == base_folder.absolute():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="selftune-check-") as name:
        copy = Path(name) / "model"
        copy.mkdir()
        for path in folder.iterdir():
            if path.is_file() and path.name != BASE:
                (copy / path.name).symlink_to(path)
        told["folder"] = str(base_folder)
        (copy / BASE).write_text(json.dumps(told), encoding="utf-8")
        yield copy
