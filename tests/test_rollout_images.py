"""A model's images: what a tag is made of, which image it means, and the tag of what served."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.auth.credentials import AnonymousCredentials

from function.contract import Pin
from lifecycle import google_apis
from lifecycle.errors import CloudFailed, NotReleasable
from lifecycle.rollout.images import find_image, keep_image, tag_of
from tests.cloud import CloudDouble
from tests.cloud.artifactregistry.images import copy_function
from tests.releasing import IMAGES, MODEL, PLACE, push_image
from tests.server import ROOT

PIN = Pin(model=MODEL, version=7, manifest_sha256="a" * 64)
OWNER = AnonymousCredentials()
TAGS = "artifactregistry.projects.locations.repositories.packages.tags"
REPOSITORY = f"projects/{PLACE.project}/locations/{PLACE.region}/repositories"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Return a repository with what goes into an image."""
    return copy_function(ROOT, tmp_path / "code")


@pytest.fixture
def registry(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> CloudDouble:
    """Return a cloud with the repository of images; repeated calls follow each other at once."""
    body = {"format": "DOCKER"}
    made = httpx2.post(f"{cloud.url}/artifactregistry/v1/{REPOSITORY}?repositoryId={PLACE.prefix}", json=body)
    assert made.status_code == 200
    monkeypatch.setattr(google_apis, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(google_apis, "CALL_SECONDS", 0.5)
    return cloud


def test_a_tag_is_that_of_its_content(code: Path, tmp_path: Path) -> None:
    """Neither the folder nor times nor the order in which files were made are part of it; nor is what is no code."""
    tag = tag_of(7, PIN, code)
    assert re.fullmatch(r"v7-[0-9a-f]{12}", tag)
    other = tmp_path / "elsewhere" / "again"
    for file in sorted((path for path in code.rglob("*") if path.is_file()), reverse=True):
        (other / file.relative_to(code)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, other / file.relative_to(code))
        os.utime(other / file.relative_to(code), (1, 1))
    (other / "function" / "__pycache__").mkdir()
    (other / "function" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    (other / "function" / "blobs").mkdir()
    (other / "function" / "blobs" / "a").write_bytes(b"x")
    (other / "function" / "pin.json").write_text("{}")
    (other / "README.md").write_text("x")
    assert tag_of(7, PIN, other) == tag


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a-byte": lambda code: (code / "function" / "main.py").write_bytes(b"#"),
    "a-requirement": lambda code: (code / "requirements.txt").write_bytes(b"#"),
    "a-new-file": lambda code: (code / "function" / "new.py").touch(),
    "another-name": lambda code: (code / "function" / "model.py").rename(code / "function" / "models.py"),
    "a-file-less": lambda code: (code / "function" / "record.py").unlink(),
    "a-byte-in-the-next-file": lambda code: _move_a_byte(code / "function" / "main.py", code / "function" / "model.py"),
}


def _move_a_byte(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(content[:-1])
    other.write_bytes(content[-1:] + other.read_bytes())


@pytest.mark.parametrize("change", CHANGES)
def test_other_code_has_another_tag(change: str, code: Path) -> None:
    """Whatever changes in an image changes its tag."""
    tag = tag_of(7, PIN, code)
    CHANGES[change](code)
    assert tag_of(7, PIN, code) != tag


def test_another_pin_has_another_tag(code: Path) -> None:
    """The same code for other bytes of a version is another image."""
    assert tag_of(7, PIN.model_copy(update={"manifest_sha256": "b" * 64}), code) != tag_of(7, PIN, code)


def test_a_tag_means_its_image(registry: CloudDouble) -> None:
    """What is to be released is named by its digest."""
    push_image(registry, "one", tags=("v1-aaaaaaaaaaaa",))
    two = push_image(registry, "two", tags=("v2-bbbbbbbbbbbb",))
    assert find_image(PLACE, MODEL, "v2-bbbbbbbbbbbb", OWNER) == two


@pytest.mark.parametrize(
    ("tags", "there"),
    [
        ((), "none"),
        (("v2-b", "v10-a", "latest", "served-v2-b"), "v10-a, v2-b, latest"),
        (tuple(f"v{number}-a" for number in range(1, 30)), ", ".join(f"v{number}-a" for number in range(29, 19, -1))),
    ],
    ids=["none", "some", "many"],
)
def test_a_missing_image_is_said_with_those_there_are(tags: tuple[str, ...], there: str, registry: CloudDouble) -> None:
    """Who wants another image hears which ones there are, the newest first, and how to make it."""
    if tags:
        push_image(registry, "one", tags=tags)
    with pytest.raises(NotReleasable, match=rf"There is no image {IMAGES}:v7-c\. Build it") as missing:
        find_image(PLACE, MODEL, "v7-c", OWNER)
    assert missing.value.reasons == [f"the newest images of churn are: {there}"]


def test_what_served_is_tagged_once(registry: CloudDouble) -> None:
    """Each image that gets traffic has a tag of its own, that of its digest; again, nothing happens."""
    one, two = push_image(registry, "one"), push_image(registry, "two")
    tags = [keep_image(PLACE, MODEL, image, 7, OWNER) for image in (one, two, one)]
    assert tags[0] == tags[2] == f"served-v7-{one.partition('sha256:')[2][:12]}"
    assert len(registry.requests.of(f"{TAGS}.create")) == 2
    for image, tag in zip((one, two), tags, strict=False):
        assert find_image(PLACE, MODEL, tag, OWNER) == image


def test_an_image_that_is_gone_cannot_be_kept(registry: CloudDouble) -> None:
    """Whatever removed the image, the release hears so before it moves traffic."""
    image = push_image(registry, "one")
    registry.images.delete(*image.split("@"))
    with pytest.raises(NotReleasable, match="There is no image sha256:"):
        keep_image(PLACE, MODEL, image, 7, OWNER)


FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "times": 2},
    "503": {"kind": "status", "status": 503, "times": 2},
    "reset": {"kind": "reset", "times": 2},
    "reset-after-commit": {"kind": "reset_after_commit"},
    "stall": {"kind": "stall"},
    "truncated": {"kind": "truncate"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_pass_are_passed_over(fault: str, registry: CloudDouble) -> None:
    """The tag is there afterwards, whatever happened to the first calls and to their answers."""
    image = push_image(registry, "one")
    for action in ("get", "create"):
        registry.faults.add(method=f"{TAGS}.{action}", **FAULTS[fault])
    tag = keep_image(PLACE, MODEL, image, 7, OWNER)
    assert find_image(PLACE, MODEL, tag, OWNER) == image


def test_a_fault_that_stays_is_reported(registry: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stated time, the error says what was tried and what Google answered."""
    monkeypatch.setattr(google_apis, "PATIENCE_SECONDS", 0.5)
    registry.faults.add("status", status=503, times=None)
    with pytest.raises(CloudFailed, match=f"Reading the tag v1-a of {REPOSITORY}") as failed:
        find_image(PLACE, MODEL, "v1-a", OWNER)
    assert "Timeout of 0.5s exceeded: The local double was told to answer 503" in failed.value.reasons[0]


def test_a_missing_permission_is_named(registry: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read or tag hears which permission it takes, and who grants it."""
    image = push_image(registry, "one")
    monkeypatch.setenv(
        "GOOGLE_ARTIFACT_REGISTRY_CUSTOM_ENDPOINT", f"{registry.url}/_as/nobody@example.com/artifactregistry/v1/"
    )
    with pytest.raises(CloudFailed, match=r"permission artifactregistry\.tags\.get is missing"):
        find_image(PLACE, MODEL, "v1-a", OWNER)
    registry.state.policies[f"//artifactregistry.googleapis.com/{REPOSITORY}/{PLACE.prefix}"] = {
        "version": 1,
        "bindings": [{"role": "roles/artifactregistry.reader", "members": ["user:nobody@example.com"]}],
    }
    with pytest.raises(CloudFailed, match=r"permission artifactregistry\.tags\.create is missing") as refused:
        keep_image(PLACE, MODEL, image, 7, OWNER)
    assert "roles/artifactregistry.repoAdmin" in refused.value.reasons[1]
