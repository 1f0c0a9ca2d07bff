"""Change a home folder's `catalog.toml`: whole or not at all, and only to what is valid."""

import json
from pathlib import Path
from typing import Any, Literal

import tomli_w

from selftune.core.errors import InvalidInput, NotFound
from selftune.models.bases import is_repository
from selftune.models.catalog import FILE, KINDS, Base, Catalog, Tables, merged, own_tables
from selftune.store.whole_files import alone, write_whole

_CONTEXT = 4096
"""Of a base whose configuration is not here yet to tell."""


def add_base(root: Path, entry: dict[str, Any]) -> Base:
    """Put a base into the home's catalogue, or change one; return it as it is now.

    A folder is kept as an absolute path. What is not said and can be read there is.

    Raises:
        InvalidInput: an entry would break a rule.

    """
    entry = {key: value for key, value in entry.items() if value not in (None, ())}
    source = entry.get("source")
    if source is not None and not is_repository(source, root):
        folder = Path(source).expanduser().absolute()
        if not (folder / "config.json").is_file():
            raise InvalidInput(
                f"{source!r} is neither a folder with a config.json nor a repository "
                "(owner/name) of the Hugging Face hub.",
                param="source",
            )
        entry = _read(folder) | entry | {"source": str(folder)}
    found = _change(root, "base", entry["id"], entry)
    base = found.find(entry["id"])
    assert base is not None
    return base


def learn_context(root: Path, base: Base, folder: Path) -> None:
    """Keep the context that a base's configuration tells, where the home's file named the base."""
    if base.id in own_tables(root / FILE)["base"]:
        _change(root, "base", base.id, {"id": base.id} | _read(folder))


def set_alias(root: Path, name: str, base: str) -> None:
    """Let a name stand for a base from now on.

    Raises:
        InvalidInput: there is no such base, or the name is a base's own.

    """
    tables = own_tables(root / FILE)
    found = merged(root / FILE, tables)
    target = found.find(base)
    if target is None:
        raise InvalidInput(
            f"{base!r} is no base of the catalogue: `selftune models list --all` names them.",
            param="base",
        )
    _change(root, "alias", found.snapshot(name), {"id": found.snapshot(name), "base": target.id})


def set_replacement(root: Path, old: str, model: str) -> None:
    """Let a model answer under the name that one elsewhere was asked by, from now on.

    Raises:
        InvalidInput: the old name means a base here.

    """
    if old == model:
        raise InvalidInput(f"{old!r} cannot stand in for itself.", param="model")
    _change(root, "replacement", old, {"id": old, "model": model})


def remove(root: Path, name: str) -> None:
    """Take a base, an alias or a replacement out of the home's own file; what ships is then as it was.

    Raises:
        NotFound: the file does not name it.
        InvalidInput: an alias still stands for the base.

    """
    tables = own_tables(root / FILE)
    name = merged(root / FILE, tables).snapshot(name)
    kind = next((kind for kind in KINDS if name in tables[kind]), None)
    if kind is None:
        raise NotFound(f"{name!r} is not in {root / FILE}: only what you added can be removed.")
    standing = [alias for alias, entry in tables["alias"].items() if entry.get("base") == name]
    if standing and kind == "base":
        raise InvalidInput(f"{standing[0]!r} stands for {name!r}: remove that name first.")
    _change(root, kind, name, None)


def _read(folder: Path) -> dict[str, Any]:
    """Return what a folder's configuration says of a base."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        context = int(config.get("max_position_embeddings", _CONTEXT))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InvalidInput(f"{str(folder / 'config.json')!r} is not a configuration.") from error
    return {"context": context}


def _change(
    root: Path, kind: Literal["base", "alias"] | str, name: str, entry: dict[str, Any] | None
) -> Catalog:
    path = root / FILE
    with alone(path):
        tables = own_tables(path)
        if entry is None:
            tables[kind].pop(name, None)
        else:
            tables[kind][name] = tables[kind].get(name, {}) | entry
        found = merged(path, _with_context(path, tables))
        _write(path, tables)
    return found


def _with_context(path: Path, tables: Tables) -> Tables:
    """Give a base of the hub, of which nothing is known yet, a context to start with."""
    known = {base.id for base in merged(path, {kind: {} for kind in KINDS}).base}
    for name, entry in tables["base"].items():
        if name not in known:
            entry.setdefault("context", _CONTEXT)
    return tables


def _write(path: Path, tables: Tables) -> None:
    document = {
        kind: [_written(entry) for entry in entries.values()]
        for kind, entries in tables.items()
        if entries
    }
    write_whole(path, tomli_w.dumps(document).encode())


def _written(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "is_own"}
