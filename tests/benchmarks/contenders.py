"""What is measured: one function per contender, each saying how a user would start that server for a model version.

To add one, write its `main.py` in a folder here (or name a command), a function below, and its name in CONTENDERS.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.versions import Version

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Contender:
    """A server to start: a command that listens on $PORT, and the one request that everybody sends to it."""

    name: str
    command: list[str]
    body: str
    environment: dict[str, str] = field(default_factory=dict)
    path: str = "/predict"
    prints_records: bool = False


def ours(version: Version, scripts: Path) -> Contender:
    """Start this repository's function, with the version pinned."""
    source = ROOT / "function" / "main.py"
    return Contender(
        name="ours",
        command=[*framework(scripts, source), "--asgi"],
        body=native_body(version),
        environment={"MODEL_STORE": version.store, "PIN_FILE": str(version.pin_file)},
        prints_records=True,
    )


def naive(version: Version, scripts: Path) -> Contender:
    """Start the handler that everyone writes first, with the same fitted pipeline."""
    return Contender(
        name="naive",
        command=framework(scripts, HERE / "naive" / "main.py"),
        body=native_body(version),
        # A pipeline may refer to functions in its train.py.
        environment={"MODEL_FILE": str(version.folder / "model.joblib"), "PYTHONPATH": str(ROOT)},
    )


def echo(version: Version, scripts: Path) -> Contender:
    """Start the floor: no function on the same framework can be quicker."""
    return Contender(
        name="echo",
        command=[*framework(scripts, HERE / "echo" / "main.py"), "--asgi"],
        body=native_body(version),
    )


CONTENDERS: dict[str, Callable[[Version, Path], Contender]] = {"ours": ours, "naive": naive, "echo": echo}


def framework(scripts: Path, source: Path) -> list[str]:
    """Return the functions-framework command of a virtual environment's scripts folder for one source file."""
    return [str(scripts / "functions-framework"), "--target", "predict", "--source", str(source), "--host", "127.0.0.1"]


def native_body(version: Version) -> str:
    """Return the request body of the native dialect that holds the version's example instance."""
    return json.dumps({"instances": [version.instance]})
