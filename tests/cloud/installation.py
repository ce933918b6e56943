"""An installation of infra/ on the double: what `make cloud` shows, and what `make deliver` delivers to.

Everything but the cloud is real: Terraform and its provider, the state in its bucket, identities and their grants.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import hcl2

from lifecycle.environment import FOLDER, Environment, read_environment
from lifecycle.errors import LifecycleError
from tests.cloud import bare, given
from tests.cloud.double import CloudDouble
from tests.cloud.project import FRESH_APIS
from tests.cloud.tripwire import Tripwire
from tests.infra.code import unquoted
from tests.server import ROOT

PORT = 8600
MEASURE_SECONDS = 15
LONGEST_REASON = 300


class CannotGoOn(Exception):
    """What failed, with what it said."""


class NoTerraform(Exception):
    """Terraform or its provider cannot be had here; the message says which, and why."""


class Place(NamedTuple):
    """A cloud with an environment of infra/ to be, how programs find it, and the folder of what belongs to it.

    `outside` are the variables of a program that may also reach the rest of the world, as its caller can.
    """

    cloud: CloudDouble
    target: Environment
    inside: dict[str, str]
    outside: dict[str, str]
    folder: Path


class Ready(NamedTuple):
    """What a place that is ready says of itself: whose process it is, which environment, whether infra/ was applied."""

    pid: int
    environment: str
    applied: bool

    def write(self, folder: Path) -> None:
        """Write it down, whole or not at all."""
        draft = folder / "ready.draft"
        draft.write_text(json.dumps(self._asdict()), encoding="utf-8")
        draft.rename(folder / "ready")


def read_ready(folder: Path) -> Ready | None:
    """Return what the place of a folder says of itself, nothing where it is not ready."""
    try:
        return Ready(**json.loads((folder / "ready").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def work_folder(port: int) -> Path:
    """Return the folder of the cloud on a port, inside of build/."""
    return ROOT / "build" / ("cloud" if port == PORT else f"cloud-{port}")


def settings_file(folder: Path) -> Path:
    """Return the file that a shell sources to find a cloud."""
    return folder / "environment"


def variables_file(target: Environment) -> Path:
    """Return the file of an environment's variables."""
    return FOLDER / f"{target.name}.tfvars"


def find_target(name: str) -> Environment:
    """Return an environment of infra/; raises CannotGoOn with what its file lacks."""
    try:
        return read_environment(name)
    except LifecycleError as fault:
        raise CannotGoOn(str(fault)) from None


@contextlib.contextmanager
def running(target: Environment, port: int) -> Iterator[Place]:
    """Run a double with an empty project, and a proxy that lets nothing leave; its folder lives as long as it does.

    Raises CannotGoOn: the port is taken.
    """
    with contextlib.ExitStack() as stack:
        tripwire = stack.enter_context(Tripwire())
        try:
            cloud = stack.enter_context(CloudDouble(port=port, project=target.project, apis=FRESH_APIS))
        except OSError as fault:
            reason = f"Port {port}: {fault.strerror}. Is another make cloud running?"
            raise CannotGoOn(f"{reason} Choose another port: make cloud CLOUD_PORT={port + 1}") from None
        folder = work_folder(int(cloud.url.rpartition(":")[2]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        settings = {**cloud.environment, "GOOGLE_OAUTH_ACCESS_TOKEN": "local"}
        settings |= {"ENVIRONMENT": target.name, "MODEL_STORE": target.store}
        settings |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "CLOUDSDK_CORE_PROJECT": target.project}
        settings["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(folder / "token")
        (folder / "token").write_text("local", encoding="utf-8")
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
        settings_file(folder).write_text("".join(exports), encoding="utf-8")
        print(f"A Google Cloud on this machine: {cloud.url}, project {target.project}", flush=True)
        stack.enter_context(_measuring(cloud))
        outside = {**os.environ, **settings}
        yield Place(cloud, target, {**outside, **tripwire.environment}, outside, folder)


def install(place: Place, *models: str) -> bool:
    """Apply infra/, or make a bare bucket and services where Terraform cannot be had; tell whether it was applied.

    Then the place is ready, which is written down for programs that look for one.
    """
    applied = _install(place, *models)
    Ready(os.getpid(), place.target.name, applied).write(place.folder)
    return applied


def make_bare(cloud: CloudDouble, target: Environment, *models: str) -> None:
    """Make what a delivery needs, by the APIs, and services that wait for an image."""
    bare.make_environment(cloud, target)
    for model in models:
        bare.make_endpoint(cloud, target, model)


@contextlib.contextmanager
def step(what: str, how: str) -> Iterator[list[str]]:
    """Print what is being done, then how long it took and what is put into the list."""
    print(f"  {what} ({how})", end="", flush=True)
    started, done = time.monotonic(), list[str]()
    yield done
    print(f": {''.join(done) or 'done'}, {time.monotonic() - started:.0f} s", flush=True)


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """Run a program in the repository; return what it printed. Raises CannotGoOn with what it complained of."""
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        raise CannotGoOn(f"\n{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return str(done.stdout)


def _install(place: Place, *models: str) -> bool:
    with step("bucket of the state", "make bootstrap"):
        run([sys.executable, "infra/bootstrap.py", str(variables_file(place.target))], place.inside)
    with step("the cloud around the models", "terraform apply, most of a minute") as done:
        try:
            done.append(_apply(place))
        except NoTerraform as reason:
            done.append(f"not applied, a bare bucket and service made instead: {reason}")
            make_bare(place.cloud, place.target, *models)
            return False
    return True


def _apply(place: Place) -> str:
    """Apply a copy of infra/ with the state in the double's bucket; return what was made, in words."""
    folder, variables = place.folder / "infra", _variables(place.target)
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    shutil.copytree(ROOT / "models", place.folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    if shutil.which("terraform") is None:
        raise NoTerraform("terraform is not on PATH (https://developer.hashicorp.com/terraform/install)")
    try:  # the provider comes from outside; nothing else of this leaves
        _terraform(folder, place.outside, "init", f"-backend-config=bucket={unquoted(variables['state_bucket'])}")
    except CannotGoOn as fault:
        reason = " ".join(str(fault).partition("Error: ")[2].replace("\n", " ").split())
        raise NoTerraform(f"terraform init: {reason[:LONGEST_REASON]}") from None
    _give_what_is_named(place.cloud, variables)
    said = _terraform(folder, place.inside, "apply", "-auto-approve", f"-var-file={place.target.name}.tfvars")
    return next(line for line in said.splitlines() if line.startswith("Apply complete"))


def _give_what_is_named(cloud: CloudDouble, variables: dict[str, Any]) -> None:
    """Make what a person would have made before: what the environment's file only names."""
    if key := variables.get("encryption_key"):
        given.give_key(cloud, unquoted(key))
    if repository := variables.get("repository"):
        given.give_repository(cloud, unquoted(repository["name"]))


def _terraform(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    return run(["terraform", f"-chdir={folder}", *arguments, "-input=false", "-no-color"], environment)


def _variables(target: Environment) -> dict[str, Any]:
    variables: dict[str, Any] = hcl2.loads(variables_file(target).read_text(encoding="utf-8"))
    return variables


@contextlib.contextmanager
def _measuring(cloud: CloudDouble) -> Iterator[None]:
    """Sample Cloud Run's instances now and then, as Google does."""
    ending = threading.Event()

    def keep_on() -> None:
        while not ending.wait(MEASURE_SECONDS):
            cloud.measure()

    measuring = threading.Thread(target=keep_on, daemon=True)
    measuring.start()
    try:
        yield
    finally:
        ending.set()
        measuring.join()
