"""make deliver: cloudbuild.yaml carried out on this machine, against the local cloud.

The cloud is one that runs already (make cloud; or the last make deliver's), else one is started and goes on running, so
that the next delivery finds what this one left. Google's own cloud is never meant: `make deliver` knows loopback alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lifecycle.environment import Environment
from tests.cloud import holder
from tests.cloud.cloudbuild import local, machine, runs
from tests.cloud.cloudbuild.filters import BRANCH, Event, Message, Push
from tests.cloud.errors import CloudError
from tests.cloud.installation import PORT, CannotGoOn, find_target, read_ready, settings_file, work_folder
from tests.cloud.project import now, project_number
from tests.cloud.schemas import Json
from tests.server import ROOT

CONFIGURATION = ROOT / "cloudbuild.yaml"
# Which identity of infra/ each run has.
IDENTITIES = {"apply": "apply", "deliver": "deliver", "retrain": "deliver", "verify": "verify"}
# Nobody calls endpoints here, and steps are long enough to see a look or two; your own variables go first.
PACE = {"ROLLOUT_MINUTES": "0.1", "ROLLOUT_EVERY": "1"}
# A build of Cloud Build starts from a fresh clone; these are what the last one left here.
LEFT_OVER = ("build/delivery", "build/draft", "build/images")
USAGE = "make deliver [ENVIRONMENT=dev] [RUN=deliver|verify|retrain|apply] [MODEL=churn] [SKIP=verify,...] [TIMES=1]"


def main() -> int:
    """Deliver, or end the local cloud; return the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end it in order
    try:
        if options.stop:
            print(holder.stop(options.port))
            return 0
        target = find_target(options.environment)
        folder = find_cloud(target, options.port)
        for _ in range(options.times):
            if deliver(target, folder, options.run, options.model, _skipped(options.skip, folder)) != "SUCCESS":
                return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again: it goes on where it stopped.")
        return 130
    except (CannotGoOn, CloudError, local.CannotRun) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def find_cloud(target: Environment, port: int) -> Path:
    """Return the folder of the cloud that is meant: whose settings were sourced, or that is on the port, or a new one.

    Raises CannotGoOn: it is not ready, does not answer, or holds another environment.
    """
    sourced = os.environ.get("STORAGE_EMULATOR_HOST", "")
    folder = work_folder(int(sourced.rpartition(":")[2]) if sourced.rpartition(":")[2].isdecimal() else port)
    if sourced and not holder.is_answering(folder):
        raise CannotGoOn(f"This terminal looks for its cloud at {sourced}, where nobody answers: open another one.")
    if not holder.is_answering(folder):
        holder.hold(target, port)
        print("It goes on running, so that the next make deliver finds what this one leaves; make stop ends it.")
    else:
        print(f"Delivering to the local cloud that runs already ({folder.relative_to(ROOT)}).")
    ready = read_ready(folder)
    if ready is None:
        raise CannotGoOn("The local cloud is being installed. Try again when it is ready.")
    if ready.environment != target.name:
        raise CannotGoOn(f"The local cloud holds the environment {ready.environment}, not {target.name}: make stop")
    return folder


def deliver(target: Environment, folder: Path, run: str, model: str, skipped: Mapping[str, str]) -> str:
    """Carry out a run of cloudbuild.yaml, say what became of it, and return the build's status."""
    for name in LEFT_OVER:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    place = runs.Place(target.project, project_number(target.project), target.region)
    build = runs.build_of(trigger(target, run), _event(target, run, model), place, _read, now())
    account = build["serviceAccount"].rpartition("/")[2]
    print(f"\n{run}: cloudbuild.yaml as {account}, build {build['id']}", flush=True)
    if "verify" not in skipped and run in ("deliver", "verify"):
        print("make check takes a quarter of an hour; make deliver SKIP=verify leaves it out", flush=True)
    with tempfile.TemporaryDirectory() as private:
        variables = {**PACE, **machine.environment(_settings(folder), account, Path(private))}
        ended = local.run(build, runs.values_of(build, place), ROOT, variables, _say, skipped)
    print(f"\n{run}: {ended['status']} ({', '.join(_described(ended, skipped))})", flush=True)
    print(
        f"To look at it: source {settings_file(folder).relative_to(ROOT)}; .venv/bin/python -m lifecycle status {model}"
    )
    return str(ended["status"])


def trigger(target: Environment, run: str) -> Json:
    """Return the trigger of a run, with what infra/ makes it say."""
    account = f"{target.prefix}-{IDENTITIES[run]}@{target.project}.iam.gserviceaccount.com"
    told = {"_ENVIRONMENT": target.name, "_MODEL_STORE": target.store, "_RUN": run}
    if run == "retrain":
        told["_MODEL"] = "$(body.message.attributes.model)"
    return {
        "id": run,
        "name": f"{target.prefix}-{run}",
        "filename": CONFIGURATION.name,
        "serviceAccount": f"projects/{target.project}/serviceAccounts/{account}",
        "substitutions": told,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make deliver", usage=USAGE)
    parser.add_argument("--environment", default="dev")
    parser.add_argument("--run", default="deliver", choices=sorted(IDENTITIES))
    parser.add_argument("--model", default="churn", help="which one is retrained")
    parser.add_argument("--skip", default="", help="steps that count as done, with commas between them")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--stop", action="store_true", help="end the local cloud")
    return parser.parse_args()


def _skipped(asked: str, folder: Path) -> dict[str, str]:
    skipped = dict.fromkeys(asked.replace(",", " ").split(), "SKIP names it")
    ready = read_ready(folder)
    if ready is not None and not ready.applied:
        skipped.setdefault("plan", "infra/ was not applied here")
    return skipped


def _event(target: Environment, run: str, model: str) -> Event:
    if run == "retrain":
        topic = f"projects/{target.project}/topics/{target.prefix}-retrain"
        return Message(topic, {"attributes": {"model": model}})
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return Push("", f"{BRANCH}main", commit)


def _read(repository: str, path: str, revision: str) -> Json:
    configuration: Json = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return configuration


def _settings(folder: Path) -> dict[str, str]:
    """Return the variables of a cloud's settings file."""
    words = shlex.split(settings_file(folder).read_text(encoding="utf-8"))
    return dict(word.split("=", 1) for word in words if word != "export")


def _say(line: str) -> None:
    print(line, flush=True)


def _described(build: Json, skipped: Mapping[str, str]) -> list[str]:
    """Return how each step ended; those of other runs ended at once."""
    steps: list[dict[str, Any]] = build["steps"]
    ends = {name: step["status"].lower() for name, step in zip(local.names(build), steps, strict=True)}
    return [f"{name} {'skipped' if name in skipped else end}" for name, end in ends.items()]


if __name__ == "__main__":
    sys.exit(main())
