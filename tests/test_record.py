"""Records: their shape, what privacy keeps out of them, how they are cut, and that they block nobody."""

import datetime
import io
import json
import logging
import os
import re
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from google.cloud.logging_v2.handlers.structured_log import StructuredLogHandler
from starlette.testclient import TestClient

from function.call import Answered
from function.contract import CHECK_AGENT, LoadRecord, Manifest, Privacy, RecordExtras, RequestRecord, Trace
from function.record import Facts, LineWriter, Recorder, sampling_order, trace_fields
from function.settings import Settings
from function.validation import Marks
from tests.test_endpoint import GOOD

Records = Callable[[], list[dict[str, Any]]]
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def records(capfd: pytest.CaptureFixture[str]) -> Records:
    """Return the function that gives the records printed since it was last asked."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]


def last(records: Records, kind: str) -> dict[str, Any]:
    """Return the last record of a kind."""
    return [record for record in records() if record["kind"] == kind][-1]


def test_every_record_has_its_declared_fields_and_types(client: TestClient, records: Records) -> None:
    """Whatever happens, a line holds the fields of the contract, each of its one type for ever."""
    client.post(
        "/predict", json={"instances": [GOOD, GOOD]}, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    )
    client.post("/predict", json={"instances": [{}]})
    client.post("/predict", content=b"x" * 10)
    printed = records()
    assert {record["kind"] for record in printed} == {"load", "prediction", "rejection"}
    for record in printed:
        shape = LoadRecord if record["kind"] == "load" else RequestRecord
        types = get_type_hints(shape) | get_type_hints(RecordExtras) | get_type_hints(Trace) | {"time": str}
        assert {name: type(value) for name, value in record.items()} == {name: types[name] for name in record}
        assert shape.__required_keys__ <= set(record)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in set(record) - set(get_type_hints(Trace)))


def test_an_answer_leaves_its_values(client: TestClient, records: Records) -> None:
    """A record holds the request's instances and predictions, and its parts of time."""
    answer = client.post("/predict", json={"instances": [GOOD]}).json()
    record = last(records, "prediction")
    assert json.loads(record["features_json"]) == [GOOD]
    assert json.loads(record["predictions_json"]) == [
        {"prediction": answer["predictions"][0], "probabilities": answer["probabilities"][0]}
    ]
    assert answer["prediction_ids"] == [f"{record['request_id']}-0"]
    assert record["validate_ms"] + record["predict_ms"] <= record["total_ms"]
    assert (record["outcome"], record["instances"], record["cut"]) == ("answered", 1, False)
    assert datetime.datetime.fromisoformat(record["time"]).utcoffset() == datetime.timedelta()


def test_a_rejection_leaves_no_values(client: TestClient, records: Records) -> None:
    """Refused requests are recorded with their code and counts, and without a single value of theirs."""
    client.post("/predict", json={"instances": [{**GOOD, "city": "SECRET", "SECRET": "SECRET"}, GOOD]})
    client.post("/predict", content=b'{"SECRET"', headers={"content-type": "application/json"})
    printed = [record for record in records() if record["kind"] == "rejection"]
    assert [record["outcome"] for record in printed] == ["invalid_instances", "malformed_json"]
    assert (printed[0]["instances"], printed[0]["invalid_instances"]) == (2, 1)
    assert "SECRET" not in json.dumps(printed)


def _answered(count: int) -> Any:

    columns = {"name": [f"person {index}" for index in range(count)], "age": list(range(count))}
    return Answered(columns, {"predict": [0.5] * count}, Marks([], 0), count)


def _record(manifest: Manifest, privacy: Privacy, count: int = 1, **settings: Any) -> dict[str, Any]:
    """Return the record of an answer to so many instances of a name and an age."""
    lines: list[bytes] = []
    recorder = Recorder(lambda line: lines.append(line) or True, Settings(**settings))
    facts = Facts(request_id="abc", started=0.0, instances=count)
    recorder.answered(facts, manifest.model_copy(update={"privacy": privacy}), _answered(count))
    return json.loads(lines[0])


@pytest.fixture
def manifest(published: Callable[[str], Any]) -> Manifest:
    """Return the manifest of a model with one number as output."""
    return published("regression").manifest


def test_omitted_features_never_reach_a_record(manifest: Manifest) -> None:
    """A feature under privacy.omit is not in the line at all."""
    record = _record(manifest, Privacy(omit=("name",)))
    assert json.loads(record["features_json"]) == [{"age": 0}]
    assert "person" not in json.dumps(record)


def test_hashed_features_can_be_told_apart_but_not_read(manifest: Manifest) -> None:
    """A feature under privacy.hash is the same hash for the same value, and another one with another key."""
    plain = json.loads(_record(manifest, Privacy(hash=("name",)), 2)["features_json"])
    keyed = json.loads(_record(manifest, Privacy(hash=("name",)), 2, record_hash_key="k")["features_json"])
    assert plain[0]["name"] != plain[1]["name"]
    assert plain[0]["name"] != keyed[0]["name"]
    assert "person" not in json.dumps(plain + keyed)
    assert [row["age"] for row in plain] == [0, 1]


def test_a_large_answer_is_cut_to_a_deterministic_sample(manifest: Manifest) -> None:
    """A record that would be too large holds a sample, the same for the same request, and says n of N."""
    record = _record(manifest, Privacy(), 5000, record_kb=8)
    again = _record(manifest, Privacy(), 5000, record_kb=8)
    assert len(json.dumps(record)) <= 8 * 1024
    assert (record["cut"], record["instances"]) == (True, 5000)
    logged = json.loads(record["logged_json"])
    assert logged == sorted(logged) == json.loads(again["logged_json"])
    assert record["instances_logged"] == len(logged) == len(json.loads(record["predictions_json"])) > 50
    assert [row["age"] for row in json.loads(record["features_json"])] == logged
    assert max(logged) > 2500


def test_one_instance_beyond_the_limit_is_left_out(manifest: Manifest) -> None:
    """A single instance that does not fit leaves a record that says 0 of 1."""
    lines: list[bytes] = []
    recorder = Recorder(lambda line: lines.append(line) or True, Settings(record_kb=4))
    answered = Answered({"name": ["x" * 100_000]}, {"predict": [1.0]}, Marks([], 0), 1)
    recorder.answered(Facts(request_id="abc", started=0.0, instances=1), manifest, answered)
    record = json.loads(lines[0])
    assert (record["instances_logged"], record["instances"], record["cut"]) == (0, 1, True)


def test_sampling_takes_every_instance_alike() -> None:
    """Over many requests, each position is among the first tenth about equally often."""
    hits = [0] * 50
    for request in range(2000):
        for index in sampling_order(str(request), 50)[:5]:
            hits[index] += 1
    assert min(hits) > 140
    assert max(hits) < 270


@pytest.mark.parametrize(
    ("traceparent", "cloud_trace", "expected"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", None, (TRACE, "b7ad6b7169203331", True)),
        (f"00-{TRACE}-b7ad6b7169203331-00", f"{'1' * 32}/2;o=1", (TRACE, "b7ad6b7169203331", False)),
        (None, f"{TRACE}/12345;o=1", (TRACE, "0000000000003039", True)),
        (None, TRACE, (TRACE, None, False)),
        ("nonsense", f"{TRACE}/1;o=0", (TRACE, "0000000000000001", False)),
        ("nonsense", "nonsense", None),
        (None, None, None),
    ],
)
def test_traces_are_read_from_both_headers(
    traceparent: str | None, cloud_trace: str | None, expected: tuple[str, str | None, bool] | None
) -> None:
    """W3C traceparent comes first, X-Cloud-Trace-Context second; what is neither is ignored."""
    sent = {b"traceparent": traceparent, b"x-cloud-trace-context": cloud_trace}
    fields = trace_fields({name: value.encode() for name, value in sent.items() if value}, "p")
    if expected is None:
        assert fields == {}
        return
    trace, span, sampled = expected
    assert fields["logging.googleapis.com/trace"] == f"projects/p/traces/{trace}"
    assert fields.get("logging.googleapis.com/spanId") == span
    assert fields["logging.googleapis.com/trace_sampled"] is sampled


def test_lines_use_the_keys_of_googles_own_handler(client: TestClient, records: Records) -> None:
    """Severity, message and trace stand under the keys that google-cloud-logging's StructuredLogHandler writes."""
    stream = io.StringIO()
    handler = StructuredLogHandler(stream=stream, project_id="p")
    entry = logging.LogRecord("n", logging.INFO, "", 0, "hello", None, None)
    entry.trace, entry.span_id, entry.trace_sampled = f"projects/p/traces/{TRACE}", "b7ad6b7169203331", True
    handler.filter(entry)
    handler.emit(entry)
    theirs = json.loads(stream.getvalue().splitlines()[-1])  # the first one tells of the library itself
    client.post("/predict", json=GOOD, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    ours = last(records, "prediction")
    shared = {name for name in theirs if name.startswith("logging.googleapis.com/")} - {
        "logging.googleapis.com/labels",
        "logging.googleapis.com/sourceLocation",
    }
    assert shared | {"severity", "message"} <= set(ours)
    assert type(theirs["severity"]) is type(ours["severity"])
    assert theirs["severity"] == ours["severity"] == "INFO"


def test_a_reader_that_stops_reading_blocks_nobody() -> None:
    """With a full pipe, lines are kept up to a bound, then dropped; when the reader is back, whole lines come out."""
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    line = b'{"n": 1}' + b" " * 10_000 + b"\n"
    taken = sum(writer(line) for _ in range(300))
    assert 50 < taken < 300
    assert not writer.flush()
    received = b""
    while not writer.flush():
        received += os.read(reading, 65536)
    os.close(writing)
    with os.fdopen(reading, "rb") as rest:
        received += rest.read()
    assert received == line * taken


def test_a_reader_that_is_gone_harms_nobody() -> None:
    """Lines for a closed pipe are lost, and nothing else happens."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    assert writer(b"line\n")
    assert writer.flush()
    os.close(writing)


def test_dropped_records_are_counted_in_the_next_one(manifest: Manifest) -> None:
    """Records that could not be written are mentioned by the first one that can."""
    lines: list[bytes] = []
    full = [True, True, False]
    recorder = Recorder(lambda line: lines.append(line) or not full.pop(0), Settings())
    for _ in range(3):
        recorder.answered(Facts(request_id="abc", started=0.0, instances=1), manifest, _answered(1))
    assert json.loads(lines[2])["records_dropped"] == 2


def test_a_record_that_cannot_be_made_fails_no_prediction(manifest: Manifest) -> None:
    """A value that JSON cannot hold costs a record, never an answer."""
    lines: list[bytes] = []
    recorder = Recorder(lambda line: lines.append(line) or True, Settings())
    odd = Answered({"name": ["\ud800"]}, {"predict": [1.0]}, Marks([], 0), 1)
    recorder.answered(Facts(request_id="abc", started=0.0, instances=1), manifest, odd)
    recorder.answered(Facts(request_id="abc", started=0.0, instances=1), manifest, _answered(1))
    assert json.loads(lines[-1])["records_dropped"] == 1


OTHERS = {"none": {}, "another": {"user-agent": "curl/8.0"}, "not-at-the-start": {"user-agent": f"x {CHECK_AGENT}"}}
CHECKS = {
    "answered": ({"instances": [GOOD]}, "answered", 200),
    "refused": ({"instances": [{}]}, "invalid_instances", 422),
}


@pytest.mark.parametrize(("body", "outcome", "status"), CHECKS.values(), ids=CHECKS)
def test_a_check_is_recorded_as_one(client: TestClient, records: Records, body: Any, outcome: str, status: int) -> None:
    """A request of the checking agent is of the kind check, however it ended, and says all that others say."""
    client.post("/predict", json=body, headers={"user-agent": f"{CHECK_AGENT}/1.0"})
    (record,) = [record for record in records() if record["kind"] != "load"]
    assert (record["kind"], record["outcome"], record["status"]) == ("check", outcome, status)
    assert RequestRecord.__required_keys__ <= set(record)


def test_a_check_of_lines_is_recorded_as_one(client: TestClient, records: Records) -> None:
    """An answer that is streamed line by line is a check as well."""
    headers = {"user-agent": CHECK_AGENT, "content-type": "application/x-ndjson"}
    assert client.post("/predict", content=json.dumps(GOOD), headers=headers).status_code == 200
    assert [record["kind"] for record in records()] == ["load", "check"]


def test_a_check_that_fails_is_recorded_as_one(serving: Callable[..., TestClient], records: Records) -> None:
    """A failure of ours is a check's too, whichever path was asked."""
    client = serving("binary", PIN_FILE="/nowhere/pin.json")
    for verb, path in (("POST", "/predict"), ("GET", "/model")):
        client.request(verb, path, headers={"user-agent": CHECK_AGENT})
    found = [(record["kind"], record["status"]) for record in records() if record["kind"] != "load_failure"]
    assert found == [("check", 503), ("check", 503)]


def test_a_check_refused_before_its_headers_are_read_is_recorded_as_one(client: TestClient, records: Records) -> None:
    """Headers that cannot be read, because one decides twice, still say who asks."""
    headers = [("user-agent", CHECK_AGENT), ("content-type", "text/csv"), ("content-type", "application/json")]
    assert client.post("/predict", content="{}", headers=headers).status_code == 400
    assert [record["kind"] for record in records()] == ["check"]


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS)
def test_nobody_else_is_a_check(client: TestClient, records: Records, headers: dict[str, str]) -> None:
    """Only an agent that begins with the checking one's name is one."""
    client.post("/predict", json={"instances": [GOOD]}, headers=headers)
    assert last(records, "prediction")["outcome"] == "answered"
