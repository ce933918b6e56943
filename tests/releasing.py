"""What a release meets on the double: a service as Terraform leaves it, and images that start fast."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2

from lifecycle.environment import Environment
from lifecycle.rollout.cloud_run import Endpoint
from tests.cloud import CloudDouble
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import HELLO
from tests.server import ROOT

MODEL = "churn"
PLACE = Environment("dev", "local-project", "europe-west6", "pilot", "models", {MODEL: {}})
SERVICE = PLACE.service(MODEL)
IMAGES = PLACE.images(MODEL)


@contextlib.contextmanager
def found_cloud() -> Iterator[CloudDouble]:
    """Run a cloud that clients find by themselves."""
    with CloudDouble() as started, mock.patch.dict(os.environ, started.environment):
        yield started


def make_service(cloud: CloudDouble, *, place: Environment = PLACE, health_check_disabled: bool = False) -> None:
    """Make a service that waits for its first release, with much that a release has to leave alone.

    Without a health check, Cloud Run takes each revision for ready, and nothing is started before it is called.
    """
    container = run_v2.Container(
        image=HELLO,
        env=[run_v2.EnvVar(name="MODEL_STORE", value="gs://models"), run_v2.EnvVar(name="COLOUR", value="red")],
        resources=run_v2.ResourceRequirements(limits={"cpu": "1", "memory": "512Mi"}, cpu_idle=True),
        # It waits for the port to open, instead of asking once a second.
        startup_probe=run_v2.Probe(
            tcp_socket=run_v2.TCPSocketAction(), period_seconds=9, timeout_seconds=9, failure_threshold=2
        ),
        liveness_probe=run_v2.Probe(http_get=run_v2.HTTPGetAction(path="/health/live"), period_seconds=60),
    )
    template = run_v2.RevisionTemplate(
        containers=[container],
        labels={"team": "retention"},
        max_instance_request_concurrency=7,
        scaling=run_v2.RevisionScaling(max_instance_count=3),
        timeout="60s",
        health_check_disabled=health_check_disabled,
    )
    wanted = run_v2.Service(template=template, labels={"owner": "terraform"}, description="Predictions of churn")
    parent, _, name = place.service(MODEL).partition("/services/")
    with run_client(cloud) as client:
        client.create_service(parent=parent, service=wanted, service_id=name)


def push_image(
    cloud: CloudDouble, name: str, *, place: Environment = PLACE, tags: tuple[str, ...] = (), starts: bool = True
) -> str:
    """Push an image of the test container, another one for each name; return its reference by digest."""
    command = ("python", "-S", "main.py") if starts else ("python", "-S", "-c", "raise SystemExit('no model')")
    container = ROOT / "tests" / "container"
    images = place.images(MODEL)
    return f"{images}@{cloud.images.push(container, images, tags, command=command, environment={'IMAGE': name})}"


def open_endpoint(place: Environment = PLACE) -> Endpoint:
    """Return the service as the owner of the double sees it."""
    return Endpoint(place, MODEL, AnonymousCredentials())
