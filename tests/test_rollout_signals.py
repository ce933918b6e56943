"""From the cloud to a look: what counts, whose it is, that nothing is lost or counted twice, and reads that fail."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hcl2
import httpx2
import pytest
from google.auth.credentials import AnonymousCredentials

from function.contract import CHECK_AGENT
from function.store import FileStore
from lifecycle.errors import CloudFailed
from lifecycle.rollout import reads as reading
from lifecycle.rollout import signals
from lifecycle.rollout.evidence import Answer, Counts, Look, Unread
from lifecycle.rollout.reads import Budget, NotRead, Reads
from lifecycle.rollout.signals import EXITS, Before, Position, Watch, Watched, before, starting
from lifecycle.versions import Version
from tests.cloud import CloudDouble
from tests.cloud.api import api_client
from tests.cloud.logging.entries import Origin, RequestFacts
from tests.cloud.schemas import Json
from tests.endpoints import REGION, Endpoint, wait_for
from tests.infra.code import ENDPOINT
from tests.test_endpoint import GOOD

PROJECT, SERVICE = "local-project", "pilot-binary"
OLD, NEW = f"{SERVICE}-00001-abc", f"{SERVICE}-00002-def"
URL, TAGGED = "https://pilot-binary-0a1b2c-oa.a.run.app", "https://candidate---pilot-binary-0a1b2c-oa.a.run.app"
WATCHED = Watched(PROJECT, REGION, SERVICE, NEW, OLD, {"candidate": TAGGED}, frozenset({"city"}))
START = timedelta(minutes=1)  # ago


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDouble]:
    """Return a double that Google's clients find by themselves."""
    with CloudDouble(project=PROJECT, seed=1) as double:
        for name, value in double.environment.items():
            monkeypatch.setenv(name, value)
        yield double


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the budget."""
    return Clock()


@pytest.fixture
def reads(cloud: CloudDouble, clock: Clock) -> Iterator[Reads]:
    """Return the reads of a release."""
    with Reads(PROJECT, AnonymousCredentials(), clock) as opened:
        yield opened


@pytest.fixture
def since() -> datetime:
    """Return when traffic was split."""
    return datetime.now(UTC) - START


@pytest.fixture
def watch(reads: Reads, since: datetime) -> Watch:
    """Return a watch that has not looked yet."""
    return Watch(reads, WATCHED, starting(since))


def origin(revision: str, service: str = SERVICE, region: str = REGION) -> Origin:
    """Return an instance of a revision."""
    return Origin(PROJECT, region, service, revision, "0a1b")


def ask(cloud: CloudDouble, revision: str = NEW, status: int = 200, **given: Any) -> None:
    """Let Cloud Run log and count a request: `ago` seconds ago it arrived."""
    request = {"requestMethod": "POST", "requestUrl": f"{URL}/predict", "status": status, "latency": "0.010s"}
    request |= {"userAgent": "caller/1.0"} | given.get("request", {})
    arrived = given.get("arrived", datetime.now(UTC) - timedelta(seconds=given.get("ago", 1)))
    source = given.get("origin", origin(revision))
    cloud.signals.requested(RequestFacts(arrived, source, request, text=given.get("text", "")))


def record(cloud: CloudDouble, revision: str = NEW, kind: str = "prediction", **fields: Any) -> None:
    """Let a revision print a record."""
    features = fields.pop("features", [{"age": 40, "city": "Bern"}])
    answers = fields.pop("answers", ["yes"] * len(features))
    line = {
        "kind": kind,
        "request_id": "abc",
        "version": 2,
        "total_ms": 1.5,
        "features_json": json.dumps(features),
        "predictions_json": json.dumps([{"prediction": answer} for answer in answers]),
    }
    cloud.signals.line(origin(revision), "stdout", json.dumps({**line, **fields}))


def counted(found: Look | Unread) -> Look:
    """Return a look that could be taken."""
    assert isinstance(found, Look), found
    return found


REQUESTS: dict[str, tuple[dict[str, Any], Counts]] = {
    "answered": ({"status": 200}, Counts(1)),
    "page-of-the-service": ({"status": 200, "request": {"requestUrl": f"{URL}/"}}, Counts(1)),
    "at-an-address-of-the-owner": ({"request": {"requestUrl": "https://predict.example.com/predict"}}, Counts(1)),
    "failed": ({"status": 500}, Counts(1, errors=1)),
    "instance-died": ({"status": 503, "text": "The request failed because ..."}, Counts(1, errors=1)),
    "timed-out": ({"status": 504, "ago": 59}, Counts(1, errors=1)),
    "no-instance": ({"status": 429, "text": "The request was aborted because there was no ..."}, Counts(1, errors=1)),
    "caller-went-away": ({"status": 499}, Counts(1, errors=1)),
    "refused-for-too-many": ({"status": 429}, Counts(1, rejections=1)),
    "refused": ({"status": 422}, Counts(1, rejections=1)),
    "unknown-path": ({"status": 404}, Counts(1, rejections=1)),
    "may-not-call": ({"status": 403, "text": "The request was not authorized to invoke ..."}, Counts()),
    "token-not-believed": ({"status": 401, "text": "..."}, Counts()),
    "check": ({"status": 500, "request": {"userAgent": f"{CHECK_AGENT}/1.0"}}, Counts()),
    "probe": ({"status": 503, "request": {"requestUrl": f"{URL}/health/ready"}}, Counts()),
    "at-a-tag": ({"status": 500, "request": {"requestUrl": f"{TAGGED}/predict"}}, Counts()),
    "at-the-tag's-other-address": (
        {"request": {"requestUrl": "https://candidate---pilot-binary-123.europe-west6.run.app/predict"}},
        Counts(),
    ),
    "before-the-split": ({"ago": START.total_seconds() + 5}, Counts()),
    "of-another-service": ({"origin": origin(NEW, "pilot-other")}, Counts()),
    "of-another-region": ({"origin": origin(NEW, region="europe-west1")}, Counts()),
}


@pytest.mark.parametrize(("request_", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_what_counts_and_as_what(cloud: CloudDouble, watch: Watch, request_: dict[str, Any], expected: Counts) -> None:
    """A request of the traffic counts for its revision, by what its status means; everything else counts for nobody."""
    ask(cloud, **request_)
    look = counted(watch.look())
    assert (look.candidate.counts, look.stable.counts) == (expected, Counts())
    assert (look.source, look.fraction) == ("request log", 1.0)


def test_every_revision_has_its_own(cloud: CloudDouble, watch: Watch) -> None:
    """Counts go to the revision that answered; a third one's go to nobody."""
    for revision, times in ((OLD, 3), (NEW, 2), (f"{SERVICE}-00000-xyz", 4)):
        for _ in range(times):
            ask(cloud, revision)
    ask(cloud, OLD, 500)
    look = counted(watch.look())
    assert (look.stable.counts, look.candidate.counts) == (Counts(4, 1), Counts(2))


LINES = {
    "Container called exit(1).": 1,
    "Container called exit(0).": 0,
    "Container terminated on signal 9.": 1,
    "Container terminated on signal 15.": 0,
    "Memory limit of 512 MiB exceeded with 515 MiB used. Consider increasing the memory limit, see ...": 1,
    "LIVENESS HTTP probe failed 3 times consecutively for container ...": 1,
    "Starting new instance. Reason: AUTOSCALING": 0,
}


@pytest.mark.parametrize(("text", "exits"), LINES.items(), ids=range(len(LINES)))
def test_what_ends_an_instance_counts(cloud: CloudDouble, watch: Watch, text: str, exits: int) -> None:
    """Ends that nobody asked for count for their revision, with or without requests."""
    cloud.signals.system(origin(NEW), text, "ERROR")
    look = counted(watch.look())
    assert (look.candidate.counts, look.stable.counts) == (Counts(exits=exits), Counts())


def test_a_load_that_failed_counts_as_an_exit(cloud: CloudDouble, watch: Watch) -> None:
    """A version that cannot be loaded counts like an instance that ended; a load that went well does not."""
    record(cloud, NEW, "load_failure")
    record(cloud, NEW, "load")
    assert counted(watch.look()).candidate.counts == Counts(exits=1)


def test_exits_are_what_the_metric_counts() -> None:
    """The filter of the metric `exits` has the very expression that looks use, and so the alert means the same."""
    (block,) = hcl2.loads((ENDPOINT / "metrics.tf").read_text(encoding="utf-8"))["locals"]
    declared = {name.strip('"'): body for name, body in block["counters"].items()}["exits"]["filter"]
    (expression,) = re.findall(r'textPayload=~\\"(.*)\\"', declared)
    assert expression == EXITS


ANSWERS = {
    "label": (["no"], ("no",)),
    "number": ([1.25], (1.25,)),
    "several-targets": ([["yes", 3]], ("yes", 3)),
    "truth": ([True], (True,)),
}


@pytest.mark.parametrize(("answers", "values"), ANSWERS.values(), ids=ANSWERS)
def test_a_record_is_an_answer(cloud: CloudDouble, watch: Watch, answers: Any, values: Any) -> None:
    """An answered request's record gives latency, prediction and features, without those that are private."""
    record(cloud, answers=answers, total_ms=2.5)
    (answer,) = counted(watch.look()).candidate.answers
    assert answer == Answer(2.5, values, {"age": 40})


NO_ANSWERS = {
    "check": {"kind": "check"},
    "rejection": {"kind": "rejection"},
    "nothing-logged": {"features": []},
    "unreadable": {"features_json": "{"},
    "no-prediction-asked-for": {"predictions_json": '[{"probabilities": {"no": 1.0}}]'},
    "no-time": {"total_ms": None},
}


@pytest.mark.parametrize("fields", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer(cloud: CloudDouble, watch: Watch, fields: dict[str, Any]) -> None:
    """Checks, refusals, and lines that hold no prediction or nothing that can be read, are no answers."""
    record(cloud, **fields)
    assert counted(watch.look()).candidate.answers == ()


def test_one_instance_stands_for_a_request(cloud: CloudDouble, watch: Watch) -> None:
    """Of many instances each request gives one, taken by chance from all of them and not by its answer."""
    features = [{"age": age} for age in range(10)]
    for number in range(200):
        record(cloud, features=features, answers=[age >= 5 for age in range(10)], request_id=f"request {number}")
    answers = counted(watch.look()).candidate.answers
    assert len(answers) == 200
    assert all(answer.values == (answer.features["age"] >= 5,) for answer in answers)
    assert {answer.features["age"] for answer in answers} == set(range(10))
    assert 60 < sum(answer.values == (True,) for answer in answers) < 140


def test_nothing_is_counted_twice(cloud: CloudDouble, watch: Watch) -> None:
    """However often it looks, each entry counts once, though looks overlap."""
    total = 0
    for number in range(5):
        ask(cloud)
        record(cloud, request_id=str(number))
        look = counted(watch.look())
        assert (look.candidate.counts.requests, len(look.candidate.answers)) == (1, 1)
        total += look.candidate.counts.requests
    assert counted(watch.look()).candidate.counts == Counts()
    assert total == 5


def test_late_entries_are_counted(cloud: CloudDouble, watch: Watch) -> None:
    """A request that ended a minute after it arrived, between two looks, is in the second one."""
    ask(cloud, ago=1)
    counted(watch.look())
    write(cloud, at=datetime.now(UTC) - timedelta(seconds=55), status=504)
    assert counted(watch.look()).candidate.counts == Counts(1, errors=1)
    assert counted(watch.look()).candidate.counts == Counts()


def test_entries_found_after_later_ones_are_counted(cloud: CloudDouble, watch: Watch) -> None:
    """An entry that can be found only after one that was received later is not lost."""
    ask(cloud)
    hidden = [cloud.signals.entries._entries.pop()]
    ask(cloud)
    counted(watch.look())
    cloud.signals.entries._entries[:0] = hidden
    assert counted(watch.look()).candidate.counts == Counts(1)


def write(cloud: CloudDouble, at: datetime, **request: Any) -> None:
    """Write an entry of the request log by the API, with a time of its own."""
    body: Json = {
        "logName": f"projects/{PROJECT}/logs/run.googleapis.com%2Frequests",
        "resource": {
            "type": "cloud_run_revision",
            "labels": {"project_id": PROJECT, "service_name": SERVICE, "revision_name": NEW, "location": REGION},
        },
        "timestamp": at.isoformat(),
        "httpRequest": {"requestUrl": f"{URL}/predict", "status": 200, **request},
    }
    with api_client(cloud, "logging", "v2") as logging:
        logging.entries().write(body={"entries": [body]}).execute()


def test_another_process_goes_on(cloud: CloudDouble, reads: Reads, watch: Watch) -> None:
    """A watch made from the position as JSON counts what the first one had not, and nothing else."""
    ask(cloud)
    counted(watch.look())
    position = Position.model_validate_json(watch.position.model_dump_json())
    ask(cloud, status=500)
    again = Watch(reads, WATCHED, position)
    look = counted(again.look())
    assert (look.since, look.candidate.counts) == (position.until, Counts(1, errors=1))
    assert again.position.since == watch.position.since


def test_a_window_of_seconds_can_be_read(cloud: CloudDouble, reads: Reads) -> None:
    """As a shadow does at its pace: metrics count whole minutes, and are not asked about less."""
    record(cloud, OLD)
    found = before(reads, WATCHED, datetime.now(UTC).replace(second=50) + timedelta(minutes=1), hours=100 / 3600)
    assert isinstance(found, Before)
    empty = before(reads, WATCHED, datetime.now(UTC).replace(second=50), hours=20 / 3600)
    assert isinstance(empty, Before)


def test_what_is_asked_at_a_tag_is_no_answer_either(cloud: CloudDouble, watch: Watch) -> None:
    """Whoever may call the service can call its tags: neither request nor record counts; they share a trace."""
    for number, url in enumerate((f"{URL}/predict", f"{TAGGED}/predict")):
        trace = f"projects/{PROJECT}/traces/{number:032x}"
        request = {"requestMethod": "POST", "requestUrl": url, "status": 200, "latency": "0.010s"}
        cloud.signals.requested(RequestFacts(datetime.now(UTC), origin(NEW), request, trace))
        record(cloud, answers=["no" if number else "yes"], **{"logging.googleapis.com/trace": trace})
    look = counted(watch.look())
    assert look.candidate.counts == Counts(1)
    assert [answer.values for answer in look.candidate.answers] == [("yes",)]


def test_a_new_split_begins_anew(cloud: CloudDouble, reads: Reads, watch: Watch) -> None:
    """What arrived before the traffic was split anew is counted to no step after it, seen or not; the rate is kept."""
    ask(cloud)
    counted(watch.look())
    ask(cloud, status=500, ago=2)
    split = datetime.now(UTC) - timedelta(seconds=1)
    ask(cloud, ago=0)
    look = counted(Watch(reads, WATCHED, starting(split, watch.position)).look())
    assert (look.since, look.candidate.counts) == (split, Counts(1))
    position = starting(split, watch.position)
    assert (position.rate, position.log_is_kept) == (watch.position.rate, watch.position.log_is_kept)


FAULTS = {
    "too-many-reads": {"kind": "status", "status": 429},
    "unavailable": {"kind": "status", "status": 503},
    "reset": {"kind": "reset"},
    "reset-after-it-was-read": {"kind": "reset_after_commit"},
    "cut-off": {"kind": "truncate"},
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # urllib3 leaves the connections that broke to the collector
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_look_that_could_not_be_taken_says_so(
    cloud: CloudDouble, watch: Watch, clock: Clock, fault: dict[str, Any]
) -> None:
    """A read that fails gives no look but the reason, and how long to rest; the next one has all that happened."""
    ask(cloud)
    cloud.faults.add(method="logging.entries.list", **fault)
    first = watch.look()
    assert isinstance(first, Unread), first
    assert first.reason.startswith("Cloud Logging")
    assert first.again_in_seconds == 2.0
    asked = len(cloud.requests.as_json())
    assert isinstance(watch.look(), Unread)  # it rests
    assert not any(entry["method"] == "logging.entries.list" for entry in cloud.requests.as_json()[asked:])
    clock.seconds += 2.0
    assert counted(watch.look()).candidate.counts == Counts(1)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_half_a_look_is_none(cloud: CloudDouble, watch: Watch, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second page that cannot be read undoes the first one."""
    monkeypatch.setattr(reading, "PAGE", 2)
    for _ in range(5):
        ask(cloud)
    cloud.faults.add("status", method="logging.entries.list", status=503, skip=1)
    assert isinstance(watch.look(), Unread)
    clock.seconds += 2.0
    assert counted(watch.look()).candidate.counts == Counts(5)


def test_failures_in_a_row_make_it_rest_longer(clock: Clock) -> None:
    """Two seconds, then twice as long each time, a minute at most; a success ends it."""
    budget = Budget(30, clock)
    rests = []
    for _ in range(7):
        budget.failed()
        rests.append(budget.pause(1))
        clock.seconds += rests[-1]
    assert rests == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    budget.succeeded()
    budget.failed()
    assert budget.pause(1) == 2.0


def test_reads_stay_within_their_share(cloud: CloudDouble, watch: Watch, clock: Clock) -> None:
    """In a minute, looks take half of the quota and no more; then they tell when to look again."""
    looks = [watch.look() for _ in range(40)]
    assert [isinstance(look, Look) for look in looks] == [True] * 30 + [False] * 10
    asked = [entry for entry in cloud.requests.as_json() if entry["method"] == "logging.entries.list"]
    assert len(asked) == 30
    assert "to stay within a share of Cloud Logging's 60 reads a minute" in looks[-1].reason
    assert looks[-1].again_in_seconds == watch.pause() == 60.0
    clock.seconds += 60.0
    assert watch.pause() == 0.0
    assert isinstance(watch.look(), Look)


def test_a_quota_that_others_used_up_is_respected(cloud: CloudDouble, watch: Watch) -> None:
    """Where others read the project's logs, Cloud Logging's own 429 is no look with nothing in it."""
    with api_client(cloud, "logging", "v2") as logging:
        for _ in range(60):
            logging.entries().list(body={"resourceNames": [f"projects/{PROJECT}"], "pageSize": 1}).execute()
    look = watch.look()
    assert isinstance(look, Unread)
    assert "429" in look.reason


def test_what_will_never_be_allowed_is_told_at_once(cloud: CloudDouble, watch: Watch) -> None:
    """A refusal for want of a role ends the release, and names the role."""
    cloud.faults.add("status", method="logging.entries.list", status=403)
    with pytest.raises(CloudFailed, match=r"Cloud Logging refuses .* \(403\).*roles/viewer"):
        watch.look()


def test_the_fraction_and_the_time_are_the_same_for_both(cloud: CloudDouble, reads: Reads, since: datetime) -> None:
    """Where there is too much to read, a sample of chance stands for it: the same share of either revision."""
    for _ in range(300):
        ask(cloud, OLD, origin=origin(OLD))
        ask(cloud, NEW, 500)
        record(cloud, OLD)
        record(cloud, NEW)
    busy = Position(since=since, until=since, received=since, counted_until=since, rate=100.0, log_is_kept=True)
    look = counted(Watch(reads, WATCHED, busy).look())
    assert 0.2 < look.fraction < 0.5
    for seen in (look.candidate, look.stable):
        assert abs(seen.counts.requests - 300 * look.fraction) < 60
        assert abs(len(seen.answers) - 300 * look.fraction / 4) < 40
    assert look.candidate.counts.errors == look.candidate.counts.requests


def test_a_burst_makes_the_next_look_a_sample(
    cloud: CloudDouble, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More entries than a look may read make it none, and the next one reads a part of all."""
    monkeypatch.setattr(signals, "MOST_ENTRIES", 100)
    monkeypatch.setattr(signals, "MOST_REQUESTS", 50)
    for _ in range(400):
        ask(cloud, NEW)
    first = watch.look()
    assert isinstance(first, Unread)
    assert "sample" in first.reason
    look = next(look for _ in range(5) if isinstance(look := watch.look(), Look))
    assert look.since == watch.position.since
    assert 0 < look.candidate.counts.requests < 100
    assert abs(look.candidate.counts.requests / look.fraction - 400) < 250


def an_hour_before(cloud: CloudDouble, now: datetime, times: int, **given: Any) -> None:
    """Let callers ask in the hour that metrics know at a time."""
    for number in range(times):
        ask(cloud, OLD, arrived=now - timedelta(minutes=10, seconds=number), **given)


def forget_requests(cloud: CloudDouble, keep: Callable[[Json], bool] = lambda _: False) -> None:
    """Let the project have kept request logs out of its storage, but for some."""
    kept = cloud.signals.entries._entries
    kept[:] = [pair for pair in kept if "requests" not in pair[1]["logName"] or keep(pair[1])]


@pytest.mark.parametrize("keep", [lambda _: False, lambda entry: entry["severity"] == "ERROR"], ids=["all", "answered"])
def test_without_request_logs_metrics_count(
    cloud: CloudDouble, reads: Reads, since: datetime, keep: Callable[[Json], bool]
) -> None:
    """Where request logs, or those of answered requests, are not stored, whole minutes of metrics stand for them."""
    now = datetime.now(UTC).replace(second=30, microsecond=0)
    watch = Watch(reads, WATCHED, starting(now - timedelta(seconds=45)))
    an_hour_before(cloud, now, 40)
    an_hour_before(cloud, now, 2, status=500)
    for status in (200, 200, 500, 422, 429, 403):
        ask(cloud, NEW, status, arrived=now + timedelta(seconds=35))
    ask(cloud, OLD, arrived=now + timedelta(seconds=40))
    record(cloud)
    cloud.signals.system(origin(NEW), "Container called exit(1).", "ERROR")
    forget_requests(cloud, keep)
    early = counted(watch.look(now + timedelta(seconds=10)))
    assert (early.source, early.candidate.counts) == ("metrics", Counts(exits=1))
    assert len(early.candidate.answers) == 1
    late = counted(watch.look(now + timedelta(minutes=6)))
    assert (late.candidate.counts, late.stable.counts) == (Counts(5, 1, 2), Counts(1))
    assert counted(watch.look(now + timedelta(minutes=7))).candidate.counts == Counts()


def test_with_request_logs_metrics_are_not_counted(cloud: CloudDouble, reads: Reads) -> None:
    """Where the log holds what metrics counted in the hour before, it is what counts, and metrics are asked once."""
    now = datetime.now(UTC)
    an_hour_before(cloud, now, 40)
    watch = Watch(reads, WATCHED, starting(now - timedelta(seconds=20)))
    ask(cloud, NEW)
    look = counted(watch.look(now))
    assert (look.source, look.candidate.counts) == ("request log", Counts(1))
    counted(watch.look(now))
    asked = [entry["method"] for entry in cloud.requests.as_json()]
    assert asked.count("monitoring.projects.timeSeries.list") == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_metrics_that_cannot_be_read_make_no_look(
    cloud: CloudDouble, watch: Watch, clock: Clock, fault: dict[str, Any]
) -> None:
    """A failure of Cloud Monitoring is told like one of Cloud Logging."""
    ask(cloud)
    cloud.faults.add(method="monitoring.projects.timeSeries.list", times=None, **fault)
    look = watch.look()
    assert isinstance(look, Unread), look
    assert look.reason.startswith("Cloud Monitoring")
    cloud.faults.clear()
    clock.seconds += 2.0
    assert counted(watch.look()).candidate.counts == Counts(1)


def test_before_a_release(cloud: CloudDouble, reads: Reads) -> None:
    """The stable revision's answers of the hours before, and what callers of the service asked, whoever answered."""
    for number in range(5):
        record(cloud, OLD, request_id=f"old {number}", features=[{"age": number}, {"age": number + 10}])
    record(cloud, f"{SERVICE}-00000-xyz", version=1)
    record(cloud, OLD, "check")
    found = before(reads, WATCHED, datetime.now(UTC) + timedelta(seconds=1))
    assert isinstance(found, Before)
    assert len(found.answers) == 5
    assert len(found.instances) == 11
    assert sorted(one.version for one in found.instances) == [1] + [2] * 10
    first = [one.features["age"] % 10 for one in found.instances[:6] if one.version == 2]
    assert sorted(first) == [0, 1, 2, 3, 4], "one instance of each request comes before any second one"


def test_long_ago_is_not_before_a_release(cloud: CloudDouble, reads: Reads) -> None:
    """Only the stated hours are read, and a failure says so."""
    record(cloud, OLD)
    later = datetime.now(UTC) + timedelta(hours=30)
    assert before(reads, WATCHED, later) == Before((), ())
    cloud.faults.add("status", method="logging.entries.list", status=503)
    assert isinstance(before(reads, WATCHED, later), Unread)


def test_real_requests_to_real_revisions(
    cloud: CloudDouble, reads: Reads, store: FileStore, published: Callable[[str], Version], tmp_path: Path
) -> None:
    """Traffic, checks, probes and calls at a tag of real processes: the look has the traffic, and its answers."""
    endpoint = Endpoint(cloud, tmp_path, store.url, "binary")
    stable = endpoint.deploy(published("binary"))
    candidate = endpoint.deploy(published("binary"), RECORD_KB="32")
    endpoint.split({stable: 50, candidate: 50}, {"candidate": candidate})
    watched = Watched(PROJECT, REGION, SERVICE, candidate, stable, endpoint.tags)
    watch = Watch(reads, watched, starting(datetime.now(UTC) - timedelta(seconds=30)))
    with httpx2.Client(timeout=20) as client:
        for _ in range(20):
            assert client.post(f"{endpoint.url}/predict", json={"instances": [GOOD]}).status_code == 200
        assert client.post(f"{endpoint.url}/predict", json={"instances": [{}]}).status_code == 422
        check = {"user-agent": f"{CHECK_AGENT}/1.0"}
        for url in (endpoint.url, endpoint.tags["candidate"]):
            assert client.post(f"{url}/predict", json={"instances": [GOOD]}, headers=check).status_code == 200
        assert client.post(f"{endpoint.tags['candidate']}/predict", json={"instances": [{}]}).status_code == 422
        assert client.get(f"{endpoint.url}/health/ready").status_code == 200
    wait_for(lambda: len(cloud.signals.entries.find('jsonPayload.kind=("prediction" OR "check")')) == 22)
    look = counted(watch.look())
    requests = [look.candidate.counts, look.stable.counts]
    assert sum(one.requests for one in requests) == 21
    assert sum(one.rejections for one in requests) == 1
    assert sum(one.errors + one.exits for one in requests) == 0
    assert len(look.candidate.answers) + len(look.stable.answers) == 20
    assert min(len(look.candidate.answers), len(look.stable.answers)) >= 3
    assert {name: look.candidate.answers[0].features[name] for name in GOOD} == GOOD


def test_a_pause_without_failures_is_none(clock: Clock) -> None:
    """A budget that nobody used allows reads, and one that is used up raises."""
    budget = Budget(1, clock)
    assert budget.pause(5) == 0.0
    budget.take()
    with pytest.raises(NotRead):
        budget.take()
