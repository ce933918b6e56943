"""Virtual environments for what must not share ours: the benchmark's peers, other people's published clients."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.server import ROOT

TIMEOUT_SECONDS = 900


class EnvironmentFault(Exception):
    """An environment cannot be had on this machine, or what runs in it fails; the message says why."""


def scripts(requirements: Path) -> Path:
    """Return the scripts folder of the virtual environment with these requirements, made where it is not there yet."""
    folder = _folder(requirements)
    if not is_made(requirements):
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", requirements])
        (folder / "ready").touch()
    return folder / "bin"


def is_made(requirements: Path) -> bool:
    """Tell whether an environment is there."""
    return (_folder(requirements) / "ready").exists()


def run(command: list[str | Path], variables: dict[str, str] | None = None) -> str:
    """Run a command; return what it printed; raises EnvironmentFault with what it complained of where it fails."""
    try:
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(f"{command[0]} took more than {TIMEOUT_SECONDS} s") from None
    if done.returncode:
        raise EnvironmentFault(f"{' '.join(map(str, command[:4]))} ...: {done.stderr.strip()[-500:]}")
    return done.stdout


def _folder(requirements: Path) -> Path:
    """Return where an environment lies: its name changes with its requirements and with Python."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    kind = requirements.parent.parent.name
    return ROOT / "build" / kind / f"{requirements.parent.name}-{digest}"
