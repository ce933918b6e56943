"""Tries an artifact or a version where it will run: in a process that has only the image's packages."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from lifecycle.errors import ArtifactRefused
from lifecycle.recipe import ROOT

TIMEOUT_SECONDS = 300
CHILD = Path(__file__).with_name("image_process.py")
# How a pickle since protocol 2 starts, and what joblib compresses with: zlib, gzip, bz2, lzma, xz, lz4.
STARTS = re.compile(rb"\x80[\x02-\x05]|x[\x01\x5e\x9c\xda]|\x1f\x8b|BZh|\x5d\x00\x00|\xfd7zXZ|\x04\x22\x4d\x18")


def rehearse_unpickling(file: Path) -> dict[str, Any]:
    """Unpickle a file as the image would; raises ArtifactRefused naming the global that it lacks."""
    try:
        return _run("unpickle", str(file.resolve()))
    except ArtifactRefused as error:
        # Text is read as a pickle of protocol 0 and fails on whatever its letters happen to mean.
        with file.open("rb") as opened:
            if STARTS.match(opened.read(8)):
                raise
        raise ArtifactRefused(f"{file.name} is no joblib or pickle file:", error.reasons) from error


def rehearse_load(pin: Path, store: str, engine: str) -> dict[str, Any]:
    """Load a pinned version as the server would and return its timings in milliseconds; raises ArtifactRefused."""
    return _run("load", str(pin.resolve()), store, engine)


def rehearse_rows(store: str, *versions: tuple[str, Path]) -> list[float]:
    """Return the median milliseconds of one row by each version, given by engine and pin; raises ArtifactRefused."""
    given = [text for engine, pin in versions for text in (engine, str(pin.resolve()))]
    medians: list[float] = _run("alternate", store, *given)["one_row_ms"]
    return medians


def image_packages(requirements: Path = ROOT / "requirements.txt") -> set[str]:
    """Return the normalized names of the packages that the image's lock file names."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return {_normalized(match[1]) for line in lines if (match := re.match(r"([A-Za-z0-9._-]+)==", line))}


def absent_modules() -> set[str]:
    """Return the top-level modules that can be imported here, but not in the image."""
    locked = image_packages()
    packages = _installed().items()
    others = {module for module, owners in packages if not locked & {_normalized(name) for name in owners}}
    return others | {path.stem for path in ROOT.iterdir()} - {"function"}


def _run(*job: str) -> dict[str, Any]:
    command = [sys.executable, "-I", str(CHILD), ",".join(sorted(absent_modules())), str(ROOT), *job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ArtifactRefused(f"Loading took longer than {TIMEOUT_SECONDS} seconds.") from None
    lines = done.stdout.strip().splitlines()
    try:
        result: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise ArtifactRefused("The process that tried the artifact ended early:", [done.stderr[-1000:]]) from None
    if not result.pop("ok"):
        raise ArtifactRefused("The image could not load this:", [result["reason"]])
    return result


@functools.cache
def _installed() -> Mapping[str, list[str]]:
    """Return what is installed, by module; looking it up costs more than half a second."""
    return packages_distributions()


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
