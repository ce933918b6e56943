"""KServe's v1 protocol and TensorFlow Serving's REST API, from the outside."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from lifecycle.versions import Version
from tests.json_dialects import (
    GOOD,
    NO_INSTANCES,
    NO_REQUESTS,
    described,
    fits,
    lists_by_class,
    native,
    posted,
    rows_of,
    send,
)
from tests.toys import TOYS

PATH = "/v1/models/binary:predict"
ROW = list(GOOD.values())


def refused(response: Any, status: int) -> str:
    """Return the text of an error that has this status and this dialect's shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.json()["error"]


@pytest.mark.parametrize("name", TOYS)
def test_numbers_are_those_of_the_native_dialect(name: str, serving: Callable[..., TestClient]) -> None:
    """Rows and columns of every toy get, bit for bit, what the native dialect answers."""
    client, rows = serving(name), rows_of(name)
    path = f"/v1/models/{name}:predict"
    expected = native(client, rows)
    columns = {feature: [row[feature] for row in rows] for feature in rows[0]}
    assert posted(client, path, {"instances": rows}) == {"predictions": expected["predictions"]}
    assert posted(client, path, {"inputs": columns}) == {"outputs": expected["predictions"]}
    if "probabilities" in expected:
        body = {"instances": rows, "signature_name": "predict_proba"}
        assert posted(client, path, body) == {"predictions": lists_by_class(expected["probabilities"])}


FORMS: dict[str, tuple[Any, str]] = {
    "object": ({"instances": [GOOD]}, "predictions"),
    "list": ({"instances": [ROW]}, "predictions"),
    "object-of-lists": ({"instances": [{name: [value] for name, value in GOOD.items()}]}, "predictions"),
    "default-signature": ({"instances": [GOOD], "signature_name": "serving_default"}, "predictions"),
    "empty-signature": ({"instances": [GOOD], "signature_name": ""}, "predictions"),
    "predict": ({"instances": [GOOD], "signature_name": "predict"}, "predictions"),
    "columns": ({"inputs": {name: [value] for name, value in GOOD.items()}}, "outputs"),
    "columns-in-any-order": ({"inputs": {name: [GOOD[name]] for name in reversed(GOOD)}}, "outputs"),
    "columns-of-lists": ({"inputs": {name: [[value]] for name, value in GOOD.items()}}, "outputs"),
    "plain-values": ({"inputs": GOOD}, "outputs"),
    "inputs-of-rows": ({"inputs": [ROW]}, "outputs"),
    "inputs-of-objects": ({"inputs": [GOOD]}, "outputs"),
    "nan": ({"instances": [{**GOOD, "income": float("nan")}]}, "predictions"),
    "nan-in-a-column": ({"inputs": {n: [float("nan") if v is None else v] for n, v in GOOD.items()}}, "outputs"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gets_the_same_prediction(form: str, client: TestClient) -> None:
    """Instances are answered as predictions, inputs as outputs, whatever form rows have."""
    body, name = FORMS[form]
    assert posted(client, PATH, body) == {name: native(client, [GOOD])["predictions"]}


@pytest.mark.parametrize(("name", "values"), [("truth", [20, 80]), ("text", ["great tea", "stale"])])
@pytest.mark.parametrize("wrapper", ["instances", "inputs"])
def test_one_feature_takes_bare_values(
    name: str, values: list[Any], wrapper: str, serving: Callable[..., TestClient]
) -> None:
    """A model of one feature takes its values without lists around them, mixed with rows that have them."""
    client = serving(name)
    expected = native(client, [[value] for value in values])["predictions"]
    answers = {"instances": "predictions", "inputs": "outputs"}
    for rows in (values, [values[0], [values[1]]]):
        assert posted(client, f"/v1/models/{name}:predict", {wrapper: rows}) == {answers[wrapper]: expected}


def test_a_version_may_be_named(client: TestClient) -> None:
    """The version that is served may stand in the path; any other, and any other model, is unknown."""
    body = {"instances": [GOOD]}
    assert "predictions" in posted(client, "/v1/models/binary/versions/1:predict", body)
    for path in ("/v1/models/binary/versions/2", "/v1/models/other", "/v1/models/binary/versions/x"):
        assert "binary" in refused(client.get(path), 404)
        assert "binary" in refused(client.get(f"{path}/metadata"), 404)
        assert "binary" in refused(send(client, f"{path}:predict", body), 404)


FAULTS: dict[str, tuple[Any, str]] = {
    "value": ({"instances": [GOOD, {**GOOD, "age": "x"}]}, "/instances/1/age: expected an integer"),
    "position": ({"instances": [["x", *ROW[1:]]]}, "/instances/0/0: expected an integer"),
    "nested-value": ({"instances": [{**GOOD, "age": ["x"]}]}, "/instances/0/age: expected an integer"),
    "two-values": ({"instances": [{**GOOD, "age": [1, 2]}]}, "/instances/0/age: expected an integer"),
    "bare-value": ({"instances": [40]}, "/instances/0: expected an object with 5 features"),
    "in-a-column": (
        {"inputs": {**{name: [value] * 2 for name, value in GOOD.items()}, "age": [1, 1.5]}},
        "/inputs/age/1: expected an integer, found 1.5",
    ),
    "ragged-columns": (
        {"inputs": {**{name: [value] * 2 for name, value in GOOD.items()}, "city": ["Bern"]}},
        "/inputs/city: expected a list of 2 values, as in the other columns, found a list of 1 value",
    ),
    "column-and-value": ({"inputs": {**GOOD, "age": [1]}}, "/inputs/city: expected a list of 1 value"),
    "missing-column": ({"inputs": {"age": [1]}}, "/inputs/city: expected a list, each value one of"),
    "unknown-column": (
        {"inputs": {**{name: [value] for name, value in GOOD.items()}, "a/b~": [1]}},
        "/inputs/a~1b~0: expected one of the model's 5 features",
    ),
    "no-values": ({"inputs": {name: [] for name in GOOD}}, "There is nothing to predict."),
    "no-columns": ({"inputs": {}}, "/inputs/age: expected a list"),
    "plain-fault": ({"inputs": {**GOOD, "age": "x"}}, "/inputs/age: expected an integer"),
    "both": ({"instances": [GOOD], "inputs": [GOOD]}, "nothing says which is meant"),
    "neither": (GOOD, "expected"),
    "signature": (
        {"instances": [GOOD], "signature_name": "odds"},
        "/signature_name: expected one of predict, predict_proba, decision_function",
    ),
    "signature-type": ({"instances": [GOOD], "signature_name": ["predict"]}, "/signature_name: expected one of"),
    "extra-name": ({"instances": [GOOD], "parameters": {}}, "/parameters: expected"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_a_bad_request_that_points_to_it(case: str, client: TestClient) -> None:
    """Whatever is wrong with a body is a 400 whose text says where, what was expected and what was found."""
    body, text = FAULTS[case]
    assert text in refused(send(client, PATH, body), 400)


def test_one_feature_without_a_list_is_pointed_to(serving: Callable[..., TestClient]) -> None:
    """A fault of a bare value is at the value itself, of a listed one in its list."""
    text = refused(send(serving("truth"), "/v1/models/truth:predict", {"instances": ["x", ["y"], {"age": "z"}]}), 400)
    for place in ("/instances/0: ", "/instances/1/0: ", "/instances/2/age: "):
        assert place in text


def test_a_method_that_a_model_lacks_is_refused(serving: Callable[..., TestClient]) -> None:
    """Probabilities of a regression are a bad request."""
    body = {"instances": [[40]], "signature_name": "predict_proba"}
    assert "expected one of predict," in refused(
        send(serving("regression"), "/v1/models/regression:predict", body), 400
    )


@pytest.mark.parametrize("case", NO_REQUESTS)
def test_what_is_no_request_is_refused(case: str, client: TestClient) -> None:
    """What is not JSON, or none of the forms, is a bad request in this dialect's shape."""
    refused(send(client, PATH, NO_REQUESTS[case]), 400)


@pytest.mark.parametrize("name", ["binary", "truth", "text", "several-numbers", "named-like-the-format"])
def test_hostile_instances_are_refused(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever stands where instances belong is answered, or refused in this dialect's shape; never a defect."""
    client = serving(name)
    for wrapper in ("instances", "inputs"):
        for case, value in NO_INSTANCES.items():
            response = send(client, f"/v1/models/{name}:predict", {wrapper: value})
            if response.status_code != 200:
                refused(response, 400)
            else:
                assert case == "many" and name != "binary", case


def test_features_named_like_wrappers_keep_their_place(serving: Callable[..., TestClient]) -> None:
    """A list or an object is the wrapper, and a plain value is no request here."""
    client = serving("named-like-the-format")
    path = "/v1/models/named-like-the-format:predict"
    row = {"features": 30, "instances": 40.5}
    expected = native(client, [row])["predictions"]
    assert posted(client, path, {"instances": [row]}) == {"predictions": expected}
    assert posted(client, path, {"inputs": {"features": [30], "instances": [40.5]}}) == {"outputs": expected}
    refused(send(client, path, row), 400)


def test_limits_hold_for_rows_and_columns(serving: Callable[..., TestClient]) -> None:
    """More instances than one request may have are too many, in either form."""
    client = serving("binary", MAX_INSTANCES="3")
    assert "at most 3" in refused(send(client, PATH, {"instances": [GOOD] * 4}), 413)
    assert "at most 3" in refused(send(client, PATH, {"inputs": {n: [v] * 4 for n, v in GOOD.items()}}), 413)


def test_columns_without_end_cost_a_short_answer(client: TestClient) -> None:
    """A hundred thousand unknown columns are refused with a few of their names."""
    response = send(client, PATH, {"inputs": {f"name{index}": [1] for index in range(900)}})
    assert len(refused(response, 400)) < 10_000


def test_the_model_is_listed_and_ready_in_both_protocols(client: TestClient) -> None:
    """One answer says ready to KServe and AVAILABLE to clients of TensorFlow Serving."""
    assert client.get("/v1/models").json() == {"models": ["binary"]}
    status = client.get("/v1/models/binary").json()
    okay = {"error_code": "OK", "error_message": ""}
    versions = [{"version": "1", "state": "AVAILABLE", "status": okay}]
    assert status == {"name": "binary", "ready": True, "model_version_status": versions}
    assert client.get("/v1/models/binary/versions/1").json() == status


def test_metadata_names_tensors_and_signatures(client: TestClient) -> None:
    """Metadata has TensorFlow Serving's shape: each signature's inputs and outputs with type and shape."""
    metadata = client.get("/v1/models/binary/metadata").json()
    assert metadata["model_spec"] == {"name": "binary", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert list(signatures) == ["serving_default", "predict", "predict_proba", "decision_function"]
    assert {name: tensor["dtype"] for name, tensor in signatures["predict"]["inputs"].items()} == {
        "age": "DT_INT64",
        "income": "DT_DOUBLE",
        "city": "DT_STRING",
        "member": "DT_BOOL",
        "plan": "DT_STRING",
    }
    assert signatures["serving_default"]["outputs"]["predict"]["dtype"] == "DT_STRING"
    shape = signatures["predict_proba"]["outputs"]["predict_proba"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "2"]


@pytest.mark.parametrize("name", TOYS)
def test_metadata_is_told_of_every_model(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever targets a model has, its metadata is answered, and each signature in it works."""
    client = serving(name)
    signatures = client.get(f"/v1/models/{name}/metadata").json()["metadata"]["signature_def"]["signature_def"]
    for signature in signatures:
        body = {"instances": rows_of(name)[:2], "signature_name": signature}
        assert len(posted(client, f"/v1/models/{name}:predict", body)["predictions"]) == 2


def test_explanations_are_not_offered(client: TestClient) -> None:
    """The protocols' other verbs are a 501 in their shape."""
    for verb in ("explain", "classify", "regress"):
        assert "not offered" in refused(client.post(f"/v1/models/binary:{verb}", json={"instances": [GOOD]}), 501)


def test_a_model_that_cannot_load_is_not_ready(serving: Callable[..., TestClient]) -> None:
    """Without its model, the endpoint says 503 in this dialect, as KServe does."""
    refused(serving("binary", PIN_FILE="/nowhere/pin.json").get("/v1/models/binary"), 503)


@pytest.mark.parametrize("name", TOYS)
def test_the_description_is_true(
    name: str, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """The example works, and answers, errors and what is only read are what the schemas say."""
    version, client = published(name), serving(name)
    description = described("v1", version)
    path = f"/v1/models/{name}:predict"
    assert fits(description.request, description.example, version)
    assert fits(description.answer, posted(client, path, description.example), version)
    assert fits(description.error, send(client, path, {}).json(), version)
    for function, read in {"models": "/v1/models", "status": path[:-8], "metadata": f"{path[:-8]}/metadata"}.items():
        assert fits(description.reads[function][1], client.get(read).json(), version)
