"""A model's service on a double of Cloud Run: images of the real function, each with one version, as its revisions."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lifecycle.pinning import write_pin
from lifecycle.versions import Version
from tests.cloud import CloudDouble
from tests.cloud.artifactregistry.images import copy_function
from tests.cloud.project import project_number
from tests.cloud.run.template import completed
from tests.cloud.run.traffic import REVISION
from tests.cloud.schemas import Json
from tests.server import ROOT

REGION = "europe-west6"
GIVES_UP_SECONDS = 20


class Endpoint:
    """One service; its revisions are made first, then traffic is split among them."""

    def __init__(self, cloud: CloudDouble, folder: Path, store_url: str, model: str, *, private: bool = False) -> None:
        self.cloud = cloud
        self.service = f"pilot-{model}"
        self.name = f"projects/{cloud.project}/locations/{REGION}/services/{self.service}"
        self.status: Json = {}
        self._folder = folder
        self._image = f"{REGION}-docker.pkg.dev/{cloud.project}/pilot/{model}"
        self._store_url = store_url
        self._private = private
        self._generation = itertools.count(1)
        self._template: Json = {}

    def deploy(self, version: Version, **environment: str) -> str:
        """Make a revision of a version, which gets no traffic while others have it; return its short name."""
        number = next(self._generation)
        built = copy_function(ROOT, self._folder / f"image-{number}")
        write_pin(version, built / "function")
        digest = self.cloud.images.push(built, self._image, (f"v{version.manifest.version}",))
        variables = {"MODEL_STORE": self._store_url, "GOOGLE_CLOUD_PROJECT": self.cloud.project, **environment}
        container = {
            "image": f"{self._image}@{digest}",
            "startupProbe": {"httpGet": {"path": "/health/ready"}, "periodSeconds": 1, "failureThreshold": 30},
            "env": [{"name": name, "value": value} for name, value in variables.items()],
        }
        labels = {"model": version.manifest.model, "version": str(version.manifest.version), "deployment": str(number)}
        template = {"containers": [container], "labels": labels}
        self._template = completed(template, project_number(self.cloud.project))
        self._apply(self.status.get("traffic"))
        return str(self.status["latestCreatedRevision"].rpartition("/")[2])

    def split(self, percents: Mapping[str, int], tags: Mapping[str, str] | None = None) -> None:
        """Give revisions their shares of the traffic, and tags their revisions."""
        shares = [{"type": REVISION, "revision": name, "percent": percent} for name, percent in percents.items()]
        self._apply([*shares, *({"type": REVISION, "revision": of, "tag": tag} for tag, of in (tags or {}).items())])

    @property
    def url(self) -> str:
        """The service's own address."""
        return str(self.status["uri"])

    @property
    def tags(self) -> dict[str, str]:
        """The address of each tag."""
        return {target["tag"]: target["uri"] for target in self.status["trafficStatuses"] if target.get("tag")}

    def _apply(self, traffic: Any) -> None:
        settings = {"name": self.name, "generation": str(next(self._generation)), "template": self._template}
        settings["invokerIamDisabled"] = not self._private
        if traffic:
            settings["traffic"] = traffic
        self.status = {**settings, **self.cloud.cloud_run.deploy(settings)}
        assert self.status["terminalCondition"]["state"] == "CONDITION_SUCCEEDED", self.status["terminalCondition"]


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + GIVES_UP_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        threading.Event().wait(0.01)
    return found
