"""Both kinds of store keep the same promises: whole objects, create-only writes, compare-and-set."""

import contextlib
import json
import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.oauth2 import service_account

from function.store import AlreadyExists, Conflict, Corrupt, FileStore, NotFound, Store, Unavailable, open_store
from tests.cloud import CloudDouble


@pytest.fixture
def bucket(cloud: CloudDouble) -> Iterator[Store]:
    """Return a store in the double's bucket."""
    with contextlib.closing(open_store("gs://models/some/prefix", timeout_seconds=2)) as store:
        yield store


@pytest.fixture(params=["file", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty store of each kind."""
    if request.param == "file":
        return open_store((tmp_path / "a store").as_uri())
    return request.getfixturevalue("bucket")


def test_what_was_created_is_got(store: Store) -> None:
    """An object comes back byte for byte; another key is NotFound."""
    store.create("a/1/file", b"\0content")
    assert store.get("a/1/file").content == b"\0content"
    with pytest.raises(NotFound):
        store.get("a/1/other")
    with pytest.raises(NotFound):
        store.get("a/1")


def test_create_never_overwrites(store: Store) -> None:
    """A second create with other bytes is refused and changes nothing; with the same bytes it is as done."""
    store.create("key", b"one")
    store.create("key", b"one")
    with pytest.raises(AlreadyExists):
        store.create("key", b"two")
    assert store.get("key").content == b"one"


def test_replace_needs_the_generation_that_was_read(store: Store) -> None:
    """Compare-and-set writes over what was read, and over nothing else."""
    store.replace("key", b"one", None)
    first = store.get("key")
    store.replace("key", b"two", first.generation)
    with pytest.raises(Conflict):
        store.replace("key", b"three", first.generation)
    with pytest.raises(Conflict):
        store.replace("key", b"three", None)
    assert store.get("key").content == b"two"


def test_listing_is_by_prefix_in_order(store: Store) -> None:
    """A listing holds every object under a prefix, with its size, and no other."""
    for key in ("m/1/b", "m/1/a", "m/2/a", "mm/1/a"):
        store.create(key, key.encode())
    assert [(entry.key, entry.size) for entry in store.list("m/")] == [("m/1/a", 5), ("m/1/b", 5), ("m/2/a", 5)]
    assert store.list("nothing/") == []


def test_what_was_deleted_is_gone(store: Store) -> None:
    """Deleting removes an object; deleting what is gone is no error."""
    store.create("m/1/a", b"x")
    store.delete("m/1/a")
    store.delete("m/1/a")
    assert store.list("") == []


def test_of_many_creators_one_wins(store: Store) -> None:
    """Of twenty that create the same key at once, one succeeds, and its bytes are there."""
    winners = []
    barrier = threading.Barrier(20)

    def create(index: int) -> None:
        content = f"by {index}".encode()
        barrier.wait()
        try:
            store.create("key", content)
            winners.append(content)
        except AlreadyExists:
            pass

    threads = [threading.Thread(target=create, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == [store.get("key").content]


def test_no_increment_is_lost(store: Store) -> None:
    """Eight writers that add one by compare-and-set, again after each conflict, add eight."""
    store.create("count", b"0")

    def add() -> None:
        while True:
            stored = store.get("count")
            try:
                return store.replace("count", str(int(stored.content) + 1).encode(), stored.generation)
            except Conflict:
                continue

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("count").content == b"8"


def _write_for_ever(folder: Path) -> None:
    store = FileStore(folder)
    number = 0
    while True:
        number += 1
        store.create(f"m/{number}", b"x" * 1_000_000)


def test_a_killed_writer_leaves_whole_objects_only(tmp_path: Path) -> None:
    """Whenever a writer is killed, each object that can be listed is whole."""
    process = multiprocessing.get_context("spawn").Process(target=_write_for_ever, args=(tmp_path,))
    process.start()
    while len(FileStore(tmp_path).list("m/")) < 3:
        assert process.is_alive()
    process.kill()
    process.join()
    entries = FileStore(tmp_path).list("m/")
    assert len(entries) >= 3
    assert {entry.size for entry in entries} == {1_000_000}


@pytest.mark.parametrize(
    "url", ["s3://bucket", "gs://", "file://", "file://host/folder", "/folder", "", "file:relative", "https://x/y"]
)
def test_other_urls_are_refused(url: str) -> None:
    """A store is gs://bucket/prefix or file:///folder; anything else says so."""
    with pytest.raises(ValueError, match="expected gs://bucket/prefix or file:///folder, found"):
        open_store(url)


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/etc/passwd"])
def test_keys_stay_inside_a_folder(key: str, tmp_path: Path) -> None:
    """No key leads out of the store."""
    with pytest.raises(ValueError, match="inside the store"):
        FileStore(tmp_path).get(key)


def test_a_lost_answer_to_a_create_is_no_conflict(cloud: CloudDouble, bucket: Store) -> None:
    """When the answer to a create is lost, the retry meets our own bytes, and that is success."""
    cloud.faults.add("reset_after_commit", method="storage.objects.insert")
    bucket.create("key", b"mine")
    assert bucket.get("key").content == b"mine"


def test_a_lost_answer_to_a_replace_is_no_conflict(cloud: CloudDouble, bucket: Store) -> None:
    """When the answer to a compare-and-set is lost, the retry meets our own bytes, and that is success."""
    bucket.create("key", b"one")
    stored = bucket.get("key")
    cloud.faults.add("reset_after_commit", method="storage.objects.insert")
    bucket.replace("key", b"two", stored.generation)
    assert bucket.get("key").content == b"two"


@pytest.mark.parametrize(
    ("kind", "selectors", "error"),
    [
        ("status", {"status": 503}, Unavailable),
        ("status", {"status": 403}, Unavailable),
        ("status", {"status": 401}, Unavailable),
        ("reset", {}, Unavailable),
        ("stall", {}, Unavailable),
        ("corrupt", {}, Corrupt),
        ("truncate", {}, (Corrupt, Unavailable)),
    ],
    ids=["503", "403", "401", "reset", "stalled", "corrupt", "truncated"],
)
def test_faults_that_last_become_our_own_errors(
    kind: str, selectors: dict[str, int], error: type[Exception], cloud: CloudDouble, bucket: Store
) -> None:
    """Whatever the client library raises, callers see the store's own errors, within the time that was allowed."""
    bucket.create("key", b"content" * 1000)
    cloud.faults.add(kind, times=None, media=True, **selectors)
    with pytest.raises(error):
        bucket.get("key")


def test_credentials_that_are_given_are_used(cloud: CloudDouble) -> None:
    """A bucket is asked as whoever they are, instead of whoever the environment says."""
    info = json.loads(cloud.key_file("robot@example.com").read_text())
    credentials = service_account.Credentials.from_service_account_info(info, scopes=["any"])
    refusal = r"robot@example\.com does not have storage\.objects\.list access"
    with contextlib.closing(open_store("gs://models", credentials=credentials)) as bucket:
        for _ in range(2):  # and again, when it was closed
            with pytest.raises(Unavailable, match=refusal):
                bucket.list("")
            bucket.close()
    assert {entry.principal for entry in cloud.requests.of("storage.objects.list")} == {"robot@example.com"}


def test_without_credentials_the_store_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Missing credentials are said as such."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(Unavailable, match=r"none\.json"):
        open_store("gs://models").get("key")
