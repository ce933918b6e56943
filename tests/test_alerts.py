"""Alerts against what the function really prints: each fires when it should, and no other one does.

Lines come from real processes, metrics from infra/'s filters and extractors, verdicts from the real Prometheus engine.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from function.contract import CHECK_AGENT
from tests.cloud.logging.entries import Origin, RequestFacts, read_line, request_entry, resource_of, system_entry
from tests.cloud.logging.extract import check_metric
from tests.cloud.monitoring.evaluation import evaluate
from tests.cloud.monitoring.promql import engine
from tests.cloud.monitoring.series import (
    Resource,
    SeriesStore,
    record_billable_time,
    record_concurrency,
    record_entry,
    record_instances,
    record_request,
    record_start,
    record_usage,
)
from tests.cloud.run.instances import out_of_memory
from tests.infra.rendered import EXAMPLE, render
from tests.server import Server

pytestmark = [
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on PATH"),
    pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Prometheus: apt-get install prometheus"),
    pytest.mark.xdist_group("alerts"),
]
NOW = 1_900_000_000.0
MINUTE, HOUR = 60.0, 3600.0
ORIGIN = Origin(EXAMPLE["project"], EXAMPLE["region"], EXAMPLE["name"], f"{EXAMPLE['name']}-00001-abc", "0a1b")
OTHER = Origin(EXAMPLE["project"], EXAMPLE["region"], "pilot-other", "pilot-other-00001-abc", "0a1b")


class Lines(NamedTuple):
    """One real line of each kind that the service prints."""

    prediction: bytes
    rejection: bytes
    failure: bytes
    load: bytes
    load_failure: bytes


@pytest.fixture(scope="module")
def lines(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """Return what two processes print: one that answers, and one whose pin is missing."""
    example = server.client.get("/model").json()["example"]
    assert server.client.post("/predict", json=example).status_code == 200
    assert server.client.post("/predict", json={"instances": [{}]}).status_code == 422
    found = {kind: _raw(server, kind) for kind in ("prediction", "rejection", "load")}
    environment = {"PIN_FILE": str(tmp_path_factory.mktemp("nothing") / "pin.json"), "K_SERVICE": "toy"}
    with Server(environment, tmp_path_factory.mktemp("elsewhere")) as broken:
        assert broken.client.post("/predict", json=example).status_code == 503
        found |= {kind: _raw(broken, kind) for kind in ("failure", "load_failure")}
    return Lines(**found)


def _raw(server: Server, kind: str) -> bytes:
    server.wait_for_records(kind, 1)
    return next(line for line in server.lines if json.loads(line)["kind"] == kind)


def metrics() -> list[dict[str, Any]]:
    """Return infra/'s log-based metrics as Cloud Logging takes them."""
    rendered = render()
    found = []
    for name, metric in {**rendered["counters"], **rendered["distributions"]}.items():
        is_counter = name in rendered["counters"]
        one = {
            "name": f"{EXAMPLE['name']}/{name}",
            "filter": metric["filter"],
            "labelExtractors": {label: f"EXTRACT({field})" for label, field in metric["labels"].items()},
            "metricDescriptor": {
                "metricKind": "DELTA",
                "valueType": "INT64" if is_counter else "DISTRIBUTION",
                "labels": [{"key": label} for label in metric["labels"]],
            },
        }
        if not is_counter:
            one["valueExtractor"] = f"EXTRACT({metric['value']})"
            one["bucketOptions"] = {"explicitBuckets": {"bounds": metric["bounds"]}}
        found.append(one)
    return found


class Past:
    """What happened to the service before NOW; times in seconds ago."""

    def __init__(self, lines: Lines) -> None:
        self.store = SeriesStore()
        self.lines = lines
        self._metrics = metrics()

    def join(self, other: "Past") -> None:
        """Let everything happen that happened in another past."""
        for series in other.store.all():
            for at, value in series.records:
                self.store.record(series.descriptor, dict(series.labels), series.resource, at, value)

    def every(self, seconds: float, start: float, end: float, act: Callable[[float], None]) -> None:
        """Let something happen again and again, from `start` to `end`."""
        for index in range(int((start - end) / seconds) + 1):
            act(start - index * seconds)

    def entry(self, ago: float, entry: dict[str, Any] | None) -> None:
        """Let an entry arrive."""
        assert entry is not None
        record_entry(self.store, self._metrics, entry, NOW - ago)

    def line(self, ago: float, kind: str, origin: Origin = ORIGIN, **changed: object) -> None:
        """Let the service print a line of a kind, with some fields changed."""
        line = json.dumps({**json.loads(getattr(self.lines, kind)), **changed})
        self.entry(ago, read_line(line, "stdout", origin, int((NOW - ago) * 1e9), "0"))

    def request(self, ago: float, status: int = 200, origin: Origin = ORIGIN) -> None:
        """Let Cloud Run count a request, and write it down."""
        what = {"requestMethod": "POST", "requestUrl": "https://x/predict", "status": status, "latency": "0.01s"}
        facts = RequestFacts(datetime.fromtimestamp(NOW - ago, UTC), origin, what)
        self.entry(ago, request_entry(facts, int((NOW - ago) * 1e9), "0"))
        record_request(self.store, Resource.of(resource_of(origin)), NOW - ago, status, 0.01)

    def answer(self, ago: float, **changed: object) -> None:
        """Let the service answer a request."""
        self.request(ago)
        self.line(ago, "prediction", **changed)

    def refuse(self, ago: float) -> None:
        """Let the service refuse a request."""
        self.request(ago, 422)
        self.line(ago, "rejection")

    def fail(self, ago: float) -> None:
        """Let the service fail to answer a request."""
        self.request(ago, 503)
        self.line(ago, "failure")

    def system(self, ago: float, text: str) -> None:
        """Let Cloud Run say something about an instance."""
        self.entry(ago, system_entry(text, "WARNING", ORIGIN, int((NOW - ago) * 1e9), "0"))

    def usage(self, ago: float, cpu: float = 0.3, memory: float = 0.3) -> None:
        """Let Cloud Run measure an instance."""
        record_usage(self.store, Resource.of(resource_of(ORIGIN)), NOW - ago, cpu=cpu, memory=memory)

    def start(self, ago: float) -> None:
        """Let Cloud Run start an instance, which loads the version, and bill it."""
        resource = Resource.of(resource_of(ORIGIN))
        record_start(self.store, resource, NOW - ago, 0.6)
        record_billable_time(self.store, resource, NOW - ago, 0.1)
        self.line(ago, "load")

    def instances(self, ago: float, active: int, at_once: int = 2) -> None:
        """Let Cloud Run count instances, and how many requests each answers at once at most."""
        record_instances(self.store, Resource.of(resource_of(ORIGIN)), NOW - ago, active=active, idle=0)
        for _ in range(active):
            record_concurrency(self.store, Resource.of(resource_of(ORIGIN)), NOW - ago, at_once)


def healthy(past: Past) -> None:
    """Let a healthy day happen."""
    past.join(healthy_day(past.lines))


@cache
def healthy_day(lines: Lines) -> Past:
    """Answer now and then for half a day and once a minute in the last hour, with a cold start and some refusals."""
    past = Past(lines)
    past.line(12 * HOUR, "load")
    past.every(20 * MINUTE, 12 * HOUR, HOUR, past.answer)
    past.every(MINUTE, HOUR, 0, past.answer)
    past.every(HOUR, 12 * HOUR, 0, past.refuse)
    past.every(MINUTE, HOUR, 0, past.usage)
    past.every(MINUTE, HOUR, 11 * MINUTE, lambda ago: past.instances(ago, 2))
    return past


def amid_health(*acts: Callable[[Past], None]) -> Callable[[Past], None]:
    """Return a healthy day in which something else happens too."""

    def play(past: Past) -> None:
        for act in (healthy, *acts):
            act(past)

    return play


def once(act: str, ago: float, *values: Any, **fields: Any) -> Callable[[Past], None]:
    """Return one event, a method of Past by its name."""
    return lambda past: getattr(past, act)(ago, *values, **fields)


def each(seconds: float, start: float, end: float, act: str, *values: Any, **fields: Any) -> Callable[[Past], None]:
    """Return one event again and again."""
    return lambda past: past.every(seconds, start, end, lambda ago: getattr(past, act)(ago, *values, **fields))


EXIT, STARTED = "Container called exit(1).", "Starting new instance. Reason: AUTOSCALING"
SCENARIOS: dict[str, tuple[Callable[[Past], None], set[str]]] = {
    "nothing-yet": (lambda past: None, set()),
    "a-healthy-day": (healthy, set()),
    "one-failure-in-ten-minutes": (amid_health(once("fail", 5 * MINUTE)), set()),
    "three-failures-in-ten-minutes": (amid_health(each(MINUTE, 5 * MINUTE, 3 * MINUTE, "fail")), {"errors"}),
    "an-instance-died-with-its-requests": (amid_health(each(10, 2 * MINUTE, MINUTE, "request", 503)), {"errors"}),
    "failures-an-hour-ago": (amid_health(each(10, HOUR, HOUR - MINUTE, "fail")), set()),
    "failures-of-another-service": (amid_health(each(10, 2 * MINUTE, 0, "request", 503, OTHER)), set()),
    "few-failures-among-many-answers": (
        amid_health(each(2, 9 * MINUTE, 0, "answer"), each(MINUTE, 5 * MINUTE, MINUTE, "fail")),
        set(),
    ),
    "slow-for-a-quarter-of-an-hour": (amid_health(each(10, 16 * MINUTE, 0, "answer", total_ms=301.0)), {"latency"}),
    "as-slow-as-allowed": (amid_health(each(10, 16 * MINUTE, 0, "answer", total_ms=299.0)), set()),
    "two-slow-answers": (amid_health(each(MINUTE, 2 * MINUTE, MINUTE, "answer", total_ms=5e3)), set()),
    "the-version-cannot-be-loaded": (amid_health(once("line", 3 * MINUTE, "load_failure")), {"load"}),
    "another-service-cannot-load": (amid_health(once("line", MINUTE, "load_failure", OTHER)), set()),
    "silent-since-six-hours": (each(10 * MINUTE, 12 * HOUR, 6.1 * HOUR, "answer"), {"silence"}),
    "silent-since-five-hours": (each(10 * MINUTE, 12 * HOUR, 5 * HOUR, "answer"), set()),
    "silent-since-yesterday": (each(10 * MINUTE, 30 * HOUR, 24 * HOUR, "answer"), set()),
    "a-caller-sends-nonsense": (amid_health(each(20, 20 * MINUTE, 0, "refuse")), {"rejections"}),
    "some-nonsense": (amid_health(each(5 * MINUTE, 25 * MINUTE, 0, "refuse")), set()),
    "all-instances-busy": (amid_health(each(MINUTE, 10 * MINUTE, 0, "instances", 3, 40)), {"instances"}),
    "all-instances-busy-for-a-minute": (amid_health(once("instances", MINUTE, 3, 40)), set()),
    "all-instances-answer-a-little": (amid_health(each(MINUTE, 10 * MINUTE, 0, "instances", 3)), set()),
    "cpu-used-up": (amid_health(each(10, 40 * MINUTE, 0, "usage", cpu=0.97)), {"cpu"}),
    "memory-used-up": (amid_health(each(10, 40 * MINUTE, 0, "usage", memory=0.97)), {"memory"}),
    "instances-crash": (amid_health(each(5 * MINUTE, 15 * MINUTE, 5 * MINUTE, "system", EXIT)), {"restarts"}),
    "instances-come-and-go": (amid_health(each(MINUTE, 15 * MINUTE, 0, "system", STARTED)), set()),
}


def policies() -> dict[str, dict[str, Any]]:
    """Return infra/'s PromQL alerts as Cloud Monitoring takes them."""
    return {
        name: {
            "displayName": name,
            "combiner": "OR",
            "conditions": [
                {
                    "displayName": alert["title"],
                    "conditionPrometheusQueryLanguage": {
                        "query": alert["query"],
                        "duration": alert["duration"],
                        "evaluationInterval": "60s",
                    },
                }
            ],
        }
        for name, alert in render()["alerts"].items()
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_exactly_these_alerts_fire(scenario: str, lines: Lines) -> None:
    """After each course of events, those alerts fire that should, and no others."""
    happen, expected = SCENARIOS[scenario]
    past = Past(lines)
    happen(past)
    states = evaluate(policies().values(), past.store, NOW)
    assert [condition.problem for state in states for condition in state.conditions if condition.problem] == []
    assert {state.name for state in states if state.firing} == expected


def test_every_alert_fires_in_some_scenario() -> None:
    """No alert is left untried."""
    assert set().union(*(expected for _, expected in SCENARIOS.values())) == set(policies())


def test_every_metric_is_one_that_cloud_logging_takes() -> None:
    """Names, kinds, labels, extractors, bounds and filters pass Google's rules."""
    for metric in metrics():
        check_metric(metric)


def test_every_metric_counts_some_real_line(lines: Lines) -> None:
    """Each filter and extractor finds what it looks for in what the service printed."""
    past = Past(lines)
    healthy(past)
    past.line(MINUTE, "load_failure")
    past.system(MINUTE, EXIT)
    counted = {series.descriptor.type.removeprefix("logging.googleapis.com/user/") for series in past.store.all()}
    assert {metric["name"] for metric in metrics()} <= counted
    for series in past.store.all():
        assert all(value for _, value in series.labels), series.descriptor.type


def test_no_metric_counts_a_check(server: Server, lines: Lines) -> None:
    """What the function prints of checks, answered or refused, moves no metric, and so no alert."""
    agent = {"user-agent": f"{CHECK_AGENT}/1.0"}
    example = server.client.get("/model").json()["example"]
    for body in (example, {"instances": [{}]}):
        server.client.post("/predict", json=body, headers=agent)
    server.wait_for_records("check", 2)
    past = Past(lines)
    for line in server.lines:
        if json.loads(line)["kind"] == "check":
            past.entry(MINUTE, read_line(line.decode(), "stdout", ORIGIN, int((NOW - MINUTE) * 1e9), "0"))
    assert past.store.all() == []


SYSTEM_LINES = {
    "Container called exit(1).": True,
    "Container called exit(0).": False,
    "Container terminated on signal 9.": True,
    "Container terminated on signal 15.": False,
    out_of_memory(512 << 20, 515 << 20): True,
    'LIVENESS HTTP probe failed 3 times consecutively for container "function-1" on port 8080.': True,
    'STARTUP HTTP probe succeeded after 1 attempt for container "function-1" on port 8080.': False,
    "Starting new instance. Reason: AUTOSCALING - Instance started due to traffic increase.": False,
    "Shutting down user disabled instance.": False,
}


@pytest.mark.parametrize("text", SYSTEM_LINES, ids=range(len(SYSTEM_LINES)))
def test_what_counts_as_an_exit(text: str, lines: Lines) -> None:
    """Ends that nobody asked for are counted, starts and orderly ends are not."""
    past = Past(lines)
    past.system(0, text)
    assert bool(past.store.all("logging.googleapis.com/user/pilot-binary/exits")) == SYSTEM_LINES[text]


def queries() -> Iterator[tuple[str, str]]:
    """Yield every query of the dashboard with its chart's title."""
    for tile in render()["tiles"]:
        for data in tile["widget"]["xyChart"]["dataSets"]:
            yield tile["widget"]["title"], data["timeSeriesQuery"]["prometheusQuery"]


def test_every_chart_shows_something(lines: Lines) -> None:
    """After a day with all sorts of events, each query of the dashboard has a result, from the real engine."""
    past = Past(lines)
    healthy(past)
    past.every(MINUTE, 10 * MINUTE, 0, past.fail)
    past.instances(MINUTE, 2)
    past.start(MINUTE)
    past.line(MINUTE, "load_failure")
    past.system(MINUTE, EXIT)
    empty = []
    with engine(past.store.all(), NOW) as prometheus:
        for title, query in queries():
            if not prometheus.query(query, NOW)["result"]:
                empty.append((title, query))
    assert empty == []


def test_docs_name_every_metric() -> None:
    """docs/operating.md lists each log-based metric."""
    page = (Path(__file__).parent.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    for metric in metrics():
        name = metric["name"].removeprefix(f"{EXAMPLE['name']}/")
        assert f"`{name}`" in page, name
