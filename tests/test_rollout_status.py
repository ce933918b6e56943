"""`status` and `history`: who answers now, by the cloud itself, and who answered when, by the ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx2
import pytest
from google.cloud import run_v2

from function.store import Store, open_store
from lifecycle.cli import main
from lifecycle.environment import read_environment
from lifecycle.rollout import ledger
from lifecycle.rollout.cloud_run import CANDIDATE, STABLE, Endpoint, Share, State
from lifecycle.rollout.lease import Lease
from lifecycle.rollout.ledger import Event, Part, append
from tests.cloud import CloudDouble, oauth
from tests.cloud.api import run_client
from tests.cloud.artifactregistry.images import HELLO
from tests.cloud.tripwire import GOOGLE_AUTH, Tripwire
from tests.releasing import MODEL, make_service, open_endpoint, push_image

PLACE = read_environment("dev")
START = datetime(2026, 3, 7, 12, tzinfo=UTC)
ANN = "ann@example.com"


class Ran(NamedTuple):
    """What a verb printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def double() -> Iterator[CloudDouble]:
    """Return the cloud of infra/dev.tfvars, with its release identity; nothing but loopback is reached."""
    with (
        Tripwire() as tripwire,
        CloudDouble(project=PLACE.project, buckets=[PLACE.model_bucket]) as cloud,
        pytest.MonkeyPatch.context() as patched,
    ):
        for name, value in {**cloud.environment, **tripwire.environment}.items():
            patched.setenv(name, value)
        account = {"accountId": PLACE.release_identity.partition("@")[0]}
        httpx2.post(f"{cloud.url}/iam/v1/projects/{PLACE.project}/serviceAccounts", json=account)
        make_service(cloud, place=PLACE, health_check_disabled=True)
        let_release(cloud)
        yield cloud
        assert tripwire.hosts <= GOOGLE_AUTH


def let_release(cloud: CloudDouble, bucket_role: str = "roles/storage.objectUser") -> None:
    """Grant the release identity what infra/ grants it."""
    member = f"serviceAccount:{PLACE.release_identity}"
    granted = {
        f"//cloudresourcemanager.googleapis.com/projects/{PLACE.project}": "roles/viewer",
        f"//run.googleapis.com/{PLACE.service(MODEL)}": "roles/run.developer",
        f"//storage.googleapis.com/projects/_/buckets/{PLACE.model_bucket}": bucket_role,
    }
    for resource, role in granted.items():
        cloud.state.policies[resource] = {"version": 1, "bindings": [{"role": role, "members": [member]}]}


@pytest.fixture
def cloud(double: CloudDouble) -> Iterator[CloudDouble]:
    """Return the cloud with a bucket that is empty, and a service that waits for its first release."""
    with run_client(double) as client:
        client.delete_service(name=PLACE.service(MODEL))
    make_service(double, place=PLACE, health_check_disabled=True)
    let_release(double)
    yield double
    double.faults.clear()
    store = open_store(PLACE.store)
    for entry in store.list(""):
        store.delete(entry.key)
    store.close()


@pytest.fixture
def endpoint(cloud: CloudDouble) -> Iterator[Endpoint]:
    """Return the service as its owner sees it."""
    with open_endpoint(PLACE) as opened:
        yield opened


@pytest.fixture
def store(cloud: CloudDouble) -> Iterator[Store]:
    """Return the store of versions."""
    opened = open_store(PLACE.store)
    yield opened
    opened.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the function that runs a verb in this process."""

    def run_verb(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lifecycle", *arguments])
        monkeypatch.setenv("COLUMNS", "300")
        code = main()
        return Ran(code, *capsys.readouterr())

    return run_verb


def release(cloud: CloudDouble, endpoint: Endpoint, percent: int = 20) -> State:
    """Give version 7 so much of the traffic, beside the hello image."""
    seen = endpoint.read()
    stable = Share(seen.main, 100, STABLE)
    seen = endpoint.deploy(seen, push_image(cloud, "seven", place=PLACE), {"model": MODEL, "version": "7"}, [stable])
    candidate = Share(seen.latest_created, percent, CANDIDATE)
    return endpoint.move(seen, [stable._replace(percent=100 - percent), candidate])


def write_split(store: Store, endpoint: Endpoint, state: State, kind: str = "done") -> Event:
    """Write what a release writes of a split."""
    parts = []
    for share in state.split:
        revision = endpoint.revision(share.revision)
        parts.append(
            Part(revision=share.revision, version=revision.version, image=revision.image, percent=share.percent)
        )
    return append(store, MODEL, Event.model_validate({**EVENT, "kind": kind, "shares": tuple(parts)}))


EVENT = {"rollout": "r1", "kind": "done", "shares": (), "who": ANN, "why": "step 1"}


def test_before_the_first_release_hello_answers(cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run) -> None:
    """The hello image has everything and no version; the ledger need not say so."""
    shown = run("status", MODEL, "--json").json
    (only,) = shown["revisions"]
    assert (only["version"], only["image"], only["percent"], only["tags"], only["ready"]) == (
        None,
        HELLO,
        100,
        [],
        True,
    )
    assert (shown["follows_latest"], shown["unreleased"], shown["holder"]) == (True, None, None)
    assert shown["ledger"] == {"agrees": True, "said": None, "note": ""}
    assert store.list(f"{MODEL}/ledger/") == []


def test_the_split_is_the_clouds(cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run) -> None:
    """Each revision with traffic or a tag: its version, image, share, tags and addresses; the ledger agrees."""
    state = release(cloud, endpoint)
    write_split(store, endpoint, state)
    shown = run("status", MODEL, "--json").json
    assert [(one["version"], one["percent"], one["tags"]) for one in shown["revisions"]] == [
        (None, 80, [STABLE]),
        (7, 20, [CANDIDATE]),
    ]
    assert shown["revisions"][1]["image"] == state.image
    assert shown["revisions"][1]["addresses"] == [state.tag_addresses[CANDIDATE]]
    assert shown["address"] == state.address
    assert shown["ledger"]["agrees"] is True
    text = run("status", MODEL)
    assert text.code == 0
    assert [line.split()[1:5] for line in text.out.splitlines()[1:3]] == [
        ["none", "80", "%", STABLE],
        ["7", "20", "%", CANDIDATE],
    ]
    assert text.err == ""


def test_the_ledger_is_told_what_it_did_not_know(
    cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run
) -> None:
    """Where somebody moved traffic by other means, status says so, writes it down once, and history has it."""
    state = release(cloud, endpoint)
    before = write_split(store, endpoint, state)
    endpoint.move(state, [Share(state.main, 60, STABLE), Share(state.latest_created, 40, CANDIDATE)])
    shown = run("status", MODEL)
    assert "The ledger said otherwise: " in shown.err
    assert f"{state.main} 80 %, version 7 20 % since " in shown.err
    assert shown.err.rstrip().endswith("It was told so.")
    (_, found) = ledger.read(store, MODEL).events
    assert (found.kind, found.rollout, found.why) == ("found", "", "status found it so")
    assert [(part.version, part.percent) for part in found.shares] == [(None, 60), (7, 40)]
    assert run("status", MODEL, "--json").json["ledger"]["agrees"] is True
    assert len(ledger.read(store, MODEL).events) == 2
    first, second = run("history", MODEL, "--json").json
    assert before.time is not None
    assert first["since"] == before.time.isoformat() and first["until"] == second["since"]
    assert [part["percent"] for part in second["shares"]] == [60, 40]


def test_a_service_that_somebody_released_by_hand_is_found(
    cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run
) -> None:
    """A version that answers without a word in the ledger is written down."""
    release(cloud, endpoint)
    assert "The ledger said otherwise: nothing. It was told so." in run("status", MODEL).err
    assert [event.kind for event in ledger.read(store, MODEL).events] == ["found"]


def test_while_a_release_runs_only_it_writes(cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run) -> None:
    """Status names who is releasing, and leaves the ledger alone: the split is about to be written down."""
    release(cloud, endpoint)
    Lease(store, MODEL, ANN).keep({"step": 20})
    shown = run("status", MODEL)
    assert f"A release is under way: {ANN} on " in shown.err
    assert store.list(f"{MODEL}/ledger/") == []
    holder = run("status", MODEL, "--json").json["holder"]
    assert set(holder) == {"who", "host", "pid", "renewed"}


def test_who_may_not_write_sees_the_difference(cloud: CloudDouble, endpoint: Endpoint, store: Store, run: Run) -> None:
    """Without the right to write, the split is shown all the same."""
    write_split(store, endpoint, release(cloud, endpoint, percent=50))
    state = endpoint.read()
    endpoint.move(state, [Share(state.main, 100, STABLE)])
    let_release(cloud, "roles/storage.objectViewer")
    shown = run("status", MODEL)
    assert shown.code == 0
    assert "It could not be told so: " in shown.err and "storage.objects.create" in shown.err


def test_what_terraform_made_waits_for_its_release(cloud: CloudDouble, endpoint: Endpoint, run: Run) -> None:
    """A revision of another setting gets no traffic, and status says so; a copy that a rollback left is nothing new."""
    state = release(cloud, endpoint)
    state = endpoint.roll_back(state, state.main)
    assert run("status", MODEL, "--json").json["unreleased"] is None
    with run_client(cloud) as client:
        service = client.get_service(name=PLACE.service(MODEL))
        service.template.containers[0].env.append(run_v2.EnvVar(name="NEW", value="1"))
        client.update_service(service=service)
    latest = endpoint.read().latest_created
    assert run("status", MODEL, "--json").json["unreleased"]["revision"] == latest
    assert f"{latest} (none, ready) is not released: nothing goes to it" in run("status", MODEL).err


def test_what_is_not_ready_says_why(cloud: CloudDouble, endpoint: Endpoint, run: Run) -> None:
    """A candidate that cannot serve is shown with Cloud Run's words, and so is the service."""
    seen = endpoint.read()
    missing = f"{PLACE.images(MODEL)}@sha256:{'0' * 64}"
    endpoint.deploy(seen, missing, {"model": MODEL, "version": "8"}, [Share(seen.main, 100, STABLE)])
    shown = run("status", MODEL, "--json").json
    assert (shown["unreleased"]["version"], shown["unreleased"]["ready"]) == (8, False)
    assert f"Image '{missing}' not found." in shown["unreleased"]["reason"]
    assert shown["reason"] == shown["unreleased"]["reason"]


def test_a_service_that_is_not_there_is_said(cloud: CloudDouble, run: Run) -> None:
    """Exit codes and words: no such service 13, no such environment 5, nothing to act as 11."""
    done = run("status", "maintenance", "--json")
    assert (done.code, done.json["error"]["message"].partition(":")[0]) == (
        13,
        f"There is no service {PLACE.service('maintenance')}",
    )
    assert run("status", MODEL, "--environment", "nowhere").code == 5
    assert run("status", MODEL, "--environment", "prod").code == 11


RELEASE = [("done", {1: 100}, 0), ("intent", {1: 75, 2: 25}, 10), ("done", {1: 75, 2: 25}, 11), ("done", {2: 100}, 60)]


@pytest.fixture
def past(cloud: CloudDouble) -> None:
    """Write a release of the past into the ledger."""
    for kind, split, minutes in RELEASE:
        time = START + timedelta(minutes=minutes)
        parts = tuple(
            Part(revision=f"r{one}", version=one, image=f"i@{one}", percent=part) for one, part in split.items()
        )
        event = Event.model_validate({**EVENT, "kind": kind, "shares": parts, "time": time})
        name = f"{MODEL}/ledger/{time:{ledger.TIME}}-{minutes:012x}.json"
        cloud.storage.write(PLACE.model_bucket, name, event.model_dump_json().encode())


@pytest.mark.usefixtures("past")
def test_history_lists_who_answered(run: Run) -> None:
    """From when to when, which versions, by whom and why."""
    lines = run("history", MODEL).out.splitlines()
    assert lines[0].split() == ["from", "until", "answered", "by", "because"]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        f"2026-03-07 12:00:00 UTC 2026-03-07 12:11:00 UTC version 1 100 % {ANN} step 1",
        f"2026-03-07 12:11:00 UTC 2026-03-07 13:00:00 UTC version 1 75 %, version 2 25 % {ANN} step 1",
        f"2026-03-07 13:00:00 UTC now version 2 100 % {ANN} step 1",
    ]


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("moment", "answered"),
    [
        ("2026-03-07T12:00", "version 1 100 %: from 2026-03-07 12:00:00 UTC until 2026-03-07 12:11:00 UTC"),
        (
            "2026-03-07T13:10:30+01:00",
            "version 1 100 %, or version 1 75 %, version 2 25 %: from 2026-03-07 12:10:00 UTC",
        ),
        ("2026-03-07T12:20:00Z", "version 1 75 %, version 2 25 %: from 2026-03-07 12:11:00 UTC until"),
        ("2026-03-08", "version 2 100 %: from 2026-03-07 13:00:00 UTC until now"),
    ],
    ids=["utc", "another-zone-between", "zulu", "a-day"],
)
def test_history_knows_one_moment(moment: str, answered: str, run: Run) -> None:
    """Which versions answered then, from when to when."""
    assert run("history", MODEL, "--at", moment).out.startswith(answered)


@pytest.mark.usefixtures("past")
def test_a_moment_before_everything_has_no_answer(run: Run) -> None:
    """The ledger says when it begins."""
    done = run("history", MODEL, "--at", "2020-01-01")
    assert done.code == 5
    assert "says nothing of 2020-01-01 00:00:00 UTC. It begins at 2026-03-07 12:00:00 UTC." in done.err


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("yesterday", "a time such as 2026-11-07T12:00 or 2026-11-07T13:00:30+01:00 is expected, found 'yesterday'"),
        ("2026-13-01", "a time such as"),
        ("", "a time such as"),
        ("9999-01-01", "nobody knows who will answer"),
    ],
    ids=["word", "month", "nothing", "future"],
)
def test_a_moment_that_is_none_is_refused(moment: str, said: str, run: Run) -> None:
    """With what was expected, before anything is asked."""
    done = run("history", MODEL, "--at", moment)
    assert done.code == 2
    assert said in done.err


def test_nothing_was_released_yet(cloud: CloudDouble, run: Run) -> None:
    """An empty ledger is said to be empty."""
    done = run("history", MODEL)
    assert done.code == 5
    assert f"Nothing is written of {MODEL} in {PLACE.store} yet" in done.err


@pytest.mark.usefixtures("past")
def test_other_objects_and_older_events_are_said(cloud: CloudDouble, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """History shows what it read, and says what it left out or could not read."""
    cloud.storage.write(PLACE.model_bucket, f"{MODEL}/ledger/notes.txt", b"x")
    monkeypatch.setattr("lifecycle.rollout.ledger.MOST_EVENTS", 2)
    done = run("history", MODEL)
    assert len(done.out.splitlines()) == 3
    assert "2 older events were not read; --all reads them" in done.err
    assert "notes.txt is no event" in done.err
    everything = run("history", MODEL, "--all", "--json")
    assert len(everything.json) == 3
    assert "older" not in everything.err


def test_people_who_release_need_no_right_of_their_own(
    cloud: CloudDouble, endpoint: Endpoint, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is asked as the release identity, the store too."""
    account = f"//iam.googleapis.com/projects/{PLACE.project}/serviceAccounts/{PLACE.release_identity}"
    role = {"role": "roles/iam.serviceAccountTokenCreator", "members": [f"user:{ANN}"]}
    cloud.state.policies[account] = {"version": 1, "bindings": [role]}
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(cloud.key_file(ANN)))
    release(cloud, endpoint)
    cloud.requests.clear()
    assert run("status", MODEL).code == 0
    principals = {entry.principal for entry in cloud.requests if entry.method and "iamcredentials" not in entry.method}
    assert principals == {PLACE.release_identity}
    assert oauth.OWNER not in principals
