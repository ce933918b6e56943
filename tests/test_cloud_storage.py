"""The double of Cloud Storage, seen through Google's own client, its API description and the real Terraform."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry
from google.auth import exceptions as auth_errors
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from tests.cloud import CloudDouble
from tests.cloud.discovery import Document, Method
from tests.cloud.errors import CloudError
from tests.cloud.messages import Request
from tests.cloud.storage import objects
from tests.cloud.storage.checksums import compute
from tests.cloud.storage.service import BEHAVIOUR
from tests.cloud.terraform import initialise, run_terraform
from tests.cloud.tripwire import Tripwire

ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024
PIECE = 256 * 1024
DAY = 86400  # seconds
TEN = b"0123456789"
QUICK_RETRY: Retry = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(20)
DOCUMENT = Document.load("storage", "v1")
METHODS = sorted(DOCUMENT.methods, key=lambda method: method.id)


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Give a double with the bucket `models`."""
    with CloudDouble(buckets=["models"]) as double:
        yield double


@pytest.fixture
def client(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[storage.Client]:
    """Give Google's client, which finds the double by the environment alone."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    client = storage.Client()
    yield client
    client.close()


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    """Give the bucket `models` without asking for it."""
    return client.bucket("models")


@pytest.fixture
def versioned(cloud: CloudDouble, client: storage.Client) -> storage.Bucket:
    """Give a bucket that keeps older generations."""
    cloud.storage.add_bucket("kept", versioning={"enabled": True})
    return client.bucket("kept")


@pytest.fixture
def http(cloud: CloudDouble) -> Iterator[httpx2.Client]:
    """Give a plain HTTP client for what Google's own never sends."""
    with httpx2.Client(base_url=cloud.url, trust_env=False) as client:
        yield client


def assert_refused(response: httpx2.Response, status: int, reason: str, words: str = "") -> None:
    """Check status and shape of an error as Google gives it."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == status
    assert words in error["message"]
    assert {fault["reason"] for fault in error["errors"]} == {reason}
    assert {fault["domain"] for fault in error["errors"]} == {"global"}


class TestGenerations:
    """Create-only, compare-and-set, and which generation is read."""

    def test_create_only_has_one_winner(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """Of twenty threads that create the same object with ifGenerationMatch=0, exactly one succeeds."""
        barrier = threading.Barrier(20)

        def create(number: int) -> int | None:
            barrier.wait(timeout=30)
            try:
                bucket.blob("1/claim").upload_from_string(str(number), if_generation_match=0)
            except google_errors.PreconditionFailed:
                return None
            return number

        with ThreadPoolExecutor(20) as pool:
            winners = [number for number in pool.map(create, range(20)) if number is not None]
        assert len(winners) == 1
        assert cloud.storage.read("models", "1/claim") == str(winners[0]).encode()
        assert len(cloud.storage.versions("models")) == 1

    def test_compare_and_set_loses_nothing(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """Threads that add one by read, ifGenerationMatch and retry leave the exact sum."""
        cloud.storage.write("models", "counter", b"0")

        def add_one(_: int) -> None:
            while True:
                blob = bucket.get_blob("counter")
                try:  # the generation may be gone before it is read, or before it is replaced
                    value = int(blob.download_as_bytes())
                    blob.upload_from_string(str(value + 1), if_generation_match=blob.generation)
                    return
                except (google_errors.NotFound, google_errors.PreconditionFailed):
                    continue

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(add_one, range(18)))
        assert cloud.storage.read("models", "counter") == b"18"

    def test_calls_are_atomic(
        self, cloud: CloudDouble, bucket: storage.Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing comes between the check of a precondition and the change that it guards."""
        between = threading.Barrier(2)

        def linger(*_: Any) -> None:
            with contextlib.suppress(threading.BrokenBarrierError):
                between.wait(timeout=0.2)  # another call that got here, too, would pass at once

        monkeypatch.setattr(objects, "check_removable", linger)
        with ThreadPoolExecutor(2) as pool:
            create = bucket.blob("claim").upload_from_string
            calls = [pool.submit(create, b"x", if_generation_match=0) for _ in range(2)]
        failures = [call.exception() for call in calls if call.exception()]
        assert [type(failure) for failure in failures] == [google_errors.PreconditionFailed]

    @pytest.mark.parametrize(
        ("exists", "condition", "allowed"),
        [
            (False, "ifGenerationMatch=0", True),
            (False, "ifGenerationMatch=1", False),
            (False, "ifGenerationNotMatch=0", False),
            (False, "ifGenerationNotMatch=1", False),
            (False, "ifMetagenerationMatch=1", False),
            (False, "ifMetagenerationNotMatch=1", False),
            (True, "ifGenerationMatch=0", False),
            (True, "ifGenerationMatch=1", False),
            (True, "ifGenerationMatch=PRESENT", True),
            (True, "ifGenerationNotMatch=0", True),
            (True, "ifGenerationNotMatch=1", True),
            (True, "ifGenerationNotMatch=PRESENT", False),
            (True, "ifMetagenerationMatch=1", True),
            (True, "ifMetagenerationMatch=2", False),
            (True, "ifMetagenerationNotMatch=1", False),
            (True, "ifMetagenerationNotMatch=2", True),
        ],
    )
    def test_preconditions_on_upload(
        self, cloud: CloudDouble, http: httpx2.Client, exists: bool, condition: str, allowed: bool
    ) -> None:
        """An upload is stored if its precondition holds, else answered 412 and nothing changes."""
        present = cloud.storage.write("models", "a", b"old") if exists else 0
        condition = condition.replace("PRESENT", str(present))
        answer = http.post(f"/upload/storage/v1/b/models/o?uploadType=media&name=a&{condition}", content=b"new")
        if not allowed:
            assert_refused(answer, 412, "conditionNotMet")
        kept = [version.content for version in cloud.storage.versions("models")]
        assert kept == ([b"new"] if allowed else [b"old"] * exists)

    def test_reads_have_preconditions(self, bucket: storage.Bucket) -> None:
        """A read answers 412 when something else is there, and 304 when the client has that very thing."""
        blob = bucket.blob("a")
        blob.upload_from_string(b"x")
        with pytest.raises(google_errors.PreconditionFailed):
            blob.reload(if_generation_match=blob.generation + 1)
        with pytest.raises(google_errors.NotModified):
            blob.reload(if_generation_not_match=blob.generation)
        with pytest.raises(google_errors.PreconditionFailed):
            blob.download_as_bytes(if_metageneration_match=2)
        assert blob.download_as_bytes(if_etag_match=blob.etag) == b"x"
        with pytest.raises(google_errors.PreconditionFailed):
            blob.download_as_bytes(if_etag_match="other")

    def test_deleting_has_preconditions(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """An object is deleted only if it is the generation that the client means."""
        generation = cloud.storage.write("models", "a", b"x")
        with pytest.raises(google_errors.PreconditionFailed):
            bucket.blob("a").delete(if_generation_match=generation - 1)
        bucket.blob("a").delete(if_generation_match=generation)
        with pytest.raises(google_errors.NotFound):
            bucket.blob("a").delete()

    def test_overwritten_generation_is_gone(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """Without versioning a generation that was overwritten is 404, never the newer bytes."""
        first = cloud.storage.write("models", "a", b"first")
        second = cloud.storage.write("models", "a", b"second")
        assert second > first
        assert bucket.blob("a", generation=second).download_as_bytes() == b"second"
        with pytest.raises(google_errors.NotFound):
            bucket.blob("a", generation=first).download_as_bytes()
        with pytest.raises(google_errors.NotFound):
            bucket.blob("a", generation=first).reload()

    def test_versioning_keeps_generations(self, cloud: CloudDouble, versioned: storage.Bucket) -> None:
        """With versioning, overwriting and deleting keep the older generations readable until they are named."""
        first = cloud.storage.write("kept", "a", b"first")
        second = cloud.storage.write("kept", "a", b"second")
        versioned.blob("a").delete()
        assert versioned.get_blob("a") is None
        assert versioned.blob("a", generation=first).download_as_bytes() == b"first"
        assert [blob.name for blob in versioned.list_blobs()] == []
        listed = list(versioned.list_blobs(versions=True))
        assert [blob.generation for blob in listed] == [first, second]
        assert all(blob.time_deleted for blob in listed)
        versioned.blob("a", generation=first).delete()
        assert [version.generation for version in cloud.storage.versions("kept")] == [second]

    def test_patch_changes_metageneration_only(self, bucket: storage.Bucket) -> None:
        """A patch keeps content and generation, counts the metageneration, and can be conditional on it."""
        blob = bucket.blob("a")
        blob.upload_from_string(b"x")
        generation = blob.generation
        blob.metadata = {"role": "champion", "by": "me"}
        blob.patch(if_metageneration_match=1)
        assert (blob.generation, blob.metageneration) == (generation, 2)
        blob.metadata = {"by": None}
        blob.patch()
        assert blob.metadata == {"role": "champion"}
        with pytest.raises(google_errors.PreconditionFailed):
            blob.patch(if_metageneration_match=1)

    def test_held_objects_stay(self, bucket: storage.Bucket) -> None:
        """An object under a hold is neither deleted nor overwritten."""
        blob = bucket.blob("a")
        blob.upload_from_string(b"x")
        blob.temporary_hold = True
        blob.patch()
        with pytest.raises(google_errors.Forbidden):
            bucket.blob("a").upload_from_string(b"y")
        with pytest.raises(google_errors.Forbidden):
            blob.delete()


class TestUploads:
    """Media, multipart and resumable uploads, and the checksums that clients declare."""

    @pytest.mark.parametrize("name", ["plain", "a/b/c.json", "space and ?#%&+", "ünïcode/模型"])
    def test_names_survive(self, bucket: storage.Bucket, name: str) -> None:
        """Whatever an object is called, it is read and listed under that name."""
        bucket.blob(name).upload_from_string(b"x", content_type="text/x-test")
        blob = bucket.get_blob(name)
        assert (blob.name, blob.content_type, blob.size) == (name, "text/x-test", 1)
        assert blob.download_as_bytes() == b"x"
        assert [listed.name for listed in bucket.list_blobs()] == [name]

    def test_checksums_are_computed(self, http: httpx2.Client, bucket: storage.Bucket) -> None:
        """The resource and the download's headers carry the content's true checksums, generation and etag."""
        bucket.blob("a").upload_from_string(b"hello")
        blob = bucket.get_blob("a")
        assert (blob.md5_hash, blob.crc32c) == ("XUFAKrxLKna5cZ2REBfFkg==", "mnG7TA==")
        headers = http.get("/download/storage/v1/b/models/o/a?alt=media").headers
        assert headers["x-goog-hash"] == "crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg=="
        assert headers["x-goog-generation"] == str(blob.generation)
        assert headers["etag"] == blob.etag

    @pytest.mark.parametrize("field", ["md5_hash", "crc32c"])
    def test_declared_checksum_is_verified(self, cloud: CloudDouble, bucket: storage.Bucket, field: str) -> None:
        """An upload whose bytes are not those that the client declared is refused, and nothing is stored."""
        blob = bucket.blob("a")
        setattr(blob, field, getattr(compute(b"other"), field.removesuffix("_hash")))
        with pytest.raises(google_errors.BadRequest, match="doesn't match calculated"):
            blob.upload_from_string(b"hello", checksum=None)
        assert cloud.storage.versions("models") == []

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-MD5": compute(b"other").md5},
            {"x-goog-hash": f"md5={compute(b'other').md5}"},
            {"x-goog-hash": f"md5={compute(b'hello').md5}, crc32c={compute(b'other').crc32c}"},
        ],
    )
    def test_declared_header_is_verified(
        self, cloud: CloudDouble, http: httpx2.Client, headers: dict[str, str]
    ) -> None:
        """A checksum in a header counts as one in the resource."""
        url = "/upload/storage/v1/b/models/o?uploadType=media&name=a"
        assert_refused(http.post(url, content=b"hello", headers=headers), 400, "invalid", "doesn't match")
        assert cloud.storage.versions("models") == []
        right = {"x-goog-hash": compute(b"hello").header}
        assert http.post(url, content=b"hello", headers=right).json()["size"] == "5"

    def test_large_upload_comes_in_chunks(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """Twenty megabytes in chunks of one arrive whole and are checked whole."""
        content = os.urandom(20 * MIB)
        blob = bucket.blob("large", chunk_size=MIB)
        blob.upload_from_string(content)
        assert blob.size == len(content)
        sent = [entry.status for entry in cloud.requests.of("storage.objects.insert") if entry.verb == "PUT"]
        assert sent == [308] * 19 + [200]
        assert bucket.blob("large").download_as_bytes() == content

    def test_writing_like_a_file(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A file object of unknown length is uploaded, too."""
        with bucket.blob("file").open("wb", chunk_size=PIECE) as file:
            for _ in range(5):
                file.write(b"x" * 100_000)
        assert cloud.storage.read("models", "file") == b"x" * 500_000

    def test_chunked_transfer_encoding(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """A body without Content-Length is read chunk by chunk."""
        parts = (b"a" * 10, b"b" * 10)
        answer = http.post("/upload/storage/v1/b/models/o?uploadType=media&name=a", content=iter(parts))
        assert answer.status_code == 200
        assert cloud.storage.read("models", "a") == b"".join(parts)

    def test_interrupted_upload_goes_on(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """A resumable upload tells how far it came, keeps whole pieces only, and takes no byte twice."""
        content = os.urandom(PIECE * 3)
        url = start_resumable(http)
        assert "range" not in put(http, url, b"", "bytes */*").headers
        partial = put(http, url, content[: PIECE + 100], f"bytes 0-{PIECE + 99}/{len(content)}")
        assert (partial.status_code, partial.headers["range"]) == (308, f"bytes=0-{PIECE - 1}")
        asked = put(http, url, b"", f"bytes */{len(content)}")
        assert (asked.status_code, asked.headers["range"]) == (308, f"bytes=0-{PIECE - 1}")
        assert_refused(put(http, url, b"x", f"bytes {PIECE * 2}-{PIECE * 2}/{len(content)}"), 400, "invalid")
        last = put(http, url, content[PIECE - 7 :], f"bytes {PIECE - 7}-{len(content) - 1}/{len(content)}")
        assert last.status_code == 200
        assert put(http, url, b"", "bytes */*").json() == last.json()
        assert cloud.storage.read("models", "r") == content

    def test_preconditions_hold_at_the_end(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """A create-only resumable upload fails when someone else created the object meanwhile."""
        url = start_resumable(http, "&ifGenerationMatch=0")
        cloud.storage.write("models", "r", b"theirs")
        assert_refused(put(http, url, b"ours", "bytes 0-3/4"), 412, "conditionNotMet")
        assert cloud.storage.read("models", "r") == b"theirs"

    def test_resumable_checksum_is_verified(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """The checksum that comes with the last chunk is that of the whole content."""
        url = start_resumable(http)
        assert put(http, url, b"x" * PIECE, f"bytes 0-{PIECE - 1}/*").status_code == 308
        headers = {"Content-Range": f"bytes {PIECE}-{PIECE}/{PIECE + 1}", "x-goog-hash": compute(b"y").header}
        assert_refused(http.put(url, content=b"y", headers=headers), 400, "invalid", "doesn't match")
        assert cloud.storage.versions("models") == []

    def test_cancelled_upload_is_gone(self, http: httpx2.Client) -> None:
        """A resumable upload that was cancelled is answered 404."""
        url = start_resumable(http)
        assert http.delete(url).status_code == 499
        assert_refused(put(http, url, b"x", "bytes 0-0/1"), 404, "notFound")

    def test_copies(self, cloud: CloudDouble, bucket: storage.Bucket, versioned: storage.Bucket) -> None:
        """Copy, rewrite and compose make new generations with the right content, metadata and checksums."""
        source = bucket.blob("a")
        source.metadata = {"k": "v"}
        source.upload_from_string(b"hello", content_type="text/plain")
        copied = bucket.copy_blob(source, versioned, "b", if_generation_match=0)
        assert (copied.metadata, copied.crc32c, copied.content_type) == ({"k": "v"}, source.crc32c, "text/plain")
        with pytest.raises(google_errors.PreconditionFailed):
            bucket.copy_blob(source, versioned, "b", if_generation_match=0)
        assert versioned.blob("c").rewrite(copied) == (None, 5, 5)
        composed = versioned.blob("d")
        composed.compose([versioned.blob("b"), versioned.blob("c")])
        assert (composed.component_count, composed.md5_hash) == (2, None)
        assert cloud.storage.read("kept", "d") == b"hellohello"


def start_resumable(http: httpx2.Client, query: str = "") -> str:
    """Start a resumable upload of the object `r` and return its address."""
    return http.post(f"/upload/storage/v1/b/models/o?uploadType=resumable&name=r{query}").headers["location"]


def put(http: httpx2.Client, url: str, content: bytes, content_range: str) -> httpx2.Response:
    """Send one request of a resumable upload."""
    return http.put(url, content=content, headers={"Content-Range": content_range})


class TestDownloads:
    """Ranges, and downloads in concurrent pieces."""

    @pytest.mark.parametrize(
        ("asked", "status", "content_range", "content"),
        [
            ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
            ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
            ("bytes=-3", 206, "bytes 7-9/10", b"789"),
            ("bytes=-30", 206, "bytes 0-9/10", TEN),
            ("bytes=8-20", 206, "bytes 8-9/10", b"89"),
            ("bytes=10-", 416, "bytes */10", None),
            ("bytes=-0", 416, "bytes */10", None),
            ("bytes=5-4", 200, None, TEN),
            ("bytes=a-b", 200, None, TEN),
            ("lines=1-2", 200, None, TEN),
        ],
    )
    def test_ranges(
        self,
        cloud: CloudDouble,
        http: httpx2.Client,
        asked: str,
        status: int,
        content_range: str | None,
        content: bytes | None,
    ) -> None:
        """A range that can be met is 206, one beyond the end 416, and one without sense is ignored."""
        cloud.storage.write("models", "a", TEN)
        answer = http.get("/storage/v1/b/models/o/a?alt=media", headers={"Range": asked})
        assert (answer.status_code, answer.headers.get("content-range")) == (status, content_range)
        assert content is None or answer.content == content

    def test_ranges_through_the_client(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """The client's first and last byte are inclusive, and an object without content has no range."""
        cloud.storage.write("models", "a", TEN)
        cloud.storage.write("models", "empty", b"")
        assert bucket.blob("a").download_as_bytes(start=2, end=4) == b"234"
        assert bucket.blob("empty").download_as_bytes() == b""
        with pytest.raises(google_errors.RequestRangeNotSatisfiable):
            bucket.blob("a").download_as_bytes(start=10)

    def test_concurrent_chunks(self, cloud: CloudDouble, bucket: storage.Bucket, tmp_path: Path) -> None:
        """A download in concurrent pieces gives the same bytes as one in a row."""
        content = os.urandom(3 * MIB + 5)
        cloud.storage.write("models", "large", content)
        transfer_manager.download_chunks_concurrently(
            bucket.blob("large"),
            str(tmp_path / "large"),
            chunk_size=MIB,
            worker_type=transfer_manager.THREAD,
            max_workers=3,
        )
        assert (tmp_path / "large").read_bytes() == content
        media = [entry.status for entry in cloud.requests.of("storage.objects.get") if "alt" in entry.query]
        assert media == [206] * 4


class TestListings:
    """Prefixes, delimiters and pages."""

    NAMES = ("churn/1/a", "churn/1/b", "churn/2/a", "churn/aliases.json", "index", "price/1/a")

    @pytest.fixture(autouse=True)
    def _objects(self, cloud: CloudDouble) -> None:
        for name in reversed(self.NAMES):
            cloud.storage.write("models", name, b"x")

    def test_names_are_in_order(self, bucket: storage.Bucket) -> None:
        """A listing is sorted by name, and limited by prefix and by offsets."""
        assert tuple(blob.name for blob in bucket.list_blobs()) == self.NAMES
        assert [blob.name for blob in bucket.list_blobs(prefix="churn/1/")] == ["churn/1/a", "churn/1/b"]
        between = bucket.list_blobs(start_offset="churn/2", end_offset="index")
        assert [blob.name for blob in between] == ["churn/2/a", "churn/aliases.json"]

    def test_delimiter_makes_folders(self, bucket: storage.Bucket) -> None:
        """What shares a name up to the delimiter is listed once, as a prefix."""
        listing = bucket.list_blobs(prefix="churn/", delimiter="/")
        assert [blob.name for blob in listing] == ["churn/aliases.json"]
        assert listing.prefixes == {"churn/1/", "churn/2/"}

    @pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
    def test_pages_lose_nothing(self, bucket: storage.Bucket, size: int) -> None:
        """Pages of any size hold every name once, prefixes included, even when objects come and go."""
        listing = bucket.list_blobs(page_size=size, delimiter="1")
        found = []
        for page in listing.pages:
            found += [blob.name for blob in page]
            bucket.blob("a-newcomer").upload_from_string(b"x")
        assert found == ["churn/2/a", "churn/aliases.json", "index"]
        assert listing.prefixes == {"churn/1", "price/1"}

    def test_partial_response(self, http: httpx2.Client) -> None:
        """`fields` leaves what it selects and nothing else."""
        url = "/storage/v1/b/models/o?maxResults=1&fields=items(name,size),nextPageToken"
        assert set(answer := http.get(url).json()) == {"items", "nextPageToken"}
        assert answer["items"] == [{"name": "churn/1/a", "size": "1"}]
        assert http.get("/storage/v1/b/models/o?prefix=index&fields=items/name").json() == {
            "items": [{"name": "index"}]
        }
        assert set(http.get("/storage/v1/b/models?fields=*").json()) > {"name", "location"}


class TestBuckets:
    """Creation with the service's defaults, changes, deletion and IAM."""

    def test_defaults(self, client: storage.Client) -> None:
        """A new bucket has what the service fills in, so that a plan after an apply is empty."""
        made = client.create_bucket("fresh-1", location="europe-west1")
        fields = made._properties
        assert (fields["location"], fields["locationType"], fields["storageClass"]) == (
            "EUROPE-WEST1",
            "region",
            "STANDARD",
        )
        assert fields["softDeletePolicy"]["retentionDurationSeconds"] == "604800"
        assert fields["iamConfiguration"]["publicAccessPrevention"] == "inherited"
        assert fields["metageneration"] == "1"
        assert {"projectNumber", "timeCreated", "updated", "etag", "selfLink"} <= set(fields)
        assert client.create_bucket("fresh-2")._properties["rpo"] == "DEFAULT"

    def test_names_are_unique(self, client: storage.Client) -> None:
        """A bucket that exists is a conflict, a name that none can have is refused."""
        with pytest.raises(google_errors.Conflict):
            client.create_bucket("models")
        for name in ("Upper", "a", "a..b", "goog-1", "my-google-models", "my-g00gle", "192.168.5.4", "x" * 64):
            with pytest.raises(google_errors.BadRequest):
                client.create_bucket(name)

    def test_only_empty_buckets_are_deleted(
        self, cloud: CloudDouble, client: storage.Client, versioned: storage.Bucket
    ) -> None:
        """An older generation is content, too; a bucket that is gone is 404."""
        generation = cloud.storage.write("kept", "a", b"x")
        versioned.blob("a").delete()
        with pytest.raises(google_errors.Conflict):
            versioned.delete()
        versioned.blob("a", generation=generation).delete()
        versioned.delete()
        with pytest.raises(google_errors.NotFound):
            client.get_bucket("kept")
        assert [bucket.name for bucket in client.list_buckets()] == ["models"]

    @pytest.mark.parametrize("seconds", [1, 7 * DAY - 1, 90 * DAY + 1], ids=["second", "below-a-week", "above-90-days"])
    def test_soft_delete_has_bounds(self, seconds: int, client: storage.Client) -> None:
        """What was deleted is kept for 7 to 90 days, or not at all; a refused change leaves the policy as it was."""
        bucket = client.get_bucket("models")
        bucket.soft_delete_policy.retention_duration_seconds = seconds
        with pytest.raises(google_errors.BadRequest, match="7 to 90 days"):
            bucket.patch()
        assert client.get_bucket("models").soft_delete_policy.retention_duration_seconds == 7 * DAY
        for allowed in (0, 7 * DAY, 90 * DAY):
            bucket.soft_delete_policy.retention_duration_seconds = allowed
            bucket.patch()
            assert client.get_bucket("models").soft_delete_policy.retention_duration_seconds == allowed

    def test_patch_merges(self, client: storage.Client) -> None:
        """A patch changes what it names, null removes, and the metageneration counts."""
        bucket = client.get_bucket("models")
        bucket.labels = {"team": "retention", "env": "test"}
        bucket.versioning_enabled = True
        bucket.patch()
        since = bucket._properties["softDeletePolicy"]["effectiveTime"]
        bucket.labels = {"team": "retention"}  # the client sends null for the other
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        bucket.patch(if_metageneration_match=2)
        assert (bucket.labels, bucket.versioning_enabled, bucket.metageneration) == ({"team": "retention"}, True, 3)
        assert bucket.iam_configuration.uniform_bucket_level_access_locked_time is not None
        assert bucket._properties["softDeletePolicy"]["effectiveTime"] == since
        with pytest.raises(google_errors.PreconditionFailed):
            bucket.patch(if_metageneration_match=2)

    def test_policy_is_compare_and_set(self, bucket: storage.Bucket) -> None:
        """A policy is stored if its etag is the present one, and refused for members that make no sense."""
        first, second = bucket.get_iam_policy(), bucket.get_iam_policy()
        member = {"role": "roles/storage.objectViewer", "members": {"serviceAccount:serve@p.iam.gserviceaccount.com"}}
        first.bindings.append(member)
        bucket.set_iam_policy(first)
        assert member in bucket.get_iam_policy().bindings
        second.bindings.append(member)
        with pytest.raises(google_errors.PreconditionFailed):
            bucket.set_iam_policy(second)
        nonsense = bucket.get_iam_policy()
        nonsense.bindings.append({"role": "roles/storage.objectViewer", "members": {"serve"}})
        with pytest.raises(google_errors.BadRequest):
            bucket.set_iam_policy(nonsense)
        assert bucket.test_iam_permissions(["storage.objects.get"]) == ["storage.objects.get"]

    def test_public_access_prevention(self, cloud: CloudDouble, client: storage.Client) -> None:
        """No policy makes a bucket public that prevents public access."""
        cloud.storage.add_bucket("closed", iamConfiguration={"publicAccessPrevention": "enforced"})
        policy = client.bucket("closed").get_iam_policy()
        policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
        with pytest.raises(google_errors.PreconditionFailed):
            client.bucket("closed").set_iam_policy(policy)


class TestFaults:
    """Each kind of fault, as Google's client meets it."""

    @pytest.fixture(autouse=True)
    def _object(self, cloud: CloudDouble) -> Iterator[None]:
        cloud.storage.write("models", "a", TEN * 10_000)
        yield
        # The client forgets the connection of a streamed answer that it retries; the collector must find it here,
        # not in the middle of another test, where its ResourceWarning would be an error.
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            gc.collect()

    def test_unavailable_is_retried(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """Two 503 and then an answer are one successful download."""
        cloud.faults.add("status", status=503, times=2, media=True)
        assert bucket.blob("a").download_as_bytes(retry=QUICK_RETRY) == TEN * 10_000
        assert [entry.status for entry in cloud.requests.of("storage.objects.get")] == [503, 503, 200]

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, auth_errors.InvalidOperation),  # the client wants to renew a token that it has not
            (403, google_errors.Forbidden),
            (429, google_errors.TooManyRequests),
            (500, google_errors.InternalServerError),
        ],
    )
    def test_status(self, cloud: CloudDouble, bucket: storage.Bucket, status: int, error: type[Exception]) -> None:
        """A status on demand is that error in the client, and nothing was carried out."""
        cloud.faults.add("status", status=status, times=None, verb="POST", path=r"/b/models/o\b")
        with pytest.raises(error):
            bucket.blob("b").upload_from_string(b"x", retry=None)
        assert len(cloud.storage.versions("models")) == 1

    def test_reset(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A connection that is reset before the answer is an error, and nothing was carried out."""
        cloud.faults.add("reset", method="storage.objects.insert")
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            bucket.blob("b").upload_from_string(b"x", retry=None)
        assert len(cloud.storage.versions("models")) == 1
        bucket.blob("b").upload_from_string(b"x", retry=None)

    def test_lost_answer_of_a_create(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A create-only upload whose answer is lost is carried out, and its retry meets its own object as 412."""
        cloud.faults.add("reset_after_commit", method="storage.objects.insert")
        with pytest.raises(google_errors.PreconditionFailed):
            bucket.blob("b").upload_from_string(b"mine", if_generation_match=0, retry=QUICK_RETRY)
        assert cloud.storage.read("models", "b") == b"mine"
        assert [entry.status for entry in cloud.requests.of("storage.objects.insert")] == [None, 412]

    def test_lost_answer_of_a_chunk(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A resumable upload survives the loss of any answer, the last one included."""
        content = os.urandom(3 * PIECE)
        cloud.faults.add("reset_after_commit", verb="PUT", skip=1, times=2)
        bucket.blob("b", chunk_size=PIECE).upload_from_string(content, retry=QUICK_RETRY, if_generation_match=0)
        assert cloud.storage.read("models", "b") == content

    def test_truncated(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A body that ends early is an error, and a retry asks only for the rest."""
        cloud.faults.add("truncate", media=True)
        with pytest.raises(requests.RequestException):
            bucket.blob("a").download_as_bytes(retry=None)
        cloud.requests.clear()
        cloud.faults.add("truncate", media=True, after_bytes=16_000)
        assert bucket.blob("a").download_as_bytes(retry=QUICK_RETRY) == TEN * 10_000
        assert [entry.fault for entry in cloud.requests.of("storage.objects.get")] == ["truncate", None]

    def test_corrupt(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """One flipped byte under true checksums is noticed by the client."""
        cloud.faults.add("corrupt", media=True, after_bytes=77)
        with pytest.raises(DataCorruption):
            bucket.blob("a").download_as_bytes(retry=QUICK_RETRY)
        assert bucket.blob("a").download_as_bytes() == TEN * 10_000

    @pytest.mark.parametrize("after_bytes", [None, 0, 50_000])
    def test_stall(self, cloud: CloudDouble, bucket: storage.Bucket, after_bytes: int | None) -> None:
        """An answer that stops for ever runs into the client's timeout, and does not keep the double from closing."""
        cloud.faults.add("stall", media=True, after_bytes=after_bytes)
        with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
            bucket.blob("a").download_as_bytes(retry=None, timeout=0.2)
        cloud.stop()

    def test_drip(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """An answer that drips is complete in the end, and no single byte keeps the client waiting for long."""
        cloud.storage.write("models", "small", TEN)
        cloud.faults.add("drip", seconds=0.01)
        with http.stream("GET", "/storage/v1/b/models/o/small?alt=media", timeout=5) as answer:
            assert b"".join(answer.iter_raw()) == TEN

    def test_delay(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A delayed request is carried out and answered, only later; one that is open at an outage is not."""
        cloud.faults.add("delay", seconds=0.01)
        bucket.blob("b").upload_from_string(b"x")
        cloud.faults.add("delay", verb="POST")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bucket.blob("c").upload_from_string, b"x", retry=None)
            cloud.requests.wait_for("storage.objects.insert", times=2)
            cloud.stop()
            assert isinstance(waiting.exception(timeout=10), requests.ConnectionError)
        assert {version.name for version in cloud.storage.versions("models")} == {"a", "b"}

    def test_outage(self, cloud: CloudDouble, bucket: storage.Bucket) -> None:
        """A double that was stopped is not reached; started again it is at the same address with all it kept."""
        address = cloud.url
        assert bucket.blob("a").download_as_bytes(end=3) == b"0123"
        cloud.stop()
        with pytest.raises(requests.ConnectionError):
            bucket.blob("a").download_as_bytes(retry=None)
        cloud.start()
        assert cloud.url == address
        assert bucket.blob("a").download_as_bytes(end=3) == b"0123"

    def test_a_name_may_belong_to_somebody_else(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """Nobody here may look at that bucket or its objects, or make one of its name."""
        cloud.storage.take_name("theirs")
        for path in ("/storage/v1/b/theirs", "/storage/v1/b/theirs/o", "/storage/v1/b/theirs/o/a?alt=media"):
            assert http.get(path).status_code == 403
        body = {"name": "theirs"}
        assert_refused(http.post("/storage/v1/b?project=local-project", json=body), 409, "conflict", "not available")

    def test_set_over_http(self, cloud: CloudDouble, http: httpx2.Client) -> None:
        """Another process sets faults, reads the journal and clears both, and is told of a rule that is none."""
        rules = [{"kind": "status", "status": 429, "times": None}, {"kind": "reset", "path": "never"}]
        assert len(http.post("/_double/faults", json=rules).json()) == 2
        assert_refused(http.get("/storage/v1/b/models"), 429, "rateLimitExceeded")
        assert http.delete("/_double/faults").status_code == 204
        assert http.get("/storage/v1/b/models").status_code == 200
        statuses = [entry["status"] for entry in http.get("/_double/requests").json()]
        assert statuses == [429, 200]
        http.delete("/_double/requests")
        assert len(cloud.requests) == 0
        assert_refused(http.post("/_double/faults", json={"kind": "reset", "path": "("}), 400, "invalid", "path")
        assert_refused(http.post("/_double/faults", json={"kind": "fire"}), 400, "invalid", "kind")
        assert_refused(http.post("/_double/faults", json={"kind": "reset", "tims": 3}), 400, "invalid", "tims")
        assert_refused(http.get("/_double/other"), 404, "notFound", "/_double/faults")


class TestRefusals:
    """What Google's API description does not allow is refused, for every method that it describes."""

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
    def test_every_method(self, method: Method) -> None:
        """Every method is found by its address, and refuses unknown and ill-typed parameters and fields."""
        request = request_for(method)
        match = DOCUMENT.find(request)
        assert match is not None
        assert match.method.id == method.id
        assert_unread(method, {"nonsense": "1"}, "invalidParameter", '"nonsense"')
        for name, value in ill_typed_parameters(method):
            assert_unread(method, {name: value}, "invalidParameter", f"'{name}'")
        if method.request:
            assert_unread(method, {}, "invalid", '"nonsense"', b'{"nonsense": 1}')
            assert_unread(method, {}, "parseError", "", b"{")
        else:
            assert_unread(method, {}, "invalid", "takes no body", b'{"name": "x"}')

    @pytest.mark.parametrize(
        ("verb", "url", "body", "status", "reason", "words"),
        [
            ("GET", "/storage/v1/nothing", None, 404, "notFound", ""),
            ("GET", "/storage/v2/b/models", None, 404, "notFound", ""),
            ("POST", "/storage/v1/b/models", None, 404, "notFound", ""),
            ("POST", "/storage/v1/b", {"name": "new-one"}, 400, "required", "project"),
            ("POST", "/storage/v1/b?project=p", {}, 400, "invalid", "Required parameter: name"),
            ("POST", "/storage/v1/b?project=p", [], 400, "invalid", "(object), []"),
            ("POST", "/storage/v1/b?project=p&project=q", {"name": "new"}, 400, "invalidParameter", "Multiple"),
            ("POST", "/storage/v1/b?project=p", {"name": 7}, 400, "invalid", "'name' (TYPE_STRING), 7"),
            ("PATCH", "/storage/v1/b/models", {"labels": {"a": 1}}, 400, "invalid", "'labels.a'"),
            ("PATCH", "/storage/v1/b/models", {"labels": []}, 400, "invalid", "'labels' (object)"),
            ("PATCH", "/storage/v1/b/models", {"cors": {}}, 400, "invalid", "'cors' (list)"),
            ("PATCH", "/storage/v1/b/models", {"versioning": {"on": True}}, 400, "invalid", "\"on\" at 'versioning'"),
            ("PATCH", "/storage/v1/b/models", {"versioning": {"enabled": "yes"}}, 400, "invalid", "TYPE_BOOL"),
            ("PATCH", "/storage/v1/b/models", {"cors": [{"maxAgeSeconds": 2**31}]}, 400, "invalid", "TYPE_INT32"),
            ("PATCH", "/storage/v1/b/models", {"cors": [{"maxAgeSeconds": 1.5}]}, 400, "invalid", "TYPE_INT32"),
            (
                "PATCH",
                "/storage/v1/b/models",
                {"retentionPolicy": {"effectiveTime": "today"}},
                400,
                "invalid",
                "effectiveTime",
            ),
            (
                "PATCH",
                "/storage/v1/b/models",
                {"retentionPolicy": {"retentionPeriod": "1h"}},
                400,
                "invalid",
                "TYPE_INT64",
            ),
            ("PUT", "/storage/v1/b/models/iam", {"etag": "not base64"}, 400, "invalid", "'etag'"),
            ("PATCH", "/storage/v1/b/models", {"storageClass": "FROZEN"}, 400, "invalid", "FROZEN"),
            ("GET", "/storage/v1/b/models/o/a?generation=x", None, 400, "invalidParameter", "TYPE_INT64"),
            ("GET", "/storage/v1/b/models/o?maxResults=-1", None, 400, "invalidParameter", "TYPE_UINT32"),
            ("GET", "/storage/v1/b/models/o?versions=yes", None, 400, "invalidParameter", "TYPE_BOOL"),
            ("GET", "/storage/v1/b/models/o?projection=most", None, 400, "invalidParameter", "TYPE_ENUM"),
            ("GET", "/storage/v1/b/models/o?pageToken=%21", None, 400, "invalid", ""),
            ("GET", "/storage/v1/b/models/o?fields=items(", None, 400, "invalid", "field selection"),
            ("GET", "/storage/v1/b/models/o?fields=things", None, 400, "invalid", "things"),
            ("GET", "/storage/v1/b/models?fields=versioning/on", None, 400, "invalid", "on"),
            ("GET", "/storage/v1/b/none", None, 404, "notFound", "bucket does not exist"),
            ("GET", "/storage/v1/b/models/o/none", None, 404, "notFound", "models/none"),
            ("POST", "/storage/v1/b/models/o?name=a", {}, 400, "wrongUrlForUpload", "/upload/"),
            ("POST", "/upload/storage/v1/b/models/o?name=a", {}, 400, "invalid", "uploadType"),
            ("POST", "/upload/storage/v1/b/models/o?uploadType=media", {}, 400, "required", "name"),
            ("POST", "/upload/storage/v1/b/models/o?uploadType=media&name=.", {}, 400, "invalid", "name"),
            ("POST", "/upload/storage/v1/b/models/o?uploadType=multipart&name=a", {}, 400, "invalid", "multipart"),
            (
                "POST",
                "/upload/storage/v1/b/models/o?uploadType=resumable&name=a",
                {"siez": 1},
                400,
                "invalid",
                "siez",
            ),
            (
                "POST",
                "/upload/storage/v1/b/models/o?uploadType=resumable&name=a",
                {"name": "b"},
                400,
                "invalid",
                "agree",
            ),
            ("PUT", "/upload/storage/v1/b/models/o?upload_id=none", None, 404, "notFound", "upload session"),
            ("GET", "/storage/v1/b/models/acl", None, 501, "notImplemented", "bucketAccessControls.list"),
            ("GET", "/storage/v1/b/models/o?matchGlob=**", None, 501, "notImplemented", "matchGlob"),
        ],
    )
    def test_table(
        self, http: httpx2.Client, verb: str, url: str, body: Any, status: int, reason: str, words: str
    ) -> None:
        """What does not fit the description is refused in Google's shape, with a message that names it."""
        answer = http.request(verb, url) if body is None else http.request(verb, url, json=body)
        assert_refused(answer, status, reason, words)

    def test_all_faults_at_once(self, http: httpx2.Client) -> None:
        """A body with several faults is answered with all of them."""
        answer = http.patch("/storage/v1/b/models", json={"nonsense": 1, "labels": 2})
        assert_refused(answer, 400, "invalid")
        assert len(answer.json()["error"]["errors"]) == 2

    def test_read_only_fields_are_ignored(self, http: httpx2.Client) -> None:
        """What only the service sets may be sent, and changes nothing."""
        before = http.get("/storage/v1/b/models").json()
        sent = {**before, "metageneration": "77", "location": "MOON", "id": "other", "labels": {"a": "b"}}
        after = http.patch("/storage/v1/b/models", json=sent).json()
        changed = {"metageneration", "updated", "etag", "labels"}
        assert {name for name in after if after[name] != before.get(name)} == changed

    def test_behaviour_is_described(self) -> None:
        """Everything that the double does is a method of Google's description."""
        assert set(BEHAVIOUR) <= {method.id for method in METHODS}

    def test_other_apis_fit(self) -> None:
        """A document with resource names in its paths and custom verbs is matched, below a prefix of its own."""
        run = Document.load("run", "v2", mount="/run")
        service = "/run/v2/projects/p/locations/l/services/churn"
        found = {
            target: match and match.method.id.removeprefix("run.projects.locations.services.")
            for target in (service, f"{service}:getIamPolicy", f"{service}/other")
            for match in [run.find(Request("GET", target, {}))]
        }
        assert found == {service: "get", f"{service}:getIamPolicy": "getIamPolicy", f"{service}/other": None}
        body = b'{"template": {"timeout": "60s", "containers": [{"image": "i"}]}, "uid": "read-only"}'
        request = Request("PATCH", f"{service}?updateMask=template", {}, body)
        match = run.find(request)
        assert match is not None
        call = run.read(match, request)
        assert call.path == {"name": "projects/p/locations/l/services/churn"}
        assert call.body == {"template": {"timeout": "60s", "containers": [{"image": "i"}]}}


def request_for(method: Method, query: dict[str, str] | None = None, body: bytes = b"") -> Request:
    """Return the smallest request for a method, its path filled in, with these parameters besides the required ones."""
    sample = {"boolean": "true", "integer": "1"}
    required = {
        name: "1" if "int" in str(parameter.get("format")) else sample.get(parameter["type"], "x")
        for name, parameter in method.parameters.items()
        if parameter["location"] == "query" and parameter.get("required")
    }
    path = httpx2.URL(f"http://double/storage/v1/{method.template}")
    for name in method.parameters:
        path = httpx2.URL(str(path).replace(f"%7B{name}%7D", f"a%2F{name}"))
    target = path.copy_merge_params({**required, **(query or {})}).raw_path.decode()
    return Request(method.verb, target, {}, body)


def ill_typed_parameters(method: Method) -> Iterator[tuple[str, str]]:
    """Yield each parameter of a method that is not plain text, with a value that it cannot have."""
    for name, parameter in method.parameters.items():
        typed = parameter["type"] != "string" or "format" in parameter or "enum" in parameter
        if parameter["location"] == "query" and typed:
            yield name, "nonsense"


def assert_unread(method: Method, query: dict[str, str], reason: str, words: str, body: bytes = b"") -> None:
    """Check that a request is refused before any behaviour sees it."""
    request = request_for(method, query, body)
    match = DOCUMENT.find(request)
    assert match is not None
    with pytest.raises(CloudError) as refusal:
        DOCUMENT.read(match, request)
    assert (refusal.value.status, refusal.value.reason) == (400, reason)
    assert words in str(refusal.value)


class TestPrograms:
    """The double as a process, and the real Terraform against it."""

    def test_runs_as_a_process(self) -> None:
        """`python -m tests.cloud` makes the buckets, prints where it is, and ends cleanly when told."""
        command = [sys.executable, "-m", "tests.cloud", "--bucket", "models", "--project", "mine"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().removeprefix("export ").strip() for _ in CloudDouble().environment]
            settings = dict(line.split("=", 1) for line in lines)
            assert settings["GOOGLE_CLOUD_PROJECT"] == "mine"
            url = settings["STORAGE_EMULATOR_HOST"]
            assert httpx2.get(f"{url}/storage/v1/b/models", trust_env=False).json()["name"] == "models"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0

    @pytest.mark.long
    def test_terraform(self, cloud: CloudDouble, tmp_path: Path) -> None:
        """The real Terraform and Google provider apply, then plan nothing, then destroy, and stay on loopback."""
        (tmp_path / "main.tf").write_text(TERRAFORM, encoding="utf-8")
        with Tripwire() as tripwire:
            initialise(tmp_path)
            environment = {**cloud.environment, **tripwire.environment}
            run_terraform(tmp_path, environment, "apply", "-auto-approve")
            assert cloud.storage.read("pilot-models", "churn/1/manifest.json") == b"{}"
            run_terraform(tmp_path, environment, "plan", "-detailed-exitcode")
            run_terraform(tmp_path, environment, "destroy", "-auto-approve")
        assert set(cloud.storage.state.buckets) == {"models"}
        assert tripwire.hosts <= {"openidconnect.googleapis.com", "compute.googleapis.com"}


TERRAFORM = """
provider "google" {
  project = "local-project"
}

resource "google_storage_bucket" "main" {
  force_destroy               = true
  labels                      = { team = "retention" }
  location                    = "europe-west1"
  name                        = "pilot-models"
  public_access_prevention    = "enforced"
  uniform_bucket_level_access = true

  soft_delete_policy {
    retention_duration_seconds = 604800
  }
  versioning {
    enabled = true
  }
}

resource "google_storage_bucket_iam_member" "reader" {
  bucket = google_storage_bucket.main.name
  member = "serviceAccount:serve@other-project.iam.gserviceaccount.com"
  role   = "roles/storage.objectViewer"
}

resource "google_storage_bucket_object" "manifest" {
  bucket  = google_storage_bucket.main.name
  content = "{}"
  name    = "churn/1/manifest.json"
}
"""
