"""The double of Cloud Run: revisions are processes, traffic is split between them, every request is accounted for."""

import base64
import concurrent.futures
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from function.contract import Pin
from lifecycle.pinning import write_pin
from lifecycle.versions import Version
from tests.cloud.artifactregistry.images import HELLO, ImageNotFound, Images, copy_function
from tests.cloud.errors import CloudError, denied, not_found
from tests.cloud.logging.entries import Origin, RequestFacts
from tests.cloud.oauth import claims_of, identity_token
from tests.cloud.project import project_number
from tests.cloud.run import instances, pools
from tests.cloud.run.cloud_run import CloudRun
from tests.cloud.run.conditions import operation_error
from tests.cloud.run.fronts import LARGEST_BYTES
from tests.cloud.run.instances import SYSTEM, severity_of
from tests.cloud.run.services import bounds
from tests.cloud.run.template import completed
from tests.cloud.run.traffic import LATEST, REVISION
from tests.server import ROOT

GIVES_UP_SECONDS = 20
CONTAINER = "europe-west6-docker.pkg.dev/local-project/tests/container"
TOY = "europe-west6-docker.pkg.dev/local-project/tests/toy"
PARENT = "projects/local-project/locations/europe-west6/services"
REASON = "The model store does not hold the pinned version."
ALICE, MALLORY = "alice@example.com", "mallory@example.com"
NUMBERS = itertools.count(1)
Json = dict[str, Any]


class Cloud:
    """A Cloud Run, and whatever it reported."""

    def __init__(self, images: Images, **options: Any) -> None:
        self.public: set[str] = set()
        self.invokers: set[str] = {ALICE}
        self.people: set[str | None] = set()  # whom Identity-Aware Proxy lets through
        self.secrets: dict[str, str] = {}
        self.lines: list[tuple[Origin, str, str]] = []
        self.entries: list[RequestFacts] = []
        listeners = {"lines": lambda *line: self.lines.append(line), "requested": self.entries.append}
        self.run = CloudRun(
            images=images,
            platform_environment=lambda account: {"WHO": account},
            allowed=lambda service, who: who in self.invokers or service in self.public,
            signed_in=lambda service, who: who in self.people,
            secret=self.read_secret,
            **{"seed": 6, **listeners, **options},
        )

    def read_secret(self, account: str, name: str) -> str:
        """Give Alice the secrets that there are."""
        if account != ALICE:
            raise denied("no")
        if name not in self.secrets:
            raise not_found("no")
        return self.secrets[name]

    def printed(self, stream: str, service: str = "") -> list[str]:
        """Return the lines of a stream so far, of one service or of all."""
        return [line for origin, name, line in list(self.lines) if name == stream and service in ("", origin.service)]

    def last_entry(self, service: str) -> RequestFacts:
        """Return the latest entry of a service in the request log."""
        return [entry for entry in self.entries if entry.origin.service == service][-1]

    def counts(self, service: str) -> list[int]:
        """Return how many instances each revision of a service has, the oldest first."""
        facts = [facts.pool for facts in self.run.facts() if facts.origin.service == service]
        return [pool.active + pool.idle for pool in facts]

    def startups(self, service: str) -> tuple[float, ...]:
        """Return how many seconds each start of a service's first revision took."""
        return next(facts.pool.startup_seconds for facts in self.run.facts() if facts.origin.service == service)


class Deployed:
    """A service of the test container under a name of its own; its template changes from deployment to deployment."""

    def __init__(self, cloud: Cloud, name: str, gate: Path) -> None:
        self.cloud = cloud
        self.id = name
        self.name = f"{PARENT}/{name}"
        self.gate = gate
        self.status: Json = {}
        self._generation = itertools.count(1)
        cloud.public.add(self.name)

    def deploy(
        self, container: Json | None = None, template: Json | None = None, env: Json | None = None, **service: Any
    ) -> Json:
        """Deploy; return the status fields."""
        variables = [{"name": name, "value": value} for name, value in {"GATE": str(self.gate), **(env or {})}.items()]
        full = {"image": CONTAINER, "env": variables, **(container or {})}
        settings = {"name": self.name, "generation": str(next(self._generation)), **service}
        complete = completed({"containers": [full], **(template or {})}, project_number("local-project"))
        self.status = self.cloud.run.deploy({**settings, "template": complete})
        return self.status

    def get(self, path: str = "/", **options: Any) -> httpx2.Response:
        """Ask the service's own address."""
        return fetch(self.status["uri"] + path, **options)

    @property
    def latest(self) -> str:
        """The short name of the revision that was made last."""
        return str(self.status["latestCreatedRevision"].rpartition("/")[2])

    def wait_for_line(self, line: str) -> None:
        """Wait until a container has printed it."""
        wait_for(lambda: line in self.cloud.printed("stdout", self.id))


def fetch(url: str, *, verb: str = "GET", local: str | None = None, **options: Any) -> httpx2.Response:
    """Make one request, from a loopback address of choice."""
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address=local), timeout=GIVES_UP_SECONDS) as client:
        return client.request(verb, url, **options)


def wait_for(condition: Callable[[], Any]) -> Any:
    """Wait until something is true; return it."""
    deadline = time.monotonic() + GIVES_UP_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        threading.Event().wait(0.005)
    return found


def to(revision: str, percent: int, **fields: Any) -> Json:
    """Return a traffic target."""
    return {"type": REVISION, "revision": revision, "percent": percent, **fields}


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Return a registry with the test container in it."""
    registry = Images(tmp_path_factory.mktemp("images"))
    registry.push(ROOT / "tests" / "container", CONTAINER, command=("python", "-S", "main.py"), environment={})
    return registry


@pytest.fixture(scope="module")
def cloud(images: Images) -> Iterator[Cloud]:
    """Return a Cloud Run that the tests of this module share, each with services of its own."""
    shared = Cloud(images)
    yield shared
    shared.run.close()


@pytest.fixture
def service(cloud: Cloud, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """Return a service that is not deployed yet, and remove it in the end."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:36]
    deployed = Deployed(cloud, f"{name}-{next(NUMBERS)}", tmp_path / "gate")
    yield deployed
    deployed.gate.touch()
    cloud.run.remove(deployed.name)


class Toys:
    """Images of our own function: one that pins a version, one that pins a version which nobody published."""

    def __init__(self, images: Images, folder: Path, version: Version) -> None:
        good = copy_function(ROOT, folder / "good")
        pin = write_pin(version, good / "function")
        self.good = f"{TOY}@{images.push(good, TOY, ('good',))}"
        absent = Pin.model_validate_json(pin.read_text()).model_copy(update={"version": 99})
        pin.write_text(absent.model_dump_json())
        self.broken = f"{TOY}@{images.push(good, TOY, ('broken',))}"


@pytest.fixture(scope="module")
def toys(images: Images, published: Callable[[str], Version], tmp_path_factory: pytest.TempPathFactory) -> Toys:
    """Return the images of our own function."""
    return Toys(images, tmp_path_factory.mktemp("toys"), published("binary"))


def of_the_function(image: str, store_url: str) -> Json:
    """Return a container with our function, probed on the path that loads the model."""
    ready = {"httpGet": {"path": "/health/ready"}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 30}
    env = [{"name": "MODEL_STORE", "value": store_url}, {"name": "GOOGLE_CLOUD_PROJECT", "value": "local-project"}]
    return {"image": image, "startupProbe": ready, "env": env}


def test_a_function_serves_wakes_and_survives_a_broken_release(service: Deployed, toys: Toys, store: Any) -> None:
    """An image of ours predicts, wakes from zero, and goes on serving while a release whose model is missing fails."""
    cloud = service.cloud
    service.deploy(of_the_function(toys.good, store.url))
    instance = {"age": 40, "income": None, "city": "Bern", "member": True, "plan": "paid"}

    def predict() -> Json:
        answer = service.get("/predict", verb="POST", json=instance)
        assert answer.status_code == 200, answer.text
        entry = cloud.last_entry(service.id)
        record = json.loads(wait_for(lambda: [line for line in cloud.printed("stdout") if entry.trace in line])[0])
        assert record["logging.googleapis.com/trace"] == entry.trace
        assert (record["service"], record["revision"]) == (service.id, entry.origin.revision)
        return dict(record)

    first = predict()
    assert first["kind"] == "prediction"
    serving = service.latest

    broken = of_the_function(toys.broken, store.url)
    (started, *_) = cloud.startups(service.id)
    attempts = broken["startupProbe"]["failureThreshold"] = 1 + math.ceil(2 * started)
    status = service.deploy(broken)
    assert status["terminalCondition"]["state"] == "CONDITION_FAILED"
    error = operation_error(status["terminalCondition"])
    assert error is not None
    assert error["code"] == 9
    assert error["message"].startswith(
        f"Revision '{service.latest}' is not ready and cannot serve traffic. The user-provided container failed the "
        "configured startup probe checks."
    )
    assert f"STARTUP HTTP probe failed {attempts} times consecutively" in cloud.printed(SYSTEM, service.id)[-1]
    reasons = [json.loads(line) for line in cloud.printed("stdout", service.id)]
    assert {line["message"] for line in reasons if line["kind"] == "load_failure"} == {REASON}
    assert status["latestReadyRevision"].endswith(serving)
    assert status["observedGeneration"] == "1"
    cloud.run.scale_to_zero()
    assert cloud.counts(service.id) == [0, 0]
    assert predict()["revision"] == serving
    assert len(cloud.startups(service.id)) == 2


def test_the_first_deployment_is_ready(service: Deployed) -> None:
    """A new service is ready with its first revision, which has all the traffic."""
    status = service.deploy()
    assert re.fullmatch(rf"{service.name}/revisions/{service.id}-00001-[a-z]{{3}}", status["latestReadyRevision"])
    assert status["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert operation_error(status["terminalCondition"]) is None
    assert (status["reconciling"], status["observedGeneration"]) == (False, "1")
    assert status["trafficStatuses"] == [{"type": LATEST, "percent": 100}]
    assert status["urls"] == [status["uri"]]
    assert service.get().status_code == 200


def test_googles_hello_image_is_there(service: Deployed) -> None:
    """The public image that a service starts from answers every path with the service's and the revision's names."""
    service.deploy({"image": HELLO})
    answer = service.get("/any/path", verb="POST", content=b"x")
    assert answer.status_code == 200
    assert f"Service <code>{service.id}</code>, revision <code>{service.latest}</code>" in answer.text


def test_the_environment_is_cloud_runs(service: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container has its template's variables, the platform's and Cloud Run's own, and nothing of the caller's."""
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    service.deploy(env={"COLOUR": "red", "K_SERVICE": "forged"}, template={"serviceAccount": ALICE})
    environment = service.get().json()["environment"]
    ours = {name: environment.pop(name) for name in ("PATH", "HOME", "PORT", "LC_CTYPE") if name in environment}
    assert environment == {
        "COLOUR": "red",
        "GATE": str(service.gate),
        "K_CONFIGURATION": service.id,
        "K_REVISION": service.latest,
        "K_SERVICE": service.id,
        "WHO": ALICE,
    }
    assert ours["HOME"] != os.environ["HOME"]


def secret(name: str, version: str) -> Json:
    """Return the source of a variable from a secret."""
    return {"valueSource": {"secretKeyRef": {"secret": name, "version": version}}}


def test_variables_come_from_secrets(service: Deployed) -> None:
    """Each new instance gets the versions as they then are; while one is gone, no instance starts."""
    number = project_number("local-project")
    latest, first = f"projects/{number}/secrets/{service.id}/versions/latest", "projects/other/secrets/b/versions/1"
    service.cloud.secrets |= {latest: "one", first: "zwei\n"}
    env = [
        {"name": "GATE", "value": str(service.gate)},
        {"name": "A", **secret(service.id, "latest")},
        {"name": "B", **secret("projects/other/secrets/b", "1")},
    ]
    service.deploy({"env": env}, {"serviceAccount": ALICE})

    def seen() -> tuple[str, str]:
        environment = service.get().json()["environment"]
        return environment["A"], environment["B"]

    assert seen() == ("one", "zwei\n")
    service.cloud.secrets[latest] = "two"
    assert seen() == ("one", "zwei\n")
    service.cloud.run.scale_to_zero()
    assert seen() == ("two", "zwei\n")
    service.cloud.run.scale_to_zero()
    del service.cloud.secrets[first]
    assert service.get().status_code == 500
    assert service.cloud.printed(SYSTEM, service.id)[-1].endswith(f"Secret {first} was not found")
    service.cloud.secrets[first] = "drei"
    assert seen() == ("two", "drei")


def test_secrets_that_cannot_be_read_fail_the_revision(service: Deployed) -> None:
    """Whoever lacks the role, or names a version that is not there, hears so for each variable, before any start."""
    env = [{"name": "A", "value": "a"}, {"name": "B", **secret("b", "latest")}, {"name": "C", **secret("c", "2")}]
    status = service.deploy({"env": env}, {"serviceAccount": ALICE})
    field = "spec.template.spec.containers[0].env[{}].value_from.secret_key_ref.name"
    number = project_number("local-project")
    assert operation_error(status["terminalCondition"]) == {
        "code": 13,
        "message": f"Revision '{service.latest}' is not ready and cannot serve traffic. "
        f"{field.format(1)}: Secret projects/{number}/secrets/b/versions/latest was not found\n"
        f"{field.format(2)}: Secret projects/{number}/secrets/c/versions/2 was not found",
    }
    assert status["terminalCondition"]["reason"] == "SECRETS_ACCESS_CHECK_FAILED"
    status = service.deploy({"env": env[1:2]}, {"serviceAccount": MALLORY})
    assert status["terminalCondition"]["message"].endswith(
        f"{field.format(0)}: Permission denied on secret: projects/{number}/secrets/b/versions/latest for Revision "
        f"service account {MALLORY}. The service account used must be granted the 'Secret Manager Secret Accessor' "
        "role (roles/secretmanager.secretAccessor) at the secret, project or higher level."
    )
    assert service.cloud.printed(SYSTEM, service.id) == []


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"client": "gcloud", "clientVersion": "1"}, True),
        ({"labels": {}}, True),
        ({"labels": {"release": "2"}}, False),
        ({"annotations": {"by": "me"}}, False),
        ({"timeout": "10s"}, False),
    ],
    ids=["nothing", "client", "empty-labels", "labels", "annotations", "timeout"],
)
def test_a_revision_is_made_when_the_template_changes(service: Deployed, change: Json, same: bool) -> None:
    """Labels, annotations and settings of the template make a revision; who deployed it does not."""
    service.deploy()
    first = service.latest
    service.deploy(template=change, client="terraform", description="changed")
    assert (service.latest == first) == same
    assert len(service.cloud.run.revisions(service.name)) == 2 - same
    assert service.status["observedGeneration"] == "2"


def test_an_explicit_name_is_taken_once(service: Deployed) -> None:
    """A template may name its revision; the same name for another template is refused, and nothing changes."""
    name = f"{service.id}-blue"
    service.deploy(template={"revision": name})
    assert service.latest == name
    with pytest.raises(CloudError, match=f"Revision named '{name}' with different configuration") as caught:
        service.deploy(template={"revision": name, "labels": {"a": "b"}})
    assert caught.value.status == 409
    service.deploy(template={"revision": name})
    assert service.latest == name
    with pytest.raises(CloudError, match="must begin with the service's name") as caught:
        service.deploy(template={"revision": "green"})
    assert caught.value.status == 400


def test_a_missing_image_fails_the_revision(service: Deployed) -> None:
    """A service whose image nobody pushed is there, not ready, and says which image it misses."""
    status = service.deploy({"image": f"{CONTAINER}:unknown"})
    message = (
        f"Revision '{service.latest}' is not ready and cannot serve traffic. Image '{CONTAINER}:unknown' not found."
    )
    assert operation_error(status["terminalCondition"]) == {"code": 5, "message": message}
    assert (status["latestReadyRevision"], status["observedGeneration"]) == ("", "0")
    assert service.get().status_code == 404
    service.deploy()
    assert service.get().status_code == 200


@pytest.mark.parametrize("exit_code", [0, 4])
def test_a_container_that_exits_fails_the_revision(service: Deployed, exit_code: int) -> None:
    """A process that ends before it listens is noticed at once, with its exit code and what it printed."""
    status = service.deploy(env={"EXIT": str(exit_code)})
    assert "listen on the port defined provided by the PORT=8080" in status["terminalCondition"]["message"]
    assert status["terminalCondition"]["revisionReason"] == "HEALTH_CHECK_CONTAINER_ERROR"
    assert service.cloud.printed("stderr", service.id) == ["cannot start"]
    _, exited, probed = service.cloud.printed(SYSTEM, service.id)
    assert exited == f"Container called exit({exit_code})."
    assert probed.startswith("Default STARTUP TCP probe failed 1 time consecutively for container")
    assert [severity_of(exited), severity_of(probed)] == ["WARNING", "ERROR"]


def test_a_command_that_is_not_there_fails_the_revision(service: Deployed) -> None:
    """A template may replace the image's command; one that the image lacks fails the revision."""
    status = service.deploy({"command": ["/not/there"]})
    assert status["terminalCondition"]["state"] == "CONDITION_FAILED"
    assert "Application failed to start: " in service.cloud.printed(SYSTEM, service.id)[-1]


def test_traffic_is_split_by_percent(service: Deployed) -> None:
    """Of many requests, each revision answers its share, and the request log names the one that answered."""
    service.deploy()
    old = service.latest
    service.deploy(template={"labels": {"v": "2"}}, traffic=[to(old, 100)])
    new = service.latest
    assert service.get().json()["environment"]["K_REVISION"] == old
    service.deploy(template={"labels": {"v": "2"}}, traffic=[to(old, 80), to(new, 20)])
    assert service.status["trafficStatuses"] == [to(old, 80), to(new, 20)]
    service.cloud.entries.clear()
    with httpx2.Client(base_url=service.status["uri"]) as client:
        answered = [client.get("/").json()["environment"]["K_REVISION"] for _ in range(200)]
    count = Counter(answered)
    assert count[old] + count[new] == 200
    assert abs(count[new] - 40) < 4 * (200 * 0.8 * 0.2) ** 0.5
    assert [entry.origin.revision for entry in service.cloud.entries] == answered


def test_latest_follows_and_named_revisions_stay(service: Deployed) -> None:
    """A target that says latest moves with each revision; named revisions and their tags stay where they are."""
    service.deploy()
    old = service.latest
    service.deploy(
        template={"labels": {"v": "2"}},
        traffic=[{"type": LATEST, "percent": 100}, to(old, 0, tag="stable"), {"type": LATEST, "tag": "newest"}],
    )
    urls = {target["tag"]: target["uri"] for target in service.status["trafficStatuses"] if "tag" in target}
    assert len({service.status["uri"], *urls.values()}) == 3

    def answering(url: str) -> str:
        return str(fetch(url).json()["environment"]["K_REVISION"])

    assert [answering(url) for url in (service.status["uri"], urls["stable"], urls["newest"])] == [
        service.latest,
        old,
        service.latest,
    ]
    with pytest.raises(CloudError, match="cannot be deleted"):
        service.cloud.run.delete_revision(service.name, old)
    uri = service.status["uri"]
    service.deploy(template={"labels": {"v": "3"}}, traffic=[{"type": LATEST, "percent": 100, "tag": "newest"}])
    assert service.status["uri"] == uri
    assert service.status["trafficStatuses"][0]["uri"] == urls["newest"]
    assert answering(urls["newest"]) == service.latest
    assert fetch(urls["stable"]).status_code == 404


@pytest.mark.parametrize(
    ("targets", "fault"),
    [
        ([{"type": LATEST, "percent": 90}], "sum to 90, want 100"),
        ([to("a", 60), to("b", 60)], "sum to 120, want 100"),
        ([{"type": LATEST, "percent": 100, "tag": "a"}, to("x", 0, tag="a")], "tag 'a' is used by more than one"),
        ([{"type": REVISION, "percent": 100}], "must be set for"),
        ([{"type": LATEST, "percent": 100, "revision": "x"}], "must be empty for"),
        ([{"percent": 100}], "type: must be set"),
        ([to("a", 150), to("b", -50)], "between 0 and 100"),
        ([{"type": LATEST, "percent": 100, "tag": "Blue"}], "must be lowercase"),
    ],
    ids=["90", "120", "tag-twice", "no-revision", "latest-revision", "no-type", "out-of-range", "tag-name"],
)
def test_impossible_traffic_is_refused(service: Deployed, targets: list[Json], fault: str) -> None:
    """Targets that Cloud Run refuses are 400, before anything is started."""
    with pytest.raises(CloudError, match=re.escape(fault)) as caught:
        service.deploy(traffic=targets)
    assert caught.value.status == 400
    assert service.cloud.counts(service.id) == []


def test_traffic_to_an_unknown_revision_stays_where_it_was(service: Deployed) -> None:
    """Targets that name a revision which is not there fail the service and move nothing."""
    service.deploy()
    before = service.status["trafficStatuses"]
    status = service.deploy(traffic=[to(f"{service.id}-gone", 100)])
    error = operation_error(status["terminalCondition"])
    assert error is not None
    assert error["message"].startswith(f"Revision '{service.id}-gone' does not exist or is deleted.")
    assert status["trafficStatuses"] == before
    assert service.get().status_code == 200


def test_traffic_moves_while_the_latest_revision_is_broken(service: Deployed) -> None:
    """After a failed revision the traffic can still be moved between the good ones, though the service is not ready."""
    service.deploy()
    first = service.latest
    service.deploy(template={"labels": {"v": "2"}})
    service.deploy(env={"EXIT": "1"})
    status = service.deploy(env={"EXIT": "1"}, traffic=[to(first, 100)])
    assert status["terminalCondition"]["state"] == "CONDITION_FAILED"
    assert status["trafficStatuses"] == [to(first, 100)]
    assert service.get().json()["environment"]["K_REVISION"] == first


def test_revisions_without_traffic_lose_their_instances(service: Deployed) -> None:
    """A revision that nobody can reach keeps no instance; what is under way on it ends first."""
    service.deploy(template={"scaling": {"minInstanceCount": 1}})
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = threads.submit(service.get, "/hold")
        service.wait_for_line("holding")
        service.deploy(template={"labels": {"v": "2"}})
        assert service.cloud.counts(service.id) == [1, 1]
        service.gate.touch()
        assert held.result().text == "held"
    wait_for(lambda: service.cloud.counts(service.id) == [0, 1])
    service.wait_for_line("asked to end")
    service.cloud.run.delete_revision(service.name, f"{service.id}-00001-{_suffix(service)}")
    assert len(service.cloud.run.revisions(service.name)) == 1
    with pytest.raises(CloudError, match="cannot be deleted"):
        service.cloud.run.delete_revision(service.name, service.latest)


def _suffix(service: Deployed) -> str:
    return str(service.cloud.run.revisions(service.name)[-1]["name"][-3:])


@pytest.mark.parametrize(
    ("service", "revision", "percent", "serves", "expected"),
    [
        ({}, {}, 100, True, (0, 100)),
        ({}, {"minInstanceCount": 2, "maxInstanceCount": 3}, 0, True, (2, 3)),
        ({}, {"minInstanceCount": 2, "maxInstanceCount": 3}, 0, False, (0, 3)),
        ({"minInstanceCount": 4}, {}, 25, True, (1, 100)),
        ({"minInstanceCount": 4}, {}, 0, True, (0, 100)),
        ({"minInstanceCount": 4, "maxInstanceCount": 5}, {"minInstanceCount": 1}, 50, True, (2, 3)),
        ({"maxInstanceCount": 5}, {}, 0, True, (0, 1)),
        ({"scalingMode": "MANUAL", "manualInstanceCount": 4}, {"minInstanceCount": 9}, 50, True, (2, 2)),
    ],
    ids=["default", "tagged", "unreached", "share", "no-share", "both", "tag-below-ceiling", "manual"],
)
def test_a_services_scaling_is_shared_by_percent(
    service: Json, revision: Json, percent: int, serves: bool, expected: tuple[int, int]
) -> None:
    """A revision's own bounds hold while it can be reached; the service's are divided by the traffic."""
    found = bounds(service, revision, percent, serves=serves)
    assert (found.minimum, found.maximum) == expected


def test_idle_instances_stop_but_for_the_minimum(service: Deployed) -> None:
    """Scaling down keeps the minimum, which is replaced when it dies; the next request starts what is missing."""
    service.deploy(template={"scaling": {"minInstanceCount": 1}})
    service.cloud.run.scale_to_zero()
    assert service.cloud.counts(service.id) == [1]
    assert service.get("/exit").status_code == 503
    wait_for(lambda: any("CUSTOMER_MIN_INSTANCE" in line for line in service.cloud.printed(SYSTEM, service.id)))
    wait_for(lambda: service.cloud.counts(service.id) == [1])


def test_an_idle_instance_is_stopped_by_itself(images: Images, tmp_path: Path) -> None:
    """An instance that nobody asks for `idle_seconds` is told to end, and the next request wakes another."""
    cloud = Cloud(images, idle_seconds=0.05)
    service = Deployed(cloud, "sleepy", tmp_path / "gate")
    try:
        service.deploy()
        wait_for(lambda: "asked to end" in cloud.printed("stdout"))
        wait_for(lambda: cloud.counts("sleepy") == [0])
        assert service.get().status_code == 200
        assert len(cloud.run.facts()[0].pool.startup_seconds) == 2
    finally:
        cloud.run.close()


def test_a_container_that_dies_is_503_in_the_log(service: Deployed) -> None:
    """A request whose instance dies is answered and logged as 503; the next one gets a new instance."""
    service.deploy()
    before = service.get().json()["pid"]
    assert service.get("/exit").status_code == 503
    entry = service.cloud.last_entry(service.id)
    assert (entry.http_request["status"], entry.severity) == (503, "ERROR")
    assert "connection to the instance had an error" in entry.text
    assert entry.origin.instance_id
    assert service.get().json()["pid"] != before
    wait_for(lambda: "Container called exit(3)." in service.cloud.printed(SYSTEM, service.id))


def test_a_line_that_nobody_can_take_does_not_end_the_reading(
    images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What fails on a line says so, and the container's next lines are read."""
    read: list[str] = []

    def log(origin: Origin, stream: str, line: str) -> None:
        read.append(line)
        if len([one for one in read if one == "holding"]) == 1 and line == "holding":
            raise RuntimeError("nobody takes this line")

    service = Deployed(Cloud(images, lines=log), "unread", tmp_path / "gate")
    service.gate.touch()
    with service.cloud.run:
        service.deploy()
        assert [service.get("/hold").status_code for _ in range(2)] == [200, 200]
        wait_for(lambda: read.count("holding") == 2)
    assert "nobody takes this line" in capfd.readouterr().err


def test_a_dead_container_gets_no_further_request(images: Images, tmp_path: Path) -> None:
    """However late the end of a process is worked off, nobody after the request that it failed is sent to it."""
    worked_off = threading.Event()

    def log(*line: Any) -> None:
        if line[-1].startswith("Container called exit"):
            worked_off.wait(GIVES_UP_SECONDS)

    cloud = Cloud(images, lines=log)
    service = Deployed(cloud, "late", tmp_path / "gate")
    with cloud.run:
        service.deploy()
        assert [service.get(path).status_code for path in ("/exit", "/")] == [503, 200]
        worked_off.set()


def test_a_container_that_does_not_end_is_killed(service: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed after a grace period."""
    monkeypatch.setattr(instances, "STOP_SECONDS", 0.1)
    service.deploy(env={"STUBBORN": "1"})
    pid = service.get().json()["pid"]
    service.cloud.run.scale_to_zero()
    assert not is_alive(pid)
    assert "asked to end" in service.cloud.printed("stdout", service.id)


def test_a_caller_who_goes_away_is_logged_and_its_instance_is_free_again(service: Deployed) -> None:
    """A request whose caller hangs up ends as 499, and no longer counts against its instance."""
    service.deploy()
    with httpx2.Client() as client, client.stream("GET", service.status["uri"] + "/drip") as got:
        assert next(got.iter_raw())
    wait_for(lambda: [entry for entry in service.cloud.entries if entry.origin.service == service.id])
    assert service.cloud.last_entry(service.id).http_request["status"] == 499
    service.cloud.run.scale_to_zero()
    assert service.cloud.counts(service.id) == [0]


def test_a_killed_container_is_noticed(service: Deployed) -> None:
    """A process that a signal ends is gone from the counts, and the system log names the signal."""
    service.deploy()
    os.kill(service.get().json()["pid"], signal.SIGKILL)
    wait_for(lambda: "Container terminated on signal 9." in service.cloud.printed(SYSTEM, service.id))
    wait_for(lambda: service.cloud.counts(service.id) == [0])
    assert service.get().status_code == 200


LITTLE = {"resources": {"limits": {"cpu": "1", "memory": "128Mi"}}}


def out_of_memory(service: Deployed) -> list[str]:
    """Return the lines that say that an instance was killed for its memory."""
    return [line for line in service.cloud.printed(SYSTEM, service.id) if line.startswith("Memory limit ")]


def test_a_container_that_exceeds_its_memory_is_killed(service: Deployed) -> None:
    """What is under way on it is 503, the log says so in Cloud Run's words and once, the next request gets another."""
    service.deploy(LITTLE)
    pid = service.get().json()["pid"]
    assert service.get("/grow?128").status_code == 503
    assert service.cloud.last_entry(service.id).http_request["status"] == 503
    wait_for(lambda: not is_alive(pid))
    (line,) = out_of_memory(service)
    found = re.fullmatch(
        r"Memory limit of 128 MiB exceeded with (\d+) MiB used\. Consider increasing the memory limit, see "
        r"https://cloud\.google\.com/run/docs/configuring/memory-limits",
        line,
    )
    assert found is not None
    assert int(found[1]) > 128
    assert severity_of(line) == "ERROR"
    assert service.get().json()["pid"] != pid
    assert not any(line.startswith("Container ") for line in service.cloud.printed(SYSTEM, service.id))
    assert "asked to end" not in service.cloud.printed("stdout", service.id)


def test_memory_is_looked_at_after_each_request(service: Deployed) -> None:
    """Whoever made a container too large has an answer, and nobody after them is sent to it."""
    service.deploy(LITTLE)
    service.gate.touch()
    assert [service.get(path).status_code for path in ("/grow?1", "/grow?200", "/")] == [200, 200, 200]
    assert len(out_of_memory(service)) == 1


def test_a_container_is_all_of_its_processes(service: Deployed) -> None:
    """What the first process has started counts as well, and ends with it."""
    service.deploy({**LITTLE, "command": ["sh", "-c", "python -S main.py; true"]})
    pid = service.get().json()["pid"]
    assert service.get("/grow?128").status_code == 503
    wait_for(lambda: not is_alive(pid))
    assert len(out_of_memory(service)) == 1


def test_instances_multiply_up_to_the_ceiling(service: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests beyond an instance's concurrency start another; at the ceiling they wait, and are then refused 429."""
    service.deploy(template={"maxInstanceRequestConcurrency": 1, "scaling": {"maxInstanceCount": 2}})
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = [threads.submit(service.get, "/hold") for _ in range(2)]
        wait_for(lambda: service.cloud.printed("stdout", service.id).count("holding") == 2)
        monkeypatch.setattr(pools, "LEAST_PATIENCE_SECONDS", 0.3)
        refused = service.get()
        assert (refused.status_code, refused.text) == (429, "Rate exceeded.")
        entry = service.cloud.last_entry(service.id)
        assert entry.text == "The request was aborted because there was no available instance."
        assert entry.severity == "WARNING"
        (facts,) = [facts.pool for facts in service.cloud.run.facts() if facts.origin.service == service.id]
        assert (facts.active, facts.idle) == (2, 0)
        monkeypatch.setattr(pools, "LEAST_PATIENCE_SECONDS", GIVES_UP_SECONDS)
        waiting = threads.submit(service.get)
        service.gate.touch()
        assert waiting.result().status_code == 200
        assert [request.result().text for request in held] == ["held", "held"]


def test_one_instance_takes_many_requests_at_once(service: Deployed) -> None:
    """Up to its concurrency, one instance answers everybody."""
    service.deploy(template={"maxInstanceRequestConcurrency": 3})
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = [threads.submit(service.get, "/hold") for _ in range(3)]
        wait_for(lambda: service.cloud.printed("stdout", service.id).count("holding") == 3)
        service.gate.touch()
        assert {request.result().text for request in held} == {"held"}
    assert service.cloud.counts(service.id) == [1]


def test_a_container_that_cannot_wake_is_told_from_a_slow_one(service: Deployed) -> None:
    """A request whose cold start fails is 500, and the log says that the instance could not start."""
    service.deploy(container={"command": ["sh", "-c", 'test ! -e "$GATE" && exec python -S main.py']})
    service.cloud.run.scale_to_zero()
    service.gate.touch()
    assert service.get().status_code == 500
    entry = service.cloud.last_entry(service.id)
    assert entry.text == "The request failed because the instance could not start successfully."


def test_a_liveness_probe_ends_a_sick_container(service: Deployed) -> None:
    """An instance whose liveness probe fails is shut down and replaced by the next request."""
    probe = {"httpGet": {"path": "/alive"}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}
    service.deploy({"livenessProbe": probe})
    service.gate.touch()
    line = wait_for(
        lambda: [line for line in service.cloud.printed(SYSTEM, service.id) if line.startswith("LIVENESS HTTP probe")]
    )[0]
    assert 'failed 1 time consecutively for container "a-liveness' in line
    assert line.endswith('on port 8080 path "/alive". The instance has been shut down.')
    wait_for(lambda: service.cloud.counts(service.id) == [0])
    service.gate.unlink()
    assert service.get().status_code == 200


def token_with(**claims: Any) -> str:
    """Return a token with these claims instead of good ones."""
    header, _, signature = identity_token(ALICE, "x").split(".")
    return f"{header}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"


@pytest.fixture(scope="module")
def private(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """Return a service that only ALICE may invoke, with an audience of its own."""
    deployed = Deployed(cloud, "private", tmp_path_factory.mktemp("private") / "gate")
    cloud.public.discard(deployed.name)
    deployed.deploy(customAudiences=["https://private.example.com"])
    return deployed


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (lambda uri: {}, 403),
        (lambda uri: {"Authorization": "Basic eDp5"}, 403),
        (lambda uri: {"Authorization": "Bearer nonsense"}, 401),
        (lambda uri: {"Authorization": "Bearer a.!.c"}, 401),
        (lambda uri: {"Authorization": f"Bearer {identity_token(ALICE, uri, -1)}"}, 401),
        (lambda uri: {"Authorization": f"Bearer {identity_token(ALICE, 'https://other.example.com')}"}, 401),
        (lambda uri: {"Authorization": f"Bearer {token_with(aud=uri, email=ALICE)}"}, 401),
        (lambda uri: {"Authorization": f"Bearer {token_with(aud=uri, exp=1e12)}"}, 401),
        (lambda uri: {"Authorization": f"Bearer {identity_token(MALLORY, uri)}"}, 403),
        (lambda uri: {"Authorization": f"Bearer {identity_token(ALICE, uri)}"}, 200),
        (lambda uri: {"Authorization": f"Bearer {identity_token(ALICE, 'https://private.example.com')}"}, 200),
        (
            lambda uri: {
                "X-Serverless-Authorization": f"Bearer {identity_token(MALLORY, uri)}",
                "Authorization": f"Bearer {identity_token(ALICE, uri)}",
            },
            403,
        ),
    ],
    ids=[
        "none",
        "basic",
        "no-token",
        "no-claims",
        "expired",
        "other-audience",
        "no-expiry",
        "no-email",
        "no-permission",
        "good",
        "custom-audience",
        "serverless-header-first",
    ],
)
def test_a_private_service_asks_who_calls(private: Deployed, header: Callable[[str], Json], status: int) -> None:
    """Without a token 403, with one that cannot be believed 401, without permission 403; the log has them all."""
    answer = private.get("/a?b=<c>", headers=header(private.status["uri"]))
    assert answer.status_code == status
    entry = private.cloud.last_entry(private.id)
    assert entry.http_request["status"] == status
    if status == 200:
        return
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert "Your client does not have permission" in answer.text
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert entry.text.startswith("The request was not auth")
    assert entry.origin.instance_id == ""
    assert (entry.origin.revision, entry.severity) == (private.latest, "WARNING")


def test_the_container_sees_a_token_without_its_signature(private: Deployed) -> None:
    """The token that was checked loses its signature; the application's own header passes as it is."""
    token = identity_token(ALICE, private.status["uri"])

    def seen(**headers: str) -> dict[str, str]:
        return {name.lower(): value for name, value in private.get(headers=headers).json()["headers"]}

    stripped = f"Bearer {token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"
    assert seen(Authorization=f"Bearer {token}")["authorization"] == stripped
    both = seen(**{"X-Serverless-Authorization": f"Bearer {token}", "Authorization": "Bearer own"})
    assert (both["x-serverless-authorization"], both["authorization"]) == (stripped, "Bearer own")


def test_the_container_hears_from_the_proxy_who_asks(service: Deployed) -> None:
    """Behind Identity-Aware Proxy the caller's e-mail is in a header, and Cloud Run's caller is the proxy."""
    proxy = f"service-{project_number('local-project')}@gcp-sa-iap.iam.gserviceaccount.com"
    service.cloud.public.discard(service.name)
    service.deploy(iapEnabled=True)
    service.cloud.people.add(MALLORY)
    token = {"Authorization": f"Bearer {identity_token(MALLORY, service.status['uri'])}"}
    assert service.get(headers=token).status_code == 403
    service.cloud.invokers.add(proxy)
    seen = {name.lower(): value for name, value in service.get(headers=token).json()["headers"]}
    assert seen["x-goog-authenticated-user-email"] == f"accounts.google.com:{MALLORY}"
    assert seen["x-serverless-authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
    assert claims_of(seen["x-serverless-authorization"])["email"] == proxy


def test_a_service_may_let_everybody_in(service: Deployed) -> None:
    """Without the invoker check nobody's token is looked at."""
    service.cloud.public.discard(service.name)
    service.deploy()
    assert service.get().status_code == 403
    service.deploy(invokerIamDisabled=True)
    sent = {"Authorization": "Bearer own"}
    assert dict(service.get(headers=sent).json()["headers"])["Authorization"] == "Bearer own"


@pytest.mark.parametrize(
    ("fields", "outside", "inside"),
    [
        ({"ingress": "INGRESS_TRAFFIC_ALL"}, 200, 200),
        ({"ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY"}, 404, 200),
        ({"ingress": "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"}, 404, 200),
        ({"defaultUriDisabled": True}, 404, 404),
    ],
    ids=["all", "internal", "load-balancer", "no-default-uri"],
)
def test_ingress_decides_who_reaches_a_service(service: Deployed, fields: Json, outside: int, inside: int) -> None:
    """A caller from outside is told 404, and not even logged; 127.1.0.0/16 is the project's network."""
    service.deploy(**fields)
    service.cloud.entries.clear()
    assert service.get().status_code == outside
    assert service.get(local="127.1.0.1").status_code == inside
    assert len(service.cloud.entries) == (outside == 200) + (inside == 200)


def test_paths_that_google_keeps_never_arrive(service: Deployed) -> None:
    """/healthz is answered by Google's own front end, not by the container."""
    service.deploy()
    assert [service.get(path).status_code for path in ("/healthz", "/_ah/warmup", "/health")] == [404, 404, 200]


def test_a_request_that_is_no_http_is_400(service: Deployed) -> None:
    """A path with raw bytes beyond ASCII never reaches a container."""
    service.deploy()
    host, _, port = service.status["uri"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=GIVES_UP_SECONDS) as connection:
        connection.sendall(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_an_answer_streams_piece_by_piece(service: Deployed) -> None:
    """What a container has sent arrives before it has sent the rest; repeated header fields stay apart."""
    service.deploy()
    with (
        httpx2.Client(timeout=GIVES_UP_SECONDS) as client,
        client.stream("GET", service.status["uri"] + "/stream") as got,
    ):
        assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]
        pieces = got.iter_raw()
        assert next(pieces) == b"first"
        service.gate.touch()
        assert b"".join(pieces) == b"second"
    assert service.cloud.last_entry(service.id).http_request["status"] == 200


@pytest.mark.parametrize("path", ["/short", "/stream", "/drip"])
def test_a_cut_answer_is_cut_for_the_caller(service: Deployed, path: str) -> None:
    """An answer that ends early, by the container's fault or by the timeout, ends early for the caller, too."""
    service.deploy(template={"timeout": "0.6s"})
    with pytest.raises(httpx2.RemoteProtocolError):
        service.get(path)
    assert service.cloud.last_entry(service.id).http_request["status"] == 200
    assert service.cloud.printed(SYSTEM, service.id)[-1].startswith("Truncated response body.")


def test_a_request_that_takes_too_long_is_504(service: Deployed) -> None:
    """Beyond the revision's timeout the caller gets 504, while the container goes on."""
    service.deploy(template={"timeout": "0.3s"})
    answer = service.get("/hold")
    assert (answer.status_code, answer.text) == (504, "upstream request timeout")
    entry = service.cloud.last_entry(service.id)
    assert "maximum request timeout" in entry.text
    assert float(entry.http_request["latency"].removesuffix("s")) >= 0.3
    assert service.cloud.counts(service.id) == [1]


def test_bodies_have_a_limit(service: Deployed) -> None:
    """A body of 32 MiB arrives, one byte more is 413; an answer above that, unless streamed, is 500."""
    service.deploy()
    assert service.get(verb="POST", content=b"x" * LARGEST_BYTES).json()["bytes"] == LARGEST_BYTES
    assert service.get(verb="POST", content=b"x" * (LARGEST_BYTES + 1)).status_code == 413
    assert service.cloud.last_entry(service.id).http_request["status"] == 413
    assert service.get("/large").status_code == 500
    assert service.cloud.printed(SYSTEM, service.id)[-1].startswith("Response size was too large.")
    assert service.get("/large", verb="HEAD").headers["content-length"] == str(LARGEST_BYTES + 1)


def test_the_request_log_has_what_cloud_runs_has(service: Deployed) -> None:
    """An entry names request, sizes, caller, latency, trace and the instance that answered."""
    service.deploy()
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    answer = service.get(
        "/missing?q=1", verb="PUT", content=b"body", headers={"traceparent": parent, "user-agent": "me"}
    )
    entry = service.cloud.last_entry(service.id)
    what = dict(entry.http_request)
    assert re.fullmatch(r"\d+\.\d{9}s", what.pop("latency"))
    assert int(what.pop("requestSize")) > len(b"body")
    assert int(what.pop("responseSize")) > len(answer.content)
    assert what == {
        "requestMethod": "PUT",
        "requestUrl": f"{service.status['uri']}/missing?q=1",
        "status": 404,
        "remoteIp": "127.0.0.1",
        "serverIp": "127.0.0.1",
        "protocol": "HTTP/1.1",
        "userAgent": "me",
    }
    assert (entry.trace, entry.trace_sampled) == (f"projects/local-project/traces/{'ab' * 16}", True)
    assert entry.severity == "WARNING"
    assert (entry.origin.location, entry.origin.revision) == ("europe-west6", service.latest)
    assert re.fullmatch(r"00[0-9a-f]{192}", entry.origin.instance_id)


@pytest.mark.parametrize(
    ("sent", "trace", "sampled"),
    [
        ({}, None, "0"),
        ({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, "ab" * 16, "1"),
        ({"X-Cloud-Trace-Context": f"{'EF' * 16}/7;o=1"}, "ef" * 16, "1"),
        ({"X-Cloud-Trace-Context": "nonsense"}, None, "0"),
    ],
    ids=["none", "traceparent", "cloud-trace", "nonsense"],
)
def test_the_container_gets_both_trace_headers(
    cloud: Cloud, private: Deployed, sent: Json, trace: str, sampled: str
) -> None:
    """The caller's trace goes on with a span of Cloud Run's, in both headers and in the log; else a new one begins."""
    token = f"Bearer {identity_token(ALICE, private.status['uri'])}"
    got = dict(private.get(headers={**sent, "authorization": token, "x-forwarded-for": "1.2.3.4"}).json()["headers"])
    _, trace_id, span, flags = got["traceparent"].split("-")
    assert trace in (None, trace_id)
    assert flags == f"0{sampled}"
    assert got["X-Cloud-Trace-Context"] == f"{trace_id}/{int(span, 16)};o={sampled}"
    entry = cloud.last_entry("private")
    assert (entry.trace.rpartition("/")[2], entry.span_id) == (trace_id, span)
    assert (got["X-Forwarded-For"], got["X-Forwarded-Proto"]) == ("1.2.3.4,127.0.0.1", "http")


def test_facts_count_instances_and_what_they_use(service: Deployed) -> None:
    """Counts, startup times, CPU seconds, memory and limits of a revision can be read at any time."""
    service.deploy({"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}})
    (facts,) = [facts for facts in service.cloud.run.facts() if facts.origin.service == service.id]
    assert (facts.cpu, facts.memory_bytes, facts.concurrency) == (0.5, 1 << 30, 1)
    assert (facts.pool.active, facts.pool.idle) == (0, 1)
    (instance,) = facts.pool.instances
    assert instance.rss_bytes > 1 << 20
    (startup,) = facts.pool.startup_seconds
    assert 0 < startup < facts.pool.instance_seconds
    service.cloud.run.scale_to_zero()
    (later,) = [facts for facts in service.cloud.run.facts() if facts.origin.service == service.id]
    assert later.pool.cpu_seconds > 0
    assert later.pool.instances == ()


@pytest.mark.parametrize(
    ("template", "container"),
    [
        ({"volumes": [{"name": "v"}]}, {}),
        ({"sessionAffinity": True}, {}),
        ({}, {"env": [{"name": "A", "valueSource": {"secretKeyRef": {"secret": "a", "version": "stable"}}}]}),
        ({}, {"startupProbe": {"grpc": {}}}),
        ({}, {"readinessProbe": {"httpGet": {"path": "/"}}}),
        ({}, {"ports": [{"name": "h2c", "containerPort": 8080}]}),
        ({"containers": [{"image": HELLO}, {"image": HELLO}]}, {}),
    ],
    ids=["volumes", "affinity", "secret", "grpc-probe", "readiness", "http2", "sidecar"],
)
def test_what_is_not_there_is_501(service: Deployed, template: Json, container: Json) -> None:
    """A template that asks for what the double does not do is refused instead of being half obeyed."""
    with pytest.raises(CloudError, match="does not implement") as caught:
        service.deploy(container, template)
    assert caught.value.status == 501
    with pytest.raises(CloudError, match="does not exist"):
        service.cloud.run.revisions(service.name)


def test_an_image_is_its_content(images: Images, tmp_path: Path) -> None:
    """The digest depends on paths, bytes and what starts them; a tag moves, a digest stays."""
    name = "europe-west6-docker.pkg.dev/local-project/tests/content"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("1")
    first = images.push(tmp_path, name)
    assert images.push(tmp_path, name, command=("other",)) != first
    (tmp_path / "a" / "x.txt").write_text("2")
    assert images.push(tmp_path, name) != first
    (tmp_path / "a" / "x.txt").rename(tmp_path / "a" / "y.txt")
    second = images.push(tmp_path, name, ("latest", "v2"))
    assert second != first
    assert images.resolve(name).digest == images.resolve(f"{name}:v2").digest == second
    assert (images.resolve(f"{name}@{first}").folder / "a" / "x.txt").read_text() == "1"
    images.tag(name, first, "stable")
    assert next(tags for _, _, tags in images.images(name)) == ["stable"]
    images.delete(name, first)
    for unknown in (f"{name}:stable", f"{name}@{first}", f"{name}:none", "nginx", "a b"):
        with pytest.raises(ImageNotFound, match=re.escape(f"Image '{unknown}' not found.")):
            images.resolve(unknown)
    with pytest.raises(ValueError, match="is expected, found: nginx"):
        images.push(tmp_path, "nginx")


def test_nothing_is_left_behind(images: Images, tmp_path: Path) -> None:
    """Closing ends every process, requests under way are answered 503, and the ports are free."""
    cloud = Cloud(images)
    service = Deployed(cloud, "short-lived", tmp_path / "gate")
    service.deploy()
    pid, uri = service.get().json()["pid"], service.status["uri"]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = threads.submit(service.get, "/hold")
        service.wait_for_line("holding")
        cloud.run.close()
        assert held.result().status_code == 503
    assert not is_alive(pid)
    with pytest.raises(httpx2.ConnectError):
        fetch(uri)
    cloud.run.close()


def test_a_deployment_under_way_ends_with_the_double(images: Images, tmp_path: Path) -> None:
    """Closing does not wait for the minutes that a container may take to start."""
    cloud = Cloud(images)
    service = Deployed(cloud, "never-ready", tmp_path / "gate")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        deploying = threads.submit(service.deploy, {"command": ["sleep", "60"]})
        wait_for(lambda: cloud.printed(SYSTEM))
        cloud.run.close()
        assert deploying.result()["terminalCondition"]["state"] == "CONDITION_FAILED"


def test_instances_die_with_the_double(tmp_path: Path) -> None:
    """A double that is killed without a word takes its instances along."""
    command = [sys.executable, "-m", "tests.test_cloud_run", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as double:
        assert double.stdout is not None
        pid = int(double.stdout.readline())
        assert is_alive(pid)
        double.kill()
    wait_for(lambda: not is_alive(pid))


def _deploy_and_wait(folder: Path) -> None:
    cloud = Cloud(Images(folder))
    service = Deployed(cloud, "orphan", folder / "gate")
    cloud.run._platform.images.push(
        ROOT / "tests" / "container", CONTAINER, command=("python", "-S", "main.py"), environment={}
    )
    service.deploy()
    print(service.get().json()["pid"], flush=True)
    signal.pause()


if __name__ == "__main__":
    _deploy_and_wait(Path(sys.argv[1]))
