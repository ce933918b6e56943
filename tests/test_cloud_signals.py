"""Logs, time series and alerts of the double as a whole, over HTTP and with Google's own client."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.logging_v2 import Client

from tests.cloud import CloudDouble
from tests.cloud.logging.entries import Origin, RequestFacts
from tests.cloud.run.pools import InstanceFacts, PoolFacts
from tests.cloud.run.services import RevisionFacts
from tests.test_cloud_monitoring import AVAILABILITY, needs_prometheus

ORIGIN = Origin("local-project", "europe-west1", "churn", "churn-00001-abc", "i-1")
PROJECT = "projects/local-project"
METRIC: dict[str, Any] = {
    "name": "churn/requests",
    "filter": 'resource.labels.service_name="churn" jsonPayload.kind:*',
    "metricDescriptor": {"metricKind": "DELTA", "valueType": "INT64", "labels": [{"key": "kind"}]},
    "labelExtractors": {"kind": "EXTRACT(jsonPayload.kind)"},
}


@pytest.fixture
def double() -> Iterator[CloudDouble]:
    """Return a double with an empty project."""
    with CloudDouble() as running:
        yield running


@pytest.fixture
def api(double: CloudDouble) -> Iterator[httpx2.Client]:
    """Return a client of the double's address."""
    with httpx2.Client(base_url=double.url, trust_env=False) as client:
        yield client


def answer(response: httpx2.Response) -> Any:
    """Return the JSON of an answer that must be a good one."""
    assert response.status_code == 200, response.text
    return response.json()


def log(double: CloudDouble, *kinds: str) -> None:
    """Print a structured line of each kind."""
    for kind in kinds:
        double.signals.line(ORIGIN, "stdout", json.dumps({"severity": "INFO", "kind": kind, "message": "x"}))


def serve(double: CloudDouble, *statuses: int) -> None:
    """Let Cloud Run be done with a request of each status, a moment ago."""
    for status in statuses:
        asked = datetime.now(UTC) - timedelta(seconds=1)
        double.signals.requested(RequestFacts(asked, ORIGIN, {"status": status, "latency": "0.25s"}))


def policy(**condition: Any) -> dict[str, Any]:
    """Return an alert policy with one condition."""
    return {"displayName": "policy", "combiner": "OR", "conditions": [{"displayName": "one", **condition}]}


def evaluate(api: httpx2.Client, **body: str) -> list[dict[str, Any]]:
    """Return the states of the project's alert policies."""
    answered = answer(api.post("/_double/alerts:evaluate?all=true", json=body))
    states: list[dict[str, Any]] = answered["states"]
    assert answered["firing"] == [state["name"] for state in states if state["firing"]]
    return states


def test_googles_client_writes_and_lists(double: CloudDouble) -> None:
    """The real client's REST calls write entries, and list them by filter, order and page."""
    client = Client(
        project="local-project",
        credentials=AnonymousCredentials(),
        _use_grpc=False,
        client_options={"api_endpoint": f"{double.url}/logging"},
    )
    logger = client.logger("app")
    for index in range(5):
        logger.log_struct({"index": index, "answer": "yes"}, severity="WARNING")
    logger.log_text("plain", labels={"team": "x"})
    found = list(client.list_entries(filter_="jsonPayload.index>1 severity>=WARNING", page_size=2))
    assert [entry.payload for entry in found] == [{"index": index, "answer": "yes"} for index in (2, 3, 4)]
    newest = next(iter(client.list_entries(order_by="timestamp desc")))
    assert (newest.payload, newest.labels["team"], newest.log_name) == ("plain", "x", f"{PROJECT}/logs/app")


@pytest.mark.parametrize(
    "payload",
    [
        '{"a": 1e999}',
        '{"a": -1e999}',
        '{"a": Infinity}',
        '{"a": 1' + "0" * 400 + "}",
        '{"a": "\\ud800"}',
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"a":' * 200 + "1" + "}" * 200,
    ],
    ids=["infinite", "negative", "constant", "whole", "half-a-character", "very-deep", "deep"],
)
def test_what_protobuf_cannot_read_is_refused(api: httpx2.Client, payload: str) -> None:
    """A body whose JSON Google's parser does not take is 400, and nothing of it is kept."""
    entry = f'{{"logName": "{PROJECT}/logs/app", "resource": {{"type": "global"}}, "jsonPayload": {payload}}}'
    refused = api.post("/logging/v2/entries:write", content=f'{{"entries": [{entry}]}}')
    assert (refused.status_code, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer(api.post("/logging/v2/entries:list", json={"resourceNames": [PROJECT]})) == {}


def test_a_bad_filter_is_refused_over_http(api: httpx2.Client) -> None:
    """A filter that cannot be parsed is Google's 400."""
    refusal = api.post("/logging/v2/entries:list", json={"resourceNames": [PROJECT], "filter": "a=b:c"})
    error = refusal.json()["error"]
    assert (refusal.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    assert "Unparseable filter: syntax error at line 1, column 4, token ':'" in error["message"]


def test_a_metric_counts_from_its_creation_on(double: CloudDouble, api: httpx2.Client) -> None:
    """Entries are counted by the metrics that exist when they come, and asked for as time series."""
    log(double, "prediction")
    answer(api.post(f"/logging/v2/{PROJECT}/metrics", json=METRIC))
    log(double, "prediction", "prediction", "rejection")
    now = datetime.now(UTC)
    found = answer(
        api.get(
            f"/monitoring/v3/{PROJECT}/timeSeries",
            params={
                "filter": 'metric.type="logging.googleapis.com/user/churn/requests"',
                "interval.startTime": (now - timedelta(minutes=5)).isoformat().replace("+00:00", "Z"),
                "interval.endTime": (now + timedelta(minutes=1)).isoformat().replace("+00:00", "Z"),
                "aggregation.alignmentPeriod": "360s",
                "aggregation.perSeriesAligner": "ALIGN_DELTA",
                "pageSize": "1",
            },
        )
    )
    assert len(found["timeSeries"]) == 1
    assert found["nextPageToken"]
    assert found["timeSeries"][0]["metric"]["labels"] == {"kind": "prediction"}
    assert found["timeSeries"][0]["points"][0]["value"] == {"int64Value": "2"}


BAD_METRICS = {
    "filter": {**METRIC, "filter": "jsonPayload.kind=="},
    "extractor": {**METRIC, "labelExtractors": {"kind": "jsonPayload.kind"}},
    "label": {**METRIC, "labelExtractors": {}},
}


@pytest.mark.parametrize("metric", BAD_METRICS.values(), ids=BAD_METRICS)
def test_a_bad_metric_is_refused_over_http(api: httpx2.Client, metric: dict[str, Any]) -> None:
    """A metric that Google would not take cannot be made."""
    refusal = api.post(f"/logging/v2/{PROJECT}/metrics", json=metric)
    assert (refusal.status_code, refusal.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_a_metric_keeps_its_type_over_http(api: httpx2.Client) -> None:
    """The value type of a metric cannot be updated; its filter can."""
    answer(api.post(f"/logging/v2/{PROJECT}/metrics", json=METRIC))
    path = f"/logging/v2/{PROJECT}/metrics/churn%2Frequests"
    assert answer(api.put(path, json={**METRIC, "filter": "severity>=ERROR"}))["filter"] == "severity>=ERROR"
    changed = {**METRIC, "metricDescriptor": {**METRIC["metricDescriptor"], "valueType": "DISTRIBUTION"}}
    assert api.put(path, json={**changed, "valueExtractor": "EXTRACT(jsonPayload.ms)"}).status_code == 400


@needs_prometheus
def test_alerts_are_evaluated_on_demand(double: CloudDouble, api: httpx2.Client) -> None:
    """A policy says whether it fires now, or fired at another time, by PromQL on what the services printed."""
    answer(api.post(f"/logging/v2/{PROJECT}/metrics", json=METRIC))
    query = 'sum(increase(logging_googleapis_com:user_churn_requests{kind="failure"}[5m])) > 2'
    condition = {"query": query, "duration": "0s", "disableMetricValidation": True}
    answer(api.post(f"/monitoring/v3/{PROJECT}/alertPolicies", json=policy(conditionPrometheusQueryLanguage=condition)))
    log(double, "failure", "prediction")
    assert [state["firing"] for state in evaluate(api)] == [False]
    log(double, "failure", "failure")
    (state,) = evaluate(api)
    assert (state["name"], state["firing"], state["conditions"][0]["name"]) == ("policy", True, "one")
    assert state["conditions"][0]["violations"][0]["value"] > 2
    assert [state["firing"] for state in evaluate(api, at="2020-01-01T00:00:00Z")] == [False]


def test_a_threshold_needs_data_first(double: CloudDouble, api: httpx2.Client) -> None:
    """A threshold on a log-based metric can only be made once the metric has counted something."""
    answer(api.post(f"/logging/v2/{PROJECT}/metrics", json=METRIC))
    condition = {
        "filter": 'metric.type="logging.googleapis.com/user/churn/requests" resource.type="cloud_run_revision"',
        "aggregations": [
            {"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_DELTA", "crossSeriesReducer": "REDUCE_SUM"}
        ],
        "comparison": "COMPARISON_GT",
        "thresholdValue": 1,
        "duration": "0s",
    }
    path = f"/monitoring/v3/{PROJECT}/alertPolicies"
    assert api.post(path, json=policy(conditionThreshold=condition)).status_code == 404
    log(double, "prediction", "prediction")
    answer(api.post(path, json=policy(conditionThreshold=condition)))
    assert [(state["firing"], state["conditions"][0]["values"]) for state in evaluate(api)] == [(True, [2.0])]
    bad = policy(conditionThreshold={**condition, "comparison": "COMPARISON_EQ"})
    assert api.post(path, json=bad).status_code == 400


def test_what_cannot_be_evaluated_is_said(double: CloudDouble, api: httpx2.Client) -> None:
    """A condition that the double cannot evaluate is a problem of its own, and no answer."""
    double.state.resources("monitoring.projects.alertPolicies")["x"] = policy(conditionSql={"query": "SELECT 1"})
    (state,) = evaluate(api)
    assert (state["firing"], "conditionSql" in state["conditions"][0]["problem"]) == (False, True)


def test_requests_burn_budgets(double: CloudDouble, api: httpx2.Client) -> None:
    """Requests that Cloud Run is done with are logged, counted and charged to the SLO, by either of its names."""
    name = f"projects/{double.state.number}/services/churn/serviceLevelObjectives/availability"
    double.state.resources("monitoring.services.serviceLevelObjectives")[name] = {**AVAILABILITY, "name": name}
    burn = {
        "filter": f'select_slo_burn_rate("{PROJECT}/services/churn/serviceLevelObjectives/availability", "3600s")',
        "comparison": "COMPARISON_GT",
        "thresholdValue": 14.4,
        "duration": "0s",
    }
    double.state.resources("monitoring.projects.alertPolicies")["x"] = policy(conditionThreshold=burn)
    serve(double, 200, 200, 200)
    assert [state["firing"] for state in evaluate(api)] == [False]
    serve(double, 503)
    (state,) = evaluate(api)
    assert (state["firing"], state["conditions"][0]["values"]) == (True, [pytest.approx(25)])
    logged = double.signals.entries.find('log_id("run.googleapis.com/requests") severity=ERROR')
    assert [entry["httpRequest"]["status"] for entry in logged] == [503]


@needs_prometheus
def test_promql_is_answered_over_http(double: CloudDouble, api: httpx2.Client) -> None:
    """Prometheus' own query API answers on the project's time series."""
    serve(double, 200, 500)
    path = f"/monitoring/v1/{PROJECT}/location/global/prometheus/api/v1"
    query = "sum by (response_code_class) (increase(run_googleapis_com:request_count[5m]))"
    found = answer(api.post(f"{path}/query", json={"query": query}))
    assert found["status"] == "success"
    assert {one["metric"]["response_code_class"] for one in found["data"]["result"]} == {"2xx", "5xx"}
    now = datetime.now(UTC).timestamp()
    asked = {"query": query, "start": str(now - 60), "end": str(now), "step": "30s"}
    assert len(answer(api.post(f"{path}/query_range", json=asked))["data"]["result"]) == 2
    assert api.post(f"{path}/query", json={"query": "sum("}).status_code == 400


def test_sinks_deliver(double: CloudDouble) -> None:
    """A sink's destination gets the entries that it takes, and no others."""
    sink = {"name": "records", "filter": 'jsonPayload.kind="prediction"'}
    double.state.resources("logging.projects.sinks")["records"] = sink
    delivered: list[tuple[str, str]] = []
    double.signals.deliver(lambda sink, entry: delivered.append((sink["name"], entry["jsonPayload"]["kind"])))
    log(double, "prediction", "load", "prediction")
    assert delivered == [("records", "prediction")] * 2


def facts(active: int, idle: int, starts: tuple[float, ...], instance: InstanceFacts) -> RevisionFacts:
    """Return what Cloud Run reports of a revision with one instance."""
    pool = PoolFacts(active, idle, starts, instance.cpu_seconds, 0.0, (instance,))
    return RevisionFacts(ORIGIN, pool, cpu=2.0, memory_bytes=1000, concurrency=80)


def test_revisions_are_measured(double: CloudDouble) -> None:
    """Instances, starts, CPU, memory, concurrency and paid time come from two samples of the runtime's facts."""
    clock = iter([1000.0, 1060.0])
    double.signals.now = lambda: next(clock)  # type: ignore[method-assign]
    double.signals.measure([facts(1, 0, (0.5,), InstanceFacts("i", 3, 1.0, 250))])
    double.signals.measure([facts(1, 1, (0.5, 0.7), InstanceFacts("i", 5, 61.0, 500))])
    kept = {
        (one.descriptor.type.removeprefix("run.googleapis.com/"), dict(one.labels).get("state")): one.records
        for one in double.signals.series.all()
    }
    assert kept == {
        ("container/instance_count", "active"): [(1000.0, 1.0), (1060.0, 1.0)],
        ("container/instance_count", "idle"): [(1000.0, 0.0), (1060.0, 1.0)],
        ("container/startup_latencies", None): [(1000.0, 500.0), (1060.0, 700.0)],
        ("container/cpu/utilizations", None): [(1060.0, 0.5)],
        ("container/memory/utilizations", None): [(1060.0, 0.5)],
        ("container/max_request_concurrencies", "active"): [(1000.0, 3.0), (1060.0, 5.0)],
        ("container/billable_instance_time", None): [(1060.0, 60.0)],
    }
