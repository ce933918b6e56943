"""make cloud: the whole product on this machine, with the double where Google Cloud would be.

Everything else is real: Terraform and its provider, training, the image's content, processes behind a traffic split.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
from google.api_core.exceptions import GoogleAPIError

from tests.cloud import oauth
from tests.cloud.artifactregistry.images import copy_function
from tests.cloud.installation import (
    PORT,
    CannotGoOn,
    Place,
    find_target,
    install,
    run,
    running,
    settings_file,
    step,
    variables_file,
)
from tests.cloud.run.service import SERVICES
from tests.server import ROOT

ENVIRONMENT = "dev"


def main() -> int:
    """Show the product at work until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="make cloud", usage="make cloud [MODEL=churn] [CLOUD_PORT=8600]")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--once", action="store_true", help="end when everything has been shown")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    try:
        target = find_target(ENVIRONMENT)
        _check_model(options.model, sorted(target.models), variables_file(target))
        with running(target, options.port) as place:
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
    cloud, target = place.cloud, place.target
    applied = install(place, model)
    with step(f"a version of {model}", f"lifecycle train {model} --store {target.store}") as done:
        said = _lifecycle(place.inside, "train", model, "--store", target.store).splitlines()
        done.append(next(line for line in said if " is published in " in line))
    with step("its image", "code and pin, pushed") as done:
        digest = _push(place, model)
        done.append(f"{model}@{digest[:19]}...")
    with step("its release", f"lifecycle rollout {model} --image {model}@{digest[:19]}...") as done:
        image = f"{target.images(model)}@{digest}"
        said = _lifecycle(place.inside, "rollout", model, "--image", image, "--environment", target.name).splitlines()
        done.append(next(line for line in said if line.endswith(" answers everything.")))
    url = cloud.resources(SERVICES)[target.service(model)]["uri"]
    _say_what_to_try(place, url, model, _call(url), applied=applied)


def _check_model(model: str, served: list[str], file: Path) -> None:
    known = sorted(path.parent.name for path in (ROOT / "models").glob("*/train.py"))
    if model not in known:
        raise CannotGoOn(f"There is no models/{model}/train.py; there are {', '.join(known)}.")
    if model not in served:
        where = file.relative_to(ROOT)
        raise CannotGoOn(f"{where} serves {', '.join(served)}: add `{model} = {{}}` to its models to serve {model}.")


def _lifecycle(environment: Mapping[str, str], *arguments: str) -> str:
    return run([sys.executable, "-m", "lifecycle", *arguments], environment)


def _push(place: Place, model: str) -> str:
    """Put code and pin together as the image build does, and push the image; return its digest."""
    folder = copy_function(ROOT, place.folder / "image")
    _lifecycle(place.inside, "pin", model, "--store", place.target.store, "--out", str(folder / "function"))
    return place.cloud.images.push(folder, place.target.images(model))


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
    source = settings_file(place.folder).relative_to(ROOT)
    lines = [
        f"source {source}   # from here on, this terminal looks for its cloud there",
        f'curl -s -H "Authorization: Bearer {token}" {url}/model',
        f"curl -s {url}/model   # without a token: 403, as Cloud Run has it",
        *(["make plan   # change something in infra/ or a model.yaml first"] if applied else []),
        f"{python} -m lifecycle status {model}   # who answers; history tells since when",
        "make deliver SKIP=verify   # what a push would do: edit a train.py first",
        *([alerts] if applied else []),
        f"curl -s {cloud.url}/_double/   # what else the double can be asked",
        *([logs] if shutil.which("gcloud") else []),
    ]
    print(f"\n{model} answers at {url}\n  {answer.strip()}\n\nTo try, from another terminal:")
    print("\n".join(f"  {line}" for line in lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
