"""Stands in for `pack` on this machine: a folder becomes an image of the double as it is; nothing is built.

It takes the options that the Makefile uses and no others, and refuses what Google's buildpacks would refuse.
https://github.com/GoogleCloudPlatform/buildpacks (cmd/python/functions_framework)
"""

from __future__ import annotations

import argparse
import os
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import httpx2

TARGET, SOURCE = "GOOGLE_FUNCTION_TARGET", "GOOGLE_FUNCTION_SOURCE"


def main() -> int:
    """Push an image; return the exit code."""
    options = _parser().parse_args()
    told = dict(line.partition("=")[::2] for line in options.env)
    faults = list(_faults(options.path, told))
    if faults:
        print("\n".join(f"ERROR: failed to build: {fault}" for fault in faults), file=sys.stderr)
        return 1
    print(f"pack is replaced on this machine: nothing is built, {options.path} becomes an image of the local cloud")
    name, _, tag = options.reference.rpartition(":")
    body = {
        "folder": str(options.path.resolve()),
        "name": name,
        "tags": [tag],
        "environment": {
            "FUNCTION_SOURCE": told[SOURCE],
            "FUNCTION_TARGET": told[TARGET],
            "PYTHONUNBUFFERED": "TRUE",
        },
    }
    headers = {"Authorization": f"Bearer {os.environ['GOOGLE_OAUTH_ACCESS_TOKEN']}"}
    url = f"{os.environ['STORAGE_EMULATOR_HOST']}/_double/images"
    answer = httpx2.post(url, json=body, headers=headers, timeout=120, trust_env=False)
    if answer.status_code != 200:
        print(f"ERROR: failed to export: {answer.json()['error']['message']}", file=sys.stderr)
        return 1
    print(f"*** Digest: {answer.json()['digest']}\nSuccessfully built image {options.reference}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pack", allow_abbrev=False)
    build = parser.add_subparsers(required=True).add_parser("build", allow_abbrev=False)
    build.add_argument("reference")
    build.add_argument("--builder", required=True)
    build.add_argument("--env", action="append", default=[])
    build.add_argument("--path", type=Path, required=True)
    build.add_argument("--publish", action="store_true", required=True)
    return parser


def _faults(folder: Path, told: dict[str, str]) -> Iterator[str]:
    if not told.get(TARGET):
        yield f"{TARGET} is not set, so this is no function"
    if not (folder / told.get(SOURCE, "main.py")).is_file():
        yield f"{SOURCE} names {told.get(SOURCE, 'main.py')}, which does not exist"
    if not (folder / "requirements.txt").is_file():
        yield "there is no requirements.txt"
    for file in sorted(folder.rglob("*.py")):
        try:
            with tokenize.open(file) as source:
                compile(source.read(), str(file), "exec")
        except SyntaxError as fault:
            yield f"{file.relative_to(folder)}:{fault.lineno}: {fault.msg}"


if __name__ == "__main__":
    sys.exit(main())
