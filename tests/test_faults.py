"""What goes wrong with the store while real processes serve from it: nothing wrong is answered, and all recovers."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from function.contract import COMPILED, FITTED, GOLDEN, MANIFEST
from function.store import FileStore, open_store
from lifecycle.pinning import write_pin
from tests.cloud import CloudDouble
from tests.server import Server
from tests.test_endpoint import error
from tests.toys import Toy, publish_toy, truth, uncompiled

GOOD = {"age": 40}
RECOVERY_SECONDS = 40.0


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return a fitted pipeline that is quick to load."""
    return truth()


@pytest.fixture
def folder(tmp_path: Path, toy: Toy) -> Path:
    """Return a store of its own for one test, with one version, and its pin beside it."""
    store = FileStore(tmp_path / "store")
    write_pin(publish_toy(store, "toy", toy), tmp_path)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """Return a process that serves from that store, and has not loaded yet."""
    environment = {"MODEL_STORE": (folder / "store").as_uri(), "PIN_FILE": str(folder / "pin.json")}
    with Server(environment, folder) as running:
        yield running


@pytest.fixture
def cloud_server(cloud: CloudDouble, toy: Toy, tmp_path: Path) -> Iterator[Server]:
    """Return a process that serves from a bucket, and has not loaded yet."""
    with contextlib.closing(open_store("gs://models/prefix")) as store:
        pin = write_pin(publish_toy(store, "toy", toy), tmp_path)
    environment = {"MODEL_STORE": store.url, "PIN_FILE": str(pin), "STORE_TIMEOUT_SECONDS": "1"}
    with Server({**cloud.environment, **environment, "LOAD_TIMEOUT_SECONDS": "8"}, tmp_path) as running:
        yield running


def refused(server: Server, folder: Path) -> str:
    """Return why a server is not ready, after it has answered no prediction and leaked no path."""
    ready = server.client.get("/health/ready")
    reason = error(ready, 503, "model_unavailable")["message"]
    prediction = server.client.post("/predict", json=GOOD)
    error(prediction, 503, "model_unavailable")
    assert int(prediction.headers["retry-after"]) >= 1
    for text in (ready.text, prediction.text):
        assert str(folder) not in text
        assert "Traceback" not in text
    assert server.client.get("/health/live").status_code == 200
    return reason


def recovered(server: Server, toy: Toy) -> None:
    """Check that a server answers rightly, by itself, within a while."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (response := server.client.post("/predict", json=GOOD)).status_code != 200:
        assert response.status_code == 503, response.text
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)
    chances = toy.pipeline.predict_proba(toy.features.head(1).assign(age=40))[0].tolist()
    assert list(response.json()["probabilities"][0].values()) == chances


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [(MANIFEST, flip), (MANIFEST, Path.unlink), (COMPILED, flip), (COMPILED, cut), (GOLDEN, flip)],
    ids=["manifest-flipped", "manifest-gone", "model-flipped", "model-cut", "golden-flipped"],
)
def test_a_damaged_file_is_never_served(
    name: str, damage: Callable[[Path], None], server: Server, folder: Path, toy: Toy
) -> None:
    """A file that is not the one that was published is never used; as soon as it is back, the endpoint answers."""
    path = folder / "store" / "toy" / "1" / name
    content = path.read_bytes()
    damage(path)
    reason = refused(server, folder)
    assert "pinned version" in reason
    path.write_bytes(content)
    recovered(server, toy)
    assert server.wait_for_records("load_failure", 1)[0]["stack_trace"]


@pytest.mark.parametrize("damage", [flip, cut], ids=["flipped", "cut"])
def test_a_damaged_pickle_is_never_loaded(damage: Callable[[Path], None], tmp_path: Path) -> None:
    """Where scikit-learn itself serves, a pickle of another digest is not unpickled; the published one is."""
    toy = uncompiled()
    version, environment = _served_by_sklearn(tmp_path, toy)
    content = (version / FITTED).read_bytes()
    damage(version / FITTED)
    with Server(environment, tmp_path) as server:
        assert "pinned version" in refused(server, tmp_path)
        (version / FITTED).write_bytes(content)
        recovered(server, toy)


def test_another_manifest_is_never_served(server: Server, folder: Path, toy: Toy) -> None:
    """A manifest that is whole, but not the one that the pin names, is refused."""
    store = FileStore(folder / "store")
    publish_toy(store, "toy", toy)
    path = folder / "store" / "toy" / "1" / MANIFEST
    content = path.read_bytes()
    path.write_bytes((folder / "store" / "toy" / "2" / MANIFEST).read_bytes())
    assert refused(server, folder) == "manifest.json of the pinned version is not the file that was published."
    path.write_bytes(content)
    recovered(server, toy)


def test_no_pin_is_said_and_awaited(server: Server, folder: Path, toy: Toy) -> None:
    """A server without a pin says so, and serves once there is one."""
    pin = folder / "pin.json"
    content = pin.read_bytes()
    pin.unlink()
    assert refused(server, folder).startswith("There is no pin")
    pin.write_bytes(b"{}")
    time.sleep(1.1)  # the first pause
    assert refused(server, folder) == "The pin cannot be read."
    pin.write_bytes(content)
    recovered(server, toy)


def test_another_scikit_learn_is_refused(tmp_path: Path) -> None:
    """A pickle of another scikit-learn is refused with both versions, not served with a warning."""
    version, environment = _served_by_sklearn(tmp_path, uncompiled())
    manifest = json.loads((version / MANIFEST).read_bytes())
    manifest["libraries"]["scikit-learn"] = "0.24.2"
    (version / MANIFEST).write_text(json.dumps(manifest))
    _repin(tmp_path, version / MANIFEST)
    with Server(environment, tmp_path) as server:
        assert "fitted with scikit-learn 0.24.2" in refused(server, tmp_path)


def test_other_answers_than_the_golden_ones_are_refused(folder: Path) -> None:
    """A version that answers a golden example otherwise than when it was made is not ready."""
    version = folder / "store" / "toy" / "1"
    lines = (version / GOLDEN).read_text().splitlines()
    example = json.loads(lines[0])
    example["outputs"]["predict_proba"] = [value * (1 + 1e-9) for value in example["outputs"]["predict_proba"]]
    (version / GOLDEN).write_text("\n".join([json.dumps(example), *lines[1:]]))
    manifest = json.loads((version / MANIFEST).read_bytes())
    manifest["files"][GOLDEN]["sha256"] = _sha256(version / GOLDEN)
    (version / MANIFEST).write_text(json.dumps(manifest))
    _repin(folder, version / MANIFEST)
    environment = {"MODEL_STORE": (folder / "store").as_uri(), "PIN_FILE": str(folder / "pin.json")}
    with Server(environment, folder) as server:
        assert refused(server, folder).startswith("Golden example 0 is answered otherwise")


def test_failed_loads_are_retried_sensibly(server: Server, folder: Path) -> None:
    """Requests while the model is unavailable do not each try to load it: there is a pause, and it grows."""
    (folder / "store" / "toy" / "1" / COMPILED).unlink()
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline:
        assert server.client.post("/predict", json=GOOD).status_code == 503
    assert 2 <= len(server.wait_for_records("load_failure", 2)) <= 3


def test_a_bucket_serves_as_a_folder_does(cloud_server: Server, cloud: CloudDouble, toy: Toy) -> None:
    """From gs://, three objects are read, each once, and the answers are right."""
    before = len(cloud.requests)
    recovered(cloud_server, toy)
    assert len(cloud.requests) - before == 3


def test_an_outage_of_the_store_is_survived(cloud_server: Server, cloud: CloudDouble, toy: Toy, tmp_path: Path) -> None:
    """With the store down nothing is ready; when it is back, the endpoint is too; afterwards it needs no store."""
    cloud.stop()
    assert refused(cloud_server, tmp_path) == "The model store does not answer."
    cloud.start()
    recovered(cloud_server, toy)
    cloud.stop()
    assert cloud_server.client.post("/predict", json=GOOD).status_code == 200


@pytest.mark.parametrize(
    ("kind", "selectors", "reason"),
    [
        ("status", {"status": 503}, "The model store does not answer."),
        ("status", {"status": 403}, "The model store does not answer."),
        ("status", {"status": 404}, "The model store does not hold the pinned version."),
        ("reset", {}, "The model store does not answer."),
        ("truncate", {}, ""),
        ("corrupt", {}, ""),
        ("stall", {}, "The model store does not answer."),
        ("stall", {"after_bytes": 100}, "The model store does not answer."),
    ],
    ids=["503", "403", "404", "reset", "truncated", "corrupt", "stalled", "stalled-half-way"],
)
def test_a_store_that_fails_is_never_believed(
    kind: str,
    selectors: dict[str, int],
    reason: str,
    cloud_server: Server,
    cloud: CloudDouble,
    toy: Toy,
    tmp_path: Path,
) -> None:
    """Whatever a store sends or fails to send, nothing wrong is answered, and the end of the fault is enough."""
    cloud.faults.add(kind, path=COMPILED, times=None, **selectors)
    found = refused(cloud_server, tmp_path)
    assert found == reason or (not reason and found)
    cloud.faults.clear()
    recovered(cloud_server, toy)


def test_passing_faults_are_not_even_noticed(cloud_server: Server, cloud: CloudDouble, toy: Toy) -> None:
    """One 503 and one reset while the model is fetched cost a moment, not a failure."""
    cloud.faults.add("status", path="manifest.json", status=503)
    cloud.faults.add("reset", path=COMPILED)
    response = cloud_server.client.post("/predict", json=GOOD)
    assert response.status_code == 200, response.text
    assert cloud_server.records("load_failure") == []


def test_a_slow_store_makes_requests_wait_only_so_long(cloud: CloudDouble, toy: Toy, tmp_path: Path) -> None:
    """While a load takes longer than a request may wait, the request is told so, and the load goes on."""
    with contextlib.closing(open_store("gs://models")) as store:
        pin = write_pin(publish_toy(store, "toy", toy), tmp_path)
    environment = {"MODEL_STORE": store.url, "PIN_FILE": str(pin), "LOAD_TIMEOUT_SECONDS": "0.2"}
    cloud.faults.add("delay", path=COMPILED, seconds=3.0)
    with Server({**cloud.environment, **environment}, tmp_path) as server:
        assert refused(server, tmp_path) == "The model is still loading."
        recovered(server, toy)
        assert len(server.wait_for_records("load", 1)) == 1
        assert server.records("load_failure") == []


def _served_by_sklearn(folder: Path, toy: Toy) -> tuple[Path, dict[str, str]]:
    """Publish a version that is not compiled; return its folder, and the environment that serves it."""
    store = FileStore(folder / "store")
    published = publish_toy(store, "toy", toy)
    assert published.manifest.engine == "sklearn"
    pin = write_pin(published, folder)
    return folder / "store" / "toy" / "1", {"MODEL_STORE": store.url, "PIN_FILE": str(pin)}


def _repin(folder: Path, manifest: Path) -> None:
    pin = json.loads((folder / "pin.json").read_bytes())
    (folder / "pin.json").write_text(json.dumps(pin | {"manifest_sha256": _sha256(manifest)}))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
