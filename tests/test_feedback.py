"""True outcomes: validated against the signature, recorded one by one, all of a request or none."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from function.record import LineWriter
from tests.server import Server
from tests.test_endpoint import GOOD, error

ID = "0123456789abcdef0123456789abcdef-0"


def test_an_outcome_becomes_a_record_that_leads_to_its_prediction(server: Server) -> None:
    """The id of an answer, with what really happened, is a record of its own; `observed_at` is kept as it was."""
    (prediction_id,) = server.client.post("/predict", json=GOOD).json()["prediction_ids"]
    body = {"prediction_id": prediction_id, "outcome": "yes", "observed_at": "2026-01-31T12:00:00+01:00"}
    response = server.client.post("/feedback", json=body)
    assert response.status_code == 200
    assert response.json() == {"model": "binary", "version": 1, "recorded": 1}
    records = server.wait_for_records("feedback", 1)
    record = next(record for record in records if record["prediction_id"] == prediction_id)
    assert json.loads(record["outcome_json"]) == "yes"
    assert record["observed_at"] == "2026-01-31T12:00:00+01:00"
    assert (record["severity"], record["model"], record["version"]) == ("INFO", "binary", 1)
    assert record["request_id"] == response.headers["x-request-id"]
    answered = [one for one in server.records("prediction") if prediction_id.startswith(one["request_id"])]
    assert len(answered) == 1


def test_outcomes_may_come_late_again_and_out_of_order(server: Server) -> None:
    """Nothing is asked of the order or the number of times; every one is recorded in the order it came."""
    before = len(server.records("feedback"))
    outcomes = [
        {"prediction_id": ID, "outcome": "yes"},
        {"prediction_id": ID.replace("-0", "-7"), "outcome": "no", "observed_at": None},
        {"prediction_id": ID, "outcome": "no"},
    ]
    assert server.client.post("/feedback", json={"outcomes": outcomes}).json()["recorded"] == 3
    found = server.wait_for_records("feedback", before + 3)[before:]
    assert [json.loads(record["outcome_json"]) for record in found] == ["yes", "no", "no"]
    assert all("observed_at" not in record for record in found)


WRONG: dict[str, tuple[Any, int, str, str]] = {
    "list": ([], 400, "invalid_body", ""),
    "nothing": ({}, 422, "invalid_outcomes", "/prediction_id"),
    "no-outcomes": ({"outcomes": []}, 400, "invalid_body", "/outcomes"),
    "outcomes-no-list": ({"outcomes": {}}, 400, "invalid_body", "/outcomes"),
    "more-beside": ({"outcomes": [], "x": 1}, 400, "invalid_body", "/x"),
    "no-object": ({"outcomes": [1]}, 422, "invalid_outcomes", "/outcomes/0"),
    "unknown-name": ({"prediction_id": ID, "outcome": "yes", "label": 1}, 422, "invalid_outcomes", "/label"),
    "no-outcome": ({"prediction_id": ID}, 422, "invalid_outcomes", "/outcome"),
    "unknown-class": ({"prediction_id": ID, "outcome": "maybe"}, 422, "invalid_outcomes", "/outcome"),
    "null-outcome": ({"prediction_id": ID, "outcome": None}, 422, "invalid_outcomes", "/outcome"),
    "number-for-text": ({"prediction_id": ID, "outcome": 1}, 422, "invalid_outcomes", "/outcome"),
    "no-id": ({"prediction_id": "mine", "outcome": "yes"}, 422, "invalid_outcomes", "/prediction_id"),
    "id-of-request": ({"prediction_id": ID[:-2], "outcome": "yes"}, 422, "invalid_outcomes", "/prediction_id"),
    "id-no-text": ({"prediction_id": 7, "outcome": "yes"}, 422, "invalid_outcomes", "/prediction_id"),
    "no-moment": (
        {"prediction_id": ID, "outcome": "yes", "observed_at": "soon"}, 422, "invalid_outcomes", "/observed_at",
    ),
    "moment-without-offset": (
        {"prediction_id": ID, "outcome": "yes", "observed_at": "2026-01-31T12:00:00"},
        422, "invalid_outcomes", "/observed_at",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_outcome_is_named(case: str, client: TestClient) -> None:
    """What is no outcome of this model's is refused, and the place named."""
    body, status, code, at = WRONG[case]
    assert error(client.post("/feedback", json=body), status, code)["details"][0]["at"] == at


def test_one_wrong_outcome_keeps_all_from_being_recorded(server: Server) -> None:
    """A request is recorded whole or not at all, so that it can be sent again as it is."""
    before = len(server.records("feedback"))
    outcomes = [{"prediction_id": ID, "outcome": "yes"}, {"prediction_id": ID, "outcome": "maybe"}, 3]
    found = error(server.client.post("/feedback", json={"outcomes": outcomes}), 422, "invalid_outcomes")
    assert [detail["at"] for detail in found["details"]] == ["/outcomes/1/outcome", "/outcomes/2"]
    server.client.post("/feedback", json={"prediction_id": ID, "outcome": "yes"})
    assert len(server.wait_for_records("feedback", before + 1)) == before + 1


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("multiclass", [0, 2, 1.0], [3, 0.5, "0", True]),
        ("truth", [True, False], [0, 1, "yes"]),
        ("regression", [1, 2.5, -3e10], ["1", True, [1.0]]),
        ("several-numbers", [[1, 2.5]], [1, [1], [1, 2, 3], [1, "2"]]),
    ],
)
def test_outcomes_have_the_type_of_their_target(
    name: str, right: list[Any], wrong: list[Any], serving: Callable[..., TestClient]
) -> None:
    """A class keeps its type, a number is finite, and several targets take a list in their order."""
    client = serving(name)
    for value in right:
        assert client.post("/feedback", json={"prediction_id": ID, "outcome": value}).status_code == 200, value
    for value in wrong:
        error(client.post("/feedback", json={"prediction_id": ID, "outcome": value}), 422, "invalid_outcomes")
    body = b'{"prediction_id": "%s", "outcome": NaN}' % ID.encode()
    error(client.post("/feedback", content=body), 422, "invalid_outcomes")


def test_no_more_outcomes_than_can_be_written_at_once(client: TestClient) -> None:
    """A thousand outcomes are taken, one more is a 413."""
    one = {"prediction_id": ID, "outcome": "yes", "observed_at": "2026-01-31T12:00:00Z"}
    assert client.post("/feedback", json={"outcomes": [one] * 1000}).json()["recorded"] == 1000
    error(client.post("/feedback", json={"outcomes": [one] * 1001}), 413, "too_many_instances")


def test_what_cannot_be_written_is_not_confirmed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the line's reader is too slow for all of it, the answer is a 503 that asks to send it again."""
    monkeypatch.setattr(LineWriter, "__call__", lambda *_: False)
    found = client.post("/feedback", json={"prediction_id": ID, "outcome": "yes"})
    error(found, 503, "not_recorded")
    assert found.headers["retry-after"] == "1"


def test_the_documented_example_is_accepted(client: TestClient) -> None:
    """The example of the OpenAPI works as it stands."""
    document = client.get("/openapi.json").json()
    body = document["paths"]["/feedback"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/feedback", json=body).json()["recorded"] == 1


@pytest.mark.parametrize("moment", ["1700000000", "-1", "0", "2026-01-31", 7, True])
def test_a_moment_is_a_date_and_time_with_offset(moment: Any, client: TestClient) -> None:
    """Numbers are no moments, in text or out of it."""
    body = {"prediction_id": ID, "outcome": "yes", "observed_at": moment}
    error(client.post("/feedback", json=body), 422, "invalid_outcomes")


def test_an_endless_number_is_no_outcome(serving: Callable[..., TestClient]) -> None:
    """A number beyond any float is refused like every other wrong value."""
    body = f'{{"prediction_id": "{ID}", "outcome": 1{"0" * 400}}}'
    error(serving("regression").post("/feedback", content=body), 422, "invalid_outcomes")
