"""The double under the real terraform and Google provider: every resource type, and the state in a bucket."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud import CloudDouble
from tests.cloud.project import FRESH_APIS
from tests.cloud.terraform import initialise, run_terraform, terraform
from tests.cloud.tripwire import Tripwire

ROOT = Path(__file__).parent / "terraform"
# The address of userinfo is hard-coded in the provider; it is refused and does no harm.
HARD_CODED = {"openidconnect.googleapis.com"}
# The bucket resource looks up its project here, an API that the double has not; that does no harm either.
TOLERATED = "/compute/compute/v1/projects/"
# What Google keeps for a while or for ever after a destroy: deleted roles and log buckets; key rings and keys.
LEFT = {
    "cloudkms.projects.locations.keyRings",
    "cloudkms.projects.locations.keyRings.cryptoKeys",
    "cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions",
    "iam.projects.roles",
    "logging.projects.locations.buckets",
}
BACKEND = 'terraform {\n  backend "gcs" {}\n}\nresource "terraform_data" "main" {\n  input = "hello"\n}\n'


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Give a project as Google makes one, with few APIs enabled."""
    with CloudDouble(apis=FRESH_APIS) as double:
        yield double


@pytest.fixture
def tripwire() -> Iterator[Tripwire]:
    """Give what catches every request that leaves loopback."""
    with Tripwire() as wire:
        yield wire


@pytest.fixture
def environment(cloud: CloudDouble, tripwire: Tripwire) -> dict[str, str]:
    """Give the settings by which terraform finds the double, and nothing else."""
    return {**cloud.environment, **tripwire.environment, "TF_VAR_project": cloud.project}


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on PATH")
def test_the_terraform_is_formatted() -> None:
    """`terraform fmt` has nothing to change."""
    done = subprocess.run(["terraform", "fmt", "-check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_every_resource_type_lives_and_dies(
    tmp_path: Path, cloud: CloudDouble, tripwire: Tripwire, environment: dict[str, str]
) -> None:
    """Apply, an empty plan, a change of everything that can change, an empty plan again, destroy, and nothing left."""
    folder = Path(shutil.copytree(ROOT, tmp_path / "root", ignore=shutil.ignore_patterns(".terraform*")))
    initialise(folder)
    run_terraform(folder, environment, "apply", "-auto-approve")
    run_terraform(folder, environment, "plan", "-detailed-exitcode")
    changed = {**environment, "TF_VAR_mark": "b"}
    assert terraform(folder, changed, "plan", "-detailed-exitcode").returncode == 2
    run_terraform(folder, changed, "apply", "-auto-approve")
    run_terraform(folder, changed, "plan", "-detailed-exitcode")
    sink = cloud.resources("logging.projects.sinks")[f"projects/{cloud.project}/sinks/records"]
    assert sink["filter"].endswith('"b"')
    run_terraform(folder, changed, "destroy", "-auto-approve")
    left = {kind for kind in cloud.state.collections if cloud.resources(kind)}
    assert left <= LEFT
    assert all(role["deleted"] for role in cloud.resources("iam.projects.roles").values())
    assert not cloud.storage.state.buckets
    assert not any(policy["bindings"] for policy in cloud.state.policies.values())
    refused = [entry for entry in cloud.requests if entry.status in (400, 403, 409, 412, 501)]
    assert all(entry.path.startswith(TOLERATED) for entry in refused), refused
    assert tripwire.hosts <= HARD_CODED


def test_an_api_that_nobody_enabled_stops_the_apply(tmp_path: Path, environment: dict[str, str]) -> None:
    """Without google_project_service the apply fails with Google's advice to enable the API."""
    name = (ROOT / "main.tf").read_text().replace('"secretmanager",', "")
    (tmp_path / "main.tf").write_text(name.partition('data "google_client_config"')[0])
    secret = (
        'resource "google_secret_manager_secret" "main" {\n  secret_id = "x"\n  replication {\n    auto {}\n  }\n}\n'
    )
    (tmp_path / "secret.tf").write_text(secret)
    initialise(tmp_path)
    done = terraform(tmp_path, environment, "apply", "-auto-approve")
    assert done.returncode == 1
    assert "SERVICE_DISABLED" in done.stderr


def test_state_lives_in_a_bucket_and_is_locked(tmp_path: Path, environment: dict[str, str], cloud: CloudDouble) -> None:
    """The gcs backend keeps its state in a bucket of the double, and a second holder of the lock is kept out."""
    (tmp_path / "main.tf").write_text(BACKEND)
    cloud.storage.add_bucket("state", versioning={"enabled": True})
    settings = ("-backend-config=bucket=state", "-backend-config=prefix=infra")
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    run_terraform(tmp_path, environment, "init", *settings)
    run_terraform(tmp_path, environment, "apply", "-auto-approve")
    run_terraform(tmp_path, environment, "plan", "-detailed-exitcode")
    assert b"terraform_data" in cloud.storage.read("state", "infra/default.tfstate")
    cloud.storage.write("state", "infra/default.tflock", b'{"ID": "1", "Who": "somebody else"}')
    done = terraform(tmp_path, environment, "plan")
    assert done.returncode == 1
    assert "somebody else" in done.stderr
