"""Folders that images are made of: what is in them, which are needed, and what becomes of one on the local cloud."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from function.contract import Pin
from function.store import FileStore, Store, open_store
from lifecycle.environment import Environment
from lifecycle.errors import Missing
from lifecycle.google_apis import release_credentials
from lifecycle.image import Prepared, check_served, prepare
from lifecycle.pinning import pin_of
from lifecycle.rollout.chosen import to_release
from lifecycle.rollout.images import tag_of
from lifecycle.versions import move_alias, read_version
from tests.cloud import CloudDouble
from tests.cloud.cloudbuild import machine
from tests.cloud.installation import make_bare
from tests.server import ROOT
from tests.toys import TOYS, publish_toy

TARGET = Environment("dev", "local-project", "europe-west6", "pilot", "models", {"toy": {}, "other": {}})
VERIFY = "pilot-verify@local-project.iam.gserviceaccount.com"


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double with buckets, a repository of images and the identities of pipelines."""
    with CloudDouble() as double:
        make_bare(double, TARGET)
        yield double


@pytest.fixture
def variables(cloud: CloudDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return a step's variables, which this process has from here on too."""
    made = machine.environment(cloud.environment, TARGET.release_identity, tmp_path)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    """Return a store with versions of both models."""
    made = FileStore(tmp_path_factory.mktemp("published"))
    for name in ("other", "toy", "toy", "toy"):
        publish_toy(made, name, TOYS["truth"]())
    return made


@pytest.fixture
def store(variables: dict[str, str], published: FileStore) -> Iterator[Store]:
    """Return the store of versions, with the first of a toy."""
    found = open_store(TARGET.store)
    give(found, published, "toy", 1)
    yield found
    found.close()


def give(store: Store, published: FileStore, model: str, number: int) -> None:
    """Put a version that was published elsewhere into the store."""
    for entry in published.list(f"{model}/{number}/"):
        store.create(entry.key, published.get(entry.key).content)


def prepared(store: Store, out: Path, *models: str) -> list[Prepared]:
    """Return what is prepared of these models."""
    credentials = release_credentials(TARGET)
    found = [prepare(store, TARGET, model, out, credentials) for model in models or ("other", "toy")]
    return [one for one in found if one]


def files(folder: Path) -> set[str]:
    """Return every file below a folder."""
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def make_build(out: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `make build` as a step does."""
    kept = {name: value for name, value in variables.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "build", f"IMAGES={out}"]
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=120)


def test_an_image_is_code_and_a_pin(store: Store, tmp_path: Path) -> None:
    """The folder has the function, its requirements and the pin, nothing else, and is called by what is in it."""
    (made,) = prepared(store, tmp_path / "out")
    version = read_version(store, "toy", 1)
    assert made.folder == tmp_path / "out" / "toy"
    app = made.folder / "app"
    listed = subprocess.run(["git", "ls-files", "function"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert files(app) == {*listed.stdout.split(), "requirements.txt", "function/pin.json"}
    assert Pin.model_validate_json((app / "function" / "pin.json").read_text()) == pin_of(version)
    assert made.reference == f"{TARGET.images('toy')}:{tag_of(1, pin_of(version))}"
    assert (made.folder / "reference").read_text() == made.reference


def test_what_is_named_by_the_tag_is_what_is_in_the_folder(store: Store, tmp_path: Path) -> None:
    """The tag's digest is the same over the folder as over the repository: neither has what the other lacks."""
    (made,) = prepared(store, tmp_path / "out")
    assert made.folder is not None
    pin = Pin.model_validate_json((made.folder / "app" / "function" / "pin.json").read_text())
    assert made.reference.endswith(f":{tag_of(1, pin, made.folder / 'app')}")


def test_bytes_are_baked_where_the_recipe_says_so(store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    """With serving.bake, each file of the version lies beside the pin under its digest."""
    monkeypatch.setattr("lifecycle.image.is_baked", lambda version: True)
    (made,) = prepared(store, tmp_path / "out")
    assert made.folder is not None
    blobs = {path.name for path in (made.folder / "app" / "function" / "blobs").iterdir()}
    version = read_version(store, "toy", 1)
    assert blobs == {*(file.sha256 for file in version.manifest.files.values()), pin_of(version).manifest_sha256}


def test_the_challenger_goes_before_the_champion(store: Store, published: FileStore) -> None:
    """What was published to be released goes first; the champion may need an image of new code."""
    for number in (2, 3):
        give(store, published, "toy", number)
    assert to_release(store, "toy").manifest.version == 3
    move_alias(store, "toy", "champion", 1)
    assert to_release(store, "toy").manifest.version == 1
    move_alias(store, "toy", "challenger", 2)
    assert to_release(store, "toy").manifest.version == 2


def test_a_model_that_nobody_serves_is_named() -> None:
    """A model that the environment does not have is refused, and those that it has are said."""
    check_served(TARGET, ["toy", "other"])
    with pytest.raises(Missing, match=r"does not serve stranger; .* are: other, toy"):
        check_served(TARGET, ["toy", "stranger"])


def test_what_an_earlier_run_left_is_not_built(store: Store, tmp_path: Path, cloud: CloudDouble) -> None:
    """A folder of another version's image goes, also where this version's image is in the registry already."""
    out = tmp_path / "out"
    (made,) = prepared(store, out)
    cloud.images.push(ROOT / "tests" / "container", TARGET.images("toy"), (made.reference.rpartition(":")[2],))
    (again,) = prepared(store, out)
    assert again.folder is None
    assert files(out) == set()


def test_a_built_image_is_not_built_again(
    store: Store, variables: dict[str, str], cloud: CloudDouble, tmp_path: Path
) -> None:
    """After make build the registry has the image under its tag, as an endpoint starts it, and nothing is prepared."""
    out = tmp_path / "out"
    (made,) = prepared(store, out)
    done = make_build(out, variables)
    assert done.returncode == 0, done.stderr
    assert "pack is replaced on this machine" in done.stdout
    image = cloud.images.resolve(made.reference)
    assert image.environment["FUNCTION_TARGET"] == "predict"
    assert files(image.folder) - {name for name in files(image.folder) if name.endswith(".pyc")} == files(
        out / "toy" / "app"
    )
    (again,) = prepared(store, tmp_path / "again")
    assert again == made._replace(folder=None)
    assert not (tmp_path / "again").exists()


def test_byte_code_survives_the_image(tmp_path: Path) -> None:
    """Compiled as the buildpack does, with the build's SOURCE_DATE_EPOCH, byte code names no time of its source."""
    (epoch,) = re.findall(r"^EPOCH := (\d+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    (tmp_path / "main.py").write_text("answer = 42\n")
    command = [sys.executable, "-m", "compileall", "-f", "-q", "."]
    subprocess.run(command, cwd=tmp_path, env={"SOURCE_DATE_EPOCH": epoch}, check=True, timeout=60)
    (compiled,) = (tmp_path / "__pycache__").iterdir()
    assert compiled.read_bytes()[4] == 3  # by hash, and checked


def test_one_that_cannot_be_built_does_not_hold_up_another(
    store: Store, published: FileStore, variables: dict[str, str], cloud: CloudDouble, tmp_path: Path
) -> None:
    """The build goes on after a failure, names what failed, and fails."""
    out = tmp_path / "out"
    give(store, published, "other", 1)
    toy = prepared(store, out)[-1]
    (out / "other" / "app" / "function" / "main.py").write_text("def predict(:\n")
    done = make_build(out, variables)
    assert done.returncode == 2
    assert "function/main.py:1: invalid syntax" in done.stderr
    assert "Not built: other" in done.stdout
    assert cloud.images.resolve(toy.reference)
    assert {name for name, *_ in cloud.images.images(TARGET.images(""))} == {TARGET.images("toy")}


def test_there_may_be_nothing_to_build(variables: dict[str, str], tmp_path: Path) -> None:
    """Without a folder, or with half of one, nothing is built and nothing is wrong."""
    assert make_build(tmp_path / "none", variables).returncode == 0
    (tmp_path / "half" / "toy" / "app").mkdir(parents=True)
    assert make_build(tmp_path / "half", variables).returncode == 0


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    """Return a client."""
    with httpx2.Client(trust_env=False, timeout=20) as client:
        yield client


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no such repository": ({"name": "europe-west6-docker.pkg.dev/local-project/other/toy"}, 404, 'Repository "other"'),
    "no name of images": ({"name": "toy"}, 404, "not found"),
    "no folder": ({"folder": "/nowhere"}, 400, "/nowhere is no folder"),
    "unknown field": ({"digest": "x"}, 400, "digest"),
}


@pytest.mark.parametrize(("changed", "status", "said"), REFUSED.values(), ids=REFUSED)
def test_a_push_may_be_refused(
    changed: dict[str, Any], status: int, said: str, cloud: CloudDouble, http: httpx2.Client
) -> None:
    """What the registry would not take is refused in its words."""
    body = {"folder": str(ROOT / "tests" / "container"), "name": TARGET.images("toy"), **changed}
    answer = http.post(f"{cloud.url}/_double/images", content=json.dumps(body))
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text


def test_a_pull_request_pushes_no_image(cloud: CloudDouble, tmp_path: Path, store: Store) -> None:
    """The registry refuses who may not write to it."""
    cloud.state.policies[f"//cloudresourcemanager.googleapis.com/projects/{TARGET.project}"]["bindings"] = []
    prepared_folder = tmp_path / "out" / "toy"
    (prepared_folder / "app" / "function").mkdir(parents=True)
    (prepared_folder / "app" / "function" / "main.py").touch()
    (prepared_folder / "app" / "requirements.txt").touch()
    (prepared_folder / "reference").write_text(f"{TARGET.images('toy')}:v1-0")
    private = tmp_path / "private"
    private.mkdir()
    done = make_build(tmp_path / "out", machine.environment(cloud.environment, VERIFY, private))
    assert done.returncode == 2
    assert 'Permission "artifactregistry.repositories.uploadArtifacts" denied' in done.stderr
