"""Requests that nobody thought of: no 5xx, and no answer that the endpoint's own OpenAPI does not describe."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from function.routes import ROUTES
from tests.server import Server
from tests.speakers import VERTEX_PATH
from tests.test_endpoint import GOOD

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))

# Answered by functions-framework itself, before our function is called, and so not in our shapes.
FRAMEWORK_PATHS = ("/favicon.ico", "/robots.txt")
FRAMEWORK_METHODS = ("TRACE",)


MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.mark.parametrize("mode", MODES, ids=["right", "wrong"])
def test_every_described_operation_holds(mode: schemathesis.GenerationMode, spoken_to: Server) -> None:
    """Requests made from the OpenAPI, right and wrong, get an answer that the OpenAPI describes."""
    _check_operations(spoken_to, mode, 5)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES, ids=["right", "wrong"])
def test_every_described_operation_holds_for_long(mode: schemathesis.GenerationMode, spoken_to: Server) -> None:
    """The same, with fifty times as many requests."""
    _check_operations(spoken_to, mode, 750)


def _check_operations(server: Server, mode: schemathesis.GenerationMode, examples: int) -> None:
    """Call every operation of the server's own OpenAPI."""
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    assert len(operations) == len(ROUTES) + 1  # with the two of Vertex AI, without the document itself
    for operation in operations:
        # What is only read has nothing to vary but names in its path.
        few = settings(
            max_examples=examples if operation.method == "post" else max(2, examples // 10),
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=mode is schemathesis.GenerationMode.POSITIVE,
        )

        @given(case=operation.as_strategy(generation_mode=mode))
        @few
        def check(case: schemathesis.Case) -> None:
            response = case.call()
            if case.method.upper() not in FRAMEWORK_METHODS and _reaches_us(response):
                case.validate_response(response, excluded_checks=_excluded(case, response))

        try:
            check()
        except Unsatisfiable:  # any text will do in the path, so without a body there is no wrong request
            assert "requestBody" not in document.raw_schema["paths"][operation.path][operation.method]


def _reaches_us(response: Any) -> bool:
    """Tell whether an answer is ours: the framework's own has its own shape, for a path with a line break in it."""
    return not (response.status_code == 404 and response.headers.get("content-type", [""])[0].startswith("text/plain"))


def _excluded(case: schemathesis.Case, response: Any) -> list[Any]:
    """Return the checks that do not hold for a request and its answer."""
    if response.status_code == 413:  # a refusal that the check does not know
        return [negative_data_rejection]
    if case.path.endswith((":explain", ":classify", ":regress")):  # a 501
        return [not_a_server_error]
    # No schema can say that columns are equally long, that data fit a shape, or what text is CSV.
    unsaid = case.media_type not in (None, "application/json") or case.path.startswith(("/v1/", "/v2/", "/invocations"))
    return [positive_data_acceptance] if unsaid else []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=20,
)
CELLS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Bern", "paid", "", "\0", "x" * 9999])
)
NEARLY = st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "extra"], CELLS))
BODIES = (
    st.binary(max_size=200)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda rows: json.dumps({"instances": rows}).encode(), st.lists(NEARLY | st.lists(CELLS), max_size=5))
    | st.builds(lambda row: json.dumps({"features": row}).encode(), NEARLY)
    | st.builds(lambda row, rest: json.dumps({**row, **rest}).encode(), NEARLY, st.dictionaries(st.text(), JSON_VALUES))
    | st.builds(
        lambda outputs: json.dumps({"instances": [GOOD], "parameters": {"outputs": outputs}}).encode(), JSON_VALUES
    )
)
# The words of all dialects, so that a body gets past the first look.
WORDS = [
    *("instances", "features", "calls", "parameters", "outputs", "userDefinedContext", "signature_name", "inputs"),
    *("dataframe_split", "dataframe_records", "columns", "index", "data", "params", "pyfunc_predict_fn", "id"),
    *("name", "shape", "datatype", "binary_data_size", "binary_data", "classification", "content_type"),
    *("outcomes", "prediction_id", "outcome", "observed_at", *GOOD),
]
LEAVES = (
    CELLS
    | st.sampled_from(
        ["INT64", "FP64", "BOOL", "BYTES", "predict", "predict_proba", "probabilities", "pd", "str", "yes"]
    )
    | st.just(f"{'0' * 32}-0")
    | st.sampled_from([[1], [1, 1], [2, 5], [5], [-1], [2**40, 2**40], list(GOOD), list(GOOD.values())])
)
WORDED = st.recursive(
    LEAVES | st.just(GOOD) | st.just([GOOD]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=25,
).map(lambda value: json.dumps(value).encode())
PATHS = st.sampled_from(
    [
        "/predict",
        "/",
        "/invocations",
        "/v1/models/{model}:predict",
        "/v2/models/{model}/infer",
        VERTEX_PATH,
        "/feedback",
    ]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            [
                *("application/json", "application/json; charset=utf-8", "text/plain", "", "a/b; c=d; e", "text/csv"),
                *("text/csv; header=absent", "application/x-ndjson", "application/vnd.apache.arrow.stream"),
                "application/vnd.apache.parquet",
            ]
        ),
        "accept": st.sampled_from(["*/*", "text/csv", "application/json", "text/html", ";;,"]),
        "accept-encoding": st.sampled_from(["gzip", "br", "deflate;q=0.5", ",;"]),
        "content-encoding": st.sampled_from(["gzip", "identity", "br"]),
        "inference-header-content-length": st.sampled_from(["0", "1", "40", "-1", "x", "99999999999999999999"]),
    },
)


@given(path=PATHS, body=BODIES | WORDED, headers=HEADERS)
@QUICK
def test_any_body_gets_a_described_answer(
    spoken_to: Server, document: Any, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """Any bytes under any headers are answered with 200 or a 4xx, in a shape that the OpenAPI describes."""
    _send(spoken_to, document, path, body, headers)


@pytest.mark.long
@given(path=PATHS, body=BODIES | WORDED, headers=HEADERS)
@LONG
def test_any_body_gets_a_described_answer_for_long(
    spoken_to: Server, document: Any, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """The same, with many times as many bodies."""
    _send(spoken_to, document, path, body, headers)


@pytest.fixture(scope="module")
def document(spoken_to: Server) -> Any:
    """Return the server's own OpenAPI."""
    return schemathesis.openapi.from_url(f"{spoken_to.url}/openapi.json")


def _send(server: Server, document: Any, path: str, body: bytes, headers: dict[str, str]) -> None:
    asked = {"accept-encoding": "identity", **headers}
    response = server.client.post(path.format(model="binary"), content=body, headers=asked)
    assert response.status_code < 500, response.text
    assert len(response.content) < 100_000
    document[path]["POST"].validate_response(response)


@pytest.mark.parametrize("path", FRAMEWORK_PATHS)
def test_the_frameworks_own_paths_are_the_only_exceptions(path: str, server: Server) -> None:
    """functions-framework answers these paths itself; they are harmless, and listed here."""
    assert server.client.get(path).status_code == 404
