"""Requests that nobody thought of: no 5xx, and no answer that the endpoint's own OpenAPI does not describe."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from function.routes import ROUTES
from tests.server import Server
from tests.test_endpoint import GOOD

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))

# Answered by functions-framework itself, before our function is called, and so not in our shapes.
FRAMEWORK_PATHS = ("/favicon.ico", "/robots.txt")
FRAMEWORK_METHODS = ("TRACE",)


MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.mark.parametrize("mode", MODES, ids=["right", "wrong"])
def test_every_described_operation_holds(mode: schemathesis.GenerationMode, spoken_to: Server) -> None:
    """Requests made from the OpenAPI, right and wrong, get an answer that the OpenAPI describes."""
    _check_operations(spoken_to, mode, 15)


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
                case.validate_response(response, excluded_checks=_excluded(case))

        try:
            check()
        except Unsatisfiable:  # any text will do in the path, so without a body there is no wrong request
            assert "requestBody" not in document.raw_schema["paths"][operation.path][operation.method]


def _reaches_us(response: Any) -> bool:
    """Tell whether an answer is ours: the framework's own has its own shape, for a path with a line break in it."""
    return not (response.status_code == 404 and response.headers.get("content-type", [""])[0].startswith("text/plain"))


def _excluded(case: schemathesis.Case) -> list[Any]:
    """Return the checks that do not hold for a request."""
    if case.path.endswith(":explain"):  # a 501, in the words of protocols that know explanations
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
TYPES = st.sampled_from(["application/json", "application/json; charset=utf-8", "text/plain", "", "a/b; c=d; e"])


@given(body=BODIES, media=TYPES)
@QUICK
def test_any_body_gets_a_described_answer(server: Server, body: bytes, media: str) -> None:
    """Any bytes under any content type are answered with 200 or a 4xx in the one error shape."""
    _send(server, body, media)


@pytest.mark.long
@given(body=BODIES, media=TYPES)
@LONG
def test_any_body_gets_a_described_answer_for_long(server: Server, body: bytes, media: str) -> None:
    """The same, with fifty times as many bodies."""
    _send(server, body, media)


def _send(server: Server, body: bytes, media: str) -> None:
    response = server.client.post("/predict", content=body, headers={"content-type": media})
    answer = response.json()
    if response.status_code == 200:
        assert len(answer["prediction_ids"]) >= 1
    else:
        assert response.status_code in (400, 413, 415, 422), response.text
        assert set(answer) == {"error"}
        assert set(answer["error"]) == {"code", "message", "details"}
        assert len(response.content) < 100_000


@pytest.mark.parametrize("path", FRAMEWORK_PATHS)
def test_the_frameworks_own_paths_are_the_only_exceptions(path: str, server: Server) -> None:
    """functions-framework answers these paths itself; they are harmless, and listed here."""
    assert server.client.get(path).status_code == 404
