"""Prediction records end to end: lines of the real function, infra/'s sink, table and view, and a query over HTTP."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from function.contract import CHECK_AGENT
from tests.cloud import CloudDouble
from tests.cloud.api import api_client
from tests.cloud.logging.entries import Origin
from tests.cloud.schemas import Json
from tests.infra.code import INFRA, resources, unquoted, view_query
from tests.server import Server
from tests.test_endpoint import GOOD

PROJECT, REGION, PREFIX, MODEL = "local-project", "europe-west6", "pilot", "binary"
RECORDS = unquoted(resources(INFRA)["google_bigquery_table", "records"]["table_id"])
HOUSE = {"projectId": PROJECT, "datasetId": "pilot_records"}
ORIGIN = Origin(PROJECT, REGION, f"{PREFIX}-{MODEL}", f"{PREFIX}-{MODEL}-00001-abc", "0a1b")
STRANGER = Origin(PROJECT, REGION, f"{PREFIX}-eu-binary", f"{PREFIX}-eu-binary-00001-abc", "0a1b")


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double with what infra/records.tf declares."""
    with CloudDouble(project=PROJECT) as double:
        with api_client(double, "bigquery", "v2") as bigquery, api_client(double, "logging", "v2") as logging:
            declare(bigquery, logging)
        yield double


def declare(bigquery: Any, logging: Any) -> None:
    """Make dataset, table, view, sink and grant."""
    body: Json = {"datasetReference": HOUSE, "location": REGION}
    bigquery.datasets().insert(projectId=PROJECT, body=body).execute()
    fields = json.loads((INFRA / "records.schema.json").read_text(encoding="utf-8"))
    partitioned = {"type": "DAY", "field": "timestamp"}
    put(bigquery, RECORDS, schema={"fields": fields}, timePartitioning=partitioned)
    query = view_query(f"{PROJECT}.{HOUSE['datasetId']}.{RECORDS}", f"{PREFIX}-{MODEL}", MODEL)
    put(bigquery, MODEL, view={"query": query, "useLegacySql": False})
    sink = {
        "name": f"{PREFIX}-records",
        "destination": f"bigquery.googleapis.com/projects/{PROJECT}/datasets/{HOUSE['datasetId']}",
        "filter": sink_filter(),
        "bigqueryOptions": {"usePartitionedTables": True},
    }
    sinks = logging.projects().sinks()
    made = sinks.create(parent=f"projects/{PROJECT}", uniqueWriterIdentity=True, body=sink).execute()
    dataset = bigquery.datasets().get(**HOUSE).execute()
    writer = {"role": "roles/bigquery.dataEditor", "userByEmail": made["writerIdentity"].partition(":")[2]}
    bigquery.datasets().patch(**HOUSE, body={"access": [*dataset["access"], writer]}).execute()


def put(bigquery: Any, name: str, **fields: Any) -> None:
    """Make a table or view."""
    bigquery.tables().insert(**HOUSE, body={"tableReference": {**HOUSE, "tableId": name}, **fields}).execute()


def sink_filter() -> str:
    """Return the filter of infra/'s sink."""
    declared = resources(INFRA)["google_logging_project_sink", "records"]["filter"]
    (text,) = re.findall(r"<<-EOT\n(.*)\n *EOT", declared, re.DOTALL)
    filled: str = text.replace("${var.project}", PROJECT).replace("${local.services}", f'"{PREFIX}-{MODEL}"')
    assert "${" not in filled
    return filled


def ask(cloud: CloudDouble, query: str) -> list[dict[str, Any]]:
    """Return what a query over HTTP gives, by name."""
    with api_client(cloud, "bigquery", "v2") as bigquery:
        body = {"query": query, "useLegacySql": False, "defaultDataset": HOUSE}
        answer = bigquery.jobs().query(projectId=PROJECT, body=body).execute()
    names = [field["name"] for field in answer["schema"]["fields"]]
    return [dict(zip(names, (cell["v"] for cell in row["f"]), strict=True)) for row in answer.get("rows", [])]


def predict(server: Server) -> None:
    """Have the function answer once more, and wait until it has printed its record."""
    before = len(server.records("prediction"))
    assert server.client.post("/predict", json={"instances": [GOOD]}).status_code == 200
    server.wait_for_records("prediction", before + 1)


def hand_over(cloud: CloudDouble, server: Server, origin: Origin = ORIGIN) -> None:
    """Give the double every line that the function printed, as Cloud Run would."""
    for line in list(server.lines):
        cloud.signals.line(origin, "stdout", line.decode())


def test_every_prediction_is_a_row_with_its_outcome(cloud: CloudDouble, server: Server) -> None:
    """What the function prints becomes one row a prediction, and the outcome that was told stands beside it."""
    answer = server.client.post("/predict", json={"instances": [GOOD, {**GOOD, "age": 61}]}).json()
    server.client.post("/predict", json={"instances": [{}]})
    first, second = answer["prediction_ids"]
    told = len(server.records("feedback"))
    for outcome in ("no", "yes"):
        body = {"prediction_id": second, "outcome": outcome}
        assert server.client.post("/feedback", json=body).status_code == 200
    server.wait_for_records("feedback", told + 2)
    hand_over(cloud, server)
    rows = ask(cloud, f"SELECT * FROM {MODEL} WHERE prediction_id IN ('{first}', '{second}') ORDER BY prediction_id")
    assert [row["prediction_id"] for row in rows] == [first, second]
    assert [row["prediction"] for row in rows] == answer["predictions"]
    assert [json.loads(row["features"])["age"] for row in rows] == [40, 61]
    assert [row["outcome"] for row in rows] == [None, "yes"]
    kinds = ask(cloud, f"SELECT DISTINCT jsonPayload.kind FROM {RECORDS} ORDER BY 1")
    assert [row["kind"] for row in kinds] == ["feedback", "prediction"]


def test_records_fit_the_table_as_it_is(cloud: CloudDouble, server: Server) -> None:
    """The sink takes every record into infra/'s table: its schema does not grow, and nothing becomes an error."""
    before = cloud.resources("bigquery.tables")
    predict(server)
    hand_over(cloud, server)
    assert cloud.resources("bigquery.tables") == before
    with api_client(cloud, "bigquery", "v2") as bigquery:
        table = bigquery.tables().get(**HOUSE, tableId=RECORDS).execute()
    taken = [record for record in server.records() if record["kind"] in ("prediction", "feedback")]
    assert int(table["numRows"]) == len(taken) > 0


def test_other_services_records_stay_out(cloud: CloudDouble, server: Server) -> None:
    """A service that no model of ours names is not ours, whatever it prints and whatever its name begins with."""
    predict(server)
    hand_over(cloud, server, STRANGER)
    assert ask(cloud, f"SELECT COUNT(*) AS n FROM {RECORDS}") == [{"n": "0"}]


def test_checks_are_no_rows(cloud: CloudDouble, server: Server) -> None:
    """The sink takes no check, and the view would show none: both name the kinds that they take."""
    predict(server)
    before = len(server.records("check"))
    server.client.post("/predict", json={"instances": [GOOD]}, headers={"user-agent": CHECK_AGENT})
    server.wait_for_records("check", before + 1)
    hand_over(cloud, server)
    assert ask(cloud, f"SELECT COUNT(*) AS n FROM {RECORDS} WHERE jsonPayload.kind = 'check'") == [{"n": "0"}]
    assert re.findall(r"kind = '(\w+)'", view_query(RECORDS, "service", MODEL)) == ["feedback", "prediction"]


def test_without_its_grant_the_sink_loses_records(cloud: CloudDouble, server: Server) -> None:
    """The grant on the dataset is what makes records arrive."""
    dataset = cloud.state.resources("bigquery.datasets")[f"projects/{PROJECT}/datasets/{HOUSE['datasetId']}"]
    assert dataset["access"].pop()["userByEmail"].startswith("service-")
    predict(server)
    hand_over(cloud, server)
    assert ask(cloud, f"SELECT COUNT(*) AS n FROM {RECORDS}") == [{"n": "0"}]
