"""Fixtures, each a link of one chain: toy -> store -> pinned -> app -> client, and server for a real process."""

import fcntl
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from functions_framework.aio import create_asgi_app
from starlette.testclient import TestClient
from threadpoolctl import threadpool_limits

from function.store import FileStore
from lifecycle.pinning import write_pin
from lifecycle.training import train
from lifecycle.versions import Version, list_numbers, read_version
from tests.cloud import CloudDouble
from tests.server import ROOT, Server
from tests.speakers import VERTEX
from tests.toys import TOYS, publish_toy

# Each worker of pytest-xdist would start a thread for each processor, and they spin while they wait for each other: one
# fit of small data took ten times as long. Processes that tests start are not limited.
threadpool_limits(limits=1)


class Trained(NamedTuple):
    """An example model's version, and the store that it is in."""

    store: FileStore
    version: Version


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """Return a store that the toys are published in; tests that damage one make their own."""
    return FileStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def published(store: FileStore) -> Callable[[str], Version]:
    """Return the function that publishes a toy once and gives its version."""
    versions: dict[str, Version] = {}

    def publish(name: str) -> Version:
        if name not in versions:
            versions[name] = publish_toy(store, name, TOYS[name]())
        return versions[name]

    return publish


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Return the function that trains an example model once, whichever process asks first, and gives its version."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    folder.mkdir(exist_ok=True)
    models = FileStore(folder / "store")

    def train_once(name: str) -> Trained:
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not list_numbers(models, name):
                train(models, name, lambda _: None)
        return Trained(models, read_version(models, name, 1))

    return train_once


@pytest.fixture
def serving(
    store: FileStore, published: Callable[[str], Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., TestClient]:
    """Return the function that serves a toy with the real framework in this process."""

    def serve(name: str, **settings: str) -> TestClient:
        pin = write_pin(published(name), tmp_path / name)
        environment = {"MODEL_STORE": store.url, "PIN_FILE": str(pin), **settings}
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        app = create_asgi_app("predict", str(ROOT / "function" / "main.py"), "http")
        return TestClient(app, raise_server_exceptions=False)

    return serve


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    """Return a client of the binary toy."""
    return serving("binary")


@pytest.fixture(scope="session")
def environment(
    store: FileStore, published: Callable[[str], Version], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Return the environment of a process that serves the binary toy."""
    pin = write_pin(published("binary"), tmp_path_factory.mktemp("pin"))
    return {"MODEL_STORE": store.url, "PIN_FILE": str(pin), "K_SERVICE": "toy", "K_REVISION": "toy-00001"}


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a real process that serves the binary toy, started from another folder."""
    with Server(environment, tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(scope="module")
def spoken_to(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a real process that serves the binary toy and speaks every dialect, Vertex AI's too."""
    with Server({**environment, **VERTEX}, tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDouble]:
    """Return a double of Cloud Storage with a bucket, which clients find by themselves."""
    with CloudDouble(buckets=["models"]) as double:
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        yield double
    # The client forgets the connection of an answer that it retries; the collector must find it here, not in the
    # middle of another test, where its ResourceWarning would be an error.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()
