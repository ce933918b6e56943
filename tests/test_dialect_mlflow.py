"""MLflow's scoring server and SageMaker's containers, from the outside."""

import csv
import importlib.util
import io
import tomllib
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

import function
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
from tests.server import ROOT
from tests.toys import TOYS

PATH = "/invocations"
NAMES, ROW = list(GOOD), list(GOOD.values())
TEXT = {"content-type": "text/csv"}
reads_csv = pytest.mark.skipif(
    importlib.util.find_spec("function.dialects.csv") is None, reason="the reader of CSV is not here yet"
)


def refused(response: Any, status: int, code: str = "BAD_REQUEST") -> str:
    """Return the message of an error that has this status and MLflow's shape."""
    assert response.status_code == status, response.text
    answer = response.json()
    assert set(answer) == {"error_code", "message"}
    assert answer["error_code"] == code
    return answer["message"]


def test_a_bare_array_is_sagemakers(client: TestClient) -> None:
    """SageMaker's serializer sends rows without a name around them."""
    for rows in ([GOOD], [list(GOOD.values())]):
        assert (
            client.post("/invocations", json=rows).json() == client.post("/invocations", json={"inputs": rows}).json()
        )


@pytest.mark.parametrize("name", TOYS)
def test_numbers_are_those_of_the_native_dialect(name: str, serving: Callable[..., TestClient]) -> None:
    """Every form of every toy's rows gets, bit for bit, what the native dialect answers."""
    client, rows = serving(name), rows_of(name)
    names = list(rows[0])
    lists = [list(row.values()) for row in rows]
    expected = native(client, rows)
    forms = {
        "dataframe_split": {"columns": names, "index": list(range(len(rows))), "data": lists},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": {feature: [row[feature] for row in rows] for feature in names},
    }
    for wrapper, value in forms.items():
        assert posted(client, PATH, {wrapper: value}) == {"predictions": expected["predictions"]}, wrapper
    if "probabilities" in expected:
        body = {"inputs": lists, "params": {"pyfunc_predict_fn": "predict_proba"}}
        assert posted(client, PATH, body) == {"predictions": lists_by_class(expected["probabilities"])}


BACKWARDS = {"columns": NAMES[::-1], "data": [ROW[::-1]]}
FORMS: dict[str, Any] = {
    "split": {"dataframe_split": {"columns": NAMES, "index": [7], "data": [ROW]}},
    "split-without-index": {"dataframe_split": {"columns": NAMES, "data": [ROW]}},
    "split-in-another-order": {"dataframe_split": BACKWARDS},
    "split-without-columns": {"dataframe_split": {"data": [ROW]}},
    "split-of-a-matrix": {"dataframe_split": {"columns": [0, 1, 2, 3, 4], "data": [ROW]}},
    "split-with-nulls": {"dataframe_split": {"columns": None, "index": None, "data": [ROW]}},
    "split-with-nan": {"dataframe_split": {"columns": NAMES, "data": [[40, float("nan"), *ROW[2:]]]}},
    "records": {"dataframe_records": [GOOD]},
    "instances-of-objects": {"instances": [GOOD]},
    "instances-of-lists": {"instances": [ROW]},
    "inputs-of-objects": {"inputs": [GOOD]},
    "inputs-of-lists": {"inputs": [ROW]},
    "inputs-of-columns": {"inputs": {name: [value] for name, value in GOOD.items()}},
    "inputs-of-plain-values": {"inputs": GOOD},
    "no-params": {"inputs": [ROW], "params": None},
    "empty-params": {"inputs": [ROW], "params": {}},
    "predict": {"inputs": [ROW], "params": {"pyfunc_predict_fn": "predict"}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gets_the_same_prediction(form: str, client: TestClient) -> None:
    """All forms of MLflow's requests are read."""
    assert posted(client, PATH, FORMS[form]) == {"predictions": native(client, [GOOD])["predictions"]}


@pytest.mark.parametrize(("name", "values"), [("truth", [20, 80]), ("text", ["great tea", "stale"])])
def test_one_feature_takes_bare_values(name: str, values: list[Any], serving: Callable[..., TestClient]) -> None:
    """A model of one feature takes a list of its values."""
    client = serving(name)
    expected = native(client, [[value] for value in values])["predictions"]
    for body in ({"inputs": values}, {"instances": values}, {"dataframe_split": {"data": values}}):
        assert posted(client, PATH, body) == {"predictions": expected}


def test_what_pandas_writes_is_read(client: TestClient) -> None:
    """A frame's own split and records are bodies, missing numbers and all."""
    rows = rows_of("binary")[:20]
    frame = pd.DataFrame(rows)
    expected = native(client, rows)["predictions"]
    split = frame.to_dict(orient="split")
    assert any(value != value for row in split["data"] for value in row)
    assert posted(client, PATH, {"dataframe_split": split})["predictions"] == expected
    assert posted(client, PATH, {"dataframe_records": frame.to_dict(orient="records")})["predictions"] == expected


FAULTS: dict[str, tuple[Any, str]] = {
    "records": ({"dataframe_records": [{**GOOD, "age": "x"}]}, "/dataframe_records/0/age: expected an integer"),
    "record-no-object": ({"dataframe_records": [GOOD, ROW]}, "/dataframe_records/1: expected an object"),
    "records-no-list": ({"dataframe_records": GOOD}, "/dataframe_records: expected a list"),
    "split": (
        {"dataframe_split": {"columns": NAMES, "data": [["x", *ROW[1:]]]}},
        "/dataframe_split/data/0/0: expected an integer",
    ),
    "split-in-another-order": (
        {"dataframe_split": {"columns": NAMES[::-1], "data": [[*ROW[:0:-1], "x"]]}},
        "/dataframe_split/data/0/4: expected an integer",
    ),
    "split-no-object": ({"dataframe_split": [ROW]}, "/dataframe_split: expected an object"),
    "split-without-data": ({"dataframe_split": {"columns": NAMES}}, "/dataframe_split: expected an object"),
    "split-with-more": ({"dataframe_split": {"data": [ROW], "dtype": 1}}, "/dataframe_split/dtype: expected only"),
    "split-data-no-list": ({"dataframe_split": {"columns": NAMES, "data": "x"}}, "/dataframe_split/data: expected a"),
    "split-data-empty": ({"dataframe_split": {"columns": NAMES, "data": []}}, "an empty list"),
    "split-ragged": (
        {"dataframe_split": {"columns": NAMES, "data": [ROW, ROW[1:], 3]}},
        "/dataframe_split/data/1: expected a list of 5 values, one a column, found a list of 4 values; "
        "/dataframe_split/data/2: expected",
    ),
    "split-column-twice": (
        {"dataframe_split": {"columns": [*NAMES, "age"], "data": [[*ROW, 1]]}},
        "/dataframe_split/columns/5: expected each column once",
    ),
    "split-column-unknown": (
        {"dataframe_split": {"columns": ["years", *NAMES[1:]], "data": [ROW]}},
        '/dataframe_split/columns/0: expected one of the model\'s 5 features, found "years"; '
        "/dataframe_split/columns: expected a column 'age'",
    ),
    "split-column-no-name": ({"dataframe_split": {"columns": [["age"]], "data": [[1]]}}, "/dataframe_split/columns/0:"),
    "split-columns-no-list": ({"dataframe_split": {"columns": 5, "data": [ROW]}}, "/dataframe_split/columns: expected"),
    "split-index-length": ({"dataframe_split": {"index": [0, 1], "data": [ROW]}}, "/dataframe_split/index: expected"),
    "split-index-no-list": ({"dataframe_split": {"index": 1, "data": [ROW]}}, "/dataframe_split/index: expected"),
    "inputs": ({"inputs": {**{n: [v] for n, v in GOOD.items()}, "age": ["x"]}}, "/inputs/age/0: expected an integer"),
    "inputs-ragged": ({"inputs": {**{n: [v] for n, v in GOOD.items()}, "age": []}}, "/inputs/income: expected a list"),
    "inputs-text": ({"inputs": "x"}, "/inputs: expected a list"),
    "instances-object": ({"instances": {"age": [1]}}, "/instances: expected a list"),
    "two-forms": ({"instances": [GOOD], "inputs": [GOOD]}, "nothing says which is meant"),
    "two-frames": ({"dataframe_split": {}, "dataframe_records": []}, "nothing says which is meant"),
    "no-form": (GOOD, "expected an object with exactly one of"),
    "a-text": ("instances", "expected an object with exactly one of"),
    "a-list-of-numbers": ([7], "/0: expected an object with 5 features"),
    "extra-name": ({"inputs": [ROW], "signature_name": "x"}, '/signature_name: expected only "params"'),
    "params": ({"inputs": [ROW], "params": [1]}, "/params: expected an object"),
    "params-unknown": ({"inputs": [ROW], "params": {"threshold": 1}}, "/params/threshold: expected only"),
    "params-method": (
        {"inputs": [ROW], "params": {"pyfunc_predict_fn": "score"}},
        "/params/pyfunc_predict_fn: expected one of predict, predict_proba, decision_function",
    ),
    "params-method-list": ({"inputs": [ROW], "params": {"pyfunc_predict_fn": []}}, "/params/pyfunc_predict_fn: "),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_a_bad_request_that_points_to_it(case: str, client: TestClient) -> None:
    """Whatever is wrong with a body is MLflow's BAD_REQUEST, and the message says where."""
    body, text = FAULTS[case]
    assert text in refused(send(client, PATH, body), 400)


@pytest.mark.parametrize("case", NO_REQUESTS)
def test_what_is_no_request_is_refused(case: str, client: TestClient) -> None:
    """What is not JSON, or none of the forms, is a bad request in MLflow's shape."""
    refused(send(client, PATH, NO_REQUESTS[case]), 400)


@pytest.mark.parametrize("name", ["binary", "truth", "text", "several-numbers", "named-like-the-format"])
def test_hostile_instances_are_refused(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever stands where instances belong is answered, or refused in MLflow's shape; never a defect."""
    client = serving(name)
    for case, value in NO_INSTANCES.items():
        wrappers = {"dataframe_split": {"columns": value, "data": value}, "inputs": value, "dataframe_records": value}
        for body in (*({one: two} for one, two in wrappers.items()), {"dataframe_split": {"data": value}}):
            response = send(client, PATH, body)
            if response.status_code != 200:
                refused(response, 400)
            else:
                assert case == "many", case


def test_features_named_like_wrappers_keep_their_place(serving: Callable[..., TestClient]) -> None:
    """A list is the wrapper `instances`; a plain value is the feature, which is no form of MLflow's."""
    client = serving("named-like-the-format")
    row = {"features": 30, "instances": 40.5}
    expected = {"predictions": native(client, [row])["predictions"]}
    for body in (
        {"instances": [row]},
        {"inputs": row},
        {"dataframe_split": {"columns": list(row), "data": [[30, 40.5]]}},
    ):
        assert posted(client, PATH, body) == expected
    refused(send(client, PATH, row), 400)


def test_limits_hold_for_every_form(serving: Callable[..., TestClient]) -> None:
    """More instances than one request may have are too many, whatever their form."""
    client = serving("binary", MAX_INSTANCES="3")
    for body in (
        {"dataframe_split": {"columns": NAMES, "data": [ROW] * 4}},
        {"dataframe_records": [GOOD] * 4},
        {"instances": [ROW] * 4},
        {"inputs": {name: [value] * 4 for name, value in GOOD.items()}},
    ):
        assert "at most 3" in refused(send(client, PATH, body), 413)


@pytest.mark.parametrize("kind", ["application/x-npy", "text/plain", "application/json; charset=utf-16"])
def test_an_unknown_content_type_is_said(kind: str, client: TestClient) -> None:
    """What can not be read is a 415 that names what can."""
    assert "text/csv" in refused(send(client, PATH, b"x", content_type=kind), 415)


def test_lines_of_sagemaker_are_answered_by_line(client: TestClient) -> None:
    """Batch transform's JSON Lines are the native dialect's lines."""
    response = send(
        client, PATH, b'{"age": 1}\n' + b'[40, null, "Bern", true, "paid"]', content_type="application/jsonlines"
    )
    assert response.status_code == 200
    assert len(response.text.splitlines()) == 2


@pytest.mark.parametrize("name", ["binary", "several-numbers", "truth"])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_csv_is_answered_where_it_is_accepted(name: str, method: str, serving: Callable[..., TestClient]) -> None:
    """SageMaker's deserializers get a line an instance, without header, the same values as in JSON."""
    client, rows = serving(name), rows_of(name)[:7]
    if method not in client.get(f"/v1/models/{name}/metadata").text:
        return
    body = {"instances": rows, "params": {"pyfunc_predict_fn": method}}
    response = send(client, PATH, body, accept="text/csv, application/json")
    assert response.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(response.text)))
    expected = posted(client, PATH, body)["predictions"]
    flat = [row if isinstance(row, list) else [row] for row in expected]
    spelt = {True: "true", False: "false"}
    assert lines == [
        [spelt[v] if isinstance(v, bool) else v if isinstance(v, str) else repr(v) for v in row] for row in flat
    ]
    for accept in ("application/json, text/csv", "*/*", ""):
        assert send(client, PATH, body, accept=accept).json() == {"predictions": expected}


@reads_csv
@pytest.mark.parametrize("name", ["binary", "multiclass", "text"])
def test_csv_is_read_with_a_header(name: str, serving: Callable[..., TestClient]) -> None:
    """A frame as pandas writes it gets the same predictions as its rows."""
    client, rows = serving(name), rows_of(name)
    body = pd.DataFrame(rows).to_csv(index=False).replace("True", "true").replace("False", "false").encode()
    assert posted(client, PATH, body, content_type="text/csv") == {"predictions": native(client, rows)["predictions"]}


@reads_csv
def test_csv_faults_are_bad_requests(client: TestClient) -> None:
    """What is wrong with CSV is told in MLflow's shape."""
    refused(send(client, PATH, b"age,income\nx,1\n", content_type="text/csv"), 400)
    refused(send(client, PATH, b"", content_type="text/csv"), 400)


def test_a_ping_suits_three_servers(serving: Callable[..., TestClient]) -> None:
    """With its model, the endpoint answers 200 and a JSON object; without it 503, and it still tells its version."""
    client = serving("binary")
    assert client.get("/ping").json() == {"ping": "pong"}
    assert client.get("/health").status_code == 200
    lost = serving("binary", PIN_FILE="/nowhere/pin.json")
    refused(lost.get("/ping"), 503, "TEMPORARILY_UNAVAILABLE")
    assert lost.get("/version").status_code == 200


def test_the_version_is_the_projects(client: TestClient) -> None:
    """GET /version is plain text, and names the version that pyproject.toml does."""
    response = client.get("/version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert response.text == function.__version__ == project["version"]
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("name", TOYS)
def test_the_description_is_true(
    name: str, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """The example works, and forms, answers and errors are what the schemas say."""
    version, client = published(name), serving(name)
    description = described("mlflow", version)
    rows = rows_of(name)[:2]
    split = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    for body in (description.example, {"dataframe_split": split}, {"instances": rows}):
        assert fits(description.request, body, version)
        assert fits(description.answer, posted(client, PATH, body), version)
    assert fits(description.error, send(client, PATH, {}).json(), version)
    assert fits(description.reads["ping"][1], client.get("/ping").json(), version)
