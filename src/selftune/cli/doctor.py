"""`selftune doctor`: check that everything is there that selftune needs."""

import importlib.util
import json
import shutil
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import typer

from selftune.cli.console import out
from selftune.core.errors import SelftuneError
from selftune.core.settings import load_settings
from selftune.models.machine import this_machine
from selftune.store.store import open_store

_LEAST_FREE_BYTES = 1_000_000_000


def doctor() -> None:
    """Check the installation, and say what to do about what is not well."""
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Python", _python),
        ("training (torch, onnx)", _training),
        ("open models (transformers, peft)", _open_models),
        ("weights of selftune/minilm", _weights),
        ("disk", _disk),
        ("database", _database),
        ("server", _server),
    )
    bad = 0
    for name, check in checks:
        try:
            text, mark = check(), "[green]ok[/]"
        except (SelftuneError, OSError) as problem:
            text, mark = str(problem), "[red]not well[/]"
            bad += 1
        out.print(f"{mark:<20} {name}: {text}", soft_wrap=True)
    if bad:
        raise typer.Exit(1)


def _python() -> str:
    return sys.version.split()[0]


def _training() -> str:
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise SelftuneError(f"{' and '.join(missing)} missing: pip install 'selftune[train]'")
    return "installed"


def _open_models() -> str:
    """Look at what is installed without importing it: torch takes seconds."""
    names = ("torch", "transformers", "peft", "llguidance")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        return f"not installed (pip install 'selftune[hf]' for {', '.join(missing)})"
    torch = version("torch")
    build = torch.partition("+")[2]
    for name in ("torchvision", "torchaudio"):
        try:
            other = version(name).partition("+")[2]
        except PackageNotFoundError:
            continue
        # Wheels for another build of torch end `import transformers`: no operator torchvision::nms
        if other != build:
            raise SelftuneError(
                f"{name} {version(name)} is for another build than torch {torch}, and transformers "
                f"cannot be imported beside it: pip uninstall {name}"
            )
    return f"torch {torch}, transformers {version('transformers')}; {this_machine().words}"


def _weights() -> str:
    from selftune.models.builtin.weights import model_folder, verify

    verify()
    return f"{model_folder()}, hash as published"


def _disk() -> str:
    root = load_settings().root
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(root).free
    if free < _LEAST_FREE_BYTES:
        raise SelftuneError(f"only {free / 1e9:.1f} GB free at {root}: free some space")
    return f"{free / 1e9:.0f} GB free at {root}"


def _database() -> str:
    store = open_store(load_settings())
    return store.db.engine.url.render_as_string(hide_password=True)


def _server() -> str:
    path = load_settings().root / "run" / "server.json"
    try:
        url = json.loads(path.read_text(encoding="utf-8"))["url"]
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return f"answers at {url}"
    except (OSError, ValueError, KeyError):
        return "not running (start it with `selftune serve`)"
