"""One endpoint of a real model on a double of its own: a stable version that answers, and whatever is pushed to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from google.cloud import run_v2

from function.store import open_store
from lifecycle.environment import Environment, read_environment
from lifecycle.packaging import Candidate
from lifecycle.pinning import pin_of, write_pin
from lifecycle.rollout.images import tag_of
from lifecycle.rollout.lease import LEASE
from lifecycle.rollout.ledger import FOLDER
from lifecycle.versions import CHAMPION, Version, move_alias, publish, read_aliases
from tests.cloud import CloudDouble, bare, oauth
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import copy_function
from tests.cloud.run.service import SERVICES
from tests.cloud.schemas import Json
from tests.cloud.tripwire import Tripwire
from tests.drill import candidates
from tests.drill.load import AGENT, Load
from tests.server import ROOT

CALLER = "caller@example.com"
START_SECONDS = 60  # for which an update is waited for
FAULTS = Path(__file__).with_name("faults")
BY_REVISION = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION


class Release(NamedTuple):
    """What can be released: a version, and an image by its digest."""

    version: int
    image: str

    @property
    def labels(self) -> dict[str, str]:
        """What marks a revision of it."""
        return {"model": candidates.MODEL, "version": str(self.version)}


class Endpoint:
    """A model's endpoint; `stable` is what answers, `environment` leads the verbs here."""

    def __init__(self, cloud: CloudDouble, place: Environment, environment: Mapping[str, str], folder: Path) -> None:
        self.cloud = cloud
        self.place = place
        self.environment = environment
        self.folder = folder
        self.name = place.service(candidates.MODEL)
        self.url = ""
        self.stable = Release(0, "")
        self._images = 0

    @property
    def service(self) -> Json:
        """The service as Cloud Run has it."""
        return self.cloud.resources(SERVICES)[self.name]

    def settle(self) -> None:
        """Leave the latest revision as a release does that reached 100 %."""
        with run_client(self.cloud) as client:
            service = client.get_service(name=self.name)
            service.traffic = [_target(service.latest_ready_revision.rpartition("/")[2], 100, "stable")]
            client.update_service(service=service).result()
        with self._found():
            move_alias(open_store(self.place.store), candidates.MODEL, CHAMPION, self.stable.version)

    def publish(self, candidate: Candidate) -> Version:
        """Give a candidate the next number."""
        with self._found():
            return publish(open_store(self.place.store), candidates.MODEL, candidate)

    def push(self, version: Version, fault: str = "") -> Release:
        """Put code and pin together, with a fault where one is named, and push the image."""
        self._images += 1
        folder = copy_function(ROOT, self.folder / f"image-{self._images}")
        write_pin(version, folder / "function")
        if fault:
            shutil.copytree(FAULTS, folder / "function" / "faults", ignore=shutil.ignore_patterns("__pycache__"))
            with (folder / "function" / "main.py").open("a", encoding="utf-8") as main:
                main.write(f"\nfrom function.faults import {fault}  # noqa\n")
        name, number = self.place.images(candidates.MODEL), version.manifest.version
        tag = f"v{number}-{fault.replace('_', '-')}" if fault else tag_of(number, pin_of(version))
        digest = self.cloud.images.push(folder, name, (tag,))
        return Release(number, f"{name}@{digest}")

    def callers(self, rate: float, instances: int = 1) -> Load:
        """Return callers who ask with so many instances a request."""
        token = oauth.identity_token(CALLER, self.url)
        descriptor, notes = tempfile.mkstemp(dir=self.folder, prefix="answers-")
        os.close(descriptor)
        return Load(self.url, token, candidates.bodies(instances), rate, Path(notes))

    def revisions(self) -> dict[str, str]:
        """Return the revision that each request of a caller went to, by the request's trace."""
        entries = self.cloud.signals.entries.find(f'httpRequest.userAgent="{AGENT}"')
        return {
            entry["trace"].rpartition("/")[2]: entry["resource"]["labels"]["revision_name"]
            for entry in entries
            if "trace" in entry
        }

    def split(self) -> dict[str, int]:
        """Return the shares of the traffic by revision."""
        shares: dict[str, int] = {}
        for target in self.service["trafficStatuses"]:
            name = target.get("revision", "").rpartition("/")[2]
            shares[name] = shares.get(name, 0) + target.get("percent", 0)
        return {name: percent for name, percent in shares.items() if percent}

    def release_of(self, revision: str) -> Release:
        """Return what a revision was made of."""
        made = next(one for one in self.cloud.cloud_run.revisions(self.name) if one["name"].endswith(f"/{revision}"))
        return Release(int(made["labels"].get("version", 0)), made["containers"][0]["image"])

    @property
    def champion(self) -> int:
        """The version that the alias names."""
        with self._found():
            return read_aliases(open_store(self.place.store), candidates.MODEL).get(CHAMPION, 0)

    def objects(self, prefix: str) -> dict[str, Json]:
        """Return what the store of versions holds below a prefix, as JSON by key."""
        with self._found():
            store = open_store(self.place.store)
            keys = [entry.key for entry in store.list(prefix) if entry.key.endswith(".json")]
            return {key: json.loads(store.get(key).content) for key in keys}

    def last_event(self) -> Json:
        """Return what the ledger last said of who answers."""
        events = self.objects(f"{candidates.MODEL}/{FOLDER}/")
        return next(events[key] for key in sorted(events, reverse=True) if events[key]["kind"] in ("done", "found"))

    def leave(self, state: Json) -> None:
        """Leave a release where one ends that is killed: nobody's, with what it kept."""
        key = f"{candidates.MODEL}/{LEASE}"
        with self._found():
            store = open_store(self.place.store)
            store.replace(key, json.dumps({"holder": None, "state": state}).encode(), store.get(key).generation)

    def change(self, variable: str, value: str) -> None:
        """Change the service's configuration as an apply of Terraform does: everything else stays as it is."""
        with run_client(self.cloud) as client:
            service = client.get_service(name=self.name)
            service.template.revision = ""
            service.template.containers[0].env.append(run_v2.EnvVar(name=variable, value=value))
            client.update_service(service=service).result()

    def release_by_hand(self, release: Release, percent: int = 100) -> str:
        """Make a revision of an image and give it a share of the traffic; return its name."""
        with run_client(self.cloud) as client:
            service = client.get_service(name=self.name)
            before = service.latest_ready_revision.rpartition("/")[2]
            service.template.containers[0].image = release.image
            service.template.labels = release.labels
            service.traffic = [_target(before, 100)]
            made = client.update_service(service=service, timeout=START_SECONDS).result()
            revision: str = made.latest_ready_revision.rpartition("/")[2]
            shares = {revision: percent, before: 100 - percent}
            made.traffic = [_target(name, share) for name, share in shares.items() if share]
            client.update_service(service=made).result()
        return revision

    @contextlib.contextmanager
    def _found(self) -> Iterator[None]:
        with mock.patch.dict(os.environ, self.cloud.environment):
            yield


@contextlib.contextmanager
def open_endpoint(**variables: Any) -> Iterator[Endpoint]:
    """Make an endpoint as Terraform and a first release leave it, in seconds; nothing of it remains.

    The variables are those of bare.make_endpoint.
    """
    place = read_environment("dev")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drill-")))
        tripwire = stack.enter_context(Tripwire())
        cloud = stack.enter_context(CloudDouble(project=place.project))
        bare.make_environment(cloud, place)
        endpoint = Endpoint(cloud, place, _environment(cloud, place, tripwire), folder)
        version = endpoint.publish(candidates.stable())
        endpoint.stable = endpoint.push(version)
        endpoint.url = bare.make_endpoint(
            cloud,
            place,
            candidates.MODEL,
            image=endpoint.stable.image,
            labels=endpoint.stable.labels,
            invokers=[f"user:{CALLER}"],
            **variables,
        )
        endpoint.settle()
        yield endpoint


def _environment(cloud: CloudDouble, place: Environment, tripwire: Tripwire) -> dict[str, str]:
    """Return the environment of a verb that runs as the release identity."""
    key = {"GOOGLE_APPLICATION_CREDENTIALS": str(cloud.key_file(place.release_identity))}
    return {**os.environ, **cloud.environment, **tripwire.environment, **key}


def _target(revision: str, percent: int, tag: str = "") -> run_v2.TrafficTarget:
    return run_v2.TrafficTarget(type_=BY_REVISION, revision=revision, percent=percent, tag=tag)
