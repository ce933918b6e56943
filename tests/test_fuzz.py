"""Requests that nobody thought of: no 5xx, and no answer that the endpoint's own OpenAPI does not describe."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tests.server import Server
from tests.test_endpoint import GOOD

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))

# Answered by functions-framework itself, before our function is called, and so not in our shapes.
FRAMEWORK_PATHS = ("/favicon.ico", "/robots.txt")
FRAMEWORK_METHODS = ("TRACE",)


MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.mark.parametrize("mode", MODES, ids=["right", "wrong"])
def test_every_described_operation_holds(mode: schemathesis.GenerationMode, server: Server) -> None:
    """Requests made from the OpenAPI, right and wrong, get an answer that the OpenAPI describes."""
    assert _check_operations(server, mode, QUICK) == 5


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES, ids=["right", "wrong"])
def test_every_described_operation_holds_for_long(mode: schemathesis.GenerationMode, server: Server) -> None:
    """The same, with fifty times as many requests."""
    assert _check_operations(server, mode, LONG) == 5


def _check_operations(server: Server, mode: schemathesis.GenerationMode, how_long: settings) -> int:
    """Call every operation of the server's own OpenAPI but the one for the document itself; return how many."""
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in document.get_all_operations()]
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @how_long
        def check(case: schemathesis.Case) -> None:
            if case.method.upper() not in FRAMEWORK_METHODS:
                case.validate_response(case.call())

        try:
            check()
        except Unsatisfiable:  # without parameters there is no wrong request
            assert operation.method == "get"
    return len(operations)


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
