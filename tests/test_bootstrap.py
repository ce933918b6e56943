"""make bootstrap, as a process against the double: the bucket of Terraform's state, two APIs, and clear refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.cloud import CloudDouble
from tests.cloud.project import FRESH_APIS
from tests.cloud.tripwire import GOOGLE_AUTH, Tripwire
from tests.server import ROOT

BUCKET = "pilot-dev-terraform"
APIS = {"cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com"}
CONTENT = {"project": "local-project", "region": "europe-west6", "state_bucket": BUCKET}
ROBOT = "robot-account@local-project.iam.gserviceaccount.com"
Result = subprocess.CompletedProcess[str]


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Give a project as Google makes one."""
    with CloudDouble(apis=FRESH_APIS) as double:
        yield double


@pytest.fixture
def run(cloud: CloudDouble, tmp_path: Path) -> Callable[..., Result]:
    """Give what bootstraps the environment of a file; nothing of the machine's own settings reaches it."""
    (tmp_path / "home").mkdir()
    file = tmp_path / "test.tfvars"
    file.write_text(tfvars(**CONTENT))

    def start(path: Path = file, **changed: str | None) -> Result:
        with Tripwire() as tripwire:
            environment = {"HOME": str(tmp_path / "home"), "PATH": os.defpath, "NO_GCE_CHECK": "true"}
            environment |= {**cloud.environment, **tripwire.environment}
            kept = {name: value for name, value in {**environment, **changed}.items() if value is not None}
            command = [sys.executable, "infra/bootstrap.py", str(path)]
            done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=60)
        assert tripwire.hosts <= GOOGLE_AUTH
        return done

    return start


def tfvars(**content: str) -> str:
    """Return an environment's file."""
    return "".join(f'{name} = "{value}"\n' for name, value in content.items())


def assert_refused(done: Result, *words: str) -> None:
    """Check that it says why and ends with 1, without a traceback."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 2
    for word in words:
        assert word in done.stderr


def settings(cloud: CloudDouble) -> dict[str, object]:
    """Return what makes the state's bucket safe, as the API tells."""
    bucket = httpx2.get(f"{cloud.url}/storage/v1/b/{BUCKET}").json()
    access = bucket["iamConfiguration"]
    return {
        "location": bucket["location"],
        "uniform": access["uniformBucketLevelAccess"]["enabled"],
        "public": access["publicAccessPrevention"],
        "versions": bucket.get("versioning", {}).get("enabled", False),
    }


SAFE = {"location": "EUROPE-WEST6", "uniform": True, "public": "enforced", "versions": True}


def test_a_new_project_gets_bucket_and_apis(cloud: CloudDouble, run: Callable[..., Result]) -> None:
    """The bucket is in the region, closed to the public, and keeps versions; a second run changes nothing."""
    before = set(cloud.state.enabled)
    first = run()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines() == [
        "project local-project: cloudresourcemanager.googleapis.com and serviceusage.googleapis.com are on",
        f"gs://{BUCKET}: made",
    ]
    assert settings(cloud) == SAFE
    assert cloud.state.enabled == before | APIS
    second = run()
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.splitlines()[-1] == f"gs://{BUCKET}: is there"
    assert cloud.requests.of("storage.buckets.patch") == []
    assert len(cloud.requests.of("storage.buckets.insert")) == 1


@pytest.mark.parametrize(
    "missing",
    [
        {"versioning": {"enabled": False}},
        {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}},
        {"iamConfiguration": {"publicAccessPrevention": "enforced"}},
    ],
    ids=["no-versions", "public", "access-lists"],
)
def test_an_unsafe_bucket_is_made_safe(
    missing: dict[str, object], cloud: CloudDouble, run: Callable[..., Result]
) -> None:
    """A bucket that lacks any of the three gets it, and keeps what is in it."""
    closed = {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"}
    fields = {"location": "europe-west6", "versioning": {"enabled": True}, "iamConfiguration": closed, **missing}
    cloud.storage.add_bucket(BUCKET, **fields)
    cloud.storage.write(BUCKET, "pilotlight/default.tfstate", b"{}")
    assert settings(cloud) != SAFE
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"gs://{BUCKET}: was there, now keeps versions and is closed to the public"
    assert settings(cloud) == SAFE
    assert cloud.storage.read(BUCKET, "pilotlight/default.tfstate") == b"{}"


def test_a_missing_file_is_named(run: Callable[..., Result], tmp_path: Path) -> None:
    """The message says which environments there are."""
    assert_refused(run(tmp_path / "prod.tfvars"), "prod.tfvars", "the environments are: test.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tfvars(**{**CONTENT, "state_bucket": ""}), "does not say state_bucket."),
        (tfvars(project="p", region="r"), "does not say state_bucket."),
        ("", "does not say project, region, state_bucket."),
        ("state_bucket = 7\n" + tfvars(project="p", region="r"), "does not say state_bucket."),
        ("state_bucket = \n", "is no file of variables"),
        ("project = {", "is no file of variables"),
    ],
    ids=["empty-bucket", "no-bucket", "nothing", "number", "unfinished", "unclosed"],
)
def test_a_file_that_lacks_something_says_so(
    content: str, words: str, cloud: CloudDouble, run: Callable[..., Result], tmp_path: Path
) -> None:
    """What is missing is named, and nobody was asked for anything."""
    (tmp_path / "short.tfvars").write_text(content)
    assert_refused(run(tmp_path / "short.tfvars"), "short.tfvars", words)
    assert len(cloud.requests) == 0


def test_a_name_that_belongs_to_somebody_else(cloud: CloudDouble, run: Callable[..., Result]) -> None:
    """A bucket that may not even be looked at is not ours: choose another name, or ask."""
    cloud.storage.take_name(BUCKET)
    assert_refused(run(), "does not have storage.buckets.get access", "Use another state_bucket, or ask for access")


def test_a_name_that_is_taken_meanwhile(cloud: CloudDouble, run: Callable[..., Result]) -> None:
    """Where the name looked free and is not, the message says that names are global."""
    cloud.storage.take_name(BUCKET)
    cloud.faults.add("status", method="storage.buckets.get", status=404)
    assert_refused(run(), f"{BUCKET} belongs to someone else", "choose another state_bucket")


def test_an_impossible_name_is_refused(cloud: CloudDouble, run: Callable[..., Result], tmp_path: Path) -> None:
    """A name that no bucket can have is named, whoever notices it."""
    for name in ("-pilot-", "Pilot"):
        (tmp_path / "odd.tfvars").write_text(tfvars(**{**CONTENT, "state_bucket": name}))
        assert_refused(run(tmp_path / "odd.tfvars"), name)


def test_another_project_is_refused(cloud: CloudDouble, run: Callable[..., Result], tmp_path: Path) -> None:
    """A project that is not there, or not ours, is refused in Google's words, before any bucket is made."""
    (tmp_path / "other.tfvars").write_text(tfvars(**{**CONTENT, "project": "somebody-else"}))
    assert_refused(run(tmp_path / "other.tfvars"), "cannot be switched on", "somebody-else")
    assert cloud.requests.of("storage.buckets.insert") == []


def test_an_account_that_may_nothing_is_refused(cloud: CloudDouble, run: Callable[..., Result]) -> None:
    """The permission that is missing is named."""
    refused = run(GOOGLE_APPLICATION_CREDENTIALS=str(cloud.key_file(ROBOT)))
    assert_refused(refused, "cannot be switched on", "serviceusage.services.enable")


@pytest.mark.parametrize("key", [None, "none.json"], ids=["nothing", "missing-file"])
def test_without_credentials_it_says_how_to_sign_in(
    key: str | None, cloud: CloudDouble, run: Callable[..., Result]
) -> None:
    """Whoever is not signed in is told how to."""
    assert_refused(run(GOOGLE_APPLICATION_CREDENTIALS=key), "Sign in with: gcloud auth application-default login")
    assert len(cloud.requests) == 0


def test_google_out_of_reach_is_said(cloud: CloudDouble, run: Callable[..., Result]) -> None:
    """A connection that fails is no traceback."""
    cloud.faults.add("reset", path="batchEnable", times=None)
    assert_refused(run(), "cannot be switched on")


def test_without_a_file_it_says_how_it_is_used() -> None:
    """The one argument is the environment's file."""
    done = subprocess.run([sys.executable, "infra/bootstrap.py"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "usage: python infra/bootstrap.py infra/ENVIRONMENT.tfvars\n")
