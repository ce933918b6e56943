"""Peers that need packages of their own: an environment each under build/peers, made once from a requirements.txt."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.versions import ROOT, Version

HERE = Path(__file__).parent
PEERS = ROOT / "build" / "peers"
TIMEOUT_SECONDS = 900


class PeerError(Exception):
    """A peer cannot be had on this machine; the message says why."""


def onnx(version: Version) -> tuple[Path, Path]:
    """Return the scripts folder of onnxruntime's environment, and the version's fitted pipeline as ONNX."""
    scripts = environment(HERE / "onnx" / "requirements.txt")
    columns = {feature["name"]: feature["type"] == "text" for feature in version.manifest()["signature"]["features"]}
    folder = version.pins / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "columns.json").write_text(json.dumps(columns))
    files = (version.folder / "model.joblib", folder / "columns.json", folder / "model.onnx")
    # A pipeline may refer to functions in its train.py.
    run([scripts / "python", HERE / "onnx" / "convert.py", *files], {"PYTHONPATH": str(ROOT)})
    return scripts, files[-1]


def environment(requirements: Path) -> Path:
    """Return the scripts folder of the virtual environment with these requirements, made where it is not there yet."""
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = PEERS / f"{requirements.parent.name}-{digest}"
    scripts = folder / "bin"
    if not (folder / "ready").exists():
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([scripts / "python", "-m", "pip", "install", "--quiet", "--requirement", requirements])
        (folder / "ready").touch()
    return scripts


def run(command: list[str | Path], variables: dict[str, str] | None = None) -> None:
    """Run a command; raises PeerError with what it wrote where it fails."""
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
        raise PeerError(f"{command[0]} took more than {TIMEOUT_SECONDS} s") from None
    if done.returncode:
        raise PeerError(f"{' '.join(map(str, command[:4]))} ...: {done.stderr.strip()[-500:]}")
