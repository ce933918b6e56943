"""make cloud: the whole product on this machine, with the double where Google Cloud would be.

Everything else is real: Terraform and its provider, training, the image's content, processes behind a traffic split.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import hcl2
import httpx2
from google.api_core.exceptions import GoogleAPIError

from lifecycle.environment import read_environment
from tests.cloud import bare, given, oauth
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import copy_function
from tests.cloud.double import CloudDouble
from tests.cloud.project import FRESH_APIS
from tests.cloud.run.service import SERVICES
from tests.cloud.tripwire import Tripwire
from tests.infra.code import unquoted
from tests.server import ROOT

VARIABLES = ROOT / "infra" / "dev.tfvars"
PORT = 8600
MEASURE_SECONDS = 15
LONGEST_REASON = 300


class CannotGoOn(Exception):
    """What failed, with what it said."""


class NoTerraform(Exception):
    """Terraform or its provider cannot be had here; the message says which, and why."""


class Place(NamedTuple):
    """A cloud, the environment of programs that are to find it, and the folder of what belongs to it.

    `outside` is the environment of a program that may also reach the rest of the world, as its caller can.
    """

    cloud: CloudDouble
    environment: dict[str, str]
    outside: dict[str, str]
    folder: Path


def work_folder(port: int) -> Path:
    """Return the folder of the cloud on a port, inside of build/."""
    return ROOT / "build" / ("cloud" if port == PORT else f"cloud-{port}")


def main() -> int:
    """Show the product at work until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="make cloud", usage="make cloud [MODEL=churn] [CLOUD_PORT=8600]")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--once", action="store_true", help="end when everything has been shown")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    try:
        _check_model(options.model)
        with _cloud(options.port) as place:
            show(place, options.model)
            if not options.once:
                print("\nCtrl-C ends it and leaves nothing behind.", flush=True)
                signal.pause()
    except KeyboardInterrupt:
        print("\nEnded. Close the terminals that sourced its settings: they still look for it.")
    except (CannotGoOn, GoogleAPIError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def show(place: Place, model: str) -> None:
    """Apply, train, release and call; print what came of each."""
    cloud = place.cloud
    environment = read_environment(VARIABLES.stem, VARIABLES.parent)
    store, images, service = environment.store, environment.images(model), environment.service(model)
    with _step("bucket of the state", "make bootstrap"):
        _run([sys.executable, "infra/bootstrap.py", str(VARIABLES)], place.environment)
    with _step("the cloud around the models", "terraform apply, most of a minute") as done:
        applied = False
        try:
            done.append(_apply(place))
            applied = True
        except NoTerraform as reason:
            done.append(f"not applied, a bare bucket and service made instead: {reason}")
            bare.make_environment(cloud, environment)
            bare.make_endpoint(cloud, environment, model)
    with _step(f"a version of {model}", f"lifecycle train {model} --store {store}") as done:
        said = _lifecycle(place.environment, "train", model, "--store", store).splitlines()
        done.append(next(line for line in said if " is published in " in line))
    with _step("its image", "code and pin, pushed") as done:
        digest = _push(place, model, store, images)
        done.append(f"{model}@{digest[:19]}...")
    with _step("its release", "one update by the Cloud Run Admin API") as done:
        revision = _release(cloud, service, f"{images}@{digest}")
        done.append(f"revision {revision.rpartition('/')[2]} is ready")
    url = cloud.resources(SERVICES)[service]["uri"]
    _say_what_to_try(place, url, model, _call(url), applied=applied)


def _check_model(model: str) -> None:
    known = sorted(path.parent.name for path in (ROOT / "models").glob("*/train.py"))
    if model not in known:
        raise CannotGoOn(f"There is no models/{model}/train.py; there are {', '.join(known)}.")
    served = sorted(map(unquoted, _variables().get("models", {})))
    if model not in served:
        where = VARIABLES.relative_to(ROOT)
        raise CannotGoOn(f"{where} serves {', '.join(served)}: add `{model} = {{}}` to its models to serve {model}.")


def _apply(place: Place) -> str:
    """Apply a copy of infra/ with the state in the double's bucket; return what was made, in words."""
    folder = place.folder / "infra"
    shutil.copytree(ROOT / "infra", folder, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    shutil.copytree(ROOT / "models", place.folder / "models", ignore=shutil.ignore_patterns("__pycache__"))
    if shutil.which("terraform") is None:
        raise NoTerraform("terraform is not on PATH (https://developer.hashicorp.com/terraform/install)")
    try:  # the provider comes from outside; nothing else of this leaves
        _terraform(folder, place.outside, "init", f"-backend-config=bucket={_variable('state_bucket')}")
    except CannotGoOn as fault:
        reason = " ".join(str(fault).partition("Error: ")[2].replace("\n", " ").split())
        raise NoTerraform(f"terraform init: {reason[:LONGEST_REASON]}") from None
    _give_what_is_named(place.cloud)
    said = _terraform(folder, place.environment, "apply", "-auto-approve", f"-var-file={VARIABLES.name}")
    return next(line for line in said.splitlines() if line.startswith("Apply complete"))


def _give_what_is_named(cloud: CloudDouble) -> None:
    """Make what a person would have made before: what the environment's file only names."""
    variables = _variables()
    if key := variables.get("encryption_key"):
        given.give_key(cloud, unquoted(key))
    if repository := variables.get("repository"):
        given.give_repository(cloud, unquoted(repository["name"]))


def _terraform(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    return _run(["terraform", f"-chdir={folder}", *arguments, "-input=false", "-no-color"], environment)


def _lifecycle(environment: Mapping[str, str], *arguments: str) -> str:
    return _run([sys.executable, "-m", "lifecycle", *arguments], environment)


def _push(place: Place, model: str, store: str, image: str) -> str:
    """Put code and pin together as the image build does, and push the image; return its digest."""
    folder = copy_function(ROOT, place.folder / "image")
    _lifecycle(place.environment, "pin", model, "--store", store, "--out", str(folder / "function"))
    return place.cloud.images.push(folder, image)


def _release(cloud: CloudDouble, name: str, image: str) -> str:
    """Give a service another image; return the name of the revision that serves it."""
    with run_client(cloud) as client:
        service = client.get_service(name=name)
        service.template.containers[0].image = image
        revision: str = client.update_service(service=service).result().latest_ready_revision
    return revision


def _call(url: str) -> str:
    """Return what the endpoint answers to its own example."""
    token = oauth.identity_token(oauth.OWNER, url)
    with httpx2.Client(headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False) as client:
        example = client.get(f"{url}/model").json()["example"]
        return client.post(f"{url}/predict", json=example).text


def _say_what_to_try(place: Place, url: str, model: str, answer: str, *, applied: bool) -> None:
    cloud = place.cloud
    token = f"$(curl -s '{cloud.url}/_double/token?audience={url}')"
    logs = f"gcloud logging read 'jsonPayload.kind=prediction' --project {cloud.project} --limit 3"
    python = Path(sys.executable).relative_to(ROOT) if Path(sys.executable).is_relative_to(ROOT) else sys.executable
    alerts = f"curl -s -X POST {cloud.url}/_double/alerts:evaluate   # which alerts fire"
    lines = [
        f"source {_settings(place.folder).relative_to(ROOT)}   # from here on, this terminal looks for its cloud there",
        f'curl -s -H "Authorization: Bearer {token}" {url}/model',
        f"curl -s {url}/model   # without a token: 403, as Cloud Run has it",
        *(["make plan   # change something in infra/ or a model.yaml first"] if applied else []),
        f"{python} -m lifecycle versions {model} --store gs://{_variable('model_bucket')}",
        *([alerts] if applied else []),
        f"curl -s {cloud.url}/_double/   # what else the double can be asked",
        *([logs] if shutil.which("gcloud") else []),
    ]
    print(f"\n{model} answers at {url}\n  {answer.strip()}\n\nTo try, from another terminal:")
    print("\n".join(f"  {line}" for line in lines), flush=True)


@contextlib.contextmanager
def _cloud(port: int) -> Iterator[Place]:
    """Run a double with an empty project, and a proxy that lets nothing leave; its folder lives as long as it does."""
    project = _variable("project")
    with contextlib.ExitStack() as stack:
        tripwire = stack.enter_context(Tripwire())
        try:
            cloud = stack.enter_context(CloudDouble(port=port, project=project, apis=FRESH_APIS))
        except OSError as fault:
            reason = f"Port {port}: {fault.strerror}. Is another make cloud running?"
            raise CannotGoOn(f"{reason} Choose another port: make cloud CLOUD_PORT={port + 1}") from None
        folder = work_folder(int(cloud.url.rpartition(":")[2]))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        settings = {**cloud.environment, "GOOGLE_OAUTH_ACCESS_TOKEN": "local"}
        settings |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "CLOUDSDK_CORE_PROJECT": project}
        settings["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(folder / "token")
        (folder / "token").write_text("local", encoding="utf-8")
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
        _settings(folder).write_text("".join(exports), encoding="utf-8")
        print(f"A Google Cloud on this machine: {cloud.url}, project {project}", flush=True)
        stack.enter_context(_measuring(cloud))
        outside = {**os.environ, **settings}
        yield Place(cloud, {**outside, **tripwire.environment}, outside, folder)


def _settings(folder: Path) -> Path:
    return folder / "environment"


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


@contextlib.contextmanager
def _step(what: str, how: str) -> Iterator[list[str]]:
    """Print what is being done, then how long it took and what is put into the list."""
    print(f"  {what} ({how})", end="", flush=True)
    started, done = time.monotonic(), list[str]()
    yield done
    print(f": {''.join(done) or 'done'}, {time.monotonic() - started:.0f} s", flush=True)


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        raise CannotGoOn(f"\n{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return str(done.stdout)


def _variable(name: str) -> str:
    """Return what the environment's file says of a variable."""
    try:
        return unquoted(str(_variables()[name]))
    except KeyError:
        raise CannotGoOn(f"{VARIABLES.relative_to(ROOT)} does not say {name}.") from None


@cache
def _variables() -> dict[str, Any]:
    variables: dict[str, Any] = hcl2.loads(VARIABLES.read_text(encoding="utf-8"))
    return variables


if __name__ == "__main__":
    sys.exit(main())
