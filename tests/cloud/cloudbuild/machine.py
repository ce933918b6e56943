"""Where builds of a double run: the variables by which a step finds it as the build's account, and a pack for it."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.cloud import oauth
from tests.cloud.cloudbuild import local, runs
from tests.cloud.cloudbuild.runs import Place, Runner
from tests.cloud.double import CloudDouble
from tests.cloud.project import now
from tests.cloud.schemas import Json
from tests.server import ROOT

BUILD_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/")
LONGEST_BUILD_SECONDS = 24 * 3600
PACK = "tests.cloud.artifactregistry.pack"


def environment(settings: Mapping[str, str], account: str, folder: Path) -> dict[str, str]:
    """Return the variables of a step: those by which programs find a double, as an account, `pack` replaced.

    `settings` are CloudDouble.environment; `folder` is for the key and for what stands in for programs.
    """
    url = settings["STORAGE_EMULATOR_HOST"]
    key, token = folder / "key.json", oauth.identity_token(account, oauth.ISSUER, LONGEST_BUILD_SECONDS)
    answer = httpx2.get(f"{url}/_double/key", params={"account": account}, timeout=20, trust_env=False)
    key.write_text(answer.raise_for_status().text, encoding="utf-8")
    return {
        **os.environ,
        **settings,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        "GOOGLE_OAUTH_ACCESS_TOKEN": token,
        "PATH": os.pathsep.join([str(_programs(folder)), os.environ["PATH"]]),
    }


def runner(cloud: CloudDouble, workspace: Path, say: local.Say, skipped: Mapping[str, str] | None = None) -> Runner:
    """Return what CloudBuild.runner takes: each queued build is carried out in a folder, under its own account.

    It is done when the event that made it is answered, so that nobody cancels one under way.
    """

    def carry_out(build: Json) -> None:
        builds = cloud.cloud_build.builds
        builds.update(build["id"], {"status": "WORKING", "startTime": now()})
        number, location = BUILD_NAME.match(build["name"]).groups()  # type: ignore[union-attr]
        values = runs.values_of(build, Place(build["projectId"], number, location))
        account = build.get("serviceAccount", oauth.OWNER).rpartition("/")[2]
        with tempfile.TemporaryDirectory() as folder:
            variables = environment(cloud.environment, account, Path(folder))
            builds.update(build["id"], local.run(build, values, workspace, variables, say, skipped))

    return carry_out


def _programs(folder: Path) -> Path:
    """Write the program that stands in for pack; return the folder that it is in."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    pack = programs / "pack"
    command = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m {PACK} "$@"'
    pack.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    pack.chmod(0o755)
    return programs
