"""The model version that all contenders serve: trained and pinned by the lifecycle, or taken from a store."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent.parent
LIFECYCLE_TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class Version:
    """One model version in a file:// store, where its pin is, and an instance that it answers."""

    model: str
    store: str
    folder: Path
    pin_file: Path
    instance: dict[str, Any]


class LifecycleError(Exception):
    """A lifecycle command failed; the message holds the command and what it printed."""


def train(model: str, store: str) -> None:
    """Train a model and publish the version to a store."""
    lifecycle("train", model, "--store", store)


def newest(model: str, store: str, pins: Path) -> Version:
    """Return the newest version of a model in a file:// store; its pin is expected in a folder below `pins`.

    Raises FileNotFoundError when the store has no version of the model.
    """
    versions = Path(unquote(urlsplit(store).path)) / model
    numbers = [int(golden.parent.name) for golden in versions.glob("*/golden.jsonl")]
    if not numbers:
        raise FileNotFoundError(f"expected a version of {model} with golden.jsonl below {versions}, found none")
    folder = versions / str(max(numbers))
    return Version(model, store, folder, pins / model / "pin.json", first_instance(folder / "golden.jsonl"))


def pin(version: Version) -> None:
    """Write the pin that the version's server reads."""
    lifecycle(
        "pin", version.model, version.folder.name, "--store", version.store, "--out", str(version.pin_file.parent)
    )


def first_instance(golden: Path) -> dict[str, Any]:
    """Return the raw instance of a version's first golden example."""
    with golden.open(encoding="utf-8") as lines:
        instance: dict[str, Any] = json.loads(next(lines))["instance"]
        return instance


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
