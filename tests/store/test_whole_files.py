"""Files are replaced whole or not at all, and changed by one process at a time."""

import os
from pathlib import Path

import pytest

from selftune.core.errors import Unavailable
from selftune.store.whole_files import alone, replacing, write_whole


def fail(path: Path) -> None:
    with replacing(path, durable=False) as handle:
        handle.write(b"half")
        raise KeyError


def full(path: Path) -> None:
    with alone(path):
        raise OSError(28, os.strerror(28))


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.toml"
    write_whole(path, b"old")
    with pytest.raises(KeyError):
        fail(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "settings.toml", tmp_path / "settings.toml"
    write_whole(target, b"old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match=r"settings\.toml' cannot be written: File exists"):
        full(tmp_path / "file" / "settings.toml")
    with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
        full(tmp_path / "settings.toml")
