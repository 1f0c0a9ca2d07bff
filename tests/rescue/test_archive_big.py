"""An account of a team's two years, through faults and kills: the acceptance test of the archive."""

import random
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.archives import lines_of, started
from tests.rescue.stand_in import BIG, Quirks, StandIn, stand_in

from selftune.rescue.archive.format import Entry, Kind, Source
from selftune.rescue.archive.reader import Archive
from selftune.rescue.archive.verify import check
from selftune.rescue.inventory import Inventory, take_stock
from selftune.rescue.inventory_asking import look_around


def killed_when(played: StandIn, folder: Path, reached: Callable[[], bool]) -> None:
    """Start the program, and kill it as soon as it has come so far."""
    running = started(played, folder)
    deadline = time.monotonic() + 60
    while not reached():
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    running.kill()
    running.communicate()


def listed(client: Any, path: str, **query: str) -> list[dict[str, Any]]:
    """Return all objects of a list, as they are answered."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        options = {"params": {"limit": "100", **query, **more}}
        page = client.get(path, cast_to=object, options=options)
        found += page["data"]
        if not page.get("has_more"):
            return found
        more = {"after": page["data"][-1]["id"]}


def objects(archive: Archive, kind: Kind, parent: str | None = None) -> list[Any]:
    return [entry.object for entry in archive.list(kind, parent) if entry.object is not None]


@pytest.mark.slow
def test_an_archive_is_complete_through_faults_and_two_kills(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    quirks = Quirks(fault_share=0.05, seed=11)
    with stand_in(tmp_path / "openai", size=BIG, quirks=quirks) as played:
        account = played.account
        quirks.missing.add(account.files[-1])
        quirks.forbidden.add(account.files[-2])
        killed_when(played, folder, lambda: lines_of(folder, "output_item") > 4_000)
        killed_when(played, folder, lambda: lines_of(folder, "job_event") > 100)
        last = started(played, folder)
        said = last.communicate()[0]
        assert last.returncode == 0, said
        assert played.app.faults.total() >= 10
        paths = [asked for asked in played.app.asked if asked.endswith("output_items")]
        pages = sum(played.app.asked[path] for path in paths)
        assert pages < 1.3 * (BIG.items / 100 + BIG.runs)  # what was there was not asked again
        quirks.fault_share = 0.0
        counted = {group.kind: group.count for group in stock(played).groups}
        assert counted["output_item"] == BIG.items
        assert (counted["eval"], counted["eval_run"], counted["job"]) == (12, 30, 25)
        compare(played, Archive.open(folder))
    archive = Archive.open(folder)
    assert archive.manifest.counts["output_item"] == {"kept": BIG.items}
    assert archive.manifest.counts["job"] == {"kept": BIG.jobs}
    assert archive.manifest.counts["eval_run"] == {"kept": BIG.runs}
    states = {name: entry_of(archive, name).state for name in account.files[-2:]}
    assert states == {account.files[-1]: "deleted", account.files[-2]: "forbidden"}
    assert check(folder).problems == ()
    planted = plant(folder)
    found = {problem.path for problem in check(folder).problems}
    assert len(planted) == 20
    assert planted <= found


def stock(played: StandIn) -> Inventory:
    source = Source(profile="openai", kind="openai", base_url=played.base_url)
    return take_stock(look_around(played.async_client()), source, date(2026, 11, 21))


def entry_of(archive: Archive, name: str) -> Entry:
    found = archive.get("file", name)
    assert found is not None
    return found


def compare(played: StandIn, archive: Archive) -> None:
    """Check every object against what the source answers the official client."""
    client = played.client()
    account = played.account
    assert objects(archive, "eval") == listed(client, "/evals")
    for eval_id in account.evals:
        assert objects(archive, "eval_run", eval_id) == listed(client, f"/evals/{eval_id}/runs")
    for eval_id, run_id in account.runs:
        path = f"/evals/{eval_id}/runs/{run_id}/output_items"
        assert objects(archive, "output_item", run_id) == listed(client, path)
    assert objects(archive, "job")[::-1] == listed(client, "/fine_tuning/jobs")
    for job in account.jobs:
        for kind, word in (("job_event", "events"), ("checkpoint", "checkpoints")):
            path = f"/fine_tuning/jobs/{job}/{word}"
            assert objects(archive, kind, job)[::-1] == listed(client, path)  # type: ignore[arg-type]
    assert objects(archive, "file") == listed(client, "/files", order="asc")
    for name in account.files[:-2]:
        content = archive.blob(str(entry_of(archive, name).blob)).read_bytes()
        assert content == client.files.content(name).content
    assert objects(archive, "batch")[::-1] == listed(client, "/batches")
    assert objects(archive, "completion") == listed(client, "/chat/completions")
    for name in account.completions:
        path = f"/chat/completions/{name}/messages"
        assert objects(archive, "completion_message", name) == listed(client, path)
    assert objects(archive, "model") == client.get("/models", cast_to=object)["data"]  # type: ignore[index]


def plant(folder: Path) -> set[str]:
    """Damage 20 files of an archive, each in another way or another place; return which."""
    draws = random.Random(5)
    blobs = sorted(path for path in (folder / "blobs").rglob("*") if path.is_file())
    damaged = [folder / "archive.json", *sorted((folder / "objects").iterdir())[:12]]
    damaged += draws.sample(blobs, 20 - len(damaged))
    ways: tuple[Callable[[bytearray], object], ...] = (
        lambda data: data.__setitem__(draws.randrange(len(data)), 0),
        lambda data: data.__delitem__(slice(-draws.randrange(1, 30), None)),
        lambda data: data.__delitem__(slice(0, data.index(b"\n") + 1)),
        lambda data: data.append(10),
    )
    for number, path in enumerate(damaged):
        data = bytearray(path.read_bytes())
        ways[number % len(ways)](data)
        path.write_bytes(data)
    damaged[-1].unlink()
    return {str(path.relative_to(folder)) for path in damaged}
