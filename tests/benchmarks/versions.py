"""The model version that all contenders serve: fitted and packaged now, or taken from a store."""

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import joblib
import pandas as pd

from lifecycle.frames import raw_instances
from lifecycle.signature import learn_features
from tests.benchmarks import pipelines

ROOT = Path(__file__).parent.parent.parent
LIFECYCLE_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Version:
    """One model version in a file:// store, the folder of its pin, and instances that it answers."""

    model: str
    store: str
    folder: Path
    pins: Path
    instances: list[dict[str, Any]]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Return so many instances, the known ones over and over."""
        return list(islice(cycle(self.instances), count))

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as it stands in the store."""
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_bytes())
        return manifest


class LifecycleError(Exception):
    """A lifecycle command failed; the message holds the command and what it printed."""


def publish(name: str, folder: Path) -> Version:
    """Publish a version as a user would, to a store in a folder, and return it with its test rows as instances."""
    store = (folder / "store").as_uri()
    if name in pipelines.PIPELINES:
        features = package(name, store, folder)
    else:
        lifecycle("train", name, "--store", store)
        features = pipelines.test_features(name)
    return newest(name, store, folder / "pins", raw_instances(features, learn_features(features, {})))


def package(name: str, store: str, folder: Path) -> pd.DataFrame:
    """Fit one of PIPELINES and package it with its test rows; return their features."""
    fitted = pipelines.PIPELINES[name]()
    pipeline, examples = folder / f"{name}.joblib", folder / f"{name}.csv"
    joblib.dump(fitted.pipeline, pipeline)
    fitted.test.to_csv(examples, index=False)
    arguments = ("--pipeline", str(pipeline), "--examples", str(examples), "--target", fitted.target)
    lifecycle("package", name, *arguments, "--store", store)
    return fitted.features


def newest(model: str, store: str, pins: Path, instances: list[dict[str, Any]] | None = None) -> Version:
    """Return the newest version of a model in a file:// store; its pins are expected in folders below `pins`.

    Its instances are its golden examples where no others are given. Raises FileNotFoundError when the store has no
    version of the model.
    """
    versions = Path(unquote(urlsplit(store).path)) / model
    numbers = [int(golden.parent.name) for golden in versions.glob("*/golden.jsonl")]
    if not numbers:
        raise FileNotFoundError(f"expected a version of {model} with golden.jsonl below {versions}, found none")
    folder = versions / str(max(numbers))
    return Version(model, store, folder, pins / model, instances or golden_instances(folder / "golden.jsonl"))


def pin(version: Version, *options: str) -> Path:
    """Write the pin that the version's server reads, in a folder named by the options; return the file."""
    out = version.pins / ("-".join(options).strip("-") or "plain")
    lifecycle("pin", version.model, version.folder.name, "--store", version.store, "--out", str(out), *options)
    return out / "pin.json"


def golden_instances(golden: Path) -> list[dict[str, Any]]:
    """Return the raw instances of a version's golden examples."""
    with golden.open(encoding="utf-8") as lines:
        return [json.loads(line)["instance"] for line in lines]


def lifecycle(*arguments: str) -> None:
    """Run one lifecycle command from the repository's root, as a user would.

    Raises LifecycleError with its output when it fails.
    """
    command = [sys.executable, "-m", "lifecycle", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, timeout=LIFECYCLE_TIMEOUT_SECONDS, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise LifecycleError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
