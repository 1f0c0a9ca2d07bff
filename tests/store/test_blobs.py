"""Bytes are kept once, under their SHA-256, and nothing half-written stays."""

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import OpenStore

from selftune.core.errors import Unavailable
from selftune.store.blobs import Blob, Blobs, place_folder
from selftune.store.store import Store


def put(blobs: Blobs, content: bytes) -> Blob:
    with blobs.writer() as writer:
        writer.write(content)
        return writer.commit()


def temporary_files(store: Store) -> list[Path]:
    return list((store.root / "blobs" / ".tmp").iterdir())


def test_what_was_written_is_read_back_under_its_hash(store: Store) -> None:
    blob = put(store.blobs, b"hello")
    assert blob == Blob(sha256=hashlib.sha256(b"hello").hexdigest(), bytes=5)
    with store.blobs.open(blob.sha256) as handle:
        assert handle.read() == b"hello"
    assert store.blobs.local_path(blob.sha256).read_bytes() == b"hello"


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    put(store.blobs, b"same")
    put(store.blobs, b"same")
    assert len(list(store.blobs.names())) == 1
    assert temporary_files(store) == []


def test_an_error_on_the_way_leaves_nothing(store: Store) -> None:
    def go_away() -> None:
        with store.blobs.writer() as writer:
            writer.write(b"half")
            raise RuntimeError("client went away")

    with pytest.raises(RuntimeError, match="client went away"):
        go_away()
    assert temporary_files(store) == []
    assert list(store.blobs.names()) == []


def test_a_full_disk_is_said_in_plain_words_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put(store.blobs, b"earlier")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(Unavailable, match="disk is full") as caught:
        put(store.blobs, b"later")
    assert caught.value.code == "disk_full"
    assert temporary_files(store) == []
    assert len(list(store.blobs.names())) == 1


def test_what_a_killed_process_was_writing_is_removed_when_the_store_is_next_opened(
    store: Store, open_sqlite: OpenStore
) -> None:
    code = (
        "import os, sys, pathlib; from selftune.store.blobs import Blobs\n"
        "blobs = Blobs(sys.argv[1], pathlib.Path(sys.argv[1]))\n"
        "with blobs.writer() as writer:\n"
        "    writer.write(b'half'); os.kill(os.getpid(), 9)\n"
    )
    folder = str(store.root / "blobs")
    killed = subprocess.run([sys.executable, "-c", code, folder], check=False)
    assert killed.returncode == -9
    with store.blobs.writer() as mine:
        assert len(temporary_files(store)) == 2
        open_sqlite()
        assert len(temporary_files(store)) == 1
        mine.write(b"whole")
        assert mine.commit().bytes == 5


def test_bytes_go_to_any_storage_that_fsspec_knows(tmp_path: Path) -> None:
    blobs = Blobs("memory://bucket/blobs", tmp_path / "tmp")
    blob = put(blobs, b"remote")
    with blobs.open(blob.sha256) as handle:
        assert handle.read() == b"remote"
    assert blobs.local_path(blob.sha256).read_bytes() == b"remote"
    assert list(blobs.names()) == [blob.sha256]
    assert blobs.age(blob.sha256) < 60
    blobs.delete(blob.sha256)
    assert not blobs.exists(blob.sha256)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_large_file_takes_constant_memory(store: Store) -> None:
    chunk = os.urandom(1 << 20)
    with store.blobs.writer() as writer:
        writer.write(chunk)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(63):
            writer.write(chunk)
        assert writer.commit().bytes == 64 << 20
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 16 * 1024


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    for attempt in ("first", "second"):
        made = tmp_path / attempt
        (made / "inner").mkdir(parents=True)
        (made / "inner" / "weights").write_bytes(b"w")
        place_folder(made, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "inner" / "weights").read_bytes() == b"w"
