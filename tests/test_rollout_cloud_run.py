"""One model's service, as a release changes it: what it touches and leaves, and what it does when things go wrong."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud import run_v2

from lifecycle import google_apis
from lifecycle.errors import CloudFailed, LifecycleError, Missing, NotReleasable, Overtaken
from lifecycle.rollout.cloud_run import CANDIDATE, PREVIOUS, STABLE, Endpoint, Share, State
from tests.cloud import CloudDouble
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import HELLO
from tests.cloud.run.service import SERVICES
from tests.releasing import MODEL, SERVICE, found_cloud, make_service, open_endpoint, push_image

PATCH = "run.projects.locations.services.patch"
GET = "run.projects.locations.services.get"
GET_REVISION = "run.projects.locations.services.revisions.get"
STATUS = ("terminalCondition", "conditions", "trafficStatuses", "latestCreatedRevision", "latestReadyRevision")
MOVING = {"etag", "generation", "observedGeneration", "updateTime", *STATUS}
LABELS = {"model": MODEL, "version": "7"}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def double() -> Iterator[CloudDouble]:
    """Return a cloud that clients find by themselves."""
    with found_cloud() as started:
        yield started


@pytest.fixture
def cloud(double: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDouble]:
    """Return the cloud without any service; calls that are repeated follow each other at once."""
    monkeypatch.setattr(google_apis, "FIRST_WAIT_SECONDS", 0.02)
    double.requests.clear()
    yield double
    double.faults.clear()
    if SERVICE in double.resources(SERVICES):
        with run_client(double) as client:
            client.delete_service(name=SERVICE)


@pytest.fixture
def endpoint(cloud: CloudDouble) -> Iterator[Endpoint]:
    """Return a service that waits for its first release; its revisions are not started."""
    make_service(cloud, health_check_disabled=True)
    with open_endpoint() as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything give up soon."""
    monkeypatch.setattr(google_apis, "PATIENCE_SECONDS", 1.5)
    monkeypatch.setattr(google_apis, "CALL_SECONDS", 0.5)


@pytest.fixture
def released(cloud: CloudDouble, endpoint: Endpoint) -> State:
    """Return the service after two releases: version 1 is previous, version 2 stable."""
    seen = endpoint.read()
    for version, image in (("1", push_image(cloud, "one")), ("2", push_image(cloud, "two"))):
        stable = seen.main
        seen = endpoint.deploy(seen, image, {"model": MODEL, "version": version}, [Share(stable, 100, STABLE)])
        seen = endpoint.move(seen, [Share(seen.latest_created, 100, STABLE), Share(stable, 0, PREVIOUS)])
    cloud.requests.clear()
    return seen


def resource(cloud: CloudDouble) -> Json:
    """Return the service as the double keeps it."""
    return cloud.resources(SERVICES)[SERVICE]


def revisions(cloud: CloudDouble) -> list[str]:
    """Return the names of the service's revisions, the oldest first."""
    return [one["name"].rpartition("/")[2] for one in reversed(cloud.cloud_run.revisions(SERVICE))]


def without_ours(service: Json) -> Json:
    """Return what of a service a release has to leave as it was."""
    rest = {name: value for name, value in copy.deepcopy(service).items() if name not in {*MOVING, "traffic"}}
    del rest["template"]["containers"][0]["image"]
    rest["template"]["labels"] = {
        name: value for name, value in rest["template"]["labels"].items() if name not in ("model", "version")
    }
    return rest


def test_a_service_that_waits_for_its_first_release_is_read(endpoint: Endpoint) -> None:
    """Everything goes to the latest revision, which runs Google's hello image."""
    state = endpoint.read()
    assert (state.image, state.follows_latest, state.reason, state.reconciling) == (HELLO, True, "", False)
    assert state.split == state.answering == (Share(state.latest_ready, 100, ""),)
    assert (state.ingress, state.iap) == ("INGRESS_TRAFFIC_ALL", False)
    assert state.address.startswith("http://")
    assert state.main == state.latest_created == state.latest_ready


def test_a_candidate_gets_no_traffic(cloud: CloudDouble, endpoint: Endpoint) -> None:
    """One update makes the revision, under a name of Cloud Run's, and names who goes on answering."""
    image, hello = push_image(cloud, "one"), endpoint.read()
    state = endpoint.deploy(hello, image, LABELS, [Share(hello.main, 100, STABLE)])
    assert len(cloud.requests.of(PATCH)) == 1
    assert state.split == state.answering == (Share(hello.main, 100, STABLE),)
    assert not state.follows_latest
    revision = endpoint.revision(state.latest_created)
    assert revision.name != hello.main
    assert (revision.image, revision.digest) == (image, image.partition("@")[2])
    assert (revision.labels["model"], revision.version, revision.ready, revision.reason) == (MODEL, 7, True, "")
    assert "revision" not in resource(cloud)["template"]


def test_traffic_moves_by_names_and_tags(endpoint: Endpoint, released: State) -> None:
    """After a release, the new revision has everything and the one before keeps an address of its own."""
    assert [(share.percent, share.tag) for share in released.answering] == [(100, STABLE), (0, PREVIOUS)]
    assert released.main == released.tagged(STABLE)
    assert set(released.tag_addresses) == {STABLE, PREVIOUS}
    versions = [endpoint.revision(share.revision).version for share in released.split]
    assert versions == [2, 1]


def test_everything_else_stays(cloud: CloudDouble, endpoint: Endpoint) -> None:
    """Field by field, a release and a rollback leave what is Terraform's as it was, and labels that others gave."""
    hello, before = endpoint.read(), without_ours(resource(cloud))
    seen = endpoint.deploy(hello, push_image(cloud, "one"), LABELS, [Share(hello.main, 100, STABLE)])
    assert resource(cloud)["template"]["labels"] == {"team": "retention", **LABELS}
    assert without_ours(resource(cloud)) == before
    candidate = seen.latest_created
    seen = endpoint.move(seen, [Share(hello.main, 50, STABLE), Share(candidate, 50, CANDIDATE)])
    assert without_ours(resource(cloud)) == before
    state = endpoint.roll_back(seen, hello.main)
    assert without_ours(resource(cloud)) == before
    settings = [endpoint.revision(name).settings for name in (hello.main, candidate, state.latest_created)]
    assert settings[0] == settings[1] == settings[2]
    assert settings[0]["containers"][0]["env"][1]["name"] == "COLOUR"


def test_a_rollback_is_one_update(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """It moves the traffic and restores image and labels in the template; what was previous stays so."""
    stable, image = released.main, released.image
    seen = endpoint.deploy(released, push_image(cloud, "bad"), LABELS, released.split)
    bad = seen.latest_created
    seen = endpoint.move(seen, [Share(stable, 75, STABLE), Share(bad, 25, CANDIDATE), *released.split[1:]])
    changes = len(cloud.requests.of(PATCH))
    state = endpoint.roll_back(seen, stable)
    assert len(cloud.requests.of(PATCH)) == changes + 1
    assert state.answering == released.split
    assert (state.image, state.labels) == (image, released.labels)
    assert (state.latest_created, state.percent(state.latest_created)) != (bad, 100)
    assert endpoint.revision(state.latest_created).image == image


def test_repeated_it_changes_nothing(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """Neither a rollback nor a deployment nor a split makes a second revision, or even a second update."""
    image = push_image(cloud, "three")
    seen = endpoint.deploy(released, image, LABELS, released.split)
    changes, made = len(cloud.requests.of(PATCH)), revisions(cloud)
    assert endpoint.deploy(seen, image, LABELS, released.split).latest_created == seen.latest_created
    assert endpoint.move(seen, released.split) == seen
    assert (len(cloud.requests.of(PATCH)), revisions(cloud)) == (changes, made)
    rolled_back = endpoint.roll_back(seen, released.main)
    made = revisions(cloud)
    assert endpoint.roll_back(rolled_back, released.main) == rolled_back
    assert (len(cloud.requests.of(PATCH)), revisions(cloud)) == (changes + 1, made)


def test_the_first_release_goes_back_to_hello(cloud: CloudDouble, endpoint: Endpoint) -> None:
    """A first candidate that is rolled back leaves the hello image, and none of our labels."""
    hello = endpoint.read()
    seen = endpoint.deploy(hello, push_image(cloud, "one"), LABELS, [Share(hello.main, 100, STABLE)])
    state = endpoint.roll_back(seen, hello.main)
    assert (state.image, state.labels, state.split) == (HELLO, hello.labels, (Share(hello.main, 100, STABLE),))


def test_a_candidate_that_does_not_start_says_why(cloud: CloudDouble) -> None:
    """The revision is not ready and has Cloud Run's words for it; who answered goes on answering."""
    make_service(cloud)
    with open_endpoint() as endpoint:
        _see_it_fail(cloud, endpoint)


def _see_it_fail(cloud: CloudDouble, endpoint: Endpoint) -> None:
    hello = endpoint.read()
    broken = push_image(cloud, "broken", starts=False)
    state = endpoint.deploy(hello, broken, LABELS, [Share(hello.main, 100, STABLE)])
    revision = endpoint.revision(state.latest_created)
    assert not revision.ready
    assert "failed the configured startup probe checks" in revision.reason
    assert revision.conditions["Ready"] == "CONDITION_FAILED"
    assert (state.latest_ready, state.answering) == (hello.main, (Share(hello.main, 100, STABLE),))
    assert state.reason == revision.reason
    with pytest.raises(CloudFailed, match="did not split the traffic") as failed:
        endpoint.move(state, [Share(hello.main, 90, STABLE), Share(revision.name, 10, CANDIDATE)])
    assert revision.reason in failed.value.reasons
    assert endpoint.read().answering == (Share(hello.main, 100, STABLE),)
    assert endpoint.roll_back(endpoint.read(), hello.main).answering == (Share(hello.main, 100, STABLE),)


def test_an_image_that_is_not_there_is_said_so(endpoint: Endpoint) -> None:
    """A revision of an image that the registry does not have is not ready."""
    hello = endpoint.read()
    missing = f"europe-west6-docker.pkg.dev/local-project/pilot/churn@sha256:{'0' * 64}"
    state = endpoint.deploy(hello, missing, LABELS, [Share(hello.main, 100, STABLE)])
    revision = endpoint.revision(state.latest_created)
    assert (revision.ready, revision.image) == (False, missing)
    assert f"Image '{missing}' not found." in revision.reason


def test_addresses_of_others_are_left(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """A tag that no release gave keeps its revision through moves and rollbacks."""
    old = released.tagged(PREVIOUS)
    by_name = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
    with run_client(cloud) as client:
        service = client.get_service(name=SERVICE)
        service.traffic.append(run_v2.TrafficTarget(type_=by_name, revision=old, tag="preview"))
        client.update_service(service=service)
    seen = endpoint.read()
    state = endpoint.move(seen, [Share(released.main, 90, STABLE), Share(old, 10, CANDIDATE)])
    assert state.tagged("preview") == old
    assert endpoint.roll_back(state, released.main).tagged("preview") == old


def test_a_name_that_somebody_chose_is_not_kept(cloud: CloudDouble, endpoint: Endpoint) -> None:
    """A template that names its revision would make Cloud Run refuse another image under that name."""
    with run_client(cloud) as client:
        service = client.get_service(name=SERVICE)
        service.template.revision = f"{SERVICE.rpartition('/')[2]}-mine"
        service.template.timeout = "61s"
        client.update_service(service=service)
    seen = endpoint.read()
    assert seen.main.endswith("-mine")
    state = endpoint.deploy(seen, push_image(cloud, "one"), LABELS, [Share(seen.main, 100, STABLE)])
    assert endpoint.revision(state.latest_created).ready


CHANGES: dict[str, Callable[[CloudDouble, Endpoint, State], State]] = {
    "deploy": lambda cloud, endpoint, seen: endpoint.deploy(seen, push_image(cloud, "new"), LABELS, seen.split),
    "move": lambda cloud, endpoint, seen: endpoint.move(
        seen, [Share(seen.main, 60, STABLE), Share(seen.tagged(PREVIOUS), 40, PREVIOUS)]
    ),
    "roll-back": lambda cloud, endpoint, seen: endpoint.roll_back(seen, seen.tagged(PREVIOUS)),
}
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "times": 2},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503, "times": 3},
    "409": {"kind": "status", "status": 409},
    "reset": {"kind": "reset", "times": 2},
    "reset-after-commit": {"kind": "reset_after_commit"},
    "stall": {"kind": "stall"},
    "truncated": {"kind": "truncate"},
}
LOST = ("reset_after_commit", "stall", "truncate")  # carried out, and the answer does not arrive


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("change", CHANGES)
def test_faults_that_pass_are_passed_over(
    change: str, fault: str, cloud: CloudDouble, endpoint: Endpoint, released: State, impatient: None
) -> None:
    """Each change happens exactly once, whatever happens to its first calls and to their answers."""
    made = len(revisions(cloud))
    for method in (PATCH, GET) if fault != "reset-after-commit" else (PATCH,):
        cloud.faults.add(method=method, **FAULTS[fault])
    state = CHANGES[change](cloud, endpoint, released)
    assert state == endpoint.read()
    assert len(revisions(cloud)) == made + (change != "move")
    carried_out = [entry for entry in cloud.requests.of(PATCH) if entry.status == 200 or entry.fault in LOST]
    assert len(carried_out) == 1


@pytest.mark.parametrize("change", CHANGES)
def test_a_fault_that_stays_is_reported(
    change: str, cloud: CloudDouble, endpoint: Endpoint, released: State, impatient: None
) -> None:
    """After the stated time, the error says what was tried, for how long and what Google answered."""
    cloud.faults.add("status", method=PATCH, status=503, times=None)
    before = resource(cloud)
    with pytest.raises(CloudFailed, match=f"Updating {SERVICE} failed") as failed:
        CHANGES[change](cloud, endpoint, released)
    assert "Timeout of 1.5s exceeded" in failed.value.reasons[0]
    assert "told to answer 503" in failed.value.reasons[0]
    assert resource(cloud) == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_comes_late_is_not_made_twice(
    change: str, cloud: CloudDouble, endpoint: Endpoint, released: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that was given up and is carried out later meets the etag of the one that took its place."""
    monkeypatch.setattr(google_apis, "CALL_SECONDS", 0.3)
    cloud.faults.add("delay", method=PATCH, seconds=0.8)
    made = len(revisions(cloud))
    state = CHANGES[change](cloud, endpoint, released)
    late, _ = cloud.requests.of(PATCH)[-2:]
    wait_until(lambda: late.status is not None)
    assert (late.fault, late.status) == ("delay", 409)
    assert (endpoint.read(), len(revisions(cloud))) == (state, made + (change != "move"))


@pytest.mark.parametrize("change", CHANGES)
def test_somebody_elses_change_is_not_overwritten(
    change: str, cloud: CloudDouble, endpoint: Endpoint, released: State
) -> None:
    """Where image, labels or traffic are no longer what was seen, nothing is done, and the error says what changed."""
    others = endpoint.move(released, [Share(released.main, 30, STABLE), Share(released.tagged(PREVIOUS), 70)])
    with pytest.raises(Overtaken) as overtaken:
        CHANGES[change](cloud, endpoint, released)
    (reason,) = overtaken.value.reasons
    assert reason.startswith("traffic: ") and "70 %" in reason
    assert endpoint.read() == others


def test_what_terraform_changes_meanwhile_is_kept(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """An apply between a look and a rollback hinders nothing, and the rollback does not undo it."""
    seen = endpoint.deploy(released, push_image(cloud, "bad"), LABELS, released.split)
    with run_client(cloud) as client:
        service = client.get_service(name=SERVICE)
        service.template.containers[0].env[1].value = "blue"
        client.update_service(service=service)
    state = endpoint.roll_back(seen, released.main)
    assert (state.image, state.split) == (released.image, released.split)
    container = resource(cloud)["template"]["containers"][0]
    assert {"name": "COLOUR", "value": "blue"} in container["env"]


def test_of_two_who_write_at_once_one_wins(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """Between its look and its write, another's write wins: the loser is told so and leaves it as it is."""
    with open_endpoint() as other:
        outcomes: dict[str, State | LifecycleError] = {}

        def move(who: str, one: Endpoint, percent: int) -> None:
            shares = [Share(released.main, percent, STABLE), Share(released.tagged(PREVIOUS), 100 - percent, CANDIDATE)]
            try:
                outcomes[who] = one.move(released, shares)
            except LifecycleError as error:
                outcomes[who] = error

        # Both have looked before either writes.
        cloud.faults.add("delay", method=PATCH, seconds=0.3, times=2)
        threads = [threading.Thread(target=move, args=args) for args in (("a", endpoint, 10), ("b", other, 20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    won = [outcome for outcome in outcomes.values() if isinstance(outcome, State)]
    assert [type(outcome) for outcome in outcomes.values() if outcome not in won] == [Overtaken]
    assert endpoint.read().split == won[0].split


def test_a_change_under_way_is_waited_for(cloud: CloudDouble, endpoint: Endpoint, released: State) -> None:
    """What is returned is what Cloud Run has carried out, however long it takes."""
    kept = cloud.state.resources(SERVICES)[SERVICE]
    cloud.state.resources(SERVICES)[SERVICE] = {**kept, "reconciling": True}
    assert endpoint.read().reconciling
    threading.Timer(0.3, lambda: cloud.state.resources(SERVICES).update({SERVICE: kept})).start()
    assert not endpoint.move(released, released.split).reconciling


def test_what_is_not_there_is_said(cloud: CloudDouble, impatient: None) -> None:
    """A service that Terraform has not made is not releasable; a revision that is not there is missing."""
    with open_endpoint() as endpoint:
        with pytest.raises(NotReleasable, match=r"name churn in `models` of infra/dev\.tfvars"):
            endpoint.read()
        make_service(cloud)
        with pytest.raises(Missing, match="There is no revision pilot-churn-00009-abc"):
            endpoint.revision("pilot-churn-00009-abc")
        with pytest.raises(Missing):
            endpoint.roll_back(endpoint.read(), "pilot-churn-00009-abc")


def test_a_missing_permission_is_named(cloud: CloudDouble, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read or change the service hears which permission it takes, and who grants it."""
    nobody = f"{cloud.url}/_as/nobody@example.com/run/v2/"
    seen = endpoint.read()
    monkeypatch.setenv("GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT", nobody)
    with (
        open_endpoint() as refused,
        pytest.raises(CloudFailed, match=r"permission run\.services\.get is missing") as got,
    ):
        refused.read()
    assert "roles/run.developer" in got.value.reasons[1]
    assert "pilot-deliver@local-project.iam.gserviceaccount.com" in got.value.reasons[1]
    cloud.state.policies[f"//run.googleapis.com/{SERVICE}"] = {
        "version": 1,
        "bindings": [{"role": "roles/run.viewer", "members": ["user:nobody@example.com"]}],
    }
    with open_endpoint() as reader, pytest.raises(CloudFailed, match=r"permission run\.services\.update is missing"):
        reader.move(seen, [Share(seen.main, 100, STABLE)])


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(2000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("what was waited for did not happen")
