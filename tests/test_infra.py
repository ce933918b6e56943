"""The Terraform of infra/, applied by the real terraform and provider on the local double."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud import CloudDouble
from tests.cloud.terraform import initialise, run_terraform, terraform
from tests.cloud.tripwire import Tripwire

ROOT = Path(__file__).resolve().parent.parent
VARIABLES = {"TF_VAR_project": "local-project", "TF_VAR_region": "europe-west6", "TF_VAR_model_bucket": "pilot-models"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of infra/, so that nothing is left behind in it."""
    return Path(shutil.copytree(ROOT / "infra", tmp_path / "infra", ignore=shutil.ignore_patterns(".terraform*")))


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return an empty double."""
    with CloudDouble() as double:
        yield double


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on PATH")
def test_the_terraform_is_formatted(folder: Path) -> None:
    """`terraform fmt` has nothing to change."""
    done = subprocess.run(["terraform", "fmt", "-check", "-recursive"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_apply_plan_and_destroy_on_the_double(folder: Path, cloud: CloudDouble) -> None:
    """Apply makes the model bucket, a plan after it is empty, destroy leaves nothing, and nothing leaves loopback."""
    initialise(folder)
    with Tripwire() as tripwire:
        environment = {**cloud.environment, **tripwire.environment, **VARIABLES}
        run_terraform(folder, environment, "apply", "-auto-approve")
        assert set(cloud.storage.state.buckets) == {"pilot-models"}
        run_terraform(folder, environment, "plan", "-detailed-exitcode")
        run_terraform(folder, environment, "destroy", "-auto-approve")
        assert set(cloud.storage.state.buckets) == set()
    assert tripwire.hosts <= {"openidconnect.googleapis.com", "compute.googleapis.com"}


@pytest.mark.parametrize("name", ["UPPER", "ends-with-"])
def test_a_wrong_bucket_name_is_refused_before_apply(name: str, folder: Path) -> None:
    """A name that Google would refuse at apply is refused at plan, with the rule."""
    initialise(folder)
    done = terraform(folder, {**VARIABLES, "TF_VAR_model_bucket": name}, "plan")
    assert done.returncode == 1
    assert "A bucket name has 3 to 63" in " ".join(done.stderr.split())
