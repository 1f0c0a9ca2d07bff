"""Bytes from files, standard input and URLs, packed or not."""

import gzip
import io
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import pytest
import zstandard

from selftune.core.errors import InvalidInput, MissingExtra
from selftune.data.sources.source import display_name, located, open_source

TEXT = b'{"n": 1}\n' * 50_000


def read(location: str | Path) -> bytes:
    with open_source(location) as source:
        assert TEXT.startswith(source.head)
        return source.stream.read()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", TEXT),
        ("rows.jsonl.gz", gzip.compress(TEXT)),
        ("no-suffix", gzip.compress(TEXT)),
        ("two-members", gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])),
        ("rows.zst", zstandard.compress(TEXT)),
        ("two-frames", zstandard.compress(TEXT[:9]) + zstandard.compress(TEXT[9:])),
    ],
)
def test_bytes_come_out_whole_whatever_they_are_packed_in(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == TEXT
    assert read(f"file://{tmp_path / name}") == TEXT


@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_a_file_of_a_few_bytes_is_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "short").write_bytes(TEXT[:size])
    assert read(tmp_path / "short") == TEXT[:size]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(TEXT)), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", packed)
    assert read("-") == TEXT


def test_any_storage_that_fsspec_knows_is_read() -> None:
    with fsspec.open("memory://folder/rows.jsonl.gz", "wb") as file:
        file.write(gzip.compress(TEXT))
    assert read("memory://folder/rows.jsonl.gz") == TEXT
    with open_source("memory://folder/rows.jsonl.gz") as source:
        assert source.suffix == ".jsonl"
        assert source.size is None


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_packed_bytes_that_end_early_say_what_to_do(tmp_path: Path, pack, kept) -> None:  # type: ignore[no-untyped-def]
    packed = pack(bytes(range(256)) * 2_000 + TEXT)
    (tmp_path / "cut").write_bytes(packed[: int(len(packed) * kept)])
    with (
        pytest.raises(InvalidInput, match=r"ends before its end: copy or download") as raised,
        open_source(tmp_path / "cut") as source,
    ):
        source.stream.read()
    assert raised.value.code == "file-cut-short"


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_bytes_that_are_damaged_say_so(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    packed = bytearray(pack(bytes(range(256)) * 2_000))
    packed[len(packed) // 2 :] = b"x" * (len(packed) - len(packed) // 2)
    (tmp_path / "damaged").write_bytes(packed)
    with (
        pytest.raises(InvalidInput, match=r"damaged|ends before"),
        open_source(tmp_path / "damaged") as source,
    ):
        source.stream.read()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_bomb_is_unpacked_no_further_than_it_is_read(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "bomb").write_bytes(pack(bytes(50_000_000)))
    with open_source(tmp_path / "bomb") as source:
        assert source.stream.read(1000) == bytes(1000)
        assert source.size is not None
        assert source.position <= source.size < 1_000_000


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("missing.jsonl", r"^missing.jsonl cannot be read: it is not there\.$"),
        ("owner/name", "is written hf:owner/name"),
        ("nowhere://user:secret@host/rows?key=secret", "at no place that fsspec knows"),
        ("memory://missing", "cannot be read"),
        ("http://user:secret@127.0.0.1:9/rows.jsonl?token=secret", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_secrets(location: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as raised, open_source(location) as source:
        source.stream.read()
    assert "secret" not in str(raised.value)


def test_a_download_that_breaks_off_is_no_whole_file() -> None:
    class Half(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(TEXT)))
            self.end_headers()
            self.wfile.write(TEXT if self.path == "/whole" else TEXT[: len(TEXT) // 2])

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Half) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            assert read(f"{address}/whole") == TEXT
            with pytest.raises(InvalidInput, match="ends before its end"):
                read(f"{address}/half?key=secret")
        finally:
            server.shutdown()


def test_a_storage_whose_library_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ImportError("no", name="s3fs")

    monkeypatch.setattr(fsspec, "open", refuse)
    with (
        pytest.raises(MissingExtra, match=r"s3://bucket/rows needs the 's3fs' package"),
        open_source("s3://key:secret@bucket/rows") as source,
    ):
        source.stream.read()


def test_display_names_keep_the_place_only() -> None:
    assert display_name("https://me:pw@host/a.jsonl?sig=1#x") == "https://host/a.jsonl"
    assert display_name("folder/a?b.jsonl") == "folder/a?b.jsonl"
    assert display_name("-") == "standard input"


def test_paths_in_a_file_are_relative_to_it_and_other_places_are_not() -> None:
    assert located(Path("/runs"), "train.jsonl") == "/runs/train.jsonl"
    assert located(Path("/runs"), "/data/train.jsonl") == "/data/train.jsonl"
    for place in ("hf:owner/name", "https://host/rows.jsonl", "memory://rows"):
        assert located(Path("/runs"), place) == place


def test_progress_counts_the_bytes_as_they_are_stored(tmp_path: Path) -> None:
    packed = gzip.compress(TEXT)
    (tmp_path / "rows.gz").write_bytes(packed)
    with open_source(tmp_path / "rows.gz") as source:
        assert source.position == 0
        source.stream.read()
        assert source.position == source.size == len(packed)
