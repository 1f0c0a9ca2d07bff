"""Whatever happens to an archive after it was written is found, and said where it is."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rescue.archives import bring
from tests.rescue.stand_in import TINY, stand_in

from selftune.core.errors import InvalidInput, NotFound
from selftune.core.settings import child_environment, load_settings
from selftune.rescue.archive.format import manifest_of, manifest_text
from selftune.rescue.archive.reader import Archive
from selftune.rescue.archive.verify import check

Damage = Callable[[Path], str]
"""Does something to an archive; returns the path that must be named."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "a"
    with stand_in(tmp_path_factory.mktemp("openai"), size=TINY) as played:
        bring(played, folder)
    return folder


@pytest.fixture
def archive(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "a")
    return tmp_path / "a"


def objects(kind: str) -> str:
    return f"objects/{kind}.jsonl"


def flip(name: str, share: float, bit: int) -> Damage:
    """Flip one bit at a place of a file."""

    def damage(folder: Path) -> str:
        path = folder / name
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 1 << bit
        path.write_bytes(data)
        return name

    return damage


def of_lines(kind: str, change: Callable[[list[bytes]], object]) -> Damage:
    def damage(folder: Path) -> str:
        path = folder / objects(kind)
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))
        return objects(kind)

    return damage


def swap(lines: list[bytes]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def cut(name: str, bytes_off: int) -> Damage:
    def damage(folder: Path) -> str:
        path = folder / name
        path.write_bytes(path.read_bytes()[:-bytes_off])
        return name

    return damage


def remove(name: str) -> Damage:
    def damage(folder: Path) -> str:
        (folder / name).unlink()
        return name

    return damage


def of_blob(change: Callable[[Path], object], place: int) -> Damage:
    def damage(folder: Path) -> str:
        path = sorted(each for each in (folder / "blobs").rglob("*") if each.is_file())[place]
        change(path)
        return str(path.relative_to(folder))

    return damage


def of_other_text(kind: str, old: bytes, new: bytes) -> Damage:
    """Change what a line says, and leave it JSON of the same shape."""

    def damage(folder: Path) -> str:
        path = folder / objects(kind)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, 1))
        return objects(kind)

    return damage


def more_counted(folder: Path) -> str:
    """Say in `archive.json` that there was one more, with a SHA-256 of the old."""
    path = folder / "archive.json"
    value = json.loads(path.read_text("utf-8"))
    value["counts"]["eval"]["kept"] += 1
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return "archive.json"


def retyped(folder: Path) -> str:
    path = folder / "archive.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))), encoding="utf-8")
    return "archive.json"


def retold(folder: Path, **values: object) -> None:
    """Write other things into both manifests, as a selftune would."""
    for name in ("archive.json", "archive.copy.json"):
        path = folder / name
        manifest = manifest_of(path.read_bytes()).model_copy(update=values)
        path.write_bytes(manifest_text(manifest))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def stranger(folder: Path) -> str:
    (folder / "objects" / "extra.jsonl").write_bytes(b"")
    return "objects/extra.jsonl"


CORRUPTIONS: dict[str, Damage] = {
    "a bit of the first line": flip(objects("eval"), 0.0, 1),
    "a bit of a checksum": flip(objects("output_item"), 0.002, 0),
    "a bit in the middle": flip(objects("output_item"), 0.5, 3),
    "the last newline": flip(objects("job_event"), 1.0, 2),
    "a bit of archive.json": flip("archive.json", 0.5, 0),
    "white space of archive.json": retyped,
    "a score": of_other_text("output_item", b'"passed":true', b'"passed":false'),
    "a date": of_other_text("job", b'"fetched_at":1', b'"fetched_at":2'),
    "a state": of_other_text("file", b'"state":"kept"', b'"state":"deleted"'),
    "white space in a line": of_other_text("model", b'"kind":', b'"kind": '),
    "the first line gone": of_lines("eval_run", lambda lines: lines.pop(0)),
    "a line gone from the middle": of_lines("output_item", lambda lines: lines.pop(7)),
    "the last line gone": of_lines("job", lambda lines: lines.pop()),
    "a line twice": of_lines("checkpoint", lambda lines: lines.append(lines[0])),
    "two lines swapped": of_lines("job_event", swap),
    "half a line gone": cut(objects("completion"), 40),
    "a file of lines gone": remove(objects("batch")),
    "another count": more_counted,
    "archive.json gone": remove("archive.json"),
    "a bit of the copy": flip("archive.copy.json", 0.9, 0),
    "a content changed": of_blob(lambda path: flip(path.name, 0.3, 6)(path.parent), 0),
    "a content gone": of_blob(Path.unlink, 1),
    "a content emptied": of_blob(emptied, 2),
    "a content grown": of_blob(longer, -1),
    "a file of somebody else": stranger,
}


@pytest.mark.parametrize("damage", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
def test_a_planted_corruption_is_found_where_it_is(archive: Path, damage: Damage) -> None:
    assert check(archive).problems == ()
    where = damage(archive)
    problems = check(archive).problems
    assert where in {problem.path for problem in problems}
    assert {problem.path for problem in problems} == {where}


def test_every_flipped_bit_is_found(archive: Path) -> None:
    draws = random.Random(7)
    paths = sorted(path for path in archive.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(60):
        path = draws.choice(paths)
        before = path.read_bytes()
        flip(path.name, draws.random(), draws.randrange(8))(path.parent)
        assert check(archive).problems, path
        path.write_bytes(before)
    assert check(archive).problems == ()


def test_a_damaged_line_is_named_by_its_number(archive: Path) -> None:
    of_lines("output_item", lambda lines: lines.__setitem__(4, b"{}\n"))(archive)
    named = [each for each in check(archive).problems if each.line is not None]
    assert [(each.path, each.line) for each in named] == [(objects("output_item"), 5)]


def test_lines_that_were_lost_before_a_run_ended_show_in_the_count_of_their_list(
    archive: Path,
) -> None:
    retold(archive, files={}, counts={}, ended_at=None)
    assert check(archive).problems == ()
    of_lines("job_event", lambda lines: lines.pop(3))(archive)
    [problem] = check(archive).problems
    assert problem.path == objects("job_event")
    assert problem.what.endswith("are here")


def test_what_was_there_when_a_run_ended_is_checked_while_another_is_under_way(
    archive: Path,
) -> None:
    retold(archive, ended_at=None)
    of_lines("model", lambda lines: lines.append(lines[0]))(archive)
    assert check(archive).problems == ()
    of_lines("model", lambda lines: lines.pop(0))(archive)
    assert {each.path for each in check(archive).problems} == {objects("model")}


def test_the_program_says_what_is_wrong_and_ends_with_a_status(archive: Path) -> None:
    command = [sys.executable, "-m", "selftune", "rescue", "verify", str(archive)]
    environment = child_environment(load_settings(home=archive.parent / "home"))
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.split()[-1]) == (0, "checked.")
    remove(objects("batch"))(archive)
    run = subprocess.run(
        [*command, "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert json.loads(run.stdout)[0] == {
        "path": objects("batch"),
        "line": None,
        "what": "it is missing",
    }


def test_a_damaged_line_is_not_read_as_if_it_were_whole(archive: Path) -> None:
    name = Archive.open(archive).ids("output_item")[0]
    of_other_text("output_item", b'"passed":true', b'"passed":false')(archive)
    with pytest.raises(InvalidInput, match="is damaged"):
        list(Archive.open(archive).list("output_item"))
    assert Archive.open(archive).get("eval", name) is None


def test_a_folder_that_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no archive"):
        Archive.open(tmp_path)
    with pytest.raises(NotFound, match="is no archive"):
        check(tmp_path)


def test_an_archive_opens_by_the_copy_of_a_damaged_manifest(archive: Path) -> None:
    before = Archive.open(archive).manifest
    flip("archive.json", 0.4, 2)(archive)
    assert Archive.open(archive).manifest == before
    flip("archive.copy.json", 0.4, 2)(archive)
    with pytest.raises(InvalidInput, match=r"archive\.json"):
        Archive.open(archive)
