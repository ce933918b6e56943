"""The real terraform, run with nothing of the caller's cloud settings."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# Commands that never ask, and refuse to be told not to.
UNASKING = {"output", "show", "test", "validate"}


def initialise(folder: Path) -> None:
    """Run terraform init without a backend, from a local mirror or the registry; skip where neither is possible."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    done = terraform(folder, {}, "init", "-backend=false")
    if done.returncode:
        pytest.skip(f"terraform init cannot get the google provider: {done.stderr.strip()[-300:]}")


def run_terraform(folder: Path, environment: dict[str, str], *arguments: str) -> None:
    """Run terraform and show what it said where it failed."""
    done = terraform(folder, environment, *arguments)
    assert done.returncode == 0, f"terraform {arguments[0]}:\n{done.stdout}\n{done.stderr}"


def terraform(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run terraform with a fake token and nothing of the caller's cloud settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"CHECKPOINT_DISABLE": "1", "GOOGLE_OAUTH_ACCESS_TOKEN": "x", "TF_IN_AUTOMATION": "1"}
    asking = [] if arguments[0] in UNASKING else ["-input=false"]
    command = ["terraform", arguments[0], *asking, "-no-color", *arguments[1:]]
    return subprocess.run(
        command, cwd=folder, env={**kept, **settings, **environment}, capture_output=True, text=True, timeout=200
    )
