"""Requests through the real framework: every form that is read, every fault that is found, in one error shape."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from starlette.testclient import TestClient

from function.contract import TOLERANCE
from lifecycle.frames import raw_instances
from lifecycle.signature import as_input, learn_features
from tests.toys import TOYS, binary, named_like_the_format

JSON = {"content-type": "application/json"}
GOOD = {"age": 40, "income": None, "city": "Genève", "member": True, "plan": "paid"}


def error(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the error of a response that has this status and code and the one shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["code"] == code
    assert all(set(detail) == {"at", "expected", "found"} for detail in body["error"]["details"])
    return body["error"]


def predict(client: TestClient, body: Any) -> dict[str, Any]:
    """Return the answer to a body that is accepted."""
    response = client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("name", TOYS)
def test_answers_equal_the_fitted_pipelines_own(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever shape a model has, its answers are those of its own predict and predict_proba."""
    toy = TOYS[name]()
    client = serving(name)
    features = learn_features(toy.features, {})
    form = client.get("/model").json()
    rows = as_input(toy.features, {"multiclass": "array", "text": "column", "records": "records"}.get(name, "frame"))

    answer = predict(client, {"instances": raw_instances(toy.features, features)})

    assert answer["predictions"] == toy.pipeline.predict(rows).tolist()
    assert len(answer["prediction_ids"]) == len(toy.frame)
    if "probabilities" in form["outputs"]:
        chances = toy.pipeline.predict_proba(rows)
        tables = chances if isinstance(chances, list) else [chances]
        if name == "chained-classes":  # a column a target, of its second class
            tables = [np.stack([1.0 - chance, chance], axis=1) for chance in chances.T]
        keys = [
            [label if isinstance(label, str) else json.dumps(label) for label in target["classes"]]
            for target in form["targets"]
        ]
        expected = [
            [dict(zip(labels, row, strict=True)) for labels, row in zip(keys, tables_of_row, strict=True)]
            for tables_of_row in zip(*(table.tolist() for table in tables), strict=True)
        ]
        flat = expected if len(tables) > 1 else [row[0] for row in expected]
        assert answer["probabilities"] == flat
    else:
        assert "probabilities" not in answer


@pytest.mark.parametrize("name", ["multiclass", "truth", "binary"])
def test_class_labels_keep_their_type(name: str, serving: Callable[..., TestClient]) -> None:
    """Labels are numbers, booleans or text as they were in training, in the answer and in GET /model."""
    client = serving(name)
    model = client.get("/model").json()
    label = predict(client, model["example"])["predictions"][0]
    kind = {"multiclass": int, "truth": bool, "binary": str}[name]
    assert type(label) is kind
    assert {type(value) for value in model["classes"]} == {kind}


def test_every_form_of_a_request_gets_the_same_answer(client: TestClient) -> None:
    """Instances or features, named or in order, one or several, with columns in any order: one prediction."""
    row = list(GOOD.values())
    bodies = [
        {"instances": [GOOD]},
        {"instances": [row]},
        {"features": GOOD},
        {"features": row},
        GOOD,
        dict(reversed(GOOD.items())),
        {"instances": [GOOD], "parameters": {"outputs": ["predictions", "probabilities"]}},
    ]
    answers = [predict(client, body) for body in bodies]
    assert {str(answer["predictions"]) + str(answer["probabilities"]) for answer in answers} == {
        str(answers[0]["predictions"]) + str(answers[0]["probabilities"])
    }


def test_a_row_answers_the_same_alone_as_among_others(client: TestClient) -> None:
    """Each row of a request gets the prediction that it gets in a request of its own, but for BLAS's last bits."""
    toy = binary()
    rows = raw_instances(toy.features, learn_features(toy.features, {}))[:40]
    together = predict(client, {"instances": rows})
    alone = [predict(client, row) for row in rows]
    for row, answer in zip(together["probabilities"], alone, strict=True):
        assert row == pytest.approx(answer["probabilities"][0], rel=TOLERANCE)
    assert together["predictions"] == [answer["predictions"][0] for answer in alone]


def test_a_feature_may_be_called_as_the_wrappers_are(serving: Callable[..., TestClient]) -> None:
    """Under `features` or `instances`, a list or an object is the wrapper and a plain value is the feature."""
    client = serving("named-like-the-format")
    toy = named_like_the_format()
    bare = {"features": 30, "instances": 40.5}
    bodies = [bare, {"instances": [bare]}, {"features": bare}, {"features": [30, 40.5]}]
    answers = {str(predict(client, body)["probabilities"]) for body in bodies}
    chances = toy.pipeline.predict_proba(toy.features.head(1).assign(features=30, instances=40.5))[0].tolist()
    assert answers == {str([dict(zip(["no", "yes"], chances, strict=True))])}


def test_parameters_choose_outputs(client: TestClient) -> None:
    """`parameters.outputs` decides which outputs are computed and answered."""
    body = {"instances": [GOOD], "parameters": {"outputs": ["decision_function"]}}
    answer = predict(client, body)
    assert set(answer) == {"model", "version", "decision_function", "prediction_ids"}


def test_unusual_numbers_are_marked_and_answered(client: TestClient) -> None:
    """A number far outside the training range is answered, and the answer says so."""
    answer = predict(client, {"instances": [GOOD, {**GOOD, "age": 100_000}]})
    assert len(answer["predictions"]) == 2
    assert answer["marks_total"] == 1
    assert answer["marks"][0]["at"] == "/instances/1/age"
    assert answer["marks"][0]["found"] == "100000"


def test_prediction_ids_are_the_request_id_and_the_position(client: TestClient) -> None:
    """An id is never given twice, and leads back to its request."""
    first = client.post("/predict", json={"instances": [GOOD, GOOD]})
    second = client.post("/predict", json={"instances": [GOOD]})
    request = first.headers["x-request-id"]
    assert first.json()["prediction_ids"] == [f"{request}-0", f"{request}-1"]
    assert second.headers["x-request-id"] != request


WRONG_INSTANCES: dict[str, tuple[Any, str, str, str]] = {
    "text-for-number": ({**GOOD, "age": "40"}, "/instances/0/age", "an integer", '"40"'),
    "true-for-number": ({**GOOD, "age": True}, "/instances/0/age", "an integer", "true"),
    "fraction-for-integer": ({**GOOD, "age": 40.5}, "/instances/0/age", "an integer", "40.5"),
    "a-hair-more-than-whole": ({**GOOD, "age": 1e9 + 0.25}, "/instances/0/age", "an integer", "1000000000.25"),
    "a-hair-beside-nothing": ({**GOOD, "age": 1.8e-97}, "/instances/0/age", "an integer", "1.8e-97"),
    "number-for-boolean": ({**GOOD, "member": 1}, "/instances/0/member", "true or false", "1"),
    "null-for-number": ({**GOOD, "age": None}, "/instances/0/age", "an integer", "null"),
    "list-for-number": ({**GOOD, "age": [1]}, "/instances/0/age", "an integer", "a list of 1 value"),
    "new-category": ({**GOOD, "city": "Rom"}, "/instances/0/city", 'one of "Bern", "Genève", "Zürich"', '"Rom"'),
    "missing-name": ({k: v for k, v in GOOD.items() if k != "age"}, "/instances/0/age", "an integer", "nothing"),
    "too-few-values": ([1, 2], "/instances/0", "an object with 5 features", "a list of 2 values"),
    "wrong-position": (["x", None, "Bern", True, "free"], "/instances/0/0", "an integer", '"x"'),
    "no-instance": (7, "/instances/0", "an object with 5 features", "7"),
    "beyond-64-bits": ({**GOOD, "age": 2**63}, "/instances/0/age", "an integer", "9223372036854775808"),
}


@pytest.mark.parametrize("case", WRONG_INSTANCES)
def test_a_wrong_value_is_named_with_what_was_expected(case: str, client: TestClient) -> None:
    """A fault says where, what was expected and what was found."""
    instance, at, expected, found = WRONG_INSTANCES[case]
    details = error(client.post("/predict", json={"instances": [instance]}), 422, "invalid_instances")["details"]
    assert [(detail["at"], detail["found"]) for detail in details] == [(at, found)]
    assert details[0]["expected"].startswith(expected)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 400])
def test_numbers_that_json_lacks_are_faults_of_their_field(token: str, client: TestClient) -> None:
    """NaN stands for missing where that is allowed, and is a fault elsewhere; infinities and endless digits always."""
    body = '{"instances": [{"age": TOKEN, "income": 1, "city": "Bern", "member": true, "plan": "free"}]}'
    response = client.post("/predict", content=body.replace("TOKEN", token), headers=JSON)
    assert error(response, 422, "invalid_instances")["details"][0]["at"] == "/instances/0/age"
    response = client.post(
        "/predict", content=body.replace("TOKEN", "30").replace('"income": 1', f'"income": {token}'), headers=JSON
    )
    assert response.status_code == (200 if token == "NaN" else 422), response.text


def test_all_faults_of_all_instances_are_found_at_once(client: TestClient) -> None:
    """One answer lists every fault of every instance, an unknown name with the one that was probably meant."""
    bad = {**GOOD, "age": "x", "city": "Rom"}
    misspelt = {**{k: v for k, v in GOOD.items() if k != "income"}, "incme": 3}
    found = error(client.post("/predict", json={"instances": [GOOD, bad, misspelt]}), 422, "invalid_instances")
    assert found["message"] == "2 of 3 instances are invalid."
    assert [detail["at"] for detail in found["details"]] == [
        "/instances/1/age",
        "/instances/1/city",
        "/instances/2/incme",
        "/instances/2/income",
    ]
    assert "did you mean 'income'" in found["details"][2]["expected"]


def test_details_are_capped_and_invalid_instances_counted(client: TestClient) -> None:
    """A request with thousands of faults gets a short list and the whole count."""
    found = error(client.post("/predict", json={"instances": [{"age": 1}] * 3000}), 422, "invalid_instances")
    assert found["message"] == "3000 of 3000 instances are invalid."
    assert len(found["details"]) == 50


WRONG_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed_json"),
    "blank": (b"  \n", "malformed_json"),
    "half": (b'{"instances": [', "malformed_json"),
    "not-utf8": (b'{"instances": ["\xff"]}', "malformed_json"),
    "deep": (b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed_json"),
    "surrogate": (rb'{"city": "\ud800"}', "malformed_json"),
    "text": (b'"hello"', "invalid_body"),
    "null": (b"null", "invalid_body"),
    "instances-no-list": (b'{"instances": {"age": 1}}', "invalid_body"),
    "no-instance": (b'{"instances": []}', "invalid_body"),
    "features-no-row": (b'{"features": 3}', "invalid_body"),
    "two-wrappers": (b'{"instances": [{}], "features": {}}', "ambiguous_body"),
    "two-dialects": (b'{"instances": [{}], "calls": [[1]]}', "ambiguous_body"),
    "unknown-output": (b'{"instances": [{}], "parameters": {"outputs": ["odds"]}}', "invalid_body"),
    "outputs-no-list": (b'{"instances": [{}], "parameters": {"outputs": {"a": 1}}}', "invalid_body"),
    "outputs-of-lists": (b'{"instances": [{}], "parameters": {"outputs": [["predictions"]]}}', "invalid_body"),
    "parameters-no-object": (b'{"instances": [{}], "parameters": [1]}', "invalid_body"),
    "unknown-parameter": (b'{"instances": [{}], "parameters": {"threshold": 0.4}}', "invalid_body"),
}


@pytest.mark.parametrize("case", WRONG_BODIES)
def test_a_body_of_no_known_form_is_refused(case: str, client: TestClient) -> None:
    """What is not JSON, or none of the forms that are read, is a 400 that says what is read."""
    body, code = WRONG_BODIES[case]
    error(client.post("/predict", content=body, headers=JSON), 400, code)


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"content-type": "application/json; charset=utf-8"}, True),
        ({"content-type": "Application/JSON"}, True),
        ({}, True),
        ({"content-type": "application/json; charset=utf-8; profile=x"}, True),
        ({"content-type": "application/json;charset=utf-8;", "content-encoding": ""}, True),
        ({"content-type": ""}, True),
        ({"content-type": "application/json; charset=utf-16"}, False),
        ({"content-type": "application/json; profile=x; charset=utf-16"}, False),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/x-www-form-urlencoded"}, False),
        ({"content-type": "application/json", "content-encoding": "br"}, False),
    ],
)
def test_bodies_are_json_in_utf8(headers: dict[str, str], accepted: bool, client: TestClient) -> None:
    """An unknown content type, charset or encoding is a 415; a missing content type is taken for JSON."""
    body = b'{"age": 40, "income": null, "city": "Bern", "member": true, "plan": "paid"}'
    response = client.post("/predict", content=body, headers=headers)
    if accepted:
        assert response.status_code == 200, response.text
    else:
        error(response, 415, "unsupported_media_type")


def test_limits_on_size_and_count_are_said(serving: Callable[..., TestClient]) -> None:
    """A body or a list beyond its limit is a 413 that names the limit."""
    client = serving("binary", MAX_BODY_MB="0.01", MAX_INSTANCES="3")
    assert (
        "0.01 MiB"
        in error(client.post("/predict", content=b" " * 20_000, headers=JSON), 413, "body_too_large")["message"]
    )
    found = error(client.post("/predict", json={"instances": [GOOD] * 4}), 413, "too_many_instances")
    assert found["message"] == "4 instances were sent; one request takes at most 3."


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":[' + b"{}," * 2_000 + b"{}]}",
        b'{"instances":[{"city":[' + b"[]," * 2_000 + b"[]]}]}",
    ],
    ids=["instances", "values"],
)
def test_lists_and_objects_without_end_are_refused_unread(body: bytes, serving: Callable[..., TestClient]) -> None:
    """A body of far more lists and objects than instances are taken costs no more memory than itself."""
    client = serving("binary", MAX_INSTANCES="10")
    assert "lists" in error(client.post("/predict", content=body, headers=JSON), 413, "too_many_instances")["message"]


def test_brackets_in_text_are_text(serving: Callable[..., TestClient]) -> None:
    """A text of many brackets and quotes is one value."""
    client = serving("text", MAX_INSTANCES="10")
    text = '[{"' * 5_000 + "\\"
    assert len(predict(client, {"instances": [{"review": text}]})["predictions"]) == 1


def test_numbers_that_the_pipeline_refuses_are_the_callers(serving: Callable[..., TestClient]) -> None:
    """Trees take no number that a float32 cannot hold: the signature knows, so it is a 422 and no 500."""
    client = serving("multiclass")
    good = client.get("/model").json()["example"]["instances"][0]
    name = next(iter(good))
    found = error(client.post("/predict", json={**good, name: 1e39}), 422, "invalid_instances")
    assert found["details"] == [
        {"at": f"/{name}", "expected": "a number of at most 3.4e+38, either sign", "found": "1e+39"}
    ]
    assert predict(client, {**good, name: 3e38})["marks_total"] == 1


def test_empty_parameters_ask_for_what_is_usual(client: TestClient) -> None:
    """Parameters without outputs leave the answer as it is."""
    assert "probabilities" in predict(client, {"instances": [GOOD], "parameters": {}})


def test_unknown_names_without_end_cost_nothing_much(client: TestClient) -> None:
    """A hundred thousand unknown names in one instance give a short answer."""
    flood = {f"name{index}": index for index in range(100_000)}
    found = error(client.post("/predict", json={"instances": [flood]}), 422, "invalid_instances")
    assert len(found["details"]) == 50


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/predict", 405, "method_not_allowed"),
        ("POST", "/model", 405, "method_not_allowed"),
        ("GET", "/predict/", 404, "unknown_path"),
        ("GET", "/../etc/passwd", 404, "unknown_path"),
        ("POST", "/nowhere", 404, "unknown_path"),
    ],
)
def test_wrong_paths_and_methods_are_said(method: str, path: str, status: int, code: str, client: TestClient) -> None:
    """An unknown path is a 404, a wrong method a 405 that names the right one."""
    response = client.request(method, path)
    error(response, status, code)
    if status == 405:
        assert response.headers["allow"]


def test_the_model_describes_itself(client: TestClient) -> None:
    """GET /model gives the signature, typed classes, an example that works and the card."""
    model = client.get("/model").json()
    assert [feature["name"] for feature in model["features"]] == list(GOOD)
    assert model["classes"] == ["no", "yes"]
    assert model["card"].startswith("# binary, version 1")
    assert predict(client, model["example"])["model"] == "binary"


def test_the_openapi_example_works(client: TestClient) -> None:
    """The example in /openapi.json is accepted as it stands."""
    document = client.get("/openapi.json").json()
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert predict(client, body)["version"] == 1
    assert document["openapi"] == "3.1.0"


def test_health_has_two_questions(client: TestClient) -> None:
    """Live asks whether the process answers, ready whether the model is loaded; HEAD is answered like GET."""
    assert client.get("/health/live").json()["live"] is True
    ready = client.get("/health/ready").json()
    assert (ready["ready"], ready["model"], ready["version"]) == (True, "binary", 1)
    assert client.head("/health/live").status_code == 200
