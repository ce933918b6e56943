"""A workspace to carry cloudbuild.yaml out in: the repository's files, and stand-ins for the verbs that take minutes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.server import ROOT

# What stands in for a verb is tests/standins.py; the others are real.
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
    python, standins = shlex.quote(sys.executable), shlex.quote(str(ROOT / "tests" / "standins.py"))
    chosen = f'case "$1 $2 $3" in {"|".join(f"-m\\ lifecycle\\ {verb}" for verb in REPLACED)})'
    text = f'#!/bin/sh\n{chosen} shift 2; PYTHONPATH="$PWD:{ROOT}" exec {python} {standins} "$@";; esac\nexec {python} "$@"\n'
    (programs / "python").write_text(text, encoding="utf-8")
    (programs / "python").chmod(0o755)
    ready = folder / ".venv" / "ready"
    ready.touch()
    later = (folder / "requirements-dev.txt").stat().st_mtime + 1
    os.utime(ready, (later, later))
    return folder
