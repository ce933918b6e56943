"""The double's Cloud Monitoring: entries and requests become time series, and alerts fire on them as Google's would."""

import shutil
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.cloud.errors import CloudError
from tests.cloud.logging.entries import Origin, read_line, resource_of
from tests.cloud.monitoring import evaluation, promql, query, series, slo
from tests.cloud.monitoring.filters import compile_filter
from tests.cloud.monitoring.series import SeriesStore
from tests.test_endpoint import GOOD

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z
ORIGIN = Origin("p", "europe-west1", "churn", "churn-00001-abc", "i-1")
REVISION = series.Resource.of(resource_of(ORIGIN))
REQUESTS: dict[str, Any] = {
    "name": "churn/requests",
    "filter": 'resource.labels.service_name="churn" jsonPayload.kind=("prediction" OR "rejection" OR "failure")',
    "metricDescriptor": {"labels": [{"key": "kind"}, {"key": "version", "valueType": "INT64"}]},
    "labelExtractors": {"kind": "EXTRACT(jsonPayload.kind)", "version": "EXTRACT(jsonPayload.version)"},
}
LATENCY: dict[str, Any] = {
    "name": "churn/latency",
    "filter": 'jsonPayload.kind="prediction"',
    "metricDescriptor": {"valueType": "DISTRIBUTION", "unit": "ms"},
    "valueExtractor": "EXTRACT(jsonPayload.total_ms)",
    "bucketOptions": {"explicitBuckets": {"bounds": [0, 10, 100, 1000, 10000]}},
}
ASKED = 'metric.type="run.googleapis.com/request_count"'
COUNT = "logging_googleapis_com:user_churn_requests"
RATIO = f'sum(rate({COUNT}{{kind!="prediction"}}[5m])) / sum(rate({COUNT}[5m])) > 0.05'
needs_prometheus = pytest.mark.skipif(
    any(shutil.which(program) is None for program in promql.PROGRAMS), reason="Debian's package prometheus is missing"
)


@pytest.fixture
def records(client: TestClient, capfd: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """Return an entry of each kind that the function prints when asked rightly and wrongly."""
    client.post("/predict", json={"instances": [GOOD]})
    client.post("/predict", content=b"{")
    entries = [read_line(line, "stdout", ORIGIN, 0, "x") for line in capfd.readouterr().out.splitlines()]
    return {entry["jsonPayload"]["kind"]: entry for entry in entries if entry and "jsonPayload" in entry}


@pytest.fixture
def signals() -> SeriesStore:
    """Return a store of time series with nothing in it."""
    return SeriesStore()


def record(signals: SeriesStore, entry: dict[str, Any], start: float, end: float, every: float) -> None:
    """Record an entry again and again from a time to another one, both in seconds before noon."""
    for step in range(int((start - end) / every)):
        series.record_entry(signals, [REQUESTS, LATENCY], entry, NOON - start + (step + 0.5) * every)


def serve(signals: SeriesStore, status: int, start: float, end: float, every: float, latency: float = 0.1) -> None:
    """Record requests answered with a status from a time to another one, both in seconds before noon."""
    for step in range(int((start - end) / every)):
        series.record_request(signals, REVISION, NOON - start + (step + 0.5) * every, status, latency)


def policy(*conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an alert policy with these conditions."""
    named = [{"displayName": str(index), **condition} for index, condition in enumerate(conditions)]
    return {"displayName": "policy", "combiner": "OR", "conditions": named, **fields}


def prometheus(text: str, duration: str = "0s") -> dict[str, Any]:
    """Return a PromQL condition."""
    return {"conditionPrometheusQueryLanguage": {"query": text, "duration": duration, "evaluationInterval": "60s"}}


def firing(signals: SeriesStore, given: dict[str, Any], at: float = NOON, **more: Any) -> bool:
    """Tell whether a policy fires."""
    return evaluation.evaluate([given], signals, at, **more)[0].firing


@needs_prometheus
def test_an_alert_fires_on_real_lines(records: dict[str, dict[str, Any]], signals: SeriesStore) -> None:
    """An error ratio in PromQL is silent on good answers, fires on refusals, and is silent again once they are over."""
    error_ratio = policy(prometheus(RATIO))
    record(signals, records["prediction"], 3600, 0, 6)
    assert not firing(signals, error_ratio)
    record(signals, records["rejection"], 1800, 1200, 30)
    assert not firing(signals, error_ratio)
    state = evaluation.evaluate([error_ratio], signals, NOON - 1200)[0]
    assert state.firing
    assert state.conditions[0].values == [pytest.approx(1 / 6, abs=0.01)]


@needs_prometheus
def test_the_first_increment_counts(records: dict[str, dict[str, Any]], signals: SeriesStore) -> None:
    """A counter starts at zero, so that its very first entry is an increase."""
    record(signals, records["load"] | {"jsonPayload": {"kind": "failure", "version": 1}}, 60, 59, 1)
    with promql.engine(signals.all(), NOON) as engine:
        found = engine.query(f"sum(increase({COUNT}[10m]))", NOON)["result"]
    assert [float(one["value"][1]) for one in found] == [pytest.approx(1, abs=0.1)]


@needs_prometheus
def test_silence_is_noticed(records: dict[str, dict[str, Any]], signals: SeriesStore) -> None:
    """A series ends when nothing is written any more, so that its absence can be alerted on."""
    silent = policy(prometheus(f'absent_over_time({COUNT}{{monitored_resource="cloud_run_revision"}}[15m])'))
    record(signals, records["prediction"], 3600, 1800, 60)
    assert not firing(signals, silent, NOON - 1800)
    assert not firing(signals, silent, NOON - 1200)
    assert firing(signals, silent)


@needs_prometheus
def test_an_alert_waits_for_its_duration(signals: SeriesStore) -> None:
    """A condition must hold at every evaluation of its duration, not only now."""
    given = 'sum(rate(run_googleapis_com:request_count{response_code_class="5xx"}[1m])) > 0'
    serve(signals, 500, 300, 0, 10)
    assert firing(signals, policy(prometheus(given, "0s")))
    assert firing(signals, policy(prometheus(given, "240s")))
    assert not firing(signals, policy(prometheus(given, "600s")))


@needs_prometheus
def test_distributions_have_quantiles(signals: SeriesStore) -> None:
    """A distribution is a Prometheus histogram, in which quantiles lie within the bucket of the values."""
    serve(signals, 200, 600, 0, 5, latency=0.1)
    serve(signals, 200, 600, 0, 50, latency=2.0)
    with promql.engine(signals.all(), NOON) as engine:
        rate = 'rate({"run.googleapis.com/request_latencies_bucket",service_name="churn"}[10m])'
        quantiles = {q: engine.query(f"histogram_quantile({q}, sum by (le) ({rate}))", NOON) for q in (0.5, 0.99)}
        count = engine.query("sum(increase(run_googleapis_com:request_latencies_count[10m]))", NOON)
    medians = [float(found["result"][0]["value"][1]) for found in quantiles.values()]
    assert medians == [pytest.approx(100, rel=0.1), pytest.approx(2000, rel=0.1)]
    assert float(count["result"][0]["value"][1]) == pytest.approx(131, abs=1)


@needs_prometheus
def test_gauges_keep_their_states(signals: SeriesStore) -> None:
    """Instances are told apart by their state, with the labels of the revision."""
    series.record_instances(signals, REVISION, NOON - 30, active=3, idle=1)
    with promql.engine(signals.all(), NOON) as engine:
        found = engine.query('run_googleapis_com:container_instance_count{state="active"}', NOON)["result"]
    assert [one["value"][1] for one in found] == ["3"]
    assert found[0]["metric"]["revision_name"] == "churn-00001-abc"
    assert found[0]["metric"]["monitored_resource"] == "cloud_run_revision"


@needs_prometheus
def test_bad_promql_is_refused(signals: SeriesStore) -> None:
    """What Prometheus cannot parse is a 400 with its words, and with the name of the condition."""
    with pytest.raises(CloudError, match="parse error") as caught:
        evaluation.evaluate([policy(prometheus("sum("))], signals, NOON)
    assert caught.value.status == 400
    assert caught.value.__notes__ == ["in the condition '0'"]


@needs_prometheus
def test_promql_is_read_when_a_policy_is_made() -> None:
    """What is no PromQL cannot become a policy."""
    evaluation.check_conditions(policy(prometheus('sum(rate({"run.googleapis.com/request_count"}[5m])) > 1')))
    with pytest.raises(CloudError, match="parse error: unclosed left parenthesis") as caught:
        evaluation.check_conditions(policy(prometheus("sum(")))
    assert caught.value.status == 400


@needs_prometheus
def test_samples_of_counters_are_not_guessed(signals: SeriesStore) -> None:
    """Functions over a counter's own samples are a problem; over a gauge's, or of a rate, they are answered."""
    queries = [f"sum_over_time({COUNT}[5m])", "max_over_time(run_googleapis_com:request_latencies_sum[5m])"]
    fine = [
        "max_over_time(run_googleapis_com:container_instance_count[5m])",
        f"max_over_time(rate({COUNT}[1m])[5m:1m])",
    ]
    state = evaluation.evaluate([policy(*map(prometheus, [*queries, *fine]))], signals, NOON)[0]
    assert [bool(condition.problem) for condition in state.conditions] == [True, True, False, False]


def test_a_missing_prometheus_is_said(signals: SeriesStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, PromQL fails with an error of its own, and nothing else does."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(promql.NoPrometheusError, match="promtool and prometheus not on PATH"):
        firing(signals, policy(prometheus("up")))
    assert not firing(signals, policy(threshold("run.googleapis.com/request_count")))


NAMES = {
    "run.googleapis.com/request_count": "run_googleapis_com:request_count",
    "run.googleapis.com/container/cpu/utilizations": "run_googleapis_com:container_cpu_utilizations",
    "logging.googleapis.com/user/a-b/c": "logging_googleapis_com:user_a_b_c",
    "kubernetes.io/container/cpu/limit_cores": "kubernetes_io:container_cpu_limit_cores",
}


@pytest.mark.parametrize(("metric_type", "name"), NAMES.items())
def test_metrics_have_names_in_promql(metric_type: str, name: str) -> None:
    """The first slash becomes a colon, everything else that is no word an underscore; quoted names mean the same."""
    assert promql.metric_name(metric_type) == name
    assert promql.classic(f'sum({{"{metric_type}", a="b"}})') == f'sum({name}{{ a="b"}})'
    assert promql.classic(f'{{__name__="{metric_type}"}}') == f"{name}{{}}"


def threshold(metric_type: str, **fields: Any) -> dict[str, Any]:
    """Return a threshold condition on a metric: its sum over five minutes above ten, unless said otherwise."""
    aggregation = {
        "alignmentPeriod": "300s",
        "perSeriesAligner": "ALIGN_DELTA",
        "crossSeriesReducer": "REDUCE_SUM",
        **fields.pop("aggregation", {}),
    }
    condition = {
        "filter": f'metric.type="{metric_type}" AND resource.type="cloud_run_revision"',
        "aggregations": [aggregation],
        "comparison": "COMPARISON_GT",
        "thresholdValue": 10,
        "duration": "0s",
        **fields,
    }
    return {"conditionThreshold": condition}


def test_a_threshold_is_crossed(signals: SeriesStore) -> None:
    """A threshold condition compares what its filter and aggregation give, and says what it saw."""
    given = policy(threshold("run.googleapis.com/request_count"))
    serve(signals, 200, 290, 190, 10)
    assert not firing(signals, given)
    serve(signals, 500, 90, 80, 10)
    state = evaluation.evaluate([given], signals, NOON)[0]
    assert (state.firing, state.conditions[0].values) == (True, [11])
    assert not firing(signals, {**given, "enabled": False})
    assert not firing(signals, given, NOON + 300)


def test_a_threshold_waits_for_its_duration(signals: SeriesStore) -> None:
    """Each point within the duration must violate."""
    given = policy(
        threshold("run.googleapis.com/request_count", duration="300s", aggregation={"alignmentPeriod": "60s"})
    )
    serve(signals, 200, 180, 0, 5)
    assert not firing(signals, given)
    serve(signals, 200, 360, 180, 5)
    assert firing(signals, given)


def test_a_threshold_can_be_on_a_ratio(signals: SeriesStore) -> None:
    """With a denominator, the ratio of the two sums is compared."""
    condition = threshold("run.googleapis.com/request_count", thresholdValue=0.2)["conditionThreshold"]
    errors = {**condition, "filter": condition["filter"] + ' AND metric.labels.response_code_class="5xx"'}
    ratio = {
        **errors,
        "denominatorFilter": condition["filter"],
        "denominatorAggregations": condition["aggregations"],
    }
    serve(signals, 200, 200, 100, 1)
    serve(signals, 500, 100, 80, 1)
    assert not firing(signals, policy({"conditionThreshold": ratio}))
    serve(signals, 500, 70, 50, 1)
    state = evaluation.evaluate([policy({"conditionThreshold": ratio})], signals, NOON)[0]
    assert state.conditions[0].values == [pytest.approx(40 / 140)]
    assert state.firing


def test_a_threshold_can_be_on_a_percentile(signals: SeriesStore) -> None:
    """A distribution is compared by a percentile; by itself it cannot be."""
    latencies = "run.googleapis.com/request_latencies"
    serve(signals, 200, 200, 100, 1, latency=0.5)
    slow = threshold(latencies, thresholdValue=400, aggregation={"perSeriesAligner": "ALIGN_PERCENTILE_95"})
    assert evaluation.evaluate([policy(slow)], signals, NOON)[0].conditions[0].values == [pytest.approx(500, rel=0.1)]
    reduced = threshold(latencies, thresholdValue=400, aggregation={"crossSeriesReducer": "REDUCE_PERCENTILE_99"})
    assert firing(signals, policy(reduced))
    with pytest.raises(CloudError, match="percentile"):
        firing(signals, policy(threshold(latencies)))


def test_a_trigger_counts_series(signals: SeriesStore) -> None:
    """With a trigger, so many of the series must violate."""
    each = {"crossSeriesReducer": "REDUCE_NONE"}
    condition = threshold("run.googleapis.com/request_count", aggregation=each, trigger={"count": 2})
    serve(signals, 200, 290, 0, 10)
    assert not firing(signals, policy(condition))
    serve(signals, 500, 290, 0, 10)
    assert firing(signals, policy(condition))


def test_absence_is_noticed(signals: SeriesStore) -> None:
    """A series that had data and has none any more is absent; one that never had is not."""
    absent = policy(
        {
            "conditionAbsent": {
                "filter": 'metric.type="run.googleapis.com/request_count"',
                "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_RATE"}],
                "duration": "600s",
            }
        }
    )
    assert not firing(signals, absent)
    serve(signals, 200, 1800, 900, 60)
    assert not firing(signals, absent, NOON - 600)
    assert firing(signals, absent)


COMBINED = [("AND", [True, True], True), ("AND", [True, False], False), ("OR", [False, True], True)]


@pytest.mark.parametrize(("combiner", "met", "expected"), COMBINED)
def test_conditions_are_combined(signals: SeriesStore, combiner: str, met: list[bool], expected: bool) -> None:
    """AND wants every condition met, OR any."""
    serve(signals, 200, 60, 0, 1)
    limits = [10 if one else 1000 for one in met]
    conditions = [threshold("run.googleapis.com/request_count", thresholdValue=limit) for limit in limits]
    assert firing(signals, policy(*conditions, combiner=combiner)) is expected


AVAILABILITY: dict[str, Any] = {
    "goal": 0.99,
    "rollingPeriod": "2419200s",
    "serviceLevelIndicator": {
        "requestBased": {
            "goodTotalRatio": {
                "badServiceFilter": f'{ASKED} metric.labels.response_code_class="5xx"',
                "totalServiceFilter": ASKED,
            }
        }
    },
}
GOOD_BAD = {
    "goodServiceFilter": f'{ASKED} metric.labels.response_code_class!="5xx"',
    "badServiceFilter": f'{ASKED} metric.labels.response_code_class="5xx"',
}
CUT = {
    "distributionFilter": 'metric.type="run.googleapis.com/request_latencies"',
    "range": {"max": 300},
}
INDICATORS = {
    "bad of total": AVAILABILITY["serviceLevelIndicator"]["requestBased"],
    "good and bad": {"goodTotalRatio": GOOD_BAD},
    "cut": {"distributionCut": CUT},
}


@pytest.mark.parametrize("indicator", INDICATORS.values(), ids=INDICATORS)
def test_a_budget_burns(signals: SeriesStore, indicator: dict[str, Any]) -> None:
    """The burn rate is the share of bad service over the share that the goal allows."""
    objective = {**AVAILABILITY, "serviceLevelIndicator": {"requestBased": indicator}}
    assert slo.burn_rate(objective, signals, 3600, NOON) is None
    serve(signals, 200, 3600, 1800, 2)
    serve(signals, 500, 1700, 1600, 1, latency=0.5)
    assert slo.burn_rate(objective, signals, 3600, NOON) == pytest.approx(0.1 / 0.01)
    assert slo.performance(objective, signals, NOON) == pytest.approx(0.9)
    assert slo.burn_rate(objective, signals, 60, NOON) is None


BURN_RATES = ['("{}", "3600s")', '("{}", 60m)', '("{}", 3600)', '("{}", "1h")']


@pytest.mark.parametrize("spelling", BURN_RATES)
def test_burn_rates_alert(signals: SeriesStore, spelling: str) -> None:
    """A policy on the burn rate of an SLO fires, however the look-back is written."""
    name = "projects/p/services/churn/serviceLevelObjectives/availability"
    condition = {
        "filter": "select_slo_burn_rate" + spelling.format(name),
        "comparison": "COMPARISON_GT",
        "thresholdValue": 14.4,
        "duration": "0s",
    }
    given = policy({"conditionThreshold": condition})
    evaluation.check_conditions(given)
    serve(signals, 200, 3600, 0, 4)
    slos = {name: AVAILABILITY}
    assert not firing(signals, given, slos=slos)
    serve(signals, 503, 900, 0, 4)
    assert evaluation.evaluate([given], signals, NOON, slos)[0].conditions[0].values == [pytest.approx(20, rel=0.01)]
    assert firing(signals, given, slos=slos)
    with pytest.raises(CloudError, match="Could not find service level objective"):
        firing(signals, given)


def test_other_objectives_are_not_guessed(signals: SeriesStore) -> None:
    """Windows-based and basic SLIs are answered 501, two wrong filters 400."""
    with pytest.raises(CloudError) as caught:
        slo.count({"serviceLevelIndicator": {"windowsBased": {}}}, signals, 0, 1)
    assert caught.value.status == 501
    wrong = {"serviceLevelIndicator": {"requestBased": {"goodTotalRatio": {"goodServiceFilter": "x"}}}}
    with pytest.raises(CloudError, match="exactly two"):
        slo.count(wrong, signals, 0, 1)


BAD_POLICIES = {
    "comparison": (policy(threshold("m/x", comparison="COMPARISON_EQ")), "COMPARISON_LT and COMPARISON_GT"),
    "duration": (policy(threshold("m/x", duration="90s")), "multiple of 60"),
    "filter": (policy(threshold("m/x", filter="metric.type=")), "Could not parse filter"),
    "query": (policy(prometheus("")), "must not be empty"),
}


@pytest.mark.parametrize(("given", "said"), BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_a_bad_policy_is_refused(given: dict[str, Any], said: str) -> None:
    """A policy that Google would refuse is a 400 that says why."""
    with pytest.raises(CloudError, match=said) as caught:
        evaluation.check_conditions(given)
    assert caught.value.status == 400


FILTERS = {
    f'{ASKED} AND resource.labels.service_name="churn"': True,
    f'{ASKED} resource.label.service_name="churn" metric.label."response_code"="200"': True,
    'metric.type=starts_with("run.googleapis.com/") AND NOT metric.labels.response_code=ends_with("99")': True,
    f'{ASKED} metric.labels.response_code=one_of("200", "204")': True,
    f'{ASKED} metric.labels.response_code!="200"': False,
    f'{ASKED} metric.labels.response_code>=400': False,
    f'{ASKED} resource.labels.revision_name=has_substring("00001")': True,
    f'{ASKED} resource.labels.revision_name:"00001"': True,
    f'{ASKED} resource.labels.service_name=monitoring.regex.full_match("ch.*")': True,
    f'{ASKED} resource.labels.service_name=monitoring.regex.full_match("ch")': False,
    f'{ASKED} AND (metric.labels.response_code="500" OR metric.labels.response_code="200")': True,
    f'{ASKED} -metric.labels.response_code_class="2xx"': False,
    f'{ASKED} resource.type="cloud_run_revision" project="p"': True,
    f'{ASKED} metric.labels.other=""': True,
    f'{ASKED} metric.labels.other:*': False,
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FILTERS.items())
def test_filters_choose_series(signals: SeriesStore, text: str, expected: bool) -> None:
    """Monitoring's filters compare types and labels, exactly or with a function."""
    series.record_request(signals, REVISION, NOON, 200, 0.1)
    chosen = signals.all("run.googleapis.com/request_count")
    assert [compile_filter(text)(one) for one in chosen] == [expected]


BAD_FILTERS = {
    "metric.type=": 400,
    "": 400,
    'metric.kind="x"': 400,
    'metric.type=~"x"': 400,
    'metric.type=nonsense("x")': 400,
    'metric.type="a" OR metric.type="b" AND resource.type="c"': 501,
    'metadata.system_labels.name="x"': 501,
}


@pytest.mark.parametrize(("text", "status"), BAD_FILTERS.items())
def test_bad_filters_are_refused(text: str, status: int) -> None:
    """A filter that is none is a 400, one that the double cannot evaluate a 501."""
    with pytest.raises(CloudError) as caught:
        compile_filter(text)
    assert caught.value.status == status


def asked(signals: SeriesStore, metric: str = "request_count", **aggregation: Any) -> list[dict[str, Any]]:
    """Return what timeSeries.list answers for the ten minutes before noon."""
    parameters = {
        "filter": f'metric.type="run.googleapis.com/{metric}"',
        "interval.startTime": "2026-01-01T11:50:00Z",
        "interval.endTime": "2026-01-01T12:00:00Z",
        **{f"aggregation.{name}": value for name, value in aggregation.items()},
    }
    return query.list_time_series(signals, parameters)


def values(answer: dict[str, Any]) -> list[float]:
    """Return the numbers of a time series, newest first."""
    return [float(number) for point in answer["points"] for number in point["value"].values()]


def test_points_are_minutes(signals: SeriesStore) -> None:
    """Without an aligner, a DELTA metric answers with what each minute added, newest first."""
    serve(signals, 200, 120, 0, 10)
    (answer,) = asked(signals)
    assert (answer["metricKind"], answer["valueType"]) == ("DELTA", "INT64")
    assert answer["metric"] == {
        "type": "run.googleapis.com/request_count",
        "labels": {"response_code": "200", "response_code_class": "2xx"},
    }
    assert answer["resource"] == resource_of(ORIGIN)
    assert [(point["interval"]["startTime"], point["value"]) for point in answer["points"]] == [
        ("2026-01-01T11:59:00Z", {"int64Value": "6"}),
        ("2026-01-01T11:58:00Z", {"int64Value": "6"}),
    ]


ALIGNED = {
    "ALIGN_DELTA": ("DELTA", "INT64", [30, 15]),
    "ALIGN_RATE": ("GAUGE", "DOUBLE", [0.1, 0.05]),
    "ALIGN_SUM": ("GAUGE", "INT64", [30, 15]),
    "ALIGN_MEAN": ("GAUGE", "DOUBLE", [6, 3]),
    "ALIGN_MAX": ("GAUGE", "INT64", [6, 3]),
    "ALIGN_COUNT": ("GAUGE", "INT64", [5, 5]),
}


@pytest.mark.parametrize(("aligner", "expected"), ALIGNED.items())
def test_counters_are_aligned(signals: SeriesStore, aligner: str, expected: tuple[str, str, list[float]]) -> None:
    """An aligner makes one point of each period, counted back from the interval's end, of its kind and type."""
    serve(signals, 200, 600, 300, 20)
    serve(signals, 200, 300, 0, 10)
    (answer,) = asked(signals, alignmentPeriod="300s", perSeriesAligner=aligner)
    assert (answer["metricKind"], answer["valueType"], values(answer)) == expected


def test_series_are_reduced(signals: SeriesStore) -> None:
    """A reducer joins the series of a group and keeps only the labels that it grouped by."""
    serve(signals, 200, 300, 0, 10)
    serve(signals, 201, 300, 0, 10)
    serve(signals, 500, 300, 0, 100)
    answers = asked(
        signals,
        alignmentPeriod="600s",
        perSeriesAligner="ALIGN_DELTA",
        crossSeriesReducer="REDUCE_SUM",
        groupByFields=["metric.labels.response_code_class"],
    )
    assert {one["metric"]["labels"]["response_code_class"]: values(one) for one in answers} == {"2xx": [60], "5xx": [3]}
    assert [one["resource"]["labels"] for one in answers] == [{}, {}]
    (total,) = asked(signals, alignmentPeriod="600s", perSeriesAligner="ALIGN_DELTA", crossSeriesReducer="REDUCE_SUM")
    assert values(total) == [63]


PERCENTILES = [
    {"perSeriesAligner": "ALIGN_PERCENTILE_99"},
    {"perSeriesAligner": "ALIGN_PERCENTILE_99", "crossSeriesReducer": "REDUCE_MAX"},
    {"perSeriesAligner": "ALIGN_DELTA", "crossSeriesReducer": "REDUCE_PERCENTILE_99"},
]


@pytest.mark.parametrize("aggregation", PERCENTILES, ids=str)
def test_distributions_are_aligned(signals: SeriesStore, aggregation: dict[str, Any]) -> None:
    """Percentiles are taken of each series or of all of them together."""
    serve(signals, 200, 300, 0, 1, latency=0.1)
    serve(signals, 200, 300, 0, 60, latency=3.0)
    (answer,) = asked(signals, "request_latencies", alignmentPeriod="600s", **aggregation)
    assert (answer["valueType"], values(answer)) == ("DOUBLE", [pytest.approx(3000, rel=0.1)])


def test_a_distribution_is_answered(signals: SeriesStore) -> None:
    """A distribution has its count, mean and bucket counts, without the empty buckets at its end."""
    serve(signals, 200, 60, 0, 10, latency=0.0105)
    (answer,) = asked(signals, "request_latencies", alignmentPeriod="600s", perSeriesAligner="ALIGN_DELTA")
    found = answer["points"][0]["value"]["distributionValue"]
    assert (found["count"], found["mean"], found["bucketCounts"]) == ("6", pytest.approx(10.5), ["0", "6"])


def test_gauges_are_aligned(signals: SeriesStore) -> None:
    """The instances of a revision are readings, of which the most within a period can be asked for."""
    for step, active in enumerate([1, 4, 2]):
        series.record_instances(signals, REVISION, NOON - 180 + 60 * step, active=active, idle=0)
    answers = asked(signals, "container/instance_count", alignmentPeriod="600s", perSeriesAligner="ALIGN_MAX")
    assert {one["metric"]["labels"]["state"]: values(one) for one in answers} == {"active": [4], "idle": [0]}


REFUSED = {
    "no metric": ({"filter": 'resource.type="cloud_run_revision"'}, 400),
    "no end": ({"interval.endTime": None}, 400),
    "percentile of a counter": ({"aggregation.perSeriesAligner": "ALIGN_PERCENTILE_99"}, 400),
    "reducer alone": (
        {"aggregation.perSeriesAligner": "ALIGN_NONE", "aggregation.crossSeriesReducer": "REDUCE_SUM"},
        400,
    ),
    "short period": ({"aggregation.alignmentPeriod": "10s"}, 400),
    "other aligner": ({"aggregation.perSeriesAligner": "ALIGN_INTERPOLATE"}, 501),
    "other reducer": ({"aggregation.crossSeriesReducer": "REDUCE_STDDEV"}, 501),
    "second aggregation": ({"secondaryAggregation.alignmentPeriod": "60s"}, 501),
}


@pytest.mark.parametrize(("change", "status"), REFUSED.values(), ids=REFUSED)
def test_bad_queries_are_refused(signals: SeriesStore, change: dict[str, Any], status: int) -> None:
    """An aggregation that does not fit is a 400, one that the double does not do a 501."""
    series.record_request(signals, REVISION, NOON - 5, 200, 0.1)
    parameters = {
        "filter": 'metric.type="run.googleapis.com/request_count"',
        "interval.endTime": "2026-01-01T12:00:00Z",
        "aggregation.alignmentPeriod": "60s",
        "aggregation.perSeriesAligner": "ALIGN_RATE",
        **change,
    }
    with pytest.raises(CloudError) as caught:
        query.list_time_series(signals, {name: value for name, value in parameters.items() if value is not None})
    assert caught.value.status == status


DASHBOARDS = {
    "rate": (
        "request_count",
        {"perSeriesAligner": "ALIGN_RATE", "groupByFields": ["metric.labels.response_code"]},
        None,
    ),
    "percentile": ("request_latencies", {"perSeriesAligner": "ALIGN_PERCENTILE_99"}, None),
    "most": ("container/instance_count", {"perSeriesAligner": "ALIGN_MAX", "crossSeriesReducer": "REDUCE_SUM"}, None),
    "most of a distribution": ("container/max_request_concurrencies", {"perSeriesAligner": "ALIGN_MAX"}, "ALIGN_MAX"),
    "rate of a gauge": ("container/instance_count", {"perSeriesAligner": "ALIGN_RATE"}, "ALIGN_RATE"),
    "label": ("request_count", {"perSeriesAligner": "ALIGN_RATE", "groupByFields": ["metric.label.code"]}, "label"),
    "field": ("request_count", {"perSeriesAligner": "ALIGN_RATE", "groupByFields": ["service"]}, "selector"),
}


@pytest.mark.parametrize(("metric", "aggregation", "fault"), DASHBOARDS.values(), ids=DASHBOARDS)
def test_aggregations_can_be_checked_without_data(metric: str, aggregation: dict[str, Any], fault: str | None) -> None:
    """Whether a dashboard's query can work is known before there is any data."""
    descriptor = series.RUN_METRICS[f"run.googleapis.com/{metric}"]
    given = {"alignmentPeriod": "60s", **aggregation}
    if fault is None:
        query.check_aggregation(descriptor, given)
    else:
        with pytest.raises(CloudError, match=fault):
            query.check_aggregation(descriptor, given)


def test_run_metrics_are_recorded(signals: SeriesStore) -> None:
    """Every metric of Cloud Run that the double keeps has its documented kind and labels."""
    series.record_request(signals, REVISION, NOON, 200, 0.1)
    series.record_start(signals, REVISION, NOON, 0.5)
    series.record_instances(signals, REVISION, NOON, active=1, idle=0)
    series.record_usage(signals, REVISION, NOON, cpu=0.5, memory=0.25)
    series.record_concurrency(signals, REVISION, NOON, 7)
    series.record_billable_time(signals, REVISION, NOON, 0.1)
    kept = {one.descriptor.type: one for one in signals.all()}
    assert set(kept) == set(series.RUN_METRICS)
    for metric_type, one in kept.items():
        assert {name for name, _ in one.labels} == set(series.RUN_METRICS[metric_type].labels)
    assert kept["run.googleapis.com/container/instance_count"].descriptor.kind == "GAUGE"
    assert kept["run.googleapis.com/container/startup_latencies"].records == [(NOON, 500)]
