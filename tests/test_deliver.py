"""make deliver: which cloud it takes, what it refuses, and a cloud that outlives the command."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud import deliver, holder
from tests.cloud.installation import find_target, read_ready, settings_file, work_folder
from tests.server import ROOT

Run = Callable[..., int]


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the function that runs the command in this process, which forgets its handler of SIGTERM."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run_command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["deliver", *arguments])
        return deliver.main()

    return run_command


def test_an_environment_has_a_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """An environment that infra/ does not have is refused, and those that it has are named."""
    assert run("--environment", "nosuch") == 1
    assert "the environments are: dev, prod" in capsys.readouterr().err


def test_a_terminal_that_looks_elsewhere_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the settings of a cloud that has ended, nothing is started in its place."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free_port()}")
    assert run() == 1
    assert "where nobody answers: open another one" in capsys.readouterr().err


def test_there_may_be_nothing_to_stop(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Make stop without a cloud says so, and is no error."""
    port = free_port()
    assert run("--stop", "--port", str(port)) == 0
    assert capsys.readouterr().out == f"There is no local cloud on port {port}.\n"


def test_a_taken_port_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Where something else has the port, the cloud's own words are shown and nothing is left."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run("--port", str(port)) == 1
    said = capfd.readouterr()
    assert f"Port {port}: Address already in use" in said.out
    assert "The local cloud did not start." in said.err
    assert not work_folder(port).exists()
    work_folder(port).with_suffix(".log").unlink()


@pytest.mark.long
def test_a_cloud_outlives_the_command_that_needed_it(tmp_path: Path) -> None:
    """The next delivery finds it, a killed one is replaced, make stop ends it, and so does a lost folder."""
    port = free_port()
    folder = work_folder(port)
    for name in ("env", "git", "sh"):  # and no terraform: a bare cloud is there sooner
        (tmp_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    every = "verify plan apply train image build rollout record report"
    command = [sys.executable, "-m", "tests.cloud.deliver", "--port", str(port), "--skip", every]

    def delivered() -> int:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        ready = read_ready(folder)
        assert ready is not None and holder.is_answering(folder)
        return ready.pid

    try:
        first = delivered()
        assert delivered() == first
        os.kill(first, signal.SIGKILL)
        second = delivered()
        assert second != first
        assert "has ended" in holder.stop(port)
        assert not folder.exists()
        third = delivered()
        shutil.rmtree(folder)
        wait_for_end(third)
    finally:
        if (ready := read_ready(folder)) is not None:
            os.kill(ready.pid, signal.SIGTERM)
        folder.with_suffix(".log").unlink(missing_ok=True)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_bare_clone_is_delivered(tmp_path: Path) -> None:
    """From source to all of the traffic; the second time there is nothing to do; an edit releases its model alone."""
    clone, port = tmp_path / "main", free_port()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (clone / ".venv").symlink_to(sys.prefix)
    os.utime(clone / "requirements-dev.txt", (0, 0))  # older than what was installed of it
    models = {entry.name for entry in (clone / "models").iterdir() if entry.is_dir()} & set(find_target("dev").models)

    def make(*words: str) -> str:
        command = ["make", *words, f"CLOUD_PORT={port}"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=580)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        return done.stdout

    try:
        first = make("deliver", "SKIP=verify")
        assert {model for model in models if f"{model} 1 answers everything" in first} == models
        second = make("deliver", "SKIP=verify")
        assert second.count("nothing to do") == len(models)
        assert "answers everything." not in second
        recipe = clone / "models" / "churn" / "train.py"
        recipe.write_text(recipe.read_text().replace("max_iter=120", "max_iter=110"))
        third = make("deliver", "SKIP=verify")
        assert "churn 2 answers everything" in third
        assert third.count("nothing to do") == len(models) - 1
    finally:
        make("stop")


def wait_for_end(process: int) -> None:
    """Wait until a process that is nobody's child here has ended."""
    watched = os.pidfd_open(process)
    try:
        assert select.select([watched], [], [], 30)[0], "it goes on"
    finally:
        os.close(watched)


def test_every_identity_of_a_run_is_the_environments() -> None:
    """Runs go as the service accounts that infra/ makes for them."""
    target = find_target("dev")
    accounts = {run: deliver.trigger(target, run)["serviceAccount"] for run in deliver.IDENTITIES}
    assert accounts["deliver"].endswith(f"/{target.release_identity}")
    assert {account.rpartition("/")[2].partition("@")[0] for account in accounts.values()} == {
        f"{target.prefix}-{name}" for name in ("apply", "deliver", "verify")
    }


def test_settings_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    """What `source` would set is what steps get."""
    settings_file(tmp_path).write_text("export A=b\nexport C='d e=f'\n")
    assert deliver._settings(tmp_path) == {"A": "b", "C": "d e=f"}
