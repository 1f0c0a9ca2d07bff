"""Take a trained model elsewhere, and check that it is still the one that was trained."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from selftune.cli.console import open_home, out

if TYPE_CHECKING:
    from selftune.core.records import Identity, Job, Model
    from selftune.models.card import Made
    from selftune.models.catalog import Base
    from selftune.store.store import Store


def export(
    name: Annotated[str, typer.Argument(help="The model's name, ft:…")],
    to: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")],
    format_: Annotated[
        Literal["peft", "merged", "gguf"],
        typer.Option("--format", help="An adapter, whole safetensors, or llama.cpp's GGUF."),
    ] = "peft",
) -> None:
    """Write a trained open model as others read it, with a model card."""
    from selftune.core.errors import InvalidInput
    from selftune.models.card import model_card
    from selftune.store.models import get_model

    store, identity = open_home()
    model = get_model(store, identity.project_id, name)
    if model.engine != "hf":
        raise InvalidInput(
            f"{name!r} was trained by the engine {model.engine!r}, whose models have no such form: "
            f"only open models are exported. `selftune models where {name}` prints its folder."
        )
    from selftune.models.hf.checking import base_of
    from selftune.models.hf.export import Source
    from selftune.models.hf.export import export as write

    folder = store.root / str(model.folder)
    own_base = base_of(folder)
    base = _base(store, own_base or model.base)
    source = Source(
        model=model.id,
        folder=folder,
        base_id=own_base or model.base,
        base_folder=_base_folder(store, folder, base) if own_base else None,
        base_name=_repository(store, base),
    )
    converter = store.settings.gguf_converter
    card = model_card(_made(store, identity, model, base, source.base_id), format_)
    made = write(source, to, format_, card, Path(converter) if converter else None)
    what = f"{made.format} of {made.model}: {len(made.files) + 1} files in {to}"
    out.print(what, markup=False, soft_wrap=True)


def check(
    what: Annotated[str, typer.Argument(help="A model's name, or the folder of an export.")],
) -> None:
    """Check that a model or an export still answers as it did when it was trained."""
    from selftune.models.hf.checking import base_of, check_folder
    from selftune.store.models import get_model

    store, identity = open_home()
    folder = Path(what).expanduser()
    if not folder.is_dir():
        folder = store.root / str(get_model(store, identity.project_id, what).folder)
    own_base = base_of(folder)
    place = None if own_base is None else _base_folder(store, folder, _base(store, own_base))
    out.print(f"as trained: {check_folder(folder, place)}", markup=False, soft_wrap=True)


def _base(store: "Store", name: str) -> "Base | None":
    from selftune.models.chosen import catalog_of

    return catalog_of(store.settings).find(name)


def _base_folder(store: "Store", folder: Path, base: "Base | None") -> Path | None:
    """Return where the base of an adapter is: as its folder says, else as the catalogue does."""
    from selftune.models.bases import base_folder, folder_beneath

    found = folder_beneath(folder, str(_told(folder).get("folder") or ""))
    if found is None and base is not None:
        return base_folder(base, store.root)
    return found


def _repository(store: "Store", base: "Base | None") -> str | None:
    from selftune.models.bases import is_repository

    if base is None or base.source is None or not is_repository(base.source, store.root):
        return None
    return base.source


def _made(
    store: "Store", identity: "Identity", model: "Model", base: "Base | None", base_id: str
) -> "Made":
    """Return what is known of how a model was made; jobs and files may have been deleted since."""
    from selftune.core.errors import NotFound
    from selftune.jobs.queue import get_job
    from selftune.models.card import Made

    created = datetime.fromtimestamp(model.created_at, UTC).date().isoformat()
    folder = store.root / str(model.folder)
    known: dict[str, object] = {
        "model": model.id,
        "base": base,
        "base_id": base_id,
        "created": created,
        "adapter": _adapter(folder),
        "fingerprint": _told(folder).get("fingerprint"),
    }
    try:
        job = get_job(store, identity.project_id, model.job_id or "")
    except NotFound:
        return Made.model_validate(known)
    return Made.model_validate(known | _of_job(store, identity, job, model))


def _of_job(
    store: "Store", identity: "Identity", job: "Job", model: "Model"
) -> "dict[str, object]":
    from selftune.core.records import TrainSpec
    from selftune.store.checkpoints import list_checkpoints

    spec = TrainSpec.model_validate(job.spec)
    metrics = next(
        (one.metrics for one in list_checkpoints(store, job.id).data if one.model == model.id), {}
    )
    return {
        "method": spec.method,
        "rows": _rows(store, identity, spec.training_file),
        "validation_rows": _rows(store, identity, spec.validation_file),
        "trained_tokens": job.state.get("trained_tokens"),
        "seed": spec.seed,
        "hyperparameters": job.state.get("hyperparameters", {}),
        "reasons": job.state.get("reasons", {}),
        "metrics": metrics,
    }


def _rows(store: "Store", identity: "Identity", file_id: str | None) -> int | None:
    from selftune.core.errors import NotFound
    from selftune.store.files import get_file

    if file_id is None:
        return None
    try:
        path = store.blobs.local_path(get_file(store, identity.project_id, file_id).sha256)
        with path.open("rb") as handle:
            return sum(1 for line in handle if line.strip())
    except (NotFound, OSError):
        return None


def _adapter(folder: Path) -> dict[str, object]:
    import json

    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {"rank": config.get("r"), "alpha": config.get("lora_alpha")}


def _told(folder: Path) -> dict[str, object]:
    """Return what an adapter's folder says of its base."""
    import json

    try:
        found = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
