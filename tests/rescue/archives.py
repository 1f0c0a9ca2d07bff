"""Archives for tests: of a stand-in, by the verb itself or by the program that users start."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.rescue.stand_in import StandIn

from selftune.rescue.archive.download import RETRIES, archive_account
from selftune.rescue.archive.format import Manifest, Source


def bring(played: StandIn, folder: Path, *, retries: int = RETRIES) -> Manifest:
    """Archive a stand-in in this process."""
    source = Source(profile="openai", kind="openai", base_url=played.base_url)
    return archive_account(played.async_client(max_retries=retries), folder, source)


def started(played: StandIn, folder: Path, *, most_bytes: int | None = None) -> Any:
    """Start the program that archives a stand-in; `most_bytes` is the largest file it may write."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    return subprocess.Popen(
        [sys.executable, "-m", "selftune", "rescue", "archive", str(folder)],
        env=played.environment | {"SELFTUNE_HOME": str(folder.parent / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,
    )


def lines_of(folder: Path, kind: str) -> int:
    """Return how many lines a kind has by now."""
    path = folder / "objects" / f"{kind}.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
