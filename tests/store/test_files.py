"""Files and uploads: one project each; bytes stay as long as a record needs them."""

import threading

import pytest
from tests.conftest import OpenStore, stored_file

from selftune.core.errors import InvalidInput, LimitExceeded, NotFound, Unavailable
from selftune.core.records import File, Upload, UploadPart
from selftune.store.accounts import DEFAULT_PROJECT, create_project
from selftune.store.files import (
    delete_file,
    drop_unneeded_blobs,
    expire_files,
    get_file,
    list_files,
    save_file,
)
from selftune.store.store import Store
from selftune.store.uploads import (
    cancel_upload,
    complete_upload,
    expire_uploads,
    get_parts,
    get_upload,
    save_part,
    save_upload,
)


def add(store: Store, content: bytes = b"x", **fields: str) -> File:
    file = stored_file(store, content, **fields)
    save_file(store, file)
    return file


def upload(store: Store, *, expires_in: int = 3600) -> Upload:
    made = Upload(
        id=store.ids.new("upload_"),
        project_id=DEFAULT_PROJECT,
        filename="big.jsonl",
        purpose="fine-tune",
        bytes=6,
        mime_type="text/jsonl",
        created_at=store.now(),
        expires_at=store.now() + expires_in,
    )
    save_upload(store, made)
    return made


def part(store: Store, of: Upload, content: bytes) -> UploadPart:
    blob = stored_file(store, content)
    made = UploadPart(
        id=store.ids.new("part_"),
        upload_id=of.id,
        bytes=blob.bytes,
        sha256=blob.sha256,
        created_at=store.now(),
    )
    save_part(store, DEFAULT_PROJECT, made)
    return made


def test_a_file_is_found_in_its_project_only(any_store: Store) -> None:
    file = add(any_store)
    assert get_file(any_store, DEFAULT_PROJECT, file.id) == file
    other = create_project(any_store, "other").id
    with pytest.raises(NotFound, match=f"^No such File object: {file.id}$") as caught:
        get_file(any_store, other, file.id)
    assert caught.value.param == "id"
    with pytest.raises(NotFound):
        delete_file(any_store, other, file.id)
    assert list_files(any_store, other).data == ()


def test_a_listing_goes_on_where_the_last_page_ended(any_store: Store) -> None:
    saved = [add(any_store, str(n).encode()).id for n in range(5)]
    page = list_files(any_store, DEFAULT_PROJECT, limit=2)
    assert [file.id for file in page.data] == saved[:-3:-1]
    assert page.has_more
    page = list_files(any_store, DEFAULT_PROJECT, after=page.data[-1].id, limit=3)
    assert [file.id for file in page.data] == saved[2::-1]
    assert not page.has_more
    page = list_files(any_store, DEFAULT_PROJECT, order="asc", after=saved[1], limit=2)
    assert [file.id for file in page.data] == saved[2:4]
    with pytest.raises(InvalidInput):
        list_files(any_store, DEFAULT_PROJECT, after="file-unknown")


def test_a_listing_can_be_of_one_purpose(any_store: Store) -> None:
    add(any_store)
    results = add(any_store, purpose="fine-tune-results")
    assert list_files(any_store, DEFAULT_PROJECT, purpose="fine-tune-results").data == (results,)


def test_bytes_go_with_the_last_file_that_needs_them(any_store: Store) -> None:
    first, second = add(any_store), add(any_store)
    delete_file(any_store, DEFAULT_PROJECT, first.id)
    assert any_store.blobs.exists(first.sha256)
    delete_file(any_store, DEFAULT_PROJECT, second.id)
    assert not any_store.blobs.exists(first.sha256)


def test_a_record_is_refused_when_its_bytes_are_gone(any_store: Store) -> None:
    file = add(any_store)
    late = stored_file(any_store, b"x")
    delete_file(any_store, DEFAULT_PROJECT, file.id)
    with pytest.raises(Unavailable, match="send them again"):
        save_file(any_store, late)


def test_files_saved_and_deleted_at_once_never_lose_bytes(any_store: Store) -> None:
    def churn() -> None:
        for _ in range(10):
            try:
                file = add(any_store, b"shared")
            except Unavailable:
                continue
            assert any_store.blobs.exists(file.sha256)
            delete_file(any_store, DEFAULT_PROJECT, file.id)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list_files(any_store, DEFAULT_PROJECT).data == ()
    assert list(any_store.blobs.names()) in ([], [stored_file(any_store, b"shared").sha256])


def test_an_expired_file_is_gone_at_once_and_its_bytes_at_the_next_cleaning(
    any_store: Store,
) -> None:
    file = stored_file(any_store, b"x").model_copy(update={"expires_at": any_store.now() - 1})
    save_file(any_store, file)
    with pytest.raises(NotFound):
        get_file(any_store, DEFAULT_PROJECT, file.id)
    assert list_files(any_store, DEFAULT_PROJECT).data == ()
    assert expire_files(any_store) == 1
    assert not any_store.blobs.exists(file.sha256)


def test_bytes_that_a_crash_left_without_a_record_are_removed(any_store: Store) -> None:
    kept, orphan = add(any_store, b"kept"), stored_file(any_store, b"orphan")
    assert drop_unneeded_blobs(any_store) == 0  # a record may still be on its way
    assert drop_unneeded_blobs(any_store, older_than_seconds=-1.0) == 1
    assert any_store.blobs.exists(kept.sha256)
    assert not any_store.blobs.exists(orphan.sha256)


def test_a_project_keeps_no_more_files_than_it_may(open_sqlite: OpenStore) -> None:
    store = open_sqlite(max_files=2)
    add(store)
    add(store)
    with pytest.raises(LimitExceeded, match="2 files"):
        add(store)


def test_an_upload_becomes_a_file_once(any_store: Store) -> None:
    made = upload(any_store)
    parts = [part(any_store, made, content) for content in (b"one", b"two")]
    ids = (parts[1].id, parts[0].id)
    assert [found.id for found in get_parts(any_store, made.id, ids)] == list(ids)
    file = stored_file(any_store, b"twoone")
    done = complete_upload(any_store, made, file)
    assert (done.status, done.file_id) == ("completed", file.id)
    assert get_upload(any_store, DEFAULT_PROJECT, made.id) == done
    assert get_file(any_store, DEFAULT_PROJECT, file.id) == file
    assert [any_store.blobs.exists(one.sha256) for one in parts] == [False, False]
    with pytest.raises(InvalidInput, match="only a pending upload"):
        complete_upload(any_store, made, stored_file(any_store, b"again"))


def test_a_cancelled_upload_takes_no_more_parts(any_store: Store) -> None:
    made = upload(any_store)
    one = part(any_store, made, b"one")
    assert cancel_upload(any_store, DEFAULT_PROJECT, made.id).status == "cancelled"
    assert not any_store.blobs.exists(one.sha256)
    with pytest.raises(InvalidInput, match="is cancelled"):
        part(any_store, made, b"two")


def test_an_upload_that_was_never_completed_expires(any_store: Store) -> None:
    made = upload(any_store, expires_in=100)
    one = part(any_store, made, b"one")
    assert expire_uploads(any_store) == 0
    late = upload(any_store, expires_in=-1)
    assert get_upload(any_store, DEFAULT_PROJECT, late.id).status == "expired"
    assert expire_uploads(any_store) == 1
    assert any_store.blobs.exists(one.sha256)


def test_parts_must_be_known_and_named_once(any_store: Store) -> None:
    made = upload(any_store)
    one = part(any_store, made, b"one")
    for ids in ((one.id, one.id), ("part_unknown",)):
        with pytest.raises(InvalidInput) as caught:
            get_parts(any_store, made.id, ids)
        assert caught.value.param == "part_ids"
    with pytest.raises(NotFound, match="No such Upload object: upload_x"):
        get_upload(any_store, DEFAULT_PROJECT, "upload_x")
