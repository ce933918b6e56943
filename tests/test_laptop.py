"""make cloud: one command that shows everything, and leaves nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.laptop import SETTINGS, WORK
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
        assert SETTINGS.exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "Apply complete!" in said
    assert "churn version 1 is published" in said
    assert "is ready" in said
    assert '"predictions":["No"]' in said
    assert not WORK.exists()


def test_a_model_that_is_not_there_is_named() -> None:
    """It says so before anything is started."""
    done = subprocess.run([*COMMAND, "--model", "nothing"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "There is no models/nothing/train.py.\n"
