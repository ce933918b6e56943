"""make cloud: one command that shows everything, and leaves nothing behind."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.installation import work_folder
from tests.cloud.terraform import initialise
from tests.infra.code import INFRA
from tests.server import ROOT

COMMAND = [sys.executable, "-m", "tests.cloud.laptop"]


@pytest.mark.long
def test_it_shows_the_product_and_ends(tmp_path: Path) -> None:
    """It applies, trains, releases, calls, waits, and after Ctrl-C no process, port or folder is there."""
    (tmp_path / "versions.tf").write_text((INFRA / "versions.tf").read_text().partition("provider ")[0])
    initialise(tmp_path)
    with subprocess.Popen([*COMMAND, "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        folder = work_folder(int(re.findall(r"on this machine: http://127.0.0.1:([0-9]+)", said)[0]))
        assert (folder / "environment").exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "Apply complete!" in said
    assert "churn version 1 is published" in said
    assert "churn 1 answers everything." in said
    assert '"predictions":["No"]' in said
    assert not folder.exists()


@pytest.mark.long
@pytest.mark.parametrize("missing", ["terraform", "provider"])
def test_without_terraform_it_says_why(missing: str, tmp_path: Path) -> None:
    """Where Terraform or its provider cannot be had it goes on with less, and gives the true reason."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "sh", "env", *(["terraform"] if missing == "provider" and shutil.which("terraform") else [])):
        (folder / name).symlink_to(shutil.which(name) or "/bin/sh")
    reason = "terraform is not on PATH" if missing == "terraform" else "registry.terraform.io"
    environment = {"PATH": str(folder), "HOME": str(tmp_path)}
    if missing == "provider" and shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    command = [*COMMAND, "--port", "0", "--once"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    if "Apply complete!" in done.stdout:
        pytest.skip("terraform init gets the provider from the registry here")
    assert done.returncode == 0, done.stderr
    assert reason in done.stdout
    assert "Forbidden" not in done.stdout, "its own tripwire kept the provider away"
    assert "make plan" not in done.stdout
    assert '"predictions":["No"]' in done.stdout


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("nothing", "There is no models/nothing/train.py; there are churn, maintenance, reviews.\n"),
        (
            "maintenance",
            "infra/dev.tfvars serves churn, reviews: add `maintenance = {}` to its models to serve maintenance.\n",
        ),
    ],
)
def test_a_model_that_cannot_be_shown_is_named(model: str, fault: str) -> None:
    """It says so before anything is started, and what there is."""
    done = subprocess.run([*COMMAND, "--model", model], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, fault)


def test_a_second_one_leaves_the_first_alone() -> None:
    """Where the port is taken it says so, and keeps its hands off the folder of whoever has it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = work_folder(port)
        folder.mkdir(parents=True)
        (folder / "environment").touch()
        try:
            done = subprocess.run([*COMMAND, "--port", str(port)], cwd=ROOT, capture_output=True, text=True, timeout=60)
            assert done.returncode == 1
            assert f"make cloud CLOUD_PORT={port + 1}" in done.stderr
            assert (folder / "environment").exists()
        finally:
            shutil.rmtree(folder)
