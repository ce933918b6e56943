"""A workspace to carry cloudbuild.yaml out in: the repository's files, and stand-ins for verbs that take minutes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from function.store import FileStore
from tests.server import ROOT
from tests.toys import TOYS, publish_toy

# What stands in for a verb is tests/standins.py; the others are real.
TEMPLATE = "version"  # where stand-ins find the files of a version
REPLACED = ("train", "rollout", "report")
COPIED = ("function", "lifecycle", "infra", "models")
FILES = ("Makefile", "cloudbuild.yaml", "requirements.txt", "requirements-dev.txt")


def make_workspace(folder: Path, environment: str, variables: Mapping[str, Any]) -> Path:
    """Make a folder as a build finds it, with an environment of these variables; return it."""
    ignored = shutil.ignore_patterns("__pycache__", ".terraform*", "*.tfvars", "pin.json", "blobs")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in variables.items()]
    (folder / "infra" / f"{environment}.tfvars").write_text("".join(lines), encoding="utf-8")
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(_python(), encoding="utf-8")
    (programs / "python").chmod(0o755)
    publish_toy(FileStore(folder / "store"), "toy", TOYS["truth"]())
    shutil.move(folder / "store" / "toy" / "1", folder / TEMPLATE)
    ready = folder / ".venv" / "ready"
    ready.touch()
    later = (folder / "requirements-dev.txt").stat().st_mtime + 1
    os.utime(ready, (later, later))
    return folder


def _python() -> str:
    """Return the program that a workspace calls python: it hands some verbs to the stand-ins."""
    python, standins = shlex.quote(sys.executable), shlex.quote(str(ROOT / "tests" / "standins.py"))
    replaced = " | ".join(f"'-m lifecycle {verb}'" for verb in REPLACED)
    lines = [
        "#!/bin/sh",
        'case "$1 $2 $3" in',
        f'  {replaced}) shift 2; PYTHONPATH="$PWD:"{shlex.quote(str(ROOT))} exec {python} {standins} "$@" ;;',
        "esac",
        f'exec {python} "$@"',
    ]
    return "\n".join(lines) + "\n"
