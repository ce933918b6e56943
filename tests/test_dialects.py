"""All dialects beside each other: the same rows get the same numbers, the same faults and the same limits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from lifecycle.frames import raw_instances
from lifecycle.pinning import write_pin
from lifecycle.recipe import read_source
from tests.server import Server
from tests.speakers import SPEAKERS, VERTEX, Rows, Speaker, say
from tests.test_endpoint import GOOD
from tests.toys import TOYS

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
ALL = pytest.mark.parametrize("speaker", SPEAKERS, ids=[speaker.name for speaker in SPEAKERS])


@pytest.mark.parametrize("name", ["churn", "reviews", "maintenance"])
def test_every_dialect_gives_the_same_numbers(name: str, trained: Callable[[str], Any], tmp_path: Path) -> None:
    """Of each example model, hundreds of its test rows get bit for bit the native answer in every dialect."""
    store, version = trained(name)
    signature = version.manifest.signature
    test = read_source(name).load().test[[feature.name for feature in signature.features]].head(300)
    rows = raw_instances(test, signature.features)
    environment = {"MODEL_STORE": store.url, "PIN_FILE": str(write_pin(version, tmp_path)), **VERTEX}
    with Server(environment, tmp_path) as server:
        _compare(server, rows)


@ALL
@pytest.mark.parametrize("name", ["binary", "multiclass", "truth", "regression", "text", "named-like-the-format"])
def test_every_dialect_answers_for_models_of_every_shape(
    speaker: Speaker, name: str, serving: Callable[..., TestClient]
) -> None:
    """Labels keep their type, and a regression its numbers, in whichever dialect they are asked for."""
    client = serving(name, **VERTEX)
    toy = TOYS[name]()
    model = client.get("/model").json()
    rows = [
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
        for row in toy.features.astype(object).where(toy.features.notna(), None).head(20).to_dict("records")
    ]
    native = client.post("/predict", json={"instances": rows}).json()
    read = speaker.read(say(client, speaker, rows, model), model)
    assert read.predictions == native["predictions"]
    assert [type(one) for one in read.predictions] == [type(one) for one in native["predictions"]]
    if read.probabilities is not None:
        assert read.probabilities == native["probabilities"]


VALID = st.fixed_dictionaries(
    {
        "age": st.integers(-(2**53), 2**53) | st.integers(0, 120),
        "income": st.none()
        | st.floats(allow_nan=False, allow_infinity=False, width=32)
        | st.integers(0, 10**6).map(float),
        "city": st.sampled_from(["Bern", "Genève", "Zürich"]),
        "member": st.booleans(),
        "plan": st.sampled_from(["free", "paid", "team"]),
    }
)
BREAK_ANY = st.sampled_from(
    [
        {"age": "forty"}, {"age": 40.5}, {"age": True}, {"age": None}, {"age": [40, 41]}, {"age": {}}, {"income": "1"},
        {"income": True}, {"income": float("inf")}, {"city": "Rom"}, {"city": 1}, {"city": None}, {"member": 1},
        {"member": None}, {"member": "true"}, {"plan": ""}, {"plan": "x" * 5000}, {"age": 2**63}, {"age": -(2**70)},
    ]
)  # fmt: skip
BREAK_TYPED = st.sampled_from([{"city": "Rom"}, {"plan": "premium"}, {"plan": "ünï\"',\n;"}])


@given(rows=st.lists(VALID, min_size=1, max_size=6))
@QUICK
def test_random_rows_get_the_same_answer_in_every_dialect(spoken_to: Server, rows: Rows) -> None:
    """Whatever rows are valid, each dialect gives the native predictions and probabilities."""
    _compare(spoken_to, rows)


@pytest.mark.long
@given(rows=st.lists(VALID, min_size=1, max_size=40))
@LONG
def test_random_rows_get_the_same_answer_for_long(spoken_to: Server, rows: Rows) -> None:
    """The same, with fifty times as many requests."""
    _compare(spoken_to, rows)


def _compare(server: Server, rows: Rows) -> None:
    model = server.client.get("/model").json()
    native = server.client.post("/predict", json={"instances": rows}).json()
    for speaker in SPEAKERS:
        response = say(server.client, speaker, rows, model)
        assert response.status_code == 200, f"{speaker.name}: {response.text}"
        read = speaker.read(response, model)
        assert read.predictions == native["predictions"], speaker.name
        assert read.probabilities in (None, native["probabilities"]), speaker.name


@given(rows=st.lists(VALID, min_size=1, max_size=4), fault=BREAK_ANY, typed=BREAK_TYPED, data=st.data())
@QUICK
def test_broken_rows_are_refused_in_every_dialect(
    spoken_to: Server, rows: Rows, fault: dict[str, Any], typed: dict[str, Any], data: st.DataObject
) -> None:
    """One wrong value sinks the request in each dialect, with its own shape and status, and names the feature."""
    model = spoken_to.client.get("/model").json()
    place = data.draw(st.integers(0, len(rows) - 1))
    for speaker in SPEAKERS:
        change = typed if speaker.typed else fault
        broken = [{**row, **change} if index == place else row for index, row in enumerate(rows)]
        response = say(spoken_to.client, speaker, broken, model)
        if speaker.lines:
            assert response.status_code == 200
            assert ["error" in line for line in map(json.loads, response.text.splitlines())] == [
                index == place for index in range(len(rows))
            ]
            continue
        assert 400 <= response.status_code < 500, f"{speaker.name}: {response.text}"
        assert speaker.is_error(response), f"{speaker.name}: {response.text}"
        if response.status_code in (400, 422):
            assert response.status_code == speaker.invalid or not speaker.typed, f"{speaker.name}: {response.text}"


@ALL
def test_every_dialect_has_the_same_limits(speaker: Speaker, serving: Callable[..., TestClient]) -> None:
    """One instance more than are taken is a 413 in the dialect's own shape; as many as are taken is answered."""
    client = serving("binary", MAX_INSTANCES="5", **VERTEX)
    model = client.get("/model").json()
    row = {**GOOD, "income": 1.5}
    assert say(client, speaker, [row] * 5, model).status_code == 200
    response = say(client, speaker, [row] * 6, model)
    assert response.status_code == 413, response.text
    assert speaker.is_error(response), response.text
    assert "5" in response.text


@ALL
def test_every_dialect_refuses_what_is_too_large(speaker: Speaker, serving: Callable[..., TestClient]) -> None:
    """More bytes than a body may have is a 413 in the shape of the path's dialect."""
    client = serving("binary", MAX_BODY_MB="0.001", **VERTEX)
    model = client.get("/model").json()
    response = say(client, speaker, [{**GOOD, "income": 1.5}] * 200, model)
    assert response.status_code == 413, response.text
    assert "error" in response.text or "detail" in response.text


@ALL
def test_every_dialect_writes_a_record_in_its_name(speaker: Speaker, spoken_to: Server) -> None:
    """The record of a request says which dialect it spoke, and holds what it holds for the native one."""
    model = spoken_to.client.get("/model").json()
    response = say(spoken_to.client, speaker, [{**GOOD, "income": 1.5}], model)
    request_id = response.headers["x-request-id"]
    spoken_to.wait_for_records("prediction", 1)
    (record,) = _soon(spoken_to, request_id)
    assert record["dialect"] == speaker.name.partition("-")[0].replace("sagemaker", "mlflow")
    assert (record["outcome"], record["instances"]) == ("answered", 1)


def _soon(server: Server, request_id: str) -> list[dict[str, Any]]:
    """Return the records of a request as soon as there are any."""
    count = 1
    while not (found := [one for one in server.records() if one.get("request_id") == request_id]):
        server.wait_for_records("prediction", count)
        count += 1
    return found


@ALL
def test_every_dialect_says_in_its_shape_that_the_model_is_away(
    speaker: Speaker, serving: Callable[..., TestClient], tmp_path: Path
) -> None:
    """A model that cannot be loaded is a 503 with the reason, in each dialect's shape, where its path has one."""
    model = serving("binary", **VERTEX).get("/model").json()
    client = serving("binary", PIN_FILE=str(tmp_path / "none.json"), **VERTEX)
    response = say(client, speaker, [{**GOOD, "income": 1.5}], model)
    assert response.status_code == 503
    assert "no pin" in response.text
    assert response.headers["retry-after"]
