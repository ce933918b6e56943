"""make cloud: the whole product on this machine, with the double where Google Cloud would be.

Everything else is real: Terraform and its provider, training, the image's content, processes behind a traffic split.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import hcl2
import httpx2
from google.cloud import run_v2

from tests.cloud import oauth
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import HELLO, copy_function
from tests.cloud.double import CloudDouble
from tests.cloud.project import FRESH_APIS
from tests.cloud.run.service import SERVICES
from tests.cloud.tripwire import Tripwire
from tests.server import ROOT

WORK = ROOT / "build" / "cloud"
VARIABLES = ROOT / "infra" / "dev.tfvars"
SETTINGS = WORK / "environment"
PORT = 8600
MEASURE_SECONDS = 15


class CannotGoOn(Exception):
    """What failed, with what it said."""


class NoTerraform(Exception):
    """Terraform or its provider cannot be had here; the message says which, and why."""


def main() -> int:
    """Show the product at work until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="make cloud")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--once", action="store_true", help="end when everything has been shown")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    if not (ROOT / "models" / options.model / "train.py").is_file():
        print(f"There is no models/{options.model}/train.py.", file=sys.stderr)
        return 2
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        with _cloud(options.port) as (cloud, environment):
            show(cloud, environment, options.model)
            if not options.once:
                print("\nCtrl-C ends it and leaves nothing behind.", flush=True)
                signal.pause()
    except KeyboardInterrupt:
        print("\nEnded.")
    except CannotGoOn as fault:
        print(fault, file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"Port {options.port}: {fault.strerror}. Is another make cloud running?", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    return 0


def show(cloud: CloudDouble, environment: Mapping[str, str], model: str) -> None:
    """Apply, train, release and call; print what came of each."""
    region, prefix, store = _variable("region"), _variable("prefix"), f"gs://{_variable('model_bucket')}"
    repository = f"{region}-docker.pkg.dev/{cloud.project}/{prefix}"
    service = f"projects/{cloud.project}/locations/{region}/services/{prefix}-{model}"
    with _step("bucket of the state", "make bootstrap"):
        _run([sys.executable, "infra/bootstrap.py", str(VARIABLES)], environment)
    with _step("the cloud around the models", "terraform apply") as done:
        applied = False
        try:
            done.append(_apply(environment))
            applied = True
        except NoTerraform as reason:
            done.append(f"not applied, a bare bucket and service made instead: {reason}")
            _make_bare(cloud, service)
    with _step(f"a version of {model}", f"lifecycle train {model} --store {store}") as done:
        said = _lifecycle(environment, "train", model, "--store", store).splitlines()
        done.append(next(line for line in said if " is published in " in line))
    with _step("its image", "code and pin, pushed") as done:
        digest = _push(cloud, environment, model, store, f"{repository}/{model}")
        done.append(f"{model}@{digest[:19]}...")
    with _step("its release", "one update by the Cloud Run Admin API") as done:
        revision = _release(cloud, service, f"{repository}/{model}@{digest}")
        done.append(f"revision {revision.rpartition('/')[2]} is ready")
    url = cloud.resources(SERVICES)[service]["uri"]
    _say_what_to_try(cloud, url, model, _call(url), applied=applied)


def _apply(environment: Mapping[str, str]) -> str:
    """Apply a copy of infra/ with the state in the double's bucket; return what was made, in words."""
    folder = WORK / "infra"
    shutil.copytree(ROOT / "infra", folder, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    shutil.copytree(ROOT / "models", WORK / "models", ignore=shutil.ignore_patterns("__pycache__"))
    if shutil.which("terraform") is None:
        raise NoTerraform("terraform is not on PATH (https://developer.hashicorp.com/terraform/install)")
    try:
        _terraform(folder, environment, "init", f"-backend-config=bucket={_variable('state_bucket')}")
    except CannotGoOn as fault:
        raise NoTerraform(f"terraform init cannot get the google provider: {str(fault).strip()[-300:]}") from None
    said = _terraform(folder, environment, "apply", "-auto-approve", f"-var-file={VARIABLES.name}")
    return next(line for line in said.splitlines() if line.startswith("Apply complete"))


def _make_bare(cloud: CloudDouble, name: str) -> None:
    """Make what a release needs, by the APIs: the bucket of versions, and a service that waits for its first image."""
    cloud.state.enabled.add("run.googleapis.com")
    cloud.storage.add_bucket(_variable("model_bucket"))
    parent, _, service = name.partition("/services/")
    probe = run_v2.Probe(http_get=run_v2.HTTPGetAction(path="/health/ready"), period_seconds=1, failure_threshold=120)
    container = run_v2.Container(
        image=HELLO,
        env=[run_v2.EnvVar(name="MODEL_STORE", value=f"gs://{_variable('model_bucket')}")],
        startup_probe=probe,
    )
    # Nobody granted an identity of its own anything here, so everything runs as the owner.
    template = run_v2.RevisionTemplate(containers=[container], service_account=oauth.OWNER)
    wanted = run_v2.Service(template=template)
    with run_client(cloud) as client:
        client.create_service(parent=parent, service=wanted, service_id=service).result()


def _terraform(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    return _run(["terraform", f"-chdir={folder}", *arguments, "-input=false", "-no-color"], environment)


def _lifecycle(environment: Mapping[str, str], *arguments: str) -> str:
    return _run([sys.executable, "-m", "lifecycle", *arguments], environment)


def _push(cloud: CloudDouble, environment: Mapping[str, str], model: str, store: str, name: str) -> str:
    """Put code and pin together as the image build does, and push the image; return its digest."""
    folder = copy_function(ROOT, WORK / "image")
    _lifecycle(environment, "pin", model, "--store", store, "--out", str(folder / "function"))
    return cloud.images.push(folder, name)


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


def _say_what_to_try(cloud: CloudDouble, url: str, model: str, answer: str, *, applied: bool) -> None:
    token = f"$(curl -s '{cloud.url}/_double/token?audience={url}')"
    logs = f"gcloud logging read 'jsonPayload.kind=prediction' --project {cloud.project} --limit 3"
    python = Path(sys.executable).relative_to(ROOT) if Path(sys.executable).is_relative_to(ROOT) else sys.executable
    plan = f"terraform -chdir={(WORK / 'infra').relative_to(ROOT)} plan -var-file={VARIABLES.name}"
    alerts = f"curl -s -X POST {cloud.url}/_double/alerts:evaluate   # which alerts fire"
    lines = [
        f"source {SETTINGS.relative_to(ROOT)}",
        f'curl -H "Authorization: Bearer {token}" {url}/model',
        f"curl {url}/model                          # without a token: 403, as Cloud Run has it",
        *([plan] if applied else []),
        f"{python} -m lifecycle versions {model} --store gs://{_variable('model_bucket')}",
        *([alerts] if applied else []),
        f"curl -s {cloud.url}/_double/   # what else the double can be asked",
        *([logs] if shutil.which("gcloud") else []),
    ]
    print(f"\n{model} answers at {url}\n  {answer.strip()}\n\nTo try, from another terminal:")
    print("\n".join(f"  {line}" for line in lines), flush=True)


@contextlib.contextmanager
def _cloud(port: int) -> Iterator[tuple[CloudDouble, dict[str, str]]]:
    """Run a double with an empty project, and a proxy that lets nothing leave; yield the environment of programs."""
    project = _variable("project")
    with Tripwire() as tripwire, CloudDouble(port=port, project=project, apis=FRESH_APIS) as cloud:
        settings = {**cloud.environment, **tripwire.environment, "GOOGLE_OAUTH_ACCESS_TOKEN": "local"}
        settings |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "CLOUDSDK_CORE_PROJECT": project}
        settings["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"] = str(WORK / "token")
        (WORK / "token").write_text("local", encoding="utf-8")
        SETTINGS.write_text("".join(f"export {name}={value}\n" for name, value in settings.items()), encoding="utf-8")
        print(f"A Google Cloud on this machine: {cloud.url}, project {project}", flush=True)
        ending = threading.Event()
        measuring = threading.Thread(target=_keep_measuring, args=(cloud, ending), daemon=True)
        measuring.start()
        try:
            yield cloud, {**os.environ, **settings}
        finally:
            ending.set()
            measuring.join()


def _keep_measuring(cloud: CloudDouble, ending: threading.Event) -> None:
    while not ending.wait(MEASURE_SECONDS):
        cloud.measure()


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
    return str(hcl2.loads(VARIABLES.read_text(encoding="utf-8"))[name]).strip('"')


if __name__ == "__main__":
    sys.exit(main())
