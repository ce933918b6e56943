"""What is measured: one function per contender, each saying how a user would start that server for a model version.

To add one, write its `main.py` in a folder here (or name a command), a function below, and its name in CONTENDERS.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from function.store import open_store
from tests.benchmarks import peers
from tests.benchmarks.versions import ROOT, Version, pin

HERE = Path(__file__).parent
BUCKET = "models"


@dataclass(frozen=True)
class Contender:
    """A server to start: a command that listens on $PORT, and the one request that everybody sends to it."""

    name: str
    command: list[str]
    body: str
    environment: dict[str, str] = field(default_factory=dict)
    path: str = "/predict"
    prints_records: bool = False


@dataclass(frozen=True)
class Setting:
    """What contenders are started with: a version, a virtual environment's scripts, and the double of the cloud."""

    version: Version
    scripts: Path
    cloud: Mapping[str, str] = field(default_factory=dict)


def ours(setting: Setting) -> Contender:
    """Start this repository's function as an image holds it: the version pinned and baked in."""
    return _ours("ours", setting, pin(setting.version, "--bake"), {})


def bucket(setting: Setting) -> Contender:
    """Start the same with the version's files in a double of Cloud Storage, fetched by google-cloud-storage."""
    version = setting.version
    store = open_store(f"gs://{BUCKET}/benchmarks")
    for file in sorted(version.folder.iterdir()):
        store.create(f"{version.model}/{version.folder.name}/{file.name}", file.read_bytes())
    store.close()
    return _ours("bucket", setting, pin(version), {**setting.cloud, "MODEL_STORE": store.url})


def _ours(name: str, setting: Setting, pin_file: Path, environment: dict[str, str]) -> Contender:
    return Contender(
        name=name,
        command=[*framework(setting.scripts, ROOT / "function" / "main.py"), "--asgi"],
        body=native_body(setting.version, 1),
        environment={"MODEL_STORE": setting.version.store, "PIN_FILE": str(pin_file), **environment},
        prints_records=True,
    )


def naive(setting: Setting) -> Contender:
    """Start the handler that everyone writes first, with the same fitted pipeline."""
    return Contender(
        name="naive",
        command=framework(setting.scripts, HERE / "naive" / "main.py"),
        body=native_body(setting.version, 1),
        # A pipeline may refer to functions in its train.py.
        environment={"MODEL_FILE": str(setting.version.folder / "model.joblib"), "PYTHONPATH": str(ROOT)},
    )


def onnx(setting: Setting) -> Contender:
    """Start a raw ASGI callable around onnxruntime, without checks or records, in an environment of its own."""
    scripts, file = peers.onnx(setting.version)
    return Contender(
        name="onnx",
        command=[str(scripts / "python"), str(HERE / "onnx" / "main.py")],
        body=native_body(setting.version, 1),
        environment={"MODEL_FILE": str(file)},
    )


def echo(setting: Setting) -> Contender:
    """Start the floor: no function on the same framework can be quicker."""
    return Contender(
        name="echo",
        command=[*framework(setting.scripts, HERE / "echo" / "main.py"), "--asgi"],
        body=native_body(setting.version, 1),
    )


CONTENDERS: dict[str, Callable[[Setting], Contender]] = {
    "ours": ours,
    "bucket": bucket,
    "naive": naive,
    "onnx": onnx,
    "echo": echo,
}


def framework(scripts: Path, source: Path) -> list[str]:
    """Return the functions-framework command of a virtual environment's scripts folder for one source file."""
    return [str(scripts / "functions-framework"), "--target", "predict", "--source", str(source), "--host", "127.0.0.1"]


def native_body(version: Version, count: int) -> str:
    """Return the request body of the native dialect that holds so many of the version's instances."""
    return json.dumps({"instances": version.rows(count)})
