"""The double's Pub/Sub and Cloud Scheduler: messages reach whoever subscribed, and jobs send them."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from tests.cloud import CloudDouble, outgoing
from tests.cloud.api import api_client
from tests.cloud.cloudscheduler import cron, jobs
from tests.cloud.errors import CloudError
from tests.cloud.pubsub.broker import Broker, text_message
from tests.cloud.schemas import Json

TOPIC = "projects/p/topics/retrain"
SUBSCRIPTION = "projects/p/subscriptions/pulled"
PUSHED = "projects/p/subscriptions/pushed"


class Cupboard:
    """A catalog of one topic and whatever subscriptions a test puts there."""

    def __init__(self) -> None:
        self.topics = {TOPIC: {"name": TOPIC}}
        self.kept: dict[str, Json] = {}

    def topic(self, name: str) -> Json | None:
        """Return a topic."""
        return self.topics.get(name)

    def subscription(self, name: str) -> Json | None:
        """Return a subscription."""
        return self.kept.get(name)

    def subscriptions(self) -> list[Json]:
        """Return every subscription."""
        return list(self.kept.values())

    def add(self, name: str, topic: str = TOPIC, **fields: Any) -> None:
        """Put a subscription."""
        self.kept[name] = {"name": name, "topic": topic, "ackDeadlineSeconds": 10, **fields}


class World:
    """A broker whose time stands still until a test moves it, and whose pushes are answered by the test."""

    def __init__(self) -> None:
        self.now = 1_767_225_600.0  # 2026-01-01T00:00:00Z
        self.catalog = Cupboard()
        self.calls: list[tuple[str, Mapping[str, str], Json]] = []
        self.answers: list[int] = []
        self.broker = Broker(self.catalog, self._send, lambda: self.now)

    def _send(self, verb: str, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> int:
        assert verb == "POST"
        self.calls.append((url, headers, json.loads(body)))
        return self.answers.pop(0) if self.answers else 204

    def publish(self, text: str = "x", **attributes: str) -> str:
        """Publish a message and return its id."""
        (name,) = self.broker.publish(TOPIC, [text_message(text, **attributes)])
        return name

    def pulled(self, most: int = 10) -> list[str]:
        """Return the texts that can be pulled."""
        found = self.broker.pull(SUBSCRIPTION, most)
        return [base64.b64decode(one["message"]["data"]).decode() for one in found]


@pytest.fixture
def world() -> World:
    """Return a world without subscriptions."""
    return World()


# Publishing and pulling


def test_a_message_is_pulled_as_it_was_published(world: World) -> None:
    """A message arrives with its data and attributes, and with the id and time that Pub/Sub gave it."""
    world.catalog.add(SUBSCRIPTION)
    name = world.publish("hello", model="churn")
    (received,) = world.broker.pull(SUBSCRIPTION, 10)
    assert received["message"] == {
        "data": base64.b64encode(b"hello").decode(),
        "attributes": {"model": "churn"},
        "messageId": name,
        "publishTime": "2026-01-01T00:00:00Z",
    }
    assert received["ackId"]


def test_every_subscription_has_its_own_copy(world: World) -> None:
    """What one subscriber acknowledged another still gets; who subscribed later gets nothing."""
    world.catalog.add(SUBSCRIPTION)
    world.catalog.add(PUSHED)
    world.publish("a")
    (received,) = world.broker.pull(PUSHED, 1)
    world.broker.acknowledge(PUSHED, [received["ackId"]])
    world.catalog.add("projects/p/subscriptions/late")
    assert world.pulled() == ["a"]
    assert world.broker.pull("projects/p/subscriptions/late", 1) == []


def test_a_message_is_held_until_its_deadline(world: World) -> None:
    """What was pulled is nobody else's until the deadline, and then is delivered again unless it was acknowledged."""
    world.catalog.add(SUBSCRIPTION, ackDeadlineSeconds=20)
    world.publish("a")
    world.publish("b")
    first, _ = world.broker.pull(SUBSCRIPTION, 2)
    world.now += 19
    assert world.pulled() == []
    world.broker.acknowledge(SUBSCRIPTION, [first["ackId"]])
    world.now += 1
    assert world.pulled() == ["b"]


def test_a_late_acknowledgement_does_nothing(world: World) -> None:
    """After its deadline an id acknowledges nothing, and neither does the id of an earlier delivery."""
    world.catalog.add(SUBSCRIPTION)
    world.publish("a")
    (received,) = world.broker.pull(SUBSCRIPTION, 1)
    world.now += 10
    world.broker.acknowledge(SUBSCRIPTION, [received["ackId"]])
    assert world.pulled() == ["a"]
    world.broker.acknowledge(SUBSCRIPTION, [received["ackId"]])
    world.now += 10
    assert world.pulled() == ["a"]


def test_a_deadline_can_be_moved(world: World) -> None:
    """More seconds hold a message for longer, 0 gives it back at once."""
    world.catalog.add(SUBSCRIPTION)
    world.publish("a")
    (received,) = world.broker.pull(SUBSCRIPTION, 1)
    world.broker.modify_ack_deadline(SUBSCRIPTION, [received["ackId"]], 60)
    world.now += 59
    assert world.pulled() == []
    world.broker.modify_ack_deadline(SUBSCRIPTION, [received["ackId"]], 0)
    assert world.pulled() == ["a"]


def test_messages_are_kept_for_a_while(world: World) -> None:
    """What nobody acknowledged is dropped after the subscription's retention."""
    world.catalog.add(SUBSCRIPTION, messageRetentionDuration="600s")
    world.publish("a")
    world.now += 599
    assert world.pulled() == ["a"]
    world.now += 11
    assert world.pulled() == []


def test_listeners_hear_every_message(world: World) -> None:
    """The double's own parts are told each message of a topic, whether or not there is a subscription."""
    heard: list[Json] = []
    world.broker.listen(lambda topic, message: heard.append(message))
    name = world.publish("x", model="churn")
    assert [(one["messageId"], one["attributes"]) for one in heard] == [(name, {"model": "churn"})]


BAD_MESSAGES: dict[str, tuple[list[Json], str]] = {
    "none": ([], "message_count is too small"),
    "too many": ([{"data": "eA=="}] * 1001, "message_count is too large"),
    "empty": ([{}], "One or more messages in the publish request is empty"),
    "empty data": ([{"data": "", "attributes": {}}], "One or more messages in the publish request is empty"),
    "empty key": ([{"attributes": {"": "x"}}], "attribute key is empty"),
    "reserved key": ([{"attributes": {"googclient": "x"}}], "reserved"),
    "long key": ([{"attributes": {"a" * 257: "x"}}], "too long"),
    "long value": ([{"attributes": {"a": "x" * 1025}}], "more than 1024 bytes"),
    "many attributes": ([{"attributes": {f"a{index}": "x" for index in range(101)}}], "the maximum is 100"),
    "too large": ([{"data": "A" * 5_000_000}] * 2 + [{"data": "AAAA"}], "payload size exceeds the limit"),
}


@pytest.mark.parametrize(("messages", "said"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_bad_message_is_refused(messages: list[Json], said: str, world: World) -> None:
    """What Pub/Sub does not take is a 400, and none of the request's messages is kept."""
    world.catalog.add(SUBSCRIPTION)
    with pytest.raises(CloudError, match=said) as caught:
        world.broker.publish(TOPIC, messages)
    assert caught.value.status == 400
    assert world.pulled() == []


UNKNOWN: dict[str, Callable[[Broker], object]] = {
    "publish": lambda broker: broker.publish("projects/p/topics/other", [text_message("x")]),
    "pull": lambda broker: broker.pull("projects/p/subscriptions/other", 1),
    "acknowledge": lambda broker: broker.acknowledge("projects/p/subscriptions/other", ["x"]),
    "modify": lambda broker: broker.modify_ack_deadline("projects/p/subscriptions/other", ["x"], 5),
}


@pytest.mark.parametrize("act", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_there_is_a_404(act: Callable[[Broker], object], world: World) -> None:
    """Topics and subscriptions have to exist."""
    with pytest.raises(CloudError, match=r"Resource not found \(resource=other\)") as caught:
        act(world.broker)
    assert caught.value.status == 404


def test_what_is_not_played_is_a_501(world: World) -> None:
    """Filters and unwrapped pushes are refused when a message comes, not passed over."""
    for fields in ({"filter": "attributes:x"}, {"pushConfig": {"pushEndpoint": "http://x", "noWrapper": {}}}):
        world.catalog.add(SUBSCRIPTION, **fields)
        with pytest.raises(CloudError) as caught:
            world.publish()
        assert caught.value.status == 501


def test_many_threads_may_publish_and_pull() -> None:
    """Each message is delivered once to those who pull at the same time, and ids are never given twice."""
    catalog = Cupboard()
    catalog.add(SUBSCRIPTION)
    broker = Broker(catalog)
    with ThreadPoolExecutor(8) as pool:
        names = [
            name
            for found in pool.map(lambda _: broker.publish(TOPIC, [text_message("x")]), range(50))
            for name in found
        ]
        pulls = pool.map(lambda _: broker.pull(SUBSCRIPTION, 5), range(20))
        pulled = [one["message"]["messageId"] for found in pulls for one in found]
    assert sorted(pulled) == sorted(names)
    assert len(set(names)) == 50


# Pushing


def claims_of(headers: Mapping[str, str]) -> Json:
    """Return what the bearer token of a request says."""
    payload = headers["Authorization"].removeprefix("Bearer ").split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_a_push_has_the_documented_body(world: World) -> None:
    """The endpoint gets the message in its wrapper, and is done with it when it answers 2xx."""
    world.catalog.add(PUSHED, pushConfig={"pushEndpoint": "http://127.0.0.1:1/push"})
    name = world.publish("hello", model="churn")
    assert world.broker.push_due() is None
    ((url, headers, body),) = world.calls
    assert url == "http://127.0.0.1:1/push"
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers
    assert body == {
        "message": {
            "data": base64.b64encode(b"hello").decode(),
            "attributes": {"model": "churn"},
            "messageId": name,
            "message_id": name,
            "publishTime": "2026-01-01T00:00:00Z",
            "publish_time": "2026-01-01T00:00:00Z",
        },
        "subscription": PUSHED,
    }


@pytest.mark.parametrize("audience", [None, "https://service"], ids=["of the endpoint", "named"])
def test_a_push_can_carry_an_identity(audience: str | None, world: World) -> None:
    """With an oidcToken the push is the service account's, for the audience that is named, else the endpoint."""
    token = {"serviceAccountEmail": "push@p.iam.gserviceaccount.com", **({"audience": audience} if audience else {})}
    world.catalog.add(PUSHED, pushConfig={"pushEndpoint": "http://127.0.0.1:1/push", "oidcToken": token})
    world.publish()
    world.broker.push_due()
    claims = claims_of(world.calls[0][1])
    assert (claims["email"], claims["aud"]) == (token["serviceAccountEmail"], audience or "http://127.0.0.1:1/push")


def test_a_failed_push_is_made_again_after_a_pause(world: World) -> None:
    """Any other answer than success is a reason to try again, each time after twice the pause, up to the longest."""
    policy = {"minimumBackoff": "10s", "maximumBackoff": "30s"}
    world.catalog.add(PUSHED, pushConfig={"pushEndpoint": "http://127.0.0.1:1"}, retryPolicy=policy)
    world.answers = [500, 404, 0, 302, 200]
    start = world.now
    world.publish()
    made = []
    while (due := world.broker.push_due()) is not None:
        made.append(due - start)
        world.now = due - 0.5
        assert world.broker.push_due() == due
        world.now = due
    assert made == [10, 30, 60, 90]
    assert len(world.calls) == 5


def test_without_a_policy_pushes_come_again_soon(world: World) -> None:
    """The first pause is a tenth of a second, and none is longer than a minute."""
    world.catalog.add(PUSHED, pushConfig={"pushEndpoint": "http://127.0.0.1:1"})
    world.answers = [500] * 14
    world.publish()
    pauses = []
    while (due := world.broker.push_due()) is not None:
        pauses.append(due - world.now)
        world.now = due
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert pauses[-1] == pytest.approx(60)


def test_dead_letters_have_a_topic(world: World) -> None:
    """After so many attempts a message goes to the topic of dead letters, with where it came from, and is gone."""
    dead = "projects/p/topics/dead"
    world.catalog.topics[dead] = {"name": dead}
    policy = {"deadLetterTopic": dead, "maxDeliveryAttempts": 5}
    world.catalog.add(PUSHED, pushConfig={"pushEndpoint": "http://127.0.0.1:1"}, deadLetterPolicy=policy)
    world.catalog.add(SUBSCRIPTION, dead)
    world.answers = [500] * 5
    world.publish("a", model="churn")
    while (due := world.broker.push_due()) is not None:
        world.now = due
    assert [body["deliveryAttempt"] for _, _, body in world.calls] == [1, 2, 3, 4, 5]
    (received,) = world.broker.pull(SUBSCRIPTION, 5)
    assert received["message"]["attributes"] == {
        "model": "churn",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "pushed",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "p",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-01T00:00:00Z",
    }


class Endpoint:
    """A real HTTP server that answers posts with the statuses it is given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.enough = threading.Event()
        self._statuses = list(statuses)
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/push?x=1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.headers.append(dict(self.headers.items()))
                status = endpoint._statuses.pop(0) if endpoint._statuses else 200
                self.send_response(status)
                self.end_headers()
                if status == 200:
                    endpoint.enough.set()

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        return Handler

    def __enter__(self) -> "Endpoint":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *of_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Return a server that fails twice and then succeeds."""
    with Endpoint(503, 500) as running:
        yield running


def test_a_thread_pushes_until_it_is_done(endpoint: Endpoint) -> None:
    """Between start and stop messages are pushed as they come, over real HTTP, until the endpoint takes them."""
    catalog = Cupboard()
    catalog.add(PUSHED, pushConfig={"pushEndpoint": endpoint.url})
    broker = Broker(catalog)
    broker.start()
    try:
        broker.publish(TOPIC, [text_message("x")])
        assert endpoint.enough.wait(20)
    finally:
        broker.stop()
    assert len(endpoint.bodies) == 3
    assert len({json.loads(body)["message"]["messageId"] for body in endpoint.bodies}) == 1
    assert broker.push_due() is None


def test_nobody_at_an_address_is_no_answer(endpoint: Endpoint) -> None:
    """A refused connection is status 0; an address beyond loopback is a 501 and is not tried."""
    assert outgoing.send("POST", "http://127.0.0.1:9/", {}, b"", 5) == 0
    assert outgoing.send("POST", endpoint.url, {}, b"x", 5) == 503
    with pytest.raises(CloudError) as caught:
        outgoing.send("POST", "https://example.com/", {}, b"", 5)
    assert caught.value.status == 501


# Schedules

AFTER = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)  # a Thursday
SCHEDULES: dict[str, str] = {
    "* * * * *": "2026-01-01T12:31",
    "0 * * * *": "2026-01-01T13:00",
    "*/20 * * * *": "2026-01-01T12:40",
    "5/20 * * * *": "2026-01-01T12:45",
    "15-25/5,45 12 * * *": "2026-01-01T12:45",
    "0 3 * * *": "2026-01-02T03:00",
    "30 12 * * *": "2026-01-02T12:30",
    "0 3 1 * *": "2026-02-01T03:00",
    "0 0 31 * *": "2026-01-31T00:00",
    "0 0 29 2 *": "2028-02-29T00:00",
    "0 9 * * MON-FRI": "2026-01-02T09:00",
    "0 9 * * 7": "2026-01-04T09:00",
    "0 9 * * sun": "2026-01-04T09:00",
    "0 9 13 * FRI": "2026-01-02T09:00",
    "0 9 13 * *": "2026-01-13T09:00",
    "0 9 */2 * FRI": "2026-01-09T09:00",
    "0 0 1 JAN,JUL *": "2026-07-01T00:00",
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_has_a_next_time(schedule: str) -> None:
    """The five fields mean what crontab's do: either field of days allows a day where both are limited."""
    found = cron.next_run(schedule, "Etc/UTC", AFTER)
    assert found is not None
    assert found.strftime("%Y-%m-%dT%H:%M") == SCHEDULES[schedule]


def test_a_schedule_is_of_a_time_zone() -> None:
    """Hours are those of the zone's clocks: skipped ones are left out, repeated ones come once."""
    winter = cron.next_run("0 3 * * *", "Europe/Zurich", AFTER)
    assert winter == datetime(2026, 1, 2, 2, tzinfo=UTC)
    skipped = cron.next_run("30 2 * * *", "Europe/Zurich", datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert skipped == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)
    repeated = cron.next_run("30 2 * * *", "Europe/Zurich", datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert repeated == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert cron.next_run("30 2 * * *", "Europe/Zurich", repeated) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_some_schedules_never_come() -> None:
    """The thirtieth of February has no next time."""
    assert cron.next_run("0 0 30 2 *", "Etc/UTC", AFTER) is None


BAD_SCHEDULES = [
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 8",
    "*/0 * * * *",
    "5-1 * * * *",
]
BAD_SCHEDULES += ["a * * * *", "* * * XYZ *", "1,,2 * * * *", "-1 * * * *"]


@pytest.mark.parametrize("schedule", BAD_SCHEDULES)
def test_a_bad_schedule_is_refused(schedule: str) -> None:
    """What is no schedule is a 400, English a 501."""
    with pytest.raises(CloudError, match="Schedule or time zone is invalid") as caught:
        cron.parse(schedule)
    assert caught.value.status == 400


def test_what_else_a_schedule_may_be() -> None:
    """App Engine's English is a 501, and a zone that does not exist a 400."""
    with pytest.raises(CloudError) as caught:
        cron.parse("every 5 minutes")
    assert caught.value.status == 501
    with pytest.raises(CloudError) as caught:
        cron.next_run("* * * * *", "Mars/Olympus", AFTER)
    assert caught.value.status == 400


# Jobs

JOB: Json = {
    "name": "projects/p/locations/europe-west6/jobs/pilot-churn-retrain",
    "schedule": "0 3 1 * *",
    "timeZone": "Etc/UTC",
    "state": "ENABLED",
    "pubsubTarget": {"topicName": TOPIC, "attributes": {"model": "churn"}},
    "retryConfig": {"retryCount": 3},
}


def http_job(url: str, **target: Any) -> Json:
    """Return a job that calls an address."""
    return {**{name: JOB[name] for name in ("name", "schedule", "state")}, "httpTarget": {"uri": url, **target}}


def no_publish(topic: str, messages: list[Json]) -> None:
    """Publish nothing, and see to it that nobody asks."""
    raise AssertionError(topic)


def test_a_job_publishes(world: World) -> None:
    """A run sends the job's message, and writes down when it ran, how that went and when it runs next."""
    heard: list[Json] = []
    world.broker.listen(lambda topic, message: heard.append(message))
    job = jobs.run(JOB, world.broker.publish, AFTER)
    assert [one["attributes"] for one in heard] == [{"model": "churn"}]
    assert (job["lastAttemptTime"], job["scheduleTime"]) == ("2026-01-01T12:30:00Z", "2026-02-01T03:00:00Z")
    assert job["status"] == {}
    assert job["state"] == "ENABLED"


def test_a_job_without_its_topic_fails(world: World) -> None:
    """A run that fails says why in its status: google.rpc's code, and words."""
    del world.catalog.topics[TOPIC]
    job = jobs.run(JOB, world.broker.publish, AFTER)
    assert job["status"] == {"code": 5, "message": "Resource not found (resource=retrain)."}


def test_a_job_calls(endpoint: Endpoint) -> None:
    """A run calls the job's address with its body and headers, as Cloud Scheduler and, where asked, as an account."""
    email = "run@p.iam.gserviceaccount.com"
    body = base64.b64encode(b"{}").decode()
    job = http_job(endpoint.url, body=body, headers={"X-Mine": "1"}, oidcToken={"serviceAccountEmail": email})
    failed = jobs.run(job, no_publish, AFTER)
    assert failed["status"] == {"code": 14, "message": "The target answered 503."}
    assert jobs.run(job, no_publish, AFTER)["status"]["code"] == 13
    assert jobs.run(job, no_publish, AFTER)["status"] == {}
    headers = endpoint.headers[0]
    assert endpoint.bodies == [b"{}"] * 3
    assert headers["X-Mine"] == "1"
    assert headers["User-Agent"] == "Google-Cloud-Scheduler"
    assert headers["X-CloudScheduler-JobName"] == "pilot-churn-retrain"
    assert headers["Content-Type"] == "application/octet-stream"
    claims = claims_of(headers)
    assert (claims["email"], claims["aud"]) == (email, endpoint.url)


def test_a_job_without_an_answer_fails() -> None:
    """Nobody at the address is UNAVAILABLE, and an App Engine target a 501."""
    assert jobs.run(http_job("http://127.0.0.1:9/"), no_publish, AFTER)["status"]["code"] == 14
    with pytest.raises(CloudError) as caught:
        jobs.run({**JOB, "pubsubTarget": None, "appEngineHttpTarget": {"relativeUri": "/"}}, no_publish, AFTER)
    assert caught.value.status == 501


def test_a_paused_job_has_no_next_time() -> None:
    """A paused job runs when it is asked to, and by itself never."""
    assert jobs.next_time({**JOB, "state": "PAUSED"}, AFTER) is None


def test_retries_wait_longer_and_longer() -> None:
    """The pause doubles so many times, then grows evenly, up to the longest one: the example of the API reference."""
    rules = {"minBackoffDuration": "10s", "maxBackoffDuration": "300s", "maxDoublings": 3, "retryCount": 9}
    job = {**JOB, "retryConfig": rules}
    assert [jobs.retry_pause(job, failures) for failures in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]
    assert jobs.retry_pause(job, 10) is None
    assert jobs.retry_pause({**JOB, "retryConfig": {}}, 1) is None


class Runs:
    """Jobs that a ticker runs, each with the status that a test asks for."""

    def __init__(self, job: Json) -> None:
        self.job = job
        self.status: Json = {}
        self.times: list[datetime] = []
        self.ticker = jobs.Ticker(lambda: [self.job], self._run, AFTER)

    def _run(self, name: str, now: datetime) -> Json:
        assert name == self.job["name"]
        self.times.append(now)
        return {**self.job, "status": self.status}


def test_a_ticker_runs_what_is_due() -> None:
    """A job runs when the time that the ticker is told has passed its own, once however many times were missed."""
    runs = Runs({**JOB, "schedule": "0 * * * *"})
    assert runs.ticker.tick(AFTER + timedelta(minutes=29)) == []
    assert runs.ticker.tick(AFTER + timedelta(minutes=30)) == [JOB["name"]]
    assert runs.ticker.tick(AFTER + timedelta(minutes=31)) == []
    assert runs.ticker.tick(AFTER + timedelta(hours=5)) == [JOB["name"]]
    runs.job = {**runs.job, "state": "PAUSED"}
    assert runs.ticker.tick(AFTER + timedelta(hours=9)) == []


def test_a_ticker_retries() -> None:
    """A run that failed is made again after the pauses of its job, until it succeeds or has failed too often."""
    runs = Runs({**JOB, "retryConfig": {"retryCount": 2, "minBackoffDuration": "60s"}})
    start = datetime(2026, 2, 1, 3, tzinfo=UTC)
    runs.status = {"code": 13}
    for minute in range(10):
        runs.ticker.tick(start + timedelta(minutes=minute))
    assert [moment - start for moment in runs.times] == [timedelta(minutes=minute) for minute in (0, 1, 3)]


# Over HTTP

OURS = "projects/local-project"
REGION = f"{OURS}/locations/europe-west6"
NEWS = f"{OURS}/topics/news"
ANN = "ann-account@local-project.iam.gserviceaccount.com"
WEEKLY = {
    "name": f"{REGION}/jobs/weekly",
    "schedule": "0 3 * * 1",
    "pubsubTarget": {"topicName": NEWS, "data": "aGVsbG8=", "attributes": {"model": "churn"}},
}


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double with a topic."""
    with CloudDouble() as double, api_client(double, "pubsub", "v1") as pubsub:
        pubsub.projects().topics().create(name=NEWS, body={}).execute()
        yield double


@pytest.fixture
def pubsub(cloud: CloudDouble) -> Iterator[Any]:
    """Return Google's own client of Pub/Sub, of the project's owner."""
    with api_client(cloud, "pubsub", "v1") as client:
        yield client


@pytest.fixture
def scheduled(cloud: CloudDouble) -> Iterator[Any]:
    """Return the jobs of Google's own client of Cloud Scheduler."""
    with api_client(cloud, "cloudscheduler", "v1") as client:
        yield client.projects().locations().jobs()


def subscribe(pubsub: Any, name: str, **fields: Any) -> str:
    """Make a subscription and return its full name."""
    full = f"{OURS}/subscriptions/{name}"
    pubsub.projects().subscriptions().create(name=full, body={"topic": NEWS, **fields}).execute()
    return full


def say(pubsub: Any, *texts: str) -> list[str]:
    """Publish texts and return the ids of their messages."""
    body = {"messages": [text_message(text) for text in texts]}
    ids: list[str] = pubsub.projects().topics().publish(topic=NEWS, body=body).execute()["messageIds"]
    return ids


def take(pubsub: Any, subscription: str, most: int = 10) -> list[Json]:
    """Pull what there is."""
    answer = pubsub.projects().subscriptions().pull(subscription=subscription, body={"maxMessages": most}).execute()
    return list(answer.get("receivedMessages", []))


def refused(request: Any, status: int, said: str = "") -> None:
    """Check that a request is refused."""
    with pytest.raises(HttpError) as caught:
        request()
    assert caught.value.status_code == status, caught.value.reason
    assert said in caught.value.reason


def test_messages_are_published_pulled_and_acknowledged(pubsub: Any) -> None:
    """What is published is pulled, given back with a deadline of nothing, and gone once it is acknowledged."""
    name = subscribe(pubsub, "pulled")
    ids = say(pubsub, "a", "b")
    first = take(pubsub, name)
    assert [one["message"]["messageId"] for one in first] == ids
    assert take(pubsub, name) == []
    held = [one["ackId"] for one in first]
    subscriptions = pubsub.projects().subscriptions()
    body = {"ackIds": held[:1], "ackDeadlineSeconds": 0}
    subscriptions.modifyAckDeadline(subscription=name, body=body).execute()
    again = take(pubsub, name)
    assert [one["message"]["data"] for one in again] == [text_message("a")["data"]]
    body = {"ackIds": [held[1], again[0]["ackId"]]}
    subscriptions.acknowledge(subscription=name, body=body).execute()
    refused(subscriptions.acknowledge(subscription=name, body={}).execute, 400, "acknowledgement ids")
    refused(subscriptions.pull(subscription=name, body={}).execute, 400, "max_messages")
    refused(subscriptions.pull(subscription=f"{OURS}/subscriptions/no-one", body={"maxMessages": 1}).execute, 404)
    publish = pubsub.projects().topics().publish
    refused(publish(topic=f"{OURS}/topics/none", body={"messages": [text_message("a")]}).execute, 404)
    refused(publish(topic=NEWS, body={}).execute, 400, "message_count")


def test_a_subscription_made_again_is_empty(pubsub: Any) -> None:
    """A deleted subscription takes its messages with it."""
    name = subscribe(pubsub, "pulled")
    say(pubsub, "a")
    pubsub.projects().subscriptions().delete(subscription=name).execute()
    subscribe(pubsub, "pulled")
    assert take(pubsub, name) == []


def test_subscriptions_push(pubsub: Any) -> None:
    """A subscription with an address has its messages pushed there, also one that gets the address later."""
    with Endpoint() as endpoint, Endpoint() as later:
        subscribe(pubsub, "pushed", pushConfig={"pushEndpoint": endpoint.url})
        name = subscribe(pubsub, "late")
        (said,) = say(pubsub, "hello")
        assert endpoint.enough.wait(20)
        (body,) = map(json.loads, endpoint.bodies)
        assert (body["message"]["messageId"], body["subscription"]) == (said, f"{OURS}/subscriptions/pushed")
        body = {"subscription": {"pushConfig": {"pushEndpoint": later.url}}, "updateMask": "pushConfig"}
        pubsub.projects().subscriptions().patch(name=name, body=body).execute()
        assert later.enough.wait(20)


def test_nothing_waits_to_push_unless_asked(cloud: CloudDouble, pubsub: Any) -> None:
    """There is a thread that pushes only once a subscription wants it, and none when the double has ended."""
    subscribe(pubsub, "pulled")
    say(pubsub, "a")
    assert not cloud.broker.is_pushing
    subscribe(pubsub, "pushed", pushConfig={"pushEndpoint": "http://127.0.0.1:9/"})
    assert cloud.broker.is_pushing
    cloud.close()
    assert not cloud.broker.is_pushing


def test_messages_need_their_callers_rights(cloud: CloudDouble, pubsub: Any) -> None:
    """To publish and to pull take a role each."""
    name = subscribe(pubsub, "pulled")
    with api_client(cloud, "pubsub", "v1", ANN) as ann:
        refused(lambda: say(ann, "a"), 403, "pubsub.topics.publish")
        refused(lambda: take(ann, name), 403, "pubsub.subscriptions.consume")
        for resource, role in ((NEWS, "roles/pubsub.publisher"), (name, "roles/pubsub.subscriber")):
            policy = {"bindings": [{"role": role, "members": [f"serviceAccount:{ANN}"]}]}
            cloud.state.policies[f"//pubsub.googleapis.com/{resource}"] = policy
        say(ann, "a")
        held = take(ann, name)[0]["ackId"]
        body = {"ackIds": [held], "ackDeadlineSeconds": 0}
        ann.projects().subscriptions().modifyAckDeadline(subscription=name, body=body).execute()


def test_a_job_says_when_it_runs_next(scheduled: Any) -> None:
    """A job has its next time as long as it is not paused, and each schedule its own."""
    made = scheduled.create(parent=REGION, body=WEEKLY).execute()
    following = datetime.fromisoformat(made["scheduleTime"])
    assert (following.isoweekday(), following.hour, following > datetime.now(UTC)) == (1, 3, True)
    assert "lastAttemptTime" not in made
    name = made["name"]
    assert "scheduleTime" not in scheduled.pause(name=name, body={}).execute()
    assert scheduled.resume(name=name, body={}).execute()["scheduleTime"] == made["scheduleTime"]
    changed = scheduled.patch(name=name, updateMask="schedule", body={"schedule": "0 5 * * 1"}).execute()
    assert datetime.fromisoformat(changed["scheduleTime"]).hour == 5
    wrong = {**WEEKLY, "name": f"{REGION}/jobs/wrong", "schedule": "0 25 * * *"}
    refused(scheduled.create(parent=REGION, body=wrong).execute, 400, "Schedule")


def test_a_job_runs_when_it_is_asked_to(cloud: CloudDouble, pubsub: Any, scheduled: Any) -> None:
    """A run publishes the job's message, and the job says when that was and how it went."""
    name = subscribe(pubsub, "pulled")
    job = scheduled.create(parent=REGION, body=WEEKLY).execute()["name"]
    ran = scheduled.run(name=job, body={}).execute()
    assert ran["status"] == {}
    assert datetime.fromisoformat(ran["lastAttemptTime"]) <= datetime.now(UTC)
    assert scheduled.get(name=job).execute() == ran
    (taken,) = take(pubsub, name)
    assert (taken["message"]["data"], taken["message"]["attributes"]) == ("aGVsbG8=", {"model": "churn"})
    pubsub.projects().topics().delete(topic=NEWS).execute()
    failed = scheduled.run(name=job, body={}).execute()
    assert failed["status"]["code"] == 5
    refused(scheduled.run(name=f"{REGION}/jobs/none", body={}).execute, 404)
    with api_client(cloud, "cloudscheduler", "v1", ANN) as ann:
        ask = ann.projects().locations().jobs().run(name=job, body={})
        refused(ask.execute, 403, "cloudscheduler.jobs.run")
        policy = {"bindings": [{"role": "roles/cloudscheduler.jobRunner", "members": [f"serviceAccount:{ANN}"]}]}
        cloud.state.policies[f"//cloudresourcemanager.googleapis.com/{OURS}"] = policy
        assert ask.execute()["status"]["code"] == 5


def test_a_push_to_the_world_is_a_501(pubsub: Any) -> None:
    """A subscription may name any address, but whoever publishes hears that only this machine is reached."""
    subscribe(pubsub, "pushed", pushConfig={"pushEndpoint": "https://example.com/push"})
    refused(lambda: say(pubsub, "a"), 501, "only http on loopback is reached")
