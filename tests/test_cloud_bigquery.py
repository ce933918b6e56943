"""The double's BigQuery: what a sink writes, and GoogleSQL over it, infra/'s view of predictions above all."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from googleapiclient.errors import HttpError
from starlette.testclient import TestClient

from tests.cloud import CloudDouble
from tests.cloud.api import api_client
from tests.cloud.bigquery import results, rows
from tests.cloud.bigquery.sql import Warehouse
from tests.cloud.errors import CloudError
from tests.cloud.logging.entries import Origin, read_line, resource_of
from tests.cloud.schemas import Json
from tests.infra.code import INFRA, view_query
from tests.server import ROOT, Server
from tests.test_endpoint import GOOD

ORIGIN = Origin("p", "europe-west6", "pilot-binary", "pilot-binary-00001-abc", "0a1b")
NOON = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
SINK = {"name": "pilot-records", "bigqueryOptions": {"usePartitionedTables": True}}
RECORDS = "run_googleapis_com_stdout"
TABLE = f"p.pilot_records.{RECORDS}"


class Cupboard:
    """A catalog of one dataset, filled by tests."""

    project = "p"

    def __init__(self) -> None:
        self.tables: dict[str, Json] = {}

    def location(self, dataset: str) -> str | None:
        """Return where the one dataset is."""
        return "europe-west6" if dataset == "pilot_records" else None

    def table(self, dataset: str, table: str) -> Json | None:
        """Return a table or view."""
        return self.tables.get(table) if dataset == "pilot_records" else None

    def add_table(self, name: str, fields: list[Json], created: str = "1") -> None:
        """Put a table, as the API would describe it."""
        self.tables[name] = {"schema": {"fields": fields}, "creationTime": created}

    def add_view(self, name: str, query: str) -> None:
        """Put a view."""
        self.tables[name] = {"view": {"query": query, "useLegacySql": False}}


@pytest.fixture(scope="module")
def empty() -> Iterator[Warehouse]:
    """Return a warehouse without any table."""
    with Warehouse(Cupboard()) as warehouse:
        yield warehouse


def schema() -> list[Json]:
    """Return infra/'s schema of the table of records."""
    fields: list[Json] = json.loads((INFRA / "records.schema.json").read_text(encoding="utf-8"))
    return fields


class Store:
    """A dataset with infra/'s table and view, into which lines go as through the sink."""

    def __init__(self, model: str = "binary") -> None:
        self.catalog = Cupboard()
        self.catalog.add_table(RECORDS, schema())
        self.catalog.add_view(model, view_query(TABLE, "pilot-binary", model))
        self.warehouse = Warehouse(self.catalog)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *of_error: object) -> None:
        self.warehouse.close()

    def take(self, line: bytes | Json) -> rows.Row:
        """Let a line of stdout arrive."""
        text = line.decode() if isinstance(line, bytes) else json.dumps(line)
        entry = read_line(text, "stdout", ORIGIN, NOON, "id")
        assert entry is not None
        row = rows.written(entry, SINK, self._fields)
        created = self.catalog.tables.get(row.table, {}).get("creationTime", "1")
        self.catalog.add_table(row.table, row.fields, created)
        self.warehouse.insert("pilot_records", row.table, [row.values])
        return row

    def ask(self, query: str) -> list[Json]:
        """Return what a query gives, by name."""
        return results.plain(self.warehouse.query(query, "pilot_records"))

    def _fields(self, table: str) -> list[Json] | None:
        resource = self.catalog.table("pilot_records", table)
        return resource and resource["schema"]["fields"]


# What a sink writes


def entry(**fields: Any) -> Json:
    """Return an entry of Cloud Run's stdout."""
    return {
        "insertId": "id",
        "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
        "resource": resource_of(ORIGIN),
        "timestamp": "2026-01-01T00:00:00.123456789Z",
        "receiveTimestamp": "2026-01-01T00:00:01Z",
        **fields,
    }


def test_a_row_has_the_entrys_fields() -> None:
    """Fields of LogEntry keep their names and get the types of the API; a user's names are lower-cased."""
    fields, values = rows.columns(
        entry(
            severity="INFO",
            labels={"instanceId": "0a1b"},
            trace="projects/p/traces/t",
            spanId="s",
            traceSampled=True,
            httpRequest={"status": 200, "requestSize": "12", "latency": "0.25s", "requestMethod": "POST"},
            jsonPayload={"Total": 3, "ok": False, "tags": ["a", "b"], "deep": {"er-Key": 0.5}, "none": None, "no": []},
        )
    )
    types = {field["name"]: field for field in fields}
    assert values["httpRequest"] == {"status": 200, "requestSize": 12, "latency": 0.25, "requestMethod": "POST"}
    assert values["labels"] == {"instanceid": "0a1b"}
    assert values["jsonPayload"] == {"total": 3.0, "ok": False, "tags": ["a", "b"], "deep": {"er_key": 0.5}}
    assert {name: types[name]["type"] for name in ("timestamp", "severity", "traceSampled", "jsonPayload")} == {
        "timestamp": "TIMESTAMP",
        "severity": "STRING",
        "traceSampled": "BOOLEAN",
        "jsonPayload": "RECORD",
    }
    payload = {field["name"]: (field["type"], field["mode"]) for field in types["jsonPayload"]["fields"]}
    assert payload == {
        "total": ("FLOAT", "NULLABLE"),
        "ok": ("BOOLEAN", "NULLABLE"),
        "tags": ("STRING", "REPEATED"),
        "deep": ("RECORD", "NULLABLE"),
    }
    assert [field["type"] for field in types["httpRequest"]["fields"]] == ["INTEGER", "INTEGER", "FLOAT", "STRING"]


NAMES = {"MESSAGE": "message", "foo%%": "foo__", "__x": "x", "k8s.io/App": "k8s_io_app", "a" * 200: "a" * 128}


@pytest.mark.parametrize(("name", "column"), NAMES.items(), ids=NAMES.values())
def test_columns_have_google_names(name: str, column: str) -> None:
    """Letters become lower case, what BigQuery does not take underscores, leading underscores and excess go."""
    assert rows.column_name(name) == column


def test_a_log_has_a_table() -> None:
    """A partitioned sink has one table a log, any other one a log and day, in UTC."""
    late = entry(timestamp="2026-01-01T23:30:00-01:00")
    assert rows.table_name(late, SINK) == RECORDS
    assert rows.table_name(late, {"name": "daily"}) == f"{RECORDS}_20260102"


def test_a_table_grows() -> None:
    """A field that the table does not have becomes a column; what it has stays as it is."""
    first = rows.written(entry(jsonPayload={"a": "x"}), SINK, lambda table: None)
    second = rows.written(entry(jsonPayload={"b": {"c": True}}), SINK, lambda table: first.fields)
    payload = next(field for field in second.fields if field["name"] == "jsonPayload")
    assert [field["name"] for field in payload["fields"]] == ["a", "b"]
    assert second.table == RECORDS


MISFITS: dict[str, tuple[Json, str]] = {
    "text for a number": ({"version": "three"}, "Field jsonPayload.version is FLOAT in the table's schema"),
    "number for text": ({"model": 3}, "but FLOAT in the log entry"),
    "array for one": ({"model": ["a"]}, "but REPEATED STRING in the log entry"),
    "object for one": ({"model": {"a": 1}}, "but RECORD in the log entry"),
    "array of arrays": ({"new": [[1]]}, "Field jsonPayload.new is an array with an element"),
    "array of several types": ({"new": [1, "a"]}, "Field jsonPayload.new is FLOAT"),
    "two names for one column": ({"New": 1, "new": 2}, "has the column of another field, new"),
}


@pytest.mark.parametrize(("payload", "said"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_an_error_row(payload: Json, said: str) -> None:
    """An entry with a value of another type than its column's enters the table of the day's errors instead."""
    row = rows.written(entry(jsonPayload=payload), SINK, lambda table: schema() if table == RECORDS else None)
    assert row.table == "export_errors_20260101"
    assert said in row.values["schemaErrorDetail"]
    assert json.loads(row.values["logEntry"])["jsonPayload"] == payload


def test_an_error_row_can_be_queried() -> None:
    """The table of errors is made by the first error, and the records' table is not touched."""
    with Store() as store:
        store.take({"kind": "prediction", "model": 1})
        assert store.ask("SELECT sink, severity FROM export_errors_20260101") == [
            {"sink": SINK["name"], "severity": None}
        ]
        assert store.warehouse.count("pilot_records", RECORDS) == 0


# The view of predictions


def ask_twice(server: Server) -> tuple[Json, str]:
    """Ask a real process for two predictions, and tell it two outcomes of the second one; return answer and id."""
    answer = server.client.post("/predict", json={"instances": [GOOD, {**GOOD, "age": 61}]}).json()
    *_, prediction_id = answer["prediction_ids"]
    before = len(server.records("feedback"))
    for outcome in ("no", "yes"):
        told = {"prediction_id": prediction_id, "outcome": outcome}
        assert server.client.post("/feedback", json=told).status_code == 200
    server.wait_for_records("feedback", before + 2)
    return answer, prediction_id


def test_infras_table_has_a_column_for_every_field(server: Server) -> None:
    """The schema in infra/ is what the sink makes of what the function prints: no record grows it, none misfits."""
    ask_twice(server)
    kinds = set()
    for line in server.lines:
        found = read_line(line.decode(), "stdout", ORIGIN, NOON, "id")
        kind = found["jsonPayload"]["kind"] if found and "jsonPayload" in found else None
        if found and kind in ("prediction", "feedback"):
            row = rows.written(found, SINK, lambda table: schema() if table == RECORDS else None)
            assert (row.table, row.fields) == (RECORDS, schema())
            kinds.add(kind)
    assert kinds == {"prediction", "feedback"}


def test_the_view_gives_predictions_with_their_outcomes(server: Server) -> None:
    """One row a prediction: who answered, the very features, the answer; and the outcome that was told last."""
    answer, told = ask_twice(server)
    with Store() as store:
        for line in server.lines:
            store.take(line)
        names = ", ".join(f"'{name}'" for name in answer["prediction_ids"])
        found = store.ask(f"SELECT * FROM binary WHERE prediction_id IN ({names}) ORDER BY prediction_id")
        everything = store.ask("SELECT COUNT(*) AS n, COUNT(DISTINCT prediction_id) AS ids FROM binary")[0]
    assert [row["prediction_id"] for row in found] == answer["prediction_ids"]
    for row, label, chances, age in zip(found, answer["predictions"], answer["probabilities"], (40, 61), strict=True):
        assert json.loads(row["features"]) == {**GOOD, "age": age}
        assert (row["prediction"], json.loads(row["probabilities"])) == (label, chances)
        assert (row["version"], row["revision"], row["dialect"], row["weight"]) == (1, "toy-00001", "native", 1.0)
    assert [row["outcome"] for row in found] == [None, "yes"]
    assert found[0]["told_at"] is None
    assert found[1]["told_at"] > found[1]["timestamp"]
    assert found[1]["prediction_id"] == told
    assert everything["n"] == everything["ids"]


@pytest.mark.parametrize("name", ["truth", "multiclass", "regression", "several-numbers", "several-classes", "text"])
def test_the_view_gives_any_kind_of_answer(
    name: str, serving: Callable[..., TestClient], capfd: pytest.CaptureFixture[str]
) -> None:
    """Labels and numbers are plain text, several targets a JSON array, chances whatever JSON they were answered as."""
    client = serving(name)
    body = client.get("/model").json()["example"]
    answer = client.post("/predict", json=body).json()
    outcome = answer["predictions"][0]
    client.post("/feedback", json={"prediction_id": answer["prediction_ids"][0], "outcome": outcome})
    with Store(name) as store:
        for line in capfd.readouterr().out.splitlines():
            store.take(line.encode())
        found = store.ask(f"SELECT * FROM `{name}` ORDER BY prediction_id")
    assert [row["prediction_id"] for row in found] == answer["prediction_ids"]
    for row, prediction in zip(found, answer["predictions"], strict=True):
        is_plain = isinstance(prediction, str)
        assert row["prediction"] == prediction if is_plain else json.loads(row["prediction"]) == prediction
    chances = answer.get("probabilities")
    assert [row["probabilities"] and json.loads(row["probabilities"]) for row in found] == (
        chances or [None] * len(found)
    )
    assert found[0]["outcome"] == found[0]["prediction"]


def test_a_sample_stands_for_all(serving: Callable[..., TestClient], capfd: pytest.CaptureFixture[str]) -> None:
    """Of a request too large to be logged whole, each row weighs as many predictions as it stands for."""
    client = serving("binary", RECORD_KB="6")
    ids = client.post("/predict", json={"instances": [GOOD] * 400}).json()["prediction_ids"]
    lines = capfd.readouterr().out.splitlines()
    with Store() as store:
        for line in lines:
            store.take(line.encode())
        found = store.ask("SELECT prediction_id, weight FROM binary")
    logged = next(json.loads(record["logged_json"]) for record in map(json.loads, lines) if "logged_json" in record)
    assert 0 < len(found) < 400
    assert {row["prediction_id"] for row in found} == {ids[position] for position in logged}
    assert sum(row["weight"] for row in found) == pytest.approx(400)


def record(**fields: Any) -> Json:
    """Return a record of the binary toy as a line."""
    return {"severity": "INFO", "message": "m", "model": "binary", "version": 1, **fields}


def prediction(request_id: str, *answers: Json, **fields: Any) -> Json:
    """Return a prediction record of these answers, each of one feature x."""
    return record(
        kind="prediction",
        request_id=request_id,
        instances=len(answers),
        instances_logged=len(answers),
        features_json=json.dumps([{"x": 0.1}] * len(answers)),
        predictions_json=json.dumps(answers),
        logged_json=json.dumps(list(range(len(answers)))),
        **fields,
    )


def test_the_view_is_of_one_model() -> None:
    """Records of other models, and requests that were refused, are no rows."""
    with Store() as store:
        store.take(prediction("a", {"prediction": "yes"}))
        store.take({**prediction("b", {"prediction": "yes"}), "model": "other"})
        store.take(record(kind="rejection", request_id="c", instances=3))
        assert store.ask("SELECT prediction_id FROM binary") == [{"prediction_id": "a-0"}]


def test_a_record_without_instances_is_no_row() -> None:
    """An answer too large to log any of its instances leaves no row, and divides nothing by zero."""
    with Store() as store:
        empty = {
            "features_json": "[]",
            "predictions_json": "[]",
            "logged_json": "[]",
            "instances_logged": 0,
            "cut": True,
        }
        store.take({**prediction("a", {"prediction": "yes"}), **empty})
        assert store.ask("SELECT * FROM binary") == []


def test_the_last_outcome_wins_whenever_it_arrives() -> None:
    """Of several outcomes the one with the latest time counts, not the one that arrived last."""
    with Store() as store:
        store.take(prediction("a", {"prediction": "yes"}))
        for minute, outcome in ((2, "no"), (5, "yes"), (3, "no")):
            time = f"2026-01-01T00:0{minute}:00Z"
            store.take(record(kind="feedback", prediction_id="a-0", outcome_json=json.dumps(outcome), time=time))
        assert store.ask("SELECT outcome FROM binary") == [{"outcome": "yes"}]


def test_the_documented_query_answers() -> None:
    """docs/infrastructure.md's example gives the share of right predictions of each version."""
    page = (ROOT / "docs" / "infrastructure.md").read_text(encoding="utf-8")
    query = re.search(r"```sql\n(.+?)```", page, re.S)
    assert query
    text = query[1].replace("example-prod.pilot_records.churn", "p.pilot_records.binary")
    now = datetime.now(UTC).isoformat()
    with Store() as store:
        store.take(prediction("a", *[{"prediction": label} for label in ("yes", "no", "yes")], time=now))
        store.take(prediction("old", {"prediction": "yes"}, time="2020-01-01T00:00:00Z"))
        for name, outcome in (("a-0", "yes"), ("a-1", "yes"), ("old-0", "no")):
            store.take(record(kind="feedback", prediction_id=name, outcome_json=json.dumps(outcome), time=now))
        assert store.ask(text) == [{"version": 1, "accuracy": 0.5}]


def test_features_can_be_asked_for() -> None:
    """A feature is below the column `features` by its own name, capitals and all, and is a number after LAX_FLOAT64."""
    with Store() as store:
        line = prediction("a", {"prediction": "yes"})
        store.take({**line, "features_json": '[{"MonthlyCharges": 70.35, "n": 9007199254740993, "x": null}]'})
        asked = "SELECT LAX_FLOAT64(features.MonthlyCharges) AS a, features.monthlycharges AS b, features.n FROM binary"
        assert store.ask(asked) == [{"a": 70.35, "b": None, "n": "9007199254740993"}]


def test_a_view_needs_its_table() -> None:
    """Over a table that is not there, or lacks a column, a view is refused: infra/ makes the table before the views."""
    catalog = Cupboard()
    with Warehouse(catalog) as warehouse:
        with pytest.raises(CloudError, match=f"Not found: Table p:pilot_records.{RECORDS} was not found") as caught:
            warehouse.dry_run(view_query(TABLE, "pilot-binary", "binary"))
        assert (caught.value.status, caught.value.reason) == (404, "notFound")
        fields = [
            {**field, "fields": field["fields"][:3]} if field["name"] == "jsonPayload" else field for field in schema()
        ]
        catalog.add_table(RECORDS, fields)
        with pytest.raises(CloudError, match="Field name prediction_id does not exist in STRUCT") as caught:
            warehouse.dry_run(view_query(TABLE, "pilot-binary", "binary"))
        assert (caught.value.status, caught.value.reason) == (400, "invalidQuery")


def test_a_view_has_a_schema() -> None:
    """The check of a view gives its columns, without a row being there."""
    with Store() as store:
        fields = store.warehouse.dry_run(view_query(TABLE, "pilot-binary", "binary"))
    assert {field["name"]: field["type"] for field in fields} == {
        "timestamp": "TIMESTAMP",
        "prediction_id": "STRING",
        "version": "INTEGER",
        "revision": "STRING",
        "dialect": "STRING",
        "features": "JSON",
        "prediction": "STRING",
        "probabilities": "JSON",
        "weight": "FLOAT",
        "outcome": "STRING",
        "told_at": "TIMESTAMP",
    }


# GoogleSQL, by the examples of Google's pages

# The first and the last two examples are of the differences between JSON and text that holds JSON.
EXAMPLES: dict[str, Any] = {
    """JSON_QUERY(JSON 'null', "$")""": "null",
    """JSON_QUERY("null", "$")""": None,
    """JSON_QUERY(JSON '{"class": {"students": [{"id": 5}, {"id": 12}]}}', '$.class')""": (
        '{"students":[{"id":5},{"id":12}]}'
    ),
    """JSON_QUERY('{"class": {"students": [{"name": "Jane"}]}}', '$.class.students[0]')""": '{"name":"Jane"}',
    """JSON_QUERY('{"class": {"students": []}}', '$.class.students[0]')""": None,
    """JSON_QUERY('{"class": {"students": [{"name": "John"}, {"name": null}]}}', '$.class.students[1].name')""": None,
    """JSON_QUERY('{"class": {"students": [{"name": "John"}, {"name": "Jamie"}]}}', '$.class.students[1].name')""": (
        '"Jamie"'
    ),
    """JSON_VALUE(JSON '{"name": "Jakob", "age": "6" }', '$.age')""": "6",
    """JSON_VALUE('{"name": "Jakob", "age": "6"}', '$.name')""": "Jakob",
    """JSON_VALUE('{"fruits": ["apple", "banana"]}', '$.fruits')""": None,
    """JSON_VALUE('{"a.b": {"c": "world"}}', '$."a.b".c')""": "world",
    """JSON_VALUE('1.50')""": "1.50",
    """JSON_VALUE(JSON '1.50')""": "1.5",
    """JSON_VALUE('true')""": "true",
    """JSON_QUERY('[ 1 ]')""": "[1]",
    """JSON_QUERY_ARRAY(JSON '{"fruits": ["apples", "oranges"]}', '$.fruits')""": ['"apples"', '"oranges"'],
    """JSON_QUERY_ARRAY('[1, 2, 3]')""": ["1", "2", "3"],
    """JSON_QUERY_ARRAY('{"fruit": [{"apples": 5, "oranges": 10}], "vegetables": []}', '$.fruit')""": [
        '{"apples":5,"oranges":10}'
    ],
    """JSON_QUERY_ARRAY('{"a": "foo"}', '$.a')""": [],
    """JSON_QUERY_ARRAY('{"a": "foo", "b": []}', '$.b')""": [],
    """ARRAY(SELECT CAST(e AS INT64) FROM UNNEST(JSON_QUERY_ARRAY('[1, 2, 3]','$')) AS e)""": [1, 2, 3],
    """JSON_VALUE_ARRAY('{"fruits": ["apples", 2, true]}', '$.fruits')""": ["apples", "2", "true"],
    """PARSE_JSON('{"coordinates": [10, 20], "id": 1}')""": '{"coordinates":[10,20],"id":1}',
    """PARSE_JSON('{"id": 922337203685477580701}', wide_number_mode=>'round')""": '{"id":9.223372036854776e+20}',
    """PARSE_JSON('"red"')""": '"red"',
    """PARSE_JSON('{"b": 1, "a": 2, "b": 3}')""": '{"a":2,"b":1}',
    """PARSE_JSON('0.1')""": "0.1",
    """SAFE.PARSE_JSON('{')""": None,
    """LAX_BOOL(JSON '"true"')""": True,
    """LAX_BOOL(JSON '"foo"')""": None,
    """LAX_BOOL(JSON '0.0')""": False,
    """LAX_INT64(JSON '"1.5"')""": 2,
    """LAX_INT64(JSON 'true')""": 1,
    """LAX_FLOAT64(JSON '"9.8"')""": 9.8,
    """LAX_FLOAT64(JSON 'true')""": None,
    """LAX_STRING(JSON '10')""": "10",
    """FLOAT64(JSON '9.8')""": 9.8,
    """INT64(JSON '10.0')""": 10,
    """STRING(JSON '"purple"')""": "purple",
    """BOOL(JSON 'true')""": True,
    """JSON_TYPE(JSON '{"a": 1}')""": "object",
    """TO_JSON_STRING(JSON '{"b": 1, "a": [1.0, null]}')""": '{"a":[1.0,null],"b":1}',
    """PARSE_JSON('{"a": [{"B": 1}]}')['a'][0]['B']""": "1",
    "7 / 2": 3.5,
    "DIV(-7, 2)": -3,
    "SAFE_DIVIDE(1, 0)": None,
    "CAST(2.5 AS INT64)": 3,
    "CAST(-0.5 AS INT64)": -1,
    "CAST(1.0 AS STRING)": "1",
    "CAST(0.1 AS STRING)": "0.1",
    "CAST('0x1F' AS INT64)": 31,
    "SAFE_CAST('apple' AS INT64)": None,
    "SAFE_CAST('1.5' AS INT64)": None,
    "CAST('inf' AS FLOAT64)": math.inf,
    "CAST(TIMESTAMP '2020-06-02 17:00:53.5-07' AS STRING)": "2020-06-03 00:00:53.500+00",
    "GREATEST(3, 5, 1)": 5,
    "GREATEST(3, NULL)": None,
    "LEAST(3, 5, 1)": 1,
    "CONCAT('T.P.', ' ', 'Bar')": "T.P. Bar",
    "CONCAT('a', NULL)": None,
    "COALESCE('A', 'B', 'C')": "A",
    "NULLIF(0, 0)": None,
    "IF(TRUE, 10, 20)": 10,
    "[10, 20][OFFSET(1)]": 20,
    "[10, 20][ORDINAL(1)]": 10,
    "[10, 20][SAFE_OFFSET(9)]": None,
    "ARRAY_LENGTH(['coffee', NULL, 'milk'])": 3,
    "SUBSTR('apple', 0, 2)": "ap",
    "SUBSTR('apple', -3, 2)": "pl",
    "SPLIT('b,c,a', ',')": ["b", "c", "a"],
    "REGEXP_EXTRACT('foo@example.com', r'^[a-zA-Z0-9_.+-]+')": "foo",
    "REGEXP_EXTRACT('foo@example.org', r'@.+\\.(com)')": None,
    "REGEXP_CONTAINS('foo@example.com', r'@[a-z]+')": True,
    "2 IN UNNEST([1, 2])": True,
    "TIMESTAMP_SUB(TIMESTAMP '2008-12-25 15:30:00+00', INTERVAL 10 MINUTE)": datetime(2008, 12, 25, 15, 20),
    "TIMESTAMP_ADD('2008-12-25 15:30:00+00', INTERVAL 1 DAY)": datetime(2008, 12, 26, 15, 30),
    "TIMESTAMP_DIFF(TIMESTAMP '2010-07-07 10:20:00+00', TIMESTAMP '2008-12-25 15:30:00+00', HOUR)": 13410,
    "TIMESTAMP_DIFF(TIMESTAMP '2018-08-14', TIMESTAMP '2018-10-14', DAY)": -61,
    "TIMESTAMP_TRUNC(TIMESTAMP '2008-12-25 15:30:00+00', DAY)": datetime(2008, 12, 25),
    "UNIX_MICROS(TIMESTAMP '2008-12-25 15:30:00+00')": 1_230_219_000_000_000,
    "TIMESTAMP_MILLIS(1230219000000)": datetime(2008, 12, 25, 15, 30),
    "EXTRACT(DAY FROM TIMESTAMP '2008-12-25 05:30:00+00')": 25,
    "CURRENT_TIMESTAMP() > TIMESTAMP '2026-01-01'": True,
    "(SELECT ARRAY_AGG(x IGNORE NULLS) FROM UNNEST([NULL, 1, -2, NULL]) AS x)": [1, -2],
    "(SELECT ARRAY_AGG(x ORDER BY ABS(x) DESC LIMIT 2) FROM UNNEST([2, 1, -2, 3]) AS x)[OFFSET(0)]": 3,
    "(SELECT COUNTIF(x < 0) FROM UNNEST([5, -2, 3, 6, -10, NULL, -7, 4, 0]) AS x)": 3,
    "(SELECT COUNT(DISTINCT x) FROM UNNEST([1, 1, 2, NULL]) AS x)": 2,
    "(SELECT STRING_AGG(x, ' & ' ORDER BY LENGTH(x)) FROM UNNEST(['apple', 'pear']) AS x)": "pear & apple",
    "(SELECT APPROX_QUANTILES(x, 2) FROM UNNEST([1, 1, 4, 5, 6, 7, 8]) AS x)": [1, 5, 8],
    "(SELECT LOGICAL_AND(x < 3) FROM UNNEST([1, 2, 4]) AS x)": False,
}


@pytest.mark.parametrize("expression", EXAMPLES)
def test_an_example_gives_what_google_says(expression: str, empty: Warehouse) -> None:
    """Functions and operators give what BigQuery's reference says they do."""
    assert results.plain(empty.query(f"SELECT {expression} AS answer")) == [{"answer": EXAMPLES[expression]}]


FAILING = {
    """PARSE_JSON('{"id": 922337203685477580701}')""": "cannot round-trip",
    """PARSE_JSON('{')""": "syntax error while parsing JSON",
    """JSON_QUERY_ARRAY('["foo"]', 'INVALID_JSONPath')""": r"JSONPath must start with '\$'",
    """JSON_VALUE('{}', '$.a[*]')""": "Invalid token in JSONPath at: ",
    """STRING(JSON '1')""": "not a string",
    """FLOAT64(JSON '"a"')""": "not a number",
    """INT64(JSON '1.5')""": "cannot be converted to an integer",
    "1 / 0": "division by zero: 1 / 0",
    "CAST('apple' AS INT64)": "Bad int64 value: apple",
    "[10, 20][OFFSET(2)]": "Array index 2 is out of bounds",
    "TIMESTAMP 'noon'": "Invalid timestamp: 'noon'",
    "CAST(JSON '1' AS FLOAT64)": "Invalid cast from JSON to FLOAT64",
    "JSON '1' = JSON '1'": "Equality is not defined for arguments of type JSON",
    "'1' = 1": "No matching signature for operator = for argument types: STRING, INT64",
    "CONCAT('a', 1)": "No matching signature for function CONCAT for argument types: STRING, INT64",
    "COALESCE('a', 1)": "No matching signature for function COALESCE",
    "'a' + 1": r"No matching signature for operator \+",
    "IF(1, 2, 3)": "No matching signature for function IF",
    "NOT 'a'": "No matching signature for operator NOT",
    "STRUCT(1 AS a).b": "Field name b does not exist in STRUCT<a INT64>",
    "REGEXP_CONTAINS('a', '(')": "Invalid regular expression",
    "[1, NULL]": "Array cannot have a null element",
}


@pytest.mark.parametrize("expression", FAILING)
def test_an_expression_is_refused(expression: str, empty: Warehouse) -> None:
    """What BigQuery refuses is a 400, in words near to its own."""
    with pytest.raises(CloudError, match=FAILING[expression]) as caught:
        empty.query(f"SELECT {expression} AS answer")
    assert caught.value.status == 400


REFUSED: dict[str, tuple[int, str, str]] = {
    "SELECT nothing FROM binary": (400, "invalidQuery", r"Unrecognized name: nothing at \[1:8\]"),
    "SELECT version AS v FROM binary WHERE v = 1": (400, "invalidQuery", r"Unrecognized name: v at \[1:39\]"),
    "SELECT a.version FROM binary AS b": (400, "invalidQuery", "Unrecognized name: "),
    "SELECT version FROM nothing": (404, "notFound", "Not found: Table p:pilot_records.nothing was not found in"),
    "SELECT version FROM nowhere.binary": (404, "notFound", "Not found: Dataset p:nowhere was not found in location"),
    "SELECT version FROM other.pilot_records.binary": (404, "notFound", "Not found: Dataset other:pilot_records"),
    "SELECT FROM": (400, "invalidQuery", "Syntax error"),
    "SELECT 'open": (400, "invalidQuery", "Syntax error"),
    "": (400, "invalidQuery", "Syntax error: Unexpected end of statement"),
    "SELECT version, COUNT(*) FROM binary": (
        400,
        "invalidQuery",
        "column version which is neither grouped nor aggregated",
    ),
    "SELECT features FROM binary GROUP BY features": (400, "invalidQuery", "Grouping by expressions of type JSON"),
    "SELECT DISTINCT features FROM binary": (
        400,
        "invalidQuery",
        "DISTINCT cannot be used with expressions of type JSON",
    ),
    "SELECT * FROM binary ORDER BY features": (
        400,
        "invalidQuery",
        "ORDER BY does not support expressions of type JSON",
    ),
    "SELECT version FROM binary WHERE prediction": (400, "invalidQuery", "WHERE clause should return type BOOL"),
    "SELECT SUM(prediction) FROM binary": (400, "invalidQuery", "No matching signature for function SUM"),
    "SELECT version, version FROM binary": (400, "invalidQuery", "Duplicate column names in the result"),
    "SELECT 1 UNION ALL SELECT 'a'": (400, "invalidQuery", "Column 1 in UNION has incompatible types: INT64, STRING"),
    "SELECT 1 UNION ALL SELECT 1, 2": (400, "invalidQuery", "mismatched column count"),
    "SELECT @p": (400, "invalidQuery", "Query parameter 'p' not found"),
    "SELECT RAND()": (501, "notImplemented", "RAND"),
    "SELECT ST_GEOGPOINT(1, 2)": (501, "notImplemented", "ST_GEOGPOINT"),
    "DELETE FROM binary WHERE TRUE": (501, "notImplemented", "statements other than SELECT, here DELETE"),
    "SELECT 1; SELECT 2": (501, "notImplemented", "scripts"),
    "SELECT * FROM `p.pilot_records.run_*`": (501, "notImplemented", "wildcard tables"),
    "SELECT a FROM UNNEST([STRUCT(1 AS a)]) AS x": (501, "notImplemented", "the field a of an UNNEST"),
    "SELECT JSON_VALUE('{', '$.a')": (501, "notImplemented", "text that is no JSON"),
}


@pytest.fixture(scope="module")
def shelf() -> Iterator[Store]:
    """Return a store with two predictions, which tests only read."""
    with Store() as store:
        store.take(prediction("a", {"prediction": "yes"}, {"prediction": "no"}))
        yield store


@pytest.mark.parametrize("query", REFUSED)
def test_a_query_is_refused(query: str, shelf: Store) -> None:
    """Wrong queries are refused as BigQuery does, and what the double cannot do is a 501 that names it."""
    status, reason, said = REFUSED[query]
    with pytest.raises(CloudError, match=said) as caught:
        shelf.ask(query)
    assert (caught.value.status, caught.value.reason) == (status, reason)


QUERIES: dict[str, list[Json]] = {
    "SELECT 1, 'x' AS Name, 2": [{"f0_": 1, "Name": "x", "f1_": 2}],
    "SELECT prediction, COUNT(*) AS n FROM binary GROUP BY prediction HAVING n = 1 ORDER BY 1": [
        {"prediction": "no", "n": 1},
        {"prediction": "yes", "n": 1},
    ],
    "SELECT t.* EXCEPT (b) FROM (SELECT 1 AS a, 2 AS b, 3 AS c) AS t": [{"a": 1, "c": 3}],
    "SELECT x, o FROM UNNEST(['a', 'b']) AS x WITH OFFSET AS o ORDER BY o DESC": [
        {"x": "b", "o": 1},
        {"x": "a", "o": 0},
    ],
    "SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x": [{"x": None}, {"x": 1}, {"x": 2}],
    "SELECT x FROM UNNEST([2, NULL, 1]) AS x ORDER BY x DESC": [{"x": 2}, {"x": 1}, {"x": None}],
    "SELECT x FROM (SELECT [1, 2] AS list) AS t, t.list AS x": [{"x": 1}, {"x": 2}],
    "WITH t AS (SELECT 2 AS n UNION ALL SELECT 5) SELECT n, (SELECT COUNT(*) FROM t u WHERE u.n > t.n) AS c FROM t": [
        {"n": 2, "c": 1},
        {"n": 5, "c": 0},
    ],
    "SELECT prediction, ROW_NUMBER() OVER (ORDER BY prediction DESC) AS place FROM binary QUALIFY place = 1": [
        {"prediction": "yes", "place": 1}
    ],
    "SELECT resource.labels.service_name, jsonPayload.request_id FROM run_googleapis_com_stdout": [
        {"service_name": "pilot-binary", "request_id": "a"}
    ],
    "SELECT p.prediction FROM binary AS p JOIN binary USING (prediction_id) WHERE p.prediction LIKE 'y%'": [
        {"prediction": "yes"}
    ],
    "SELECT 1 AS x UNION DISTINCT SELECT 1": [{"x": 1}],
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_gives_what_google_says(query: str, shelf: Store) -> None:
    """Names of columns, arrays as tables, sorting of NULLs, names in GROUP BY: as the query syntax page has it."""
    assert shelf.ask(query) == QUERIES[query]


def test_parameters_fill_in_a_query(shelf: Store) -> None:
    """Parameters are typed values by name, whatever case, or by position; they are no text of the query."""
    label = {"parameterType": {"type": "STRING"}, "parameterValue": {"value": "y' OR 'a' = 'a"}}
    number = {"parameterType": {"type": "INT64"}, "parameterValue": {"value": "2"}}
    asked = shelf.warehouse.query("SELECT @Label AS a, @n + 1 AS b", None, {"label": label, "n": number})
    assert results.plain(asked) == [{"a": "y' OR 'a' = 'a", "b": 3}]
    assert results.plain(shelf.warehouse.query("SELECT ? AS a", None, {0: number})) == [{"a": 2}]


def test_results_are_written_as_the_api_does() -> None:
    """Every value is text: times in microseconds, JSON as text, records nested, arrays as lists of values."""
    query = (
        "SELECT 1 AS i, 0.5 AS f, TRUE AS b, 'x' AS s, TIMESTAMP '2026-01-01 00:00:00.000001+00' AS t, "
        "DATE '2026-01-01' AS d, JSON '{\"a\": 1}' AS j, STRUCT(1 AS a, [STRUCT('y' AS b)] AS l) AS r, [1, 2] AS a, "
        "CAST(NULL AS STRING) AS n"
    )
    with Warehouse(Cupboard()) as warehouse:
        result = warehouse.query(query)
    found = results.page(result)
    assert found["rows"] == [
        {
            "f": [
                {"v": "1"},
                {"v": "0.5"},
                {"v": "true"},
                {"v": "x"},
                {"v": "1767225600000001"},
                {"v": "2026-01-01"},
                {"v": '{"a":1}'},
                {"v": {"f": [{"v": "1"}, {"v": [{"v": {"f": [{"v": "y"}]}}]}]}},
                {"v": [{"v": "1"}, {"v": "2"}]},
                {"v": None},
            ]
        }
    ]
    fields = {field["name"]: (field["type"], field["mode"]) for field in found["schema"]["fields"]}
    assert fields["r"] == ("RECORD", "NULLABLE")
    assert fields["a"] == ("INTEGER", "REPEATED")
    assert [fields[name][0] for name in "ifbstdjn"] == [
        *("INTEGER", "FLOAT", "BOOLEAN", "STRING", "TIMESTAMP", "DATE", "JSON", "STRING")
    ]
    assert found["schema"]["fields"][7]["fields"][1]["mode"] == "REPEATED"


def test_results_come_in_pages() -> None:
    """A page holds so many rows, says how many there are, and leads to the next one until there is none."""
    with Warehouse(Cupboard()) as warehouse:
        result = warehouse.query("SELECT x FROM UNNEST([1, 2, 3]) AS x ORDER BY x")
    first = results.page(result, size=2)
    last = results.page(result, int(first["pageToken"]), 2)
    assert (len(first["rows"]), first["totalRows"]) == (2, "3")
    assert last["rows"] == [{"f": [{"v": "3"}]}]
    assert "pageToken" not in last


WRONG_ROWS: dict[str, Json] = {
    "text for a number": {"n": "1"},
    "boolean for a number": {"n": True},
    "number for text": {"s": 1},
    "no time": {"t": "noon"},
    "nothing where something must be": {"s": None},
}


@pytest.mark.parametrize("row", WRONG_ROWS.values(), ids=WRONG_ROWS)
def test_a_row_of_other_types_is_refused(row: Json) -> None:
    """Rows have the types of their columns, or a 400."""
    catalog = Cupboard()
    fields = [
        {"name": "n", "type": "INTEGER"},
        {"name": "s", "type": "STRING", "mode": "REQUIRED"},
        {"name": "t", "type": "TIMESTAMP"},
    ]
    catalog.add_table("t", fields)
    with Warehouse(catalog) as warehouse:
        with pytest.raises(CloudError) as caught:
            warehouse.insert("pilot_records", "t", [{"s": "x", **row}])
        assert caught.value.status == 400
        assert warehouse.count("pilot_records", "t") == 0


def test_a_table_follows_its_schema() -> None:
    """New columns, inside of records and arrays too, are NULL in old rows; a new table of the name is empty."""
    catalog = Cupboard()
    below: Json = {"name": "a", "type": "STRING"}
    first: list[Json] = [
        {"name": "r", "type": "RECORD", "fields": [below]},
        {"name": "l", "type": "RECORD", "mode": "REPEATED", "fields": [below]},
    ]
    catalog.add_table("t", first)
    with Warehouse(catalog) as warehouse:
        warehouse.insert("pilot_records", "t", [{"r": {"a": "x"}, "l": [{"a": "y"}]}])
        more = [
            *([{**field, "fields": [below, {"name": "b", "type": "FLOAT"}]} for field in first]),
            {"name": "n", "type": "JSON"},
        ]
        catalog.add_table("t", more)
        warehouse.insert("pilot_records", "t", [{"r": {"b": 1}, "n": {"k": 1}}])
        assert results.plain(warehouse.rows("pilot_records", "t")) == [
            {"r": {"a": "x", "b": None}, "l": [{"a": "y", "b": None}], "n": None},
            {"r": {"a": None, "b": 1.0}, "l": [], "n": '{"k":1}'},
        ]
        catalog.add_table("t", first, created="2")
        assert warehouse.count("pilot_records", "t") == 0


def test_views_may_stand_on_views() -> None:
    """A view of a view is queried through both; one that stands on itself is refused."""
    with Store() as store:
        store.take(prediction("a", {"prediction": "yes"}))
        store.catalog.add_view("labels", "SELECT prediction AS Label FROM p.pilot_records.binary")
        store.catalog.add_view("loop", "SELECT * FROM p.pilot_records.loop")
        assert store.ask("SELECT label FROM labels AS l WHERE l.LABEL = 'yes'") == [{"label": "yes"}]
        with pytest.raises(CloudError, match="Too many nested views"):
            store.ask("SELECT * FROM loop")


def test_many_threads_may_ask() -> None:
    """Queries and inserts of several threads do not disturb each other."""
    with Store() as store, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(store.take, prediction(f"r{index}", {"prediction": "yes"})) for index in range(20)]
        asked += [pool.submit(store.ask, "SELECT COUNT(*) AS n FROM binary") for _ in range(5)]
        for one in asked:
            one.result()
        assert store.ask("SELECT COUNT(*) AS n FROM binary") == [{"n": 20}]


# Over HTTP

PLACE = "europe-west6"
HOUSE = {"projectId": "local-project", "datasetId": "house"}
ANN = "ann-account@local-project.iam.gserviceaccount.com"
COLUMNS = [
    {"name": "n", "type": "INTEGER", "mode": "REQUIRED"},
    {"name": "Label", "type": "STRING"},
    {"name": "at", "type": "TIMESTAMP"},
    {"name": "inner", "type": "RECORD", "fields": [{"name": "ok", "type": "BOOLEAN"}]},
    {"name": "scores", "type": "FLOAT", "mode": "REPEATED"},
]
NOON_TEXT = "2026-01-01T12:00:00Z"


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double with an empty project."""
    with CloudDouble() as double:
        yield double


@pytest.fixture
def bigquery(cloud: CloudDouble) -> Iterator[Any]:
    """Return Google's own client, of the project's owner, and a dataset with a table of numbers."""
    with api_client(cloud, "bigquery", "v2") as client:
        body = {"datasetReference": HOUSE, "location": PLACE}
        client.datasets().insert(projectId="local-project", body=body).execute()
        make(client, "numbers", schema={"fields": COLUMNS})
        yield client


def make(bigquery: Any, name: str, **fields: Any) -> Json:
    """Make a table or view."""
    body = {"tableReference": {**HOUSE, "tableId": name}, **fields}
    made: Json = bigquery.tables().insert(**HOUSE, body=body).execute()
    return made


def view(query: str) -> Json:
    """Return what makes a table a view."""
    return {"view": {"query": query, "useLegacySql": False}}


def stream(bigquery: Any, *rows: Json, **options: Any) -> Json:
    """Insert rows into the table of numbers."""
    body = {"rows": [{"json": row} for row in rows], **options}
    answer: Json = bigquery.tabledata().insertAll(**HOUSE, tableId="numbers", body=body).execute()
    return answer


def ask(bigquery: Any, query: str, **options: Any) -> Json:
    """Answer a query in GoogleSQL."""
    body = {"query": query, "useLegacySql": False, **options}
    answer: Json = bigquery.jobs().query(projectId="local-project", body=body).execute()
    return answer


def cells(answer: Json) -> list[list[Any]]:
    """Return the rows of an answer."""
    return [[cell["v"] for cell in row["f"]] for row in answer.get("rows", [])]


def refused(request: Any, status: int, reason: str, said: str = "") -> None:
    """Check that a request is refused, in the form of the older APIs."""
    with pytest.raises(HttpError) as caught:
        request()
    error = json.loads(caught.value.content)["error"]
    assert (error["code"], error["errors"][0]["reason"]) == (status, reason), error
    assert said in error["message"]


def test_rows_are_streamed_and_listed(bigquery: Any) -> None:
    """Streamed rows are counted by their table and listed in pages, of the columns that are asked for."""
    moment = {"at": NOON_TEXT, "inner": {"ok": "true"}, "scores": [1, "0.5"]}
    assert "insertErrors" not in stream(bigquery, {"n": "1", "label": "a", **moment}, {"n": 2}, {"n": 3})
    table = bigquery.tables().get(**HOUSE, tableId="numbers").execute()
    assert (table["numRows"], table["type"]) == ("3", "TABLE")
    data = bigquery.tabledata()
    first = data.list(**HOUSE, tableId="numbers", maxResults=2).execute()
    assert first["totalRows"] == "3"
    assert cells(first)[0] == ["1", "a", "1767268800.0", {"f": [{"v": "true"}]}, [{"v": "1.0"}, {"v": "0.5"}]]
    rest = data.list(**HOUSE, tableId="numbers", pageToken=first["pageToken"], selectedFields="label,n").execute()
    assert (cells(rest), "pageToken" in rest) == ([["3", None]], False)
    refused(data.list(**HOUSE, tableId="numbers", selectedFields="no").execute, 400, "invalid", "no was not found")


BAD_ROWS: dict[str, tuple[Json, str, str]] = {
    "unknown": ({"n": 1, "other": 2}, "other", "no such field: other."),
    "unknown below": ({"n": 1, "inner": {"no": 2}}, "inner.no", "no such field: inner.no."),
    "missing": ({"label": "a"}, "", "Missing required field: n."),
    "text for a number": ({"n": "one"}, "n", "Cannot convert value to int64 (bad value): one"),
    "fraction": ({"n": 1.5}, "n", "Cannot convert value to int64 (bad value): 1.5"),
    "one for many": ({"n": 1, "scores": 2}, "scores", "value for repeated field: scores"),
    "value for a record": ({"n": 1, "inner": 2}, "inner", "is not a record"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_stops_the_others(name: str, bigquery: Any) -> None:
    """One row that does not fit keeps all of them out, unless bad rows are to be skipped."""
    row, where, said = BAD_ROWS[name]
    stopped, bad = stream(bigquery, {"n": 1}, row)["insertErrors"]
    assert (stopped["index"], stopped["errors"][0]["reason"]) == (0, "stopped")
    assert (bad["index"], bad["errors"][0]["reason"], bad["errors"][0]["location"]) == (1, "invalid", where)
    assert said in bad["errors"][0]["message"]
    assert ask(bigquery, "SELECT n FROM house.numbers")["totalRows"] == "0"
    (skipped,) = stream(bigquery, {"n": 1}, row, skipInvalidRows=True)["insertErrors"]
    assert skipped == bad
    assert cells(ask(bigquery, "SELECT n FROM house.numbers")) == [["1"]]


def test_unknown_values_may_be_ignored(bigquery: Any) -> None:
    """Values without a column are left out where the request says so."""
    assert "insertErrors" not in stream(bigquery, {"n": 1, "other": 2}, ignoreUnknownValues=True)
    assert cells(ask(bigquery, "SELECT n FROM house.numbers")) == [["1"]]


def test_a_query_is_answered_in_pages(bigquery: Any) -> None:
    """The first page comes with the query's job, the others are asked of it, in its location."""
    stream(bigquery, *({"n": index, "at": NOON_TEXT} for index in range(5)))
    query = "SELECT n, at FROM numbers WHERE n > @low ORDER BY n"
    low = {"name": "Low", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "0"}}
    house = {"defaultDataset": HOUSE, "parameterMode": "NAMED", "queryParameters": [low]}
    first = ask(bigquery, query, maxResults=3, timeoutMs=1000, requestId="x", **house)
    assert (first["jobComplete"], first["totalRows"], first["location"]) == (True, "4", PLACE)
    assert [field["type"] for field in first["schema"]["fields"]] == ["INTEGER", "TIMESTAMP"]
    assert cells(first) == [[str(index), "1767268800.0"] for index in (1, 2, 3)]
    job = {"projectId": "local-project", "jobId": first["jobReference"]["jobId"]}
    # So the client spells the parameter formatOptions.useInt64Timestamp.
    whole = {"formatOptions_useInt64Timestamp": True}
    results_of = bigquery.jobs().getQueryResults
    rest = results_of(**job, location=PLACE, pageToken=first["pageToken"], **whole).execute()
    assert (cells(rest), "pageToken" in rest) == ([["4", "1767268800000000"]], False)
    none = results_of(**job, location=PLACE, maxResults=0).execute()
    assert (none["jobComplete"], none["totalRows"], "rows" in none) == (True, "4", False)
    refused(results_of(**job).execute, 404, "notFound", "Not found: Job local-project:")
    refused(results_of(**job, location="US").execute, 404, "notFound", "Not found: Job local-project:US.")


def test_a_dry_run_tells_the_schema(cloud: CloudDouble, bigquery: Any) -> None:
    """A dry run checks and describes, and makes no job."""
    answer = ask(bigquery, "SELECT n + 0.5 AS half FROM house.numbers", dryRun=True)
    assert answer["schema"]["fields"] == [{"name": "half", "type": "FLOAT", "mode": "NULLABLE"}]
    assert "jobId" not in answer["jobReference"]
    assert not cloud.big_query.jobs


BAD_ASKS: dict[str, tuple[Json, int, str, str]] = {
    "legacy by default": ({"query": "SELECT 1"}, 501, "notImplemented", "legacy SQL"),
    "no table": ({"query": "SELECT 1 FROM house.no"}, 404, "notFound", "house.no was not found in location"),
    "elsewhere": ({"query": "SELECT 1 FROM house.numbers", "location": "US"}, 404, "notFound", "Dataset"),
    "syntax": ({"query": "SELECT FROM"}, 400, "invalidQuery", "Syntax error"),
    "session": ({"query": "SELECT 1", "createSession": True}, 501, "notImplemented", "createSession"),
    "arrow": ({"query": "SELECT 1", "queryResultsFormat": "ARROW"}, 501, "notImplemented", "ARROW"),
    "untyped parameter": ({"query": "SELECT @a", "queryParameters": [{"name": "a"}]}, 400, "invalid", "parameterType"),
    "nothing": ({"query": " "}, 400, "required", "query"),
}


@pytest.mark.parametrize("name", BAD_ASKS)
def test_a_bad_query_is_refused_over_http(name: str, bigquery: Any) -> None:
    """Refusals keep BigQuery's status and reason; what is not known here is a 501."""
    body, status, reason, said = BAD_ASKS[name]
    body = body if name.startswith("legacy") else {**body, "useLegacySql": False}
    refused(bigquery.jobs().query(projectId="local-project", body=body).execute, status, reason, said)


def test_a_prefix_names_the_dialect(bigquery: Any) -> None:
    """#standardSQL makes a query GoogleSQL where nothing else does."""
    body = {"query": "#standardSQL\nSELECT 1 AS one"}
    answer = bigquery.jobs().query(projectId="local-project", body=body).execute()
    assert cells(answer) == [["1"]]


def test_a_job_is_inserted_and_asked_for(bigquery: Any) -> None:
    """An inserted query is a job that is done; a wrong one is a job that failed, and its results are its error."""
    jobs = bigquery.jobs()

    def put(name: str, query: str, **settings: Any) -> Any:
        reference = {"projectId": "local-project", "jobId": name, "location": PLACE}
        configuration = {"query": {"query": query, "useLegacySql": False}, **settings}
        body = {"jobReference": reference, "configuration": configuration}
        return jobs.insert(projectId="local-project", body=body)

    place = {"projectId": "local-project", "location": PLACE}
    made = put("good", "SELECT COUNT(*) AS n FROM house.numbers").execute()
    assert (made["id"], made["status"]) == (f"local-project:{PLACE}.good", {"state": "DONE"})
    assert jobs.get(**place, jobId="good").execute() == made
    assert cells(jobs.getQueryResults(**place, jobId="good").execute()) == [["0"]]
    failed = put("bad", "SELECT nothing FROM house.numbers").execute()
    assert failed["status"]["errorResult"]["reason"] == "invalidQuery"
    refused(jobs.getQueryResults(**place, jobId="bad").execute, 400, "invalidQuery", "nothing")
    refused(put("good", "SELECT 1").execute, 409, "duplicate", "Already Exists: Job")
    tried = put("tried", "SELECT n FROM house.numbers", dryRun=True).execute()
    assert [field["name"] for field in tried["statistics"]["query"]["schema"]["fields"]] == ["n"]
    refused(jobs.get(**place, jobId="tried").execute, 404, "notFound")
    load = {"configuration": {"load": {"sourceUris": ["gs://models/a"]}}}
    refused(jobs.insert(projectId="local-project", body=load).execute, 501, "notImplemented", "other than queries")


def test_a_views_query_is_checked(bigquery: Any) -> None:
    """A view gets the schema that its query gives; a wrong query makes no view and changes none."""
    made = make(bigquery, "halves", **view("SELECT n / 2 AS Half FROM house.numbers"))
    assert made["schema"]["fields"] == [{"name": "Half", "type": "FLOAT", "mode": "NULLABLE"}]
    assert made["type"] == "VIEW"
    for query, status, reason in (
        ("SELECT no FROM house.numbers", 400, "invalidQuery"),
        ("SELECT n FROM house.no", 404, "notFound"),
        ("SELECT RAND() AS r", 501, "notImplemented"),
    ):
        refused(lambda wrong=query: make(bigquery, "wrong", **view(wrong)), status, reason)
        changed = bigquery.tables().patch(**HOUSE, tableId="halves", body=view(query))
        refused(changed.execute, status, reason)
    refused(lambda: make(bigquery, "wrong", view={"query": "SELECT 1"}), 501, "notImplemented", "legacy SQL")
    assert bigquery.tables().get(**HOUSE, tableId="halves").execute() == made
    refused(bigquery.tables().get(**HOUSE, tableId="wrong").execute, 404, "notFound")
    stream(bigquery, {"n": 3})
    assert cells(ask(bigquery, "SELECT half FROM house.halves")) == [["1.5"]]


def grant(cloud: CloudDouble, member: str, role: str) -> None:
    """Grant a role on the project."""
    resource = f"//cloudresourcemanager.googleapis.com/projects/{cloud.project}"
    policy = cloud.state.policies.setdefault(resource, {"bindings": []})
    policy["bindings"].append({"role": role, "members": [f"serviceAccount:{member}"]})


def read_house(cloud: CloudDouble, role: str, member: str) -> None:
    """Add an account to the dataset's access."""
    dataset = cloud.state.resources("bigquery.datasets")["projects/local-project/datasets/house"]
    dataset["access"].append({"role": role, "userByEmail": member})


def test_a_query_needs_its_callers_rights(cloud: CloudDouble, bigquery: Any) -> None:
    """To ask takes the right to make jobs, and to read each table, through views too; a job is its maker's."""
    make(bigquery, "same", **view("SELECT n FROM house.numbers"))
    with api_client(cloud, "bigquery", "v2", ANN) as ann:
        refused(lambda: ask(ann, "SELECT 1"), 403, "forbidden", "bigquery.jobs.create")
        grant(cloud, ANN, "roles/bigquery.jobUser")
        refused(lambda: ask(ann, "SELECT n FROM house.same"), 403, "accessDenied", "Table local-project:house.same")
        refused(lambda: ask(ann, "SELECT n FROM house.no"), 403, "accessDenied", "or perhaps it does not exist")
        refused(ann.tabledata().list(**HOUSE, tableId="numbers").execute, 403, "forbidden")
        read_house(cloud, "READER", ANN)
        answer = ask(ann, "SELECT n FROM house.same")
        refused(lambda: stream(ann, {"n": 1}), 403, "forbidden", "bigquery.tables.updateData")
        place = {"projectId": "local-project", "location": PLACE}
        own = ann.jobs().get(**place, jobId=answer["jobReference"]["jobId"]).execute()
        assert own["user_email"] == ANN
        others = ask(bigquery, "SELECT n FROM house.same")["jobReference"]["jobId"]
        refused(ann.jobs().getQueryResults(**place, jobId=others).execute, 403, "forbidden", "bigquery.jobs.get")


def test_a_sink_writes_what_it_may(cloud: CloudDouble, bigquery: Any) -> None:
    """Entries become rows once the sink's identity may write: the table is made, by day, and grows."""
    with api_client(cloud, "logging", "v2") as logging:

        def write(**payload: Any) -> None:
            entry = {"logName": "projects/local-project/logs/app", "resource": {"type": "global"}}
            body = {"entries": [{**entry, "jsonPayload": payload}]}
            logging.entries().write(body=body).execute()

        destination = "bigquery.googleapis.com/projects/local-project/datasets/house"
        options = {"bigqueryOptions": {"usePartitionedTables": True}}
        sink = (
            logging.projects()
            .sinks()
            .create(
                parent="projects/local-project",
                uniqueWriterIdentity=True,
                body={"name": "app", "destination": destination, "filter": "jsonPayload.a:*", **options},
            )
            .execute()
        )
        write(a="lost")
        read_house(cloud, "WRITER", sink["writerIdentity"].partition(":")[2])
        write(a="first")
        write(b="not taken")
        table = bigquery.tables().get(**HOUSE, tableId="app").execute()
        assert table["timePartitioning"] == {"type": "DAY", "field": "timestamp"}
        write(a="second", b=2)
        write(a=3)
    answer = ask(bigquery, "SELECT jsonPayload.a, jsonPayload.b FROM house.app ORDER BY 1")
    assert cells(answer) == [["first", None], ["second", "2.0"]]
    (errors,) = (name for name in cloud.resources("bigquery.tables") if "/tables/export_errors_" in name)
    assert "timePartitioning" not in cloud.resources("bigquery.tables")[errors]
    assert cloud.warehouse.count("house", errors.rpartition("/")[2]) == 1


def test_who_never_asks_pays_nothing() -> None:
    """A double that nobody queries does not import duckdb or sqlglot, which take a while."""
    code = "import sys; from tests.cloud import CloudDouble\nwith CloudDouble(): pass\n"
    code += "print(sorted({'duckdb', 'sqlglot'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
