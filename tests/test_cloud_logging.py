"""The double's Cloud Logging: lines become entries, filters choose them, metrics count them, sinks take them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.cloud.errors import CloudError
from tests.cloud.logging import extract
from tests.cloud.logging.entries import (
    LARGEST_BYTES,
    Origin,
    RequestFacts,
    check_size,
    read_line,
    request_entry,
    system_entry,
)
from tests.cloud.logging.language import compile_filter
from tests.cloud.logging.store import Entries, is_countable, taking_sinks
from tests.test_endpoint import GOOD

ORIGIN = Origin("p", "europe-west1", "churn", "churn-00001-abc", "i-1")
NOON = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPECIAL = "logging.googleapis.com/"


def entry_of(line: str | dict[str, Any]) -> dict[str, Any]:
    """Return the entry that a line on stdout becomes."""
    text = line if isinstance(line, str) else json.dumps(line)
    entry = read_line(text, "stdout", ORIGIN, NOON, "id-1")
    assert entry is not None
    return entry


@pytest.fixture
def printed(client: TestClient, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the entries of what the function prints: a load, an answer and two rejections."""
    trace = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    client.post("/predict", json={"instances": [GOOD, GOOD]}, headers=trace)
    client.post("/predict", json={"instances": [{}]})
    client.post("/predict", content=b"{")
    lines = capfd.readouterr().out.splitlines()
    entries = [read_line(line, "stdout", ORIGIN, NOON, f"id-{index}") for index, line in enumerate(lines)]
    return [entry for entry in entries if entry and "jsonPayload" in entry]


def chosen(entries: list[dict[str, Any]], text: str) -> list[str]:
    """Return the kinds of the entries that a filter takes."""
    return [entry["jsonPayload"]["kind"] for entry in entries if compile_filter(text)(entry)]


def test_a_plain_line_is_text() -> None:
    """A line that is no JSON object becomes textPayload, with the resource of the revision that printed it."""
    assert entry_of("hello") == {
        "insertId": "id-1",
        "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
        "resource": {
            "type": "cloud_run_revision",
            "labels": {
                "project_id": "p",
                "service_name": "churn",
                "revision_name": "churn-00001-abc",
                "configuration_name": "churn",
                "location": "europe-west1",
            },
        },
        "labels": {"instanceId": "i-1"},
        "timestamp": "2026-01-01T00:00:00Z",
        "receiveTimestamp": "2026-01-01T00:00:00Z",
        "textPayload": "hello",
    }


NO_PAYLOADS = {
    "array": "[1]",
    "number": "3",
    "string": '"text"',
    "no end": "{",
    "not a number": '{"a": NaN}',
    "more than JSON": '{"a": 1} x',
    "deep": '{"a":' * 5000,
    "whole but deep": '{"a":' * 5000 + "1" + "}" * 5000,
    "infinity": '{"a": 1e999}',
    "large number": '{"a": 1' + "0" * 400 + "}",
    "half a character": '{"a": "\\ud800"}',
    "typed payload": '{"@type": "type.googleapis.com/x"}',
    "severity in odd digits": '{"severity": "\u00b2", "a": 1}',
    "time after all years": '{"timestamp": {"seconds": 1e300}, "a": 1}',
    "time beyond the clock": '{"timestampSeconds": "99999999999999999", "timestampNanos": 0}',
    "time before all years": '{"time": "0001-01-01T00:00:00+14:00"}',
}


@pytest.mark.parametrize("line", NO_PAYLOADS.values(), ids=NO_PAYLOADS)
def test_what_is_no_payload_stays_text(line: str) -> None:
    """Only a whole JSON object that an entry can hold is structured; nothing that is printed makes reading fail."""
    assert entry_of(line)["textPayload"] == line


def test_a_blank_line_is_nothing() -> None:
    """Blank lines leave no entry."""
    assert read_line(" \r\n", "stderr", ORIGIN, NOON, "x") is None


SPECIAL_CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "severity": ({"severity": "error", "a": 1}, {"severity": "ERROR", "jsonPayload": {"a": 1}}),
    "severity alias": ({"severity": "WARN", "a": 1}, {"severity": "WARNING", "jsonPayload": {"a": 1}}),
    "severity number": ({"severity": 450, "a": 1}, {"severity": "WARNING", "jsonPayload": {"a": 1}}),
    "severity unknown": ({"severity": "loud", "a": 1}, {"severity": None, "jsonPayload": {"a": 1}}),
    "message alone": ({"severity": "INFO", "message": "hi"}, {"textPayload": "hi", "jsonPayload": None}),
    "message with more": ({"message": "hi", "a": 1}, {"textPayload": None, "jsonPayload": {"message": "hi", "a": 1}}),
    "message no text": ({"message": {"a": 1}}, {"jsonPayload": {"message": {"a": 1}}}),
    "time": (
        {"time": "2026-01-02T03:04:05.6+01:00", "a": 1},
        {"timestamp": "2026-01-02T02:04:05.600Z", "jsonPayload": {"a": 1}},
    ),
    "no time": ({"time": "soon"}, {"timestamp": "2026-01-01T00:00:00Z", "jsonPayload": {"time": "soon"}}),
    "timestamp object": (
        {"timestamp": {"seconds": 5, "nanos": 7}, "a": 1},
        {"timestamp": "1970-01-01T00:00:05.000000007Z", "jsonPayload": {"a": 1}},
    ),
    "timestamp parts": (
        {"timestampSeconds": 5, "timestampNanos": 0, "time": "2026-01-02T00:00:00Z"},
        {"timestamp": "1970-01-01T00:00:05Z", "jsonPayload": {"time": "2026-01-02T00:00:00Z"}},
    ),
    "trace": (
        {f"{SPECIAL}trace": "projects/p/traces/t", f"{SPECIAL}spanId": "s", f"{SPECIAL}trace_sampled": True, "a": 1},
        {"trace": "projects/p/traces/t", "spanId": "s", "traceSampled": True, "jsonPayload": {"a": 1}},
    ),
    "labels": (
        {f"{SPECIAL}labels": {"team": "x"}, "a": 1},
        {"labels": {"instanceId": "i-1", "team": "x"}, "jsonPayload": {"a": 1}},
    ),
    "insert id": ({f"{SPECIAL}insertId": "mine", "a": 1}, {"insertId": "mine", "jsonPayload": {"a": 1}}),
    "operation": (
        {f"{SPECIAL}operation": {"id": "o", "first": True}, "a": 1},
        {"operation": {"id": "o", "first": True}},
    ),
    "source": (
        {f"{SPECIAL}sourceLocation": {"file": "f", "line": 3}, "a": 1},
        {"sourceLocation": {"file": "f", "line": "3"}, "jsonPayload": {"a": 1}},
    ),
    "http request": (
        {"httpRequest": {"status": 200, "requestSize": 12}, "a": 1},
        {"httpRequest": {"status": 200, "requestSize": "12"}, "jsonPayload": {"a": 1}},
    ),
    "ill-typed": ({"httpRequest": "GET /", f"{SPECIAL}labels": {"n": 1}}, {"httpRequest": None}),
    "numbers": ({"a": 1.0, "b": 0.5, "c": 2**60 + 1}, {"jsonPayload": {"a": 1, "b": 0.5, "c": float(2**60)}}),
}


@pytest.mark.parametrize(("line", "expected"), SPECIAL_CASES.values(), ids=SPECIAL_CASES)
def test_special_fields_move_into_the_entry(line: dict[str, Any], expected: dict[str, Any]) -> None:
    """The fields that Cloud Logging knows leave the payload, where they have the type that it wants."""
    entry = entry_of(line)
    assert {name: entry.get(name) for name in expected} == expected


def test_a_request_has_its_own_log() -> None:
    """Cloud Run logs every request with its status, latency and trace, and a severity by the status."""
    asked = datetime(2025, 12, 31, 23, 59, 59, 250000, tzinfo=UTC)
    what = {"requestMethod": "POST", "requestUrl": "https://churn.run.app/predict", "status": 503, "latency": "0.01s"}
    entry = request_entry(RequestFacts(asked, ORIGIN, what, f"projects/p/traces/{TRACE}", "s", True, "no"), NOON, "x")
    assert entry["logName"].endswith("%2Frequests")
    assert (entry["timestamp"], entry["receiveTimestamp"]) == ("2025-12-31T23:59:59.250Z", "2026-01-01T00:00:00Z")
    assert (entry["severity"], entry["trace"]) == ("ERROR", f"projects/p/traces/{TRACE}")
    assert (entry["spanId"], entry["traceSampled"], entry["textPayload"]) == ("s", True, "no")
    assert entry["httpRequest"] == what


@pytest.mark.parametrize(("status", "severity"), [(200, "INFO"), (304, "INFO"), (404, "WARNING"), (500, "ERROR")])
def test_a_status_has_a_severity(status: int, severity: str) -> None:
    """The request log warns of what callers did wrong and reports what the service did."""
    facts = RequestFacts(datetime.now(UTC), Origin("p", "l", "s", "r"), {"status": status})
    entry = request_entry(facts, NOON, "x")
    assert entry["severity"] == severity
    assert not {"trace", "spanId", "traceSampled", "textPayload", "labels"} & set(entry)


def test_the_platform_has_a_log() -> None:
    """What the platform does to an instance is in varlog/system."""
    entry = system_entry("STARTUP HTTP probe failed", "ERROR", ORIGIN, NOON, "x")
    assert entry["logName"] == "projects/p/logs/run.googleapis.com%2Fvarlog%2Fsystem"
    assert (entry["severity"], entry["textPayload"]) == ("ERROR", "STARTUP HTTP probe failed")


def test_a_large_entry_is_refused() -> None:
    """An entry above 256 KB is refused with its size."""
    check_size(entry_of("x" * (LARGEST_BYTES - 1000)))
    with pytest.raises(CloudError, match=r"Log entry with size: .*K exceeds maximum size of 256.0K"):
        check_size(entry_of("x" * LARGEST_BYTES))


def test_records_become_entries(printed: list[dict[str, Any]]) -> None:
    """What the function prints arrives as structured entries whose severity, time and trace Cloud Logging took."""
    load, answer, *rejections = printed
    assert [entry["severity"] for entry in printed] == ["INFO", "INFO", "WARNING", "WARNING"]
    assert (load["jsonPayload"]["kind"], answer["jsonPayload"]["kind"]) == ("load", "prediction")
    assert len(rejections) == 2
    assert answer["trace"].endswith(TRACE)
    assert answer["spanId"] == "b7ad6b7169203331"
    assert answer["traceSampled"] is True
    for entry in printed:
        assert entry["timestamp"] > "2026-01-01T00:00:00Z"
        assert not {"severity", "time"} & set(entry["jsonPayload"])
        assert not [name for name in entry["jsonPayload"] if name.startswith(SPECIAL)]
        check_size(entry)


def test_filters_choose_records(printed: list[dict[str, Any]]) -> None:
    """The filters of metrics and sinks tell the function's records apart."""
    service = 'resource.type="cloud_run_revision" resource.labels.service_name="churn"'
    assert chosen(printed, f'{service} jsonPayload.kind="prediction"') == ["prediction"]
    assert chosen(printed, f'{service} jsonPayload.outcome!="answered" jsonPayload.status>=400') == ["rejection"] * 2
    assert chosen(printed, 'jsonPayload.total_ms>0 jsonPayload.kind=("load" OR "load_failure")') == ["load"]
    assert chosen(printed, 'jsonPayload.outcome=~"^malformed_"') == ["rejection"]
    assert chosen(printed, 'log_id("run.googleapis.com/stdout") severity>=WARNING') == ["rejection"] * 2
    assert chosen(printed, 'resource.labels.service_name="other"') == []


SAMPLE: dict[str, Any] = {
    "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
    "insertId": "abc",
    "severity": "WARNING",
    "timestamp": "2026-01-01T00:00:00.5Z",
    "labels": {"instanceId": "i-1", "k8s.io/app": "x"},
    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "churn", "location": "europe-west1"}},
    "httpRequest": {"status": 404, "latency": "0.25s", "requestSize": "120", "remoteIp": "10.1.2.3"},
    "jsonPayload": {
        "message": "The Cat in the Hat",
        "count": 5,
        "big": "9223372036854775807",
        "ok": True,
        "none": None,
        "sizes": [8.5, 9, 6],
        "items": [{"name": "a"}, {"name": "b"}],
        "deep": {"er": {"x y": "z"}},
        "endTime": "noon",
        "code": "E42 (fatal)",
    },
}
TRUE = [
    "",
    "-- nothing but a comment",
    'resource.type = "cloud_run_revision" -- of Cloud Run\nAND severity >= WARNING',
    "severity=warning",
    "severity=400",
    "severity>INFO severity<ERROR",
    "severity=(ERROR OR WARNING)",
    'resource.type = "CLOUD_run_revision"',
    "RESOURCE.type=cloud_run_revision",
    "log_name:stdout",
    '"the cat in the hat"',
    "cat hat",
    "cat AND (dog OR hat)",
    '"cat" OR NOT "hat" AND NOT "dog" OR "cow"',
    "dog OR cat hat",  # (dog OR cat) AND hat
    "NOT dog",
    "-dog",
    "NOT(dog OR cow)",
    "404",
    "jsonPayload:cat",
    "jsonPayload.message:(cat hat)",
    'jsonPayload.message="the CAT in the hat"',
    'jsonPayload.message=~"Cat.*Hat$"',
    'jsonPayload.message=~"(?i)^the cat"',
    'jsonPayload.message!~"dog"',
    'jsonPayload.message=~("^The" AND "Hat$")',
    r'jsonPayload.code=~"^E\d+ \(fatal\)"',
    r'jsonPayload.code=~"^E\\d+ \\(fatal\\)"',
    "jsonPayload.count=5",
    'jsonPayload.count="5.0"',
    "jsonPayload.count:5",
    "jsonPayload.count>-3.5e-1",
    'jsonPayload.count>="5"',
    "jsonPayload.ok=TRUE",
    "jsonPayload.ok>false",
    "jsonPayload.none=NULL_VALUE",
    "jsonPayload.none:*",
    "jsonPayload.count!=NULL_VALUE",
    "jsonPayload.sizes<7",
    "jsonPayload.sizes=9",
    "jsonPayload.sizes!=9",  # any member
    "jsonPayload.items.name=b",
    'jsonPayload.deep.er."x y"=z',
    "jsonPayload.endTime=noon",
    'labels."k8s.io/app"=x',
    "labels.instanceId:*",
    "NOT jsonPayload.missing=x",
    "NOT jsonPayload.missing:*",
    'trace=""',  # defaulted
    'trace!="x"',
    "NOT trace:*",
    "httpRequest.status>=400 httpRequest.status<500",
    'httpRequest.latency>"249ms" httpRequest.latency<="0.25s"',
    "httpRequest.requestSize>99",
    "httpRequest.request_size=120",
    'timestamp>="2026-01-01" timestamp<"2026-01-01T01:00:00+00:00"',
    'timestamp="2025-12-31T23:00:00.500-01:00"',
    'log_id("run.googleapis.com/stdout")',
    "source(projects/p)",
    'ip_in_net(httpRequest.remoteIp, "10.1.0.0/16")',
    "sample(insertId, 1)",
    'SEARCH("hat CAT")',
    'SEARCH(jsonPayload.message, "cat")',
    'regexp_extract(jsonPayload.code, "E([0-9]+)")="42"',
    'cast(regexp_extract(jsonPayload.code, "E([0-9]+)"), INT64)>41',
]
FALSE = [
    "severity>=ERROR",
    "severity!=WARNING",
    "severity=nonsense",
    "dog OR cow cat",  # (dog OR cow) AND cat
    "jsonPayload.message:(cat dog)",
    "jsonPayload.message=cat",
    'jsonPayload.message=~"cat"',  # regular expressions do mind the case
    "jsonPayload.count=five",
    "jsonPayload.count!=five",  # a conversion that fails makes any comparison fail
    'jsonPayload.count=~"5"',  # only text
    "jsonPayload.missing!=x",
    'jsonPayload.missing!~"x"',
    "jsonPayload.missing:*",
    "jsonPayload.endtime=noon",  # a payload's keys mind the case
    "jsonPayload.none=x",
    "jsonPayload.none!=NULL_VALUE",
    "jsonPayload.sizes>9",
    "labels.other!=x",
    "trace:*",
    "httpRequest.status=200",
    'timestamp>"2026-01-01T00:00:00.500Z"',
    'log_id("run.googleapis.com/stderr")',
    "source(projects/other)",
    'SEARCH("ca")',
    'ip_in_net(httpRequest.remoteIp, "10.2.0.0/16")',
]


@pytest.mark.parametrize("text", TRUE)
def test_a_filter_takes_an_entry(text: str) -> None:
    """Filters mean what Google's page on the language says."""
    assert compile_filter(text)(SAMPLE)


@pytest.mark.parametrize("text", FALSE)
def test_a_filter_leaves_an_entry(text: str) -> None:
    """Filters take no more than Google's page on the language says."""
    assert not compile_filter(text)(SAMPLE)


def test_a_sample_is_a_share() -> None:
    """sample() takes about its share of the values, and always the same ones."""
    entries = [{**SAMPLE, "insertId": str(index)} for index in range(1000)]
    quarter = [entry["insertId"] for entry in entries if compile_filter("sample(insertId, 0.25)")(entry)]
    half = [entry["insertId"] for entry in entries if compile_filter("sample(insertId, 0.5)")(entry)]
    assert 200 < len(quarter) < 300
    assert set(quarter) < set(half)


REFUSED = {
    "insertId = abc:def": "syntax error at line 1, column 15, token ':'",
    "timestamp>=2026-01-01T00:00:00Z": "syntax error at line 1, column 25, token ':'",
    'severity=ERROR\nAND "open': "syntax error at line 2",
    "(a OR b": "syntax error",
    "a AND": "syntax error",
    "jsonPayload.a=": "syntax error",
    "thud=1": "Field not found: 'thud'",
    "operation.thud=1": "Field not found: 'operation.thud'",
    "textPayload.thud=1": "Field not found: 'textPayload.thud'",
    "shout(insertId)": "unknown function 'shout'",
    'jsonPayload.a=~"("': "Invalid regular expression",
    'jsonPayload.a=~"a(?=b)"': "invalid perl operator",
    "sample(insertId, 2)": "fraction",
    "x" * 20_001: "maximum length",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_a_bad_filter_is_refused(text: str) -> None:
    """A filter that Google cannot parse is a 400 that says where."""
    with pytest.raises(CloudError, match=REFUSED[text].replace("(", r"\(")) as caught:
        compile_filter(text)
    assert caught.value.status == 400


COUNTER: dict[str, Any] = {
    "name": "churn/requests",
    "filter": 'jsonPayload.kind=("prediction" OR "rejection")',
    "metricDescriptor": {
        "metricKind": "DELTA",
        "valueType": "INT64",
        "labels": [{"key": "outcome"}, {"key": "version", "valueType": "INT64"}, {"key": "cut", "valueType": "BOOL"}],
    },
    "labelExtractors": {
        "outcome": "EXTRACT(jsonPayload.outcome)",
        "version": "EXTRACT(jsonPayload.version)",
        "cut": "EXTRACT(jsonPayload.cut)",
    },
}
DISTRIBUTION: dict[str, Any] = {
    "name": "churn-latency",
    "filter": 'jsonPayload.kind="prediction"',
    "metricDescriptor": {
        "metricKind": "DELTA",
        "valueType": "DISTRIBUTION",
        "unit": "ms",
        "labels": [{"key": "trace"}, {"key": "family"}],
    },
    "labelExtractors": {
        "trace": 'REGEXP_EXTRACT(trace, "([^/]{4})[^/]*$")',
        "family": 'REGEXP_EXTRACT(jsonPayload.nothing, "(.)")',
    },
    "valueExtractor": "EXTRACT(jsonPayload.total_ms)",
    "bucketOptions": {"exponentialBuckets": {"numFiniteBuckets": 20, "growthFactor": 2, "scale": 1}},
}


def test_a_counter_counts_records(printed: list[dict[str, Any]]) -> None:
    """A counter gives one per entry, its labels extracted and of their type, with defaults where nothing is."""
    extract.check_metric(COUNTER)
    found = [extract.extract(COUNTER, entry) for entry in printed]
    assert found[0] is None
    assert [increment and (increment.value, increment.labels) for increment in found[1:]] == [
        (1, {"outcome": "answered", "version": "1", "cut": "false"}),
        (1, {"outcome": "invalid_instances", "version": "1", "cut": "false"}),
        (1, {"outcome": "malformed_json", "version": "1", "cut": "false"}),
    ]


def test_a_distribution_takes_values(printed: list[dict[str, Any]]) -> None:
    """A distribution gives the value that was extracted; a label without a match is empty."""
    extract.check_metric(DISTRIBUTION)
    increments = [increment for entry in printed if (increment := extract.extract(DISTRIBUTION, entry))]
    assert [increment.value for increment in increments] == [printed[1]["jsonPayload"]["total_ms"]]
    assert increments[0].labels == {"trace": TRACE[:4], "family": ""}


def test_a_value_that_is_no_number_is_left_out(printed: list[dict[str, Any]]) -> None:
    """An entry whose value cannot be read is not counted at all."""
    metric = {**DISTRIBUTION, "valueExtractor": "EXTRACT(jsonPayload.outcome)"}
    assert [extract.extract(metric, entry) for entry in printed] == [None] * 4


def test_a_disabled_metric_counts_nothing(printed: list[dict[str, Any]]) -> None:
    """A disabled metric makes no points."""
    assert extract.extract({**COUNTER, "disabled": True}, printed[1]) is None


def without(metric: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a metric without one of its fields."""
    return {key: value for key, value in metric.items() if key != name}


BAD_METRICS = {
    "name empty": ({**COUNTER, "name": ""}, "Invalid metric name"),
    "name slash": ({**COUNTER, "name": "/a"}, "Invalid metric name"),
    "name space": ({**COUNTER, "name": "a b"}, "Invalid metric name"),
    "name long": ({**COUNTER, "name": "a" * 101}, "Invalid metric name"),
    "no filter": (without(COUNTER, "filter"), "filter"),
    "bad filter": ({**COUNTER, "filter": "jsonPayload.kind=="}, "syntax error"),
    "label without extractor": (
        {**COUNTER, "labelExtractors": {"outcome": "EXTRACT(jsonPayload.outcome)"}},
        "Number of label descriptors must match number of label extractors",
    ),
    "extractor without label": (
        {**COUNTER, "labelExtractors": {**COUNTER["labelExtractors"], "more": "EXTRACT(insertId)"}},
        "Number of label descriptors must match number of label extractors",
    ),
    "extractor of another label": (
        {**COUNTER, "labelExtractors": {**without(COUNTER["labelExtractors"], "cut"), "cup": "EXTRACT(insertId)"}},
        "label 'cut' has no extractor",
    ),
    "bad extractor": (
        {**COUNTER, "labelExtractors": {**COUNTER["labelExtractors"], "cut": "jsonPayload.cut"}},
        "syntax error",
    ),
    "gauge": ({**COUNTER, "metricDescriptor": {"metricKind": "GAUGE"}, "labelExtractors": {}}, "GAUGE"),
    "distribution without value": (without(DISTRIBUTION, "valueExtractor"), "value extractor is required"),
    "counter with value": ({**COUNTER, "valueExtractor": "EXTRACT(jsonPayload.status)"}, "only for them"),
    "counter with buckets": ({**COUNTER, "bucketOptions": DISTRIBUTION["bucketOptions"]}, "only for metrics"),
    "two groups": ({**DISTRIBUTION, "valueExtractor": 'REGEXP_EXTRACT(insertId, "(a)(b)")'}, "exactly one capture"),
    "falling bounds": (
        {**DISTRIBUTION, "bucketOptions": {"explicitBuckets": {"bounds": [1, 3, 2]}}},
        "monotonically increasing",
    ),
    "no growth": (
        {
            **DISTRIBUTION,
            "bucketOptions": {"exponentialBuckets": {"numFiniteBuckets": 2, "growthFactor": 1, "scale": 1}},
        },
        "growth factor",
    ),
    "two kinds of buckets": (
        {**DISTRIBUTION, "bucketOptions": {**DISTRIBUTION["bucketOptions"], "explicitBuckets": {"bounds": [1]}}},
        "Exactly one",
    ),
}


@pytest.mark.parametrize(("metric", "said"), BAD_METRICS.values(), ids=BAD_METRICS)
def test_a_bad_metric_is_refused(metric: dict[str, Any], said: str) -> None:
    """A LogMetric that Google would refuse is a 400 that says why."""
    with pytest.raises(CloudError, match=said) as caught:
        extract.check_metric(metric)
    assert caught.value.status == 400


CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "kind": lambda: {**COUNTER, "metricDescriptor": {**COUNTER["metricDescriptor"], "valueType": "DISTRIBUTION"}},
    "label": lambda: {**COUNTER, "metricDescriptor": {"labels": [{"key": "outcome"}]}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_metric_keeps_its_type_and_labels(change: Callable[[], dict[str, Any]]) -> None:
    """Value type and existing labels of a metric cannot change; its filter can, and labels can be added."""
    extract.check_update(COUNTER, {**COUNTER, "filter": "severity=ERROR"})
    with pytest.raises(CloudError, match="cannot be"):
        extract.check_update(COUNTER, change())


BUCKETS = {
    "explicit": ({"explicitBuckets": {"bounds": [0, 10, 20]}}, (0, 10, 20)),
    "linear": ({"linearBuckets": {"numFiniteBuckets": 3, "width": 5, "offset": 1}}, (1, 6, 11, 16)),
    "exponential": ({"exponentialBuckets": {"numFiniteBuckets": 3, "growthFactor": 2, "scale": 1}}, (1, 2, 4, 8)),
}


@pytest.mark.parametrize(("options", "bounds"), BUCKETS.values(), ids=BUCKETS)
def test_buckets_have_bounds(options: dict[str, Any], bounds: tuple[float, ...]) -> None:
    """N finite buckets lie between N + 1 bounds."""
    assert extract.bucket_bounds(options) == bounds


@pytest.fixture
def kept() -> Entries:
    """Return entries under a clock that stands at noon."""
    return Entries(lambda: NOON)


def written(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a body of entries:write."""
    return {"logName": "projects/p/logs/app", "resource": {"type": "global"}, "entries": list(entries), **fields}


def texts(answer: dict[str, Any]) -> list[str]:
    """Return the texts of the entries of an answer."""
    return [entry["textPayload"] for entry in answer.get("entries", [])]


def test_entries_are_completed(kept: Entries) -> None:
    """What an entry leaves out comes from the request, the clock and the service."""
    kept.write_entries(written({"textPayload": "a", "labels": {"x": "1"}}, labels={"x": "0", "y": "2"}))
    (entry,) = kept.list_entries({"resourceNames": ["projects/p"]})["entries"]
    assert entry.pop("insertId")
    assert entry == {
        "logName": "projects/p/logs/app",
        "resource": {"type": "global"},
        "timestamp": "2026-01-01T00:00:00Z",
        "receiveTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"x": "1", "y": "2"},
        "textPayload": "a",
    }


def test_entries_are_listed_by_time(kept: Entries) -> None:
    """Entries come by their time, those of the same time as they were written, in pages that go on where one ended."""
    stamps = ["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01-01T00:00:00Z"]
    for text, stamp in zip("dbca", stamps, strict=True):
        kept.write_entries(written({"textPayload": text, "timestamp": stamp}))
    asked = {"resourceNames": ["projects/p"], "pageSize": 3}
    first = kept.list_entries(asked)
    assert texts(first) == ["a", "b", "c"]
    assert texts(kept.list_entries({**asked, "pageToken": first["nextPageToken"]})) == ["d"]
    newest = kept.list_entries({**asked, "orderBy": "timestamp desc", "pageSize": 2})
    assert texts(newest) == ["d", "c"]
    rest = kept.list_entries({**asked, "orderBy": "timestamp desc", "pageToken": newest["nextPageToken"]})
    assert (texts(rest), "nextPageToken" in rest) == (["b", "a"], False)
    assert texts(kept.list_entries({**asked, "filter": 'timestamp>="2026-01-02" timestamp<"2026-01-03"'})) == ["b", "c"]


def test_reading_has_a_quota() -> None:
    """Sixty reads a minute are answered, one more is 429, and after a minute there are others."""
    now = NOON
    entries = Entries(lambda: now)
    for _ in range(60):
        entries.list_entries({"resourceNames": ["projects/p"]})
    with pytest.raises(CloudError) as refused:
        entries.list_entries({"resourceNames": ["projects/p"]})
    assert (refused.value.status, refused.value.rpc) == (429, "RESOURCE_EXHAUSTED")
    now += 60 * 10**9
    assert entries.list_entries({"resourceNames": ["projects/p"]}) == {}


def test_a_project_has_its_own_entries(kept: Entries) -> None:
    """Only the logs of the named projects are listed; the default view holds all of them."""
    kept.write_entries(written({"textPayload": "mine"}, {"textPayload": "other", "logName": "projects/q/logs/app"}))
    assert texts(kept.list_entries({"resourceNames": ["projects/p"]})) == ["mine"]
    view = "projects/q/locations/global/buckets/_Default/views/_AllLogs"
    assert texts(kept.list_entries({"resourceNames": [view]})) == ["other"]
    assert kept.list_entries({"resourceNames": ["projects/r"]}) == {}


def test_duplicates_are_kept_once(kept: Entries) -> None:
    """An entry with the time and insertId of another one is the same one."""
    for _ in range(2):
        kept.write_entries(written({"textPayload": "a", "insertId": "x", "timestamp": "2026-01-01T00:00:00Z"}))
    assert texts(kept.list_entries({"resourceNames": ["projects/p"]})) == ["a"]


def test_a_dry_run_writes_nothing(kept: Entries) -> None:
    """A dry run is checked and forgotten."""
    kept.write_entries(written({"textPayload": "a"}, dryRun=True))
    assert kept.find() == []


FINE = {"textPayload": "fine", "logName": "projects/p/logs/app", "resource": {"type": "global"}}
BAD_WRITES: dict[str, dict[str, Any]] = {
    "nothing": written(),
    "no log name": {"resource": {"type": "global"}, "entries": [{"textPayload": "a"}]},
    "bad log name": written({"textPayload": "a", "logName": "app"}),
    "slash in log id": written({"textPayload": "a", "logName": "projects/p/logs/a/b"}),
    "no resource": {"logName": "projects/p/logs/app", "entries": [{"textPayload": "a"}]},
    "two payloads": written({"textPayload": "a", "jsonPayload": {}}),
    "too large": written({"textPayload": "x" * LARGEST_BYTES}),
}


@pytest.mark.parametrize("body", BAD_WRITES.values(), ids=BAD_WRITES)
def test_bad_writes_are_refused(kept: Entries, body: dict[str, Any]) -> None:
    """An entry that Google would not take refuses the whole request."""
    with pytest.raises(CloudError) as caught:
        kept.write_entries({**body, "entries": [*body["entries"], FINE] if body["entries"] else []})
    assert (caught.value.status, kept.find()) == (400, [])


def test_a_write_can_succeed_in_part(kept: Entries) -> None:
    """With partialSuccess the good entries are written, and the error says what is wrong with each other one."""
    with pytest.raises(CloudError) as caught:
        kept.write_entries({"entries": [FINE, {"textPayload": "a"}, FINE | {"logName": "x"}], "partialSuccess": True})
    (detail,) = caught.value.details
    assert (caught.value.status, sorted(detail["logEntryErrors"])) == (400, ["1", "2"])
    assert [entry["textPayload"] for entry in kept.find()] == ["fine"]


BAD_LISTS: dict[str, dict[str, Any]] = {
    "nobody": {},
    "bad name": {"resourceNames": ["p"]},
    "bad order": {"resourceNames": ["projects/p"], "orderBy": "severity"},
    "bad size": {"resourceNames": ["projects/p"], "pageSize": -1},
    "bad token": {"resourceNames": ["projects/p"], "pageToken": "x"},
    "bad filter": {"resourceNames": ["projects/p"], "filter": "a="},
}


@pytest.mark.parametrize("body", BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_lists_are_refused(kept: Entries, body: dict[str, Any]) -> None:
    """A list that Google would not answer is a 400."""
    with pytest.raises(CloudError) as caught:
        kept.list_entries(body)
    assert caught.value.status == 400


def test_the_platform_drops_what_is_too_large(kept: Entries) -> None:
    """A captured line above the limit leaves no entry, only a count."""
    heard: list[dict[str, Any]] = []
    kept.subscribe(heard.append)
    assert kept.add(entry_of("short"))
    assert not kept.add(entry_of("x" * LARGEST_BYTES))
    assert (len(heard), len(kept.find()), kept.dropped) == (1, 1, 1)


SINKS: dict[str, tuple[dict[str, Any], bool]] = {
    "all": ({}, True),
    "filter": ({"filter": 'jsonPayload.kind="prediction"'}, True),
    "other filter": ({"filter": 'jsonPayload.kind="load"'}, False),
    "disabled": ({"disabled": True}, False),
    "excluded": ({"exclusions": [{"name": "x", "filter": "jsonPayload.instances>0"}]}, False),
    "exclusion disabled": ({"exclusions": [{"name": "x", "filter": "severity>=DEFAULT", "disabled": True}]}, True),
}


@pytest.mark.parametrize(("sink", "takes"), SINKS.values(), ids=SINKS)
def test_sinks_take_entries(printed: list[dict[str, Any]], sink: dict[str, Any], takes: bool) -> None:
    """A sink takes what its filter takes and no exclusion does."""
    assert bool(taking_sinks([sink], printed[1])) is takes


LATE = [("2025-12-31T00:00:00Z", True), ("2025-12-30T23:59:59Z", False), ("2026-01-01T00:11:00Z", False)]


@pytest.mark.parametrize(("stamp", "counted"), LATE)
def test_late_entries_are_not_counted(stamp: str, counted: bool) -> None:
    """Metrics leave out what comes a day late or from the future."""
    assert is_countable({**entry_of("x"), "timestamp": stamp}) is counted
