"""Numbers, aliases and leftovers of versions, whoever else publishes at the same time or dies while doing so."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from function.contract import CLAIM, FITTED, MANIFEST, Manifest
from function.model import Timings, load_model
from function.store import AlreadyExists, Conflict, FileStore, Store, open_store
from lifecycle.errors import Missing, VerifyFailed
from lifecycle.pinning import write_pin
from lifecycle.versions import (
    STALE_AFTER,
    Version,
    claim,
    find_number,
    list_numbers,
    move_alias,
    publish,
    read_aliases,
    read_version,
    sweep,
)
from tests.toys import publish_toy, regression

ROOT = Path(__file__).resolve().parent.parent
LATER = datetime.now(UTC) + STALE_AFTER + timedelta(hours=1)  # the tests begin up to minutes after this line


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return a manifest to make others of."""
    return publish_toy(FileStore(tmp_path_factory.mktemp("toy")), "toy", regression()).manifest


@pytest.fixture(params=["file", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store of each kind."""
    if request.param == "file":
        yield open_store(tmp_path.as_uri())
        return
    request.getfixturevalue("cloud")
    with contextlib.closing(open_store("gs://models")) as opened:
        yield opened


class Small:
    """A candidate of one file."""

    def __init__(self, manifest: Manifest, content: bytes) -> None:
        self.manifest = manifest
        self.content = content

    def finish(self, number: int) -> tuple[Mapping[str, bytes], Manifest]:
        """Return the file and a manifest of this number."""
        return {FITTED: self.content}, self.manifest.model_copy(update={"version": number})


def test_twenty_publishers_get_twenty_versions(store: Store, manifest: Manifest) -> None:
    """Publishers at the same time get different numbers, and none is lost or mixed up."""

    def publish_one(index: int) -> Version:
        return publish(store, "toy", Small(manifest, f"by {index}".encode()))

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        made = list(threads.map(publish_one, range(20)))
    numbers = [version.manifest.version for version in made]
    assert sorted(numbers) == list_numbers(store, "toy")
    assert len(set(numbers)) == 20
    for index, number in enumerate(numbers):
        assert store.get(f"toy/{number}/{FITTED}").content == f"by {index}".encode()


def test_versions_are_numbered_from_one(store: Store, manifest: Manifest) -> None:
    """The first version is 1, and each next one is greater."""
    assert [publish(store, "toy", Small(manifest, b"x")).manifest.version for _ in range(3)] == [1, 2, 3]


class Dying(Exception):
    """The publisher ends here."""


class DyingStore:
    """A store whose user dies before a certain write."""

    def __init__(self, store: Store, writes: int) -> None:
        self.url = store.url
        self.get, self.list, self.delete, self.replace = store.get, store.list, store.delete, store.replace
        self.close = store.close
        self._store, self._left = store, writes

    def create(self, key: str, content: bytes) -> None:
        """Write, unless it is time to die."""
        if self._left == 0:
            raise Dying
        self._left -= 1
        self._store.create(key, content)


@pytest.mark.parametrize("writes", range(3))
def test_a_publisher_that_dies_leaves_no_half_version(writes: int, store: Store, manifest: Manifest) -> None:
    """Before its manifest is there, nobody sees a version, and the next publisher takes another number."""
    with pytest.raises(Dying):
        publish(DyingStore(store, writes), "toy", Small(manifest, b"half"))
    assert list_numbers(store, "toy") == []
    with pytest.raises(Missing):
        find_number(store, "toy", None)
    assert publish(store, "toy", Small(manifest, b"whole")).manifest.version == (1 if writes == 0 else 2)


def test_a_killed_publisher_leaves_no_half_version(tmp_path: Path) -> None:
    """However often real publishers are killed on the way, each version that can be seen loads."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from function.store import FileStore\n"
        "from tests.toys import publish_toy, regression\n"
        "toy = regression()\n"
        "print('ready', flush=True)\n"
        "while True: publish_toy(FileStore(Path(sys.argv[1])), 'toy', toy)\n"
    )
    for files in (3, 12, 20):
        command = [sys.executable, "-c", script, str(tmp_path / "store")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        while len(FileStore(tmp_path / "store").list("toy/")) < files:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store = FileStore(tmp_path / "store")
    numbers = list_numbers(store, "toy")
    assert numbers
    for number in numbers:
        pin = write_pin(read_version(store, "toy", number), tmp_path / str(number))
        assert load_model(pin, lambda: store, Timings()).manifest.version == number


def test_stale_claims_are_swept(store: Store, manifest: Manifest) -> None:
    """A folder without manifest is removed after a day; versions and fresh claims stay."""
    publish(store, "toy", Small(manifest, b"kept"))
    number, _ = claim(store, "toy")
    store.create(f"toy/{number}/{FITTED}", b"left over")
    assert sweep(store, "toy") == []
    assert sweep(store, "toy", LATER) == [number]
    assert {entry.key for entry in store.list("toy/")} == {f"toy/1/{name}" for name in (CLAIM, FITTED, MANIFEST)}


def test_a_publisher_whose_claim_was_swept_does_not_publish(store: Store, manifest: Manifest) -> None:
    """Whoever wakes up after a day finds the claim gone and gives up, whether or not someone has the number now."""

    class Slow(Small):
        def finish(self, number: int) -> tuple[Mapping[str, bytes], Manifest]:
            sweep(store, "toy", LATER)
            publish(store, "toy", Small(manifest, b"another's"))
            return super().finish(number)

    with pytest.raises((AlreadyExists, Conflict)):
        publish(store, "toy", Slow(manifest, b"too late"))
    assert store.get(f"toy/1/{FITTED}").content == b"another's"
    assert list_numbers(store, "toy") == [1]


def test_aliases_move_one_by_one(store: Store, manifest: Manifest) -> None:
    """Twelve moves of different aliases at the same time are all kept."""
    publish(store, "toy", Small(manifest, b"x"))
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda index: move_alias(store, "toy", f"alias{index}", 1), range(12)))
    assert read_aliases(store, "toy") == {f"alias{index}": 1 for index in range(12)}


def test_an_alias_says_what_it_named_before(store: Store, manifest: Manifest) -> None:
    """Moving an alias tells the way back, and only to a version that exists."""
    for _ in range(2):
        publish(store, "toy", Small(manifest, b"x"))
    assert move_alias(store, "toy", "champion", 1) is None
    assert move_alias(store, "toy", "champion", 2) == 1
    with pytest.raises(Missing, match=r"no version 3 .* there are: 1, 2"):
        move_alias(store, "toy", "champion", 3)
    assert read_aliases(store, "toy") == {"champion": 2}


def test_a_version_is_found_by_number_alias_or_nothing(store: Store, manifest: Manifest) -> None:
    """A number is itself, an alias what it names, nothing the champion and else the newest."""
    for _ in range(3):
        publish(store, "toy", Small(manifest, b"x"))
    assert find_number(store, "toy", None) == 3
    move_alias(store, "toy", "champion", 2)
    assert [find_number(store, "toy", wanted) for wanted in ("1", "champion", None)] == [1, 2, 2]
    with pytest.raises(Missing, match=r"no alias 'best' .* there are: champion"):
        find_number(store, "toy", "best")
    with pytest.raises(Missing, match="python -m lifecycle train other"):
        find_number(store, "other", None)


def test_a_manifest_that_cannot_be_read_is_said(store: Store) -> None:
    """A folder whose manifest is no manifest is an error that names the version."""
    store.create(f"toy/1/{MANIFEST}", b"{}")
    with pytest.raises(VerifyFailed, match="toy 1"):
        read_version(store, "toy", 1)
