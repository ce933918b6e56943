"""BigQuery's remote functions, from the outside: calls as BigQuery writes them, replies as it reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from functions_framework.aio import create_asgi_app
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from starlette.testclient import TestClient

from function.dialects import load_dialect
from function.errors import BodyTimeout, ModelUnavailable, Overloaded, PredictionFailed
from function.store import FileStore
from lifecycle.pinning import write_pin
from lifecycle.versions import Version
from tests.json_dialects import GOOD, NO_INSTANCES, described, fits, native, posted, rows_of, send
from tests.server import ROOT
from tests.toys import TOYS, Toy, publish_toy

PATHS = ("/", "/predict")
ROW = list(GOOD.values())
AROUND = {
    "requestId": "124ab1c",
    "caller": "//bigquery.googleapis.com/projects/p/jobs/p:US.bquxjob_1",
    "sessionUser": "someone@example.com",
}
RETRIED = (408, 429, 500, 503, 504)


def asked(outputs: Any) -> dict[str, Any]:
    """Return the user-defined context that asks for some output."""
    return {"userDefinedContext": {"outputs": outputs, "team": "their own"}}


def refused(response: Any, status: int) -> str:
    """Return the message of an error that has this status and the shape that BigQuery reads."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"errorMessage"}
    message = response.json()["errorMessage"]
    assert 0 < len(message.encode()) < 1024
    return message


@pytest.mark.parametrize("name", TOYS)
def test_numbers_are_those_of_the_native_dialect(name: str, serving: Callable[..., TestClient]) -> None:
    """A reply a call, in their order, bit for bit what the native dialect answers, whatever is asked for."""
    client, rows = serving(name), rows_of(name)
    expected = native(client, rows)
    calls = [list(row.values()) for row in rows]
    assert posted(client, "/", {**AROUND, "calls": calls}) == {"replies": expected["predictions"]}
    if "probabilities" in expected:
        body = {**AROUND, **asked("probabilities"), "calls": calls}
        assert posted(client, "/", body) == {"replies": expected["probabilities"]}


CALLS: dict[str, Any] = {
    "in-order": {"calls": [ROW]},
    "by-name": {"calls": [[GOOD]]},
    "by-name-in-any-order": {"calls": [[dict(reversed(GOOD.items()))]]},
    "with-all-that-bigquery-sends": {**AROUND, "calls": [ROW]},
    "with-what-it-may-send-some-day": {"calls": [ROW], "region": {"name": "eu"}},
    "without-context": {"calls": [ROW], "userDefinedContext": None},
    "empty-context": {"calls": [ROW], "userDefinedContext": {}},
    "their-own-context": {"calls": [ROW], "userDefinedContext": {"mode": "x", "Outputs": "y"}},
    "predictions": {"calls": [ROW], **asked("predictions")},
    "nan": {"calls": [[40, "NaN", *ROW[2:]]]},
    "nan-by-name": {"calls": [[{**GOOD, "income": "NaN"}]]},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", CALLS)
def test_every_form_gets_the_same_reply(form: str, path: str, client: TestClient) -> None:
    """Arguments stand in the order of the features or by name in one; what else BigQuery sends is passed over."""
    assert posted(client, path, CALLS[form]) == {"replies": native(client, [GOOD])["predictions"]}


def test_each_output_that_a_model_has_can_be_asked_for(client: TestClient) -> None:
    """The user-defined context, which CREATE FUNCTION sets, chooses what a reply is."""
    for word in ("predictions", "probabilities", "decision_function"):
        replies = posted(client, "/", {"calls": [ROW, ROW], **asked(word)})["replies"]
        assert replies == native(client, [GOOD, GOOD], word)[word]


@pytest.fixture
def numeric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Return a client of a model of a whole number, a number that may be missing, and a text."""
    frame = pd.DataFrame({"whole": [1, 2, 3, 4] * 30, "number": [0.5, 1.5, None, 3.5] * 30})
    frame["value"] = frame.whole * 2.0
    pipeline = make_pipeline(SimpleImputer(), LinearRegression()).fit(frame[["whole", "number"]], frame.value)
    store = FileStore(tmp_path / "store")
    pin = write_pin(publish_toy(store, "numeric", Toy(pipeline, frame, ["value"])), tmp_path)
    monkeypatch.setenv("MODEL_STORE", store.url)
    monkeypatch.setenv("PIN_FILE", str(pin))
    return TestClient(create_asgi_app("predict", str(ROOT / "function" / "main.py"), "http"))


# What BigQuery writes for a number, and the number; https://cloud.google.com/bigquery/docs/reference/standard-sql/
# json_functions#json_encodings
WRITTEN: dict[str, tuple[list[Any], list[Any]]] = {
    "wide-int64": (["9007199254740993", 1], [9007199254740993, 1]),
    "negative-int64": (["-9223372036854775808", 1], [-(2**63), 1]),
    "numeric": ([1, "123.56"], [1, 123.56]),
    "negative-numeric": ([1, "-0.000000001"], [1, -1e-09]),
    "wide-numeric": ([1, "99999999999999999999.5"], [1, 99999999999999999999.5]),
    "wide-whole-numeric": ([1, "99999999999999999"], [1, 99999999999999999]),
    "bignumeric": ([1, "0.1234567890123456789012345678901234567"], [1, 0.12345678901234568]),
    "nan": ([1, "NaN"], [1, None]),
    "null": ([1, None], [1, None]),
    "float64-of-a-whole": ([1.0, 1], [1, 1.0]),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_numbers_are_read_as_bigquery_writes_them(case: str, numeric: TestClient) -> None:
    """Text that stands for a number which JSON readers would spoil is that number, in order and by name."""
    written, meant = WRITTEN[case]
    expected = native(numeric, [meant])["predictions"]
    assert posted(numeric, "/", {"calls": [written]}) == {"replies": expected}
    by_name = dict(zip(["whole", "number"], written, strict=True))
    assert posted(numeric, "/", {"calls": [[by_name]]}) == {"replies": expected}


# Text that BigQuery writes for no number: it came from a column of text.
NO_NUMBERS = [
    "3",
    "-3",
    "9007199254740992",
    "1.50",
    "1.0",
    "01.5",
    "+1.5",
    ".5",
    "1.",
    "1e3",
    " 1.5",
    "1.5\n",
    "١.٥",
    "",
]
NO_NUMBERS += ["nan", "inf", "-NaN", "0x1", "1_000.5", "9" * 60, "1." + "5" * 60, "true", "null"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_other_text_is_no_number(text: str, numeric: TestClient) -> None:
    """Text that no number is written as is refused, as in the native dialect."""
    message = refused(send(numeric, "/", {"calls": [[1, text]]}), 422)
    assert "/calls/0/1: expected a number" in message


@pytest.mark.parametrize("text", ["Infinity", "-Infinity"])
def test_infinities_are_faults(text: str, numeric: TestClient) -> None:
    """No feature takes an infinity, however it is written."""
    assert f"found {text}." in refused(send(numeric, "/", {"calls": [[1, text]]}), 422)


def test_text_stays_text(serving: Callable[..., TestClient]) -> None:
    """Where the model takes text, text that looks like a number is none."""
    client = serving("text")
    for text in ("NaN", "123.56", "9007199254740993"):
        expected = native(client, [[text]])["predictions"]
        assert posted(client, "/", {"calls": [[text]]}) == {"replies": expected}


FAULTS: dict[str, tuple[Any, int, str]] = {
    "value": ({"calls": [ROW, ["x", *ROW[1:]]]}, 422, "/calls/1/0: expected an integer"),
    "by-name": ({"calls": [[{**GOOD, "age": "x"}]]}, 422, "/calls/0/0/age: expected an integer"),
    "too-few": ({"calls": [ROW[1:]]}, 422, "/calls/0: expected an object with 5 features, or a list"),
    "two-objects": ({"calls": [[GOOD, GOOD]]}, 422, "/calls/0: expected"),
    "no-arguments": ({"calls": [[]]}, 422, "/calls/0: expected"),
    "call-no-list": ({"calls": [ROW, GOOD, 3]}, 400, "/calls/1: expected a list of arguments"),
    "no-calls": ({"calls": []}, 400, "an empty list"),
    "calls-no-list": ({"calls": {"a": 1}}, 400, "/calls: expected a list"),
    "context": ({"calls": [ROW], "userDefinedContext": "x"}, 400, "/userDefinedContext: expected an object"),
    "outputs": (
        {"calls": [ROW], **asked("odds")},
        400,
        "/userDefinedContext/outputs: expected one of predictions, probabilities, decision_function",
    ),
    "outputs-list": ({"calls": [ROW], **asked(["predictions"])}, 400, "/userDefinedContext/outputs: expected one of"),
    "outputs-null": ({"calls": [ROW], **asked(None)}, 400, "/userDefinedContext/outputs: expected one of"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_callers_mistake_is_not_tried_again(case: str, client: TestClient) -> None:
    """Whatever is wrong with calls has a status that BigQuery does not retry, and a message that says where."""
    body, status, text = FAULTS[case]
    assert text in refused(send(client, "/", body), status)
    assert status not in RETRIED


def test_messages_are_short_enough_to_be_shown(client: TestClient) -> None:
    """BigQuery shows messages below a kilobyte; a longer one is cut, not through a character."""
    assert refused(send(client, "/", {"calls": [["ü" * 60] * 5] * 100}), 422).endswith("...")


def test_what_passes_is_tried_again(serving: Callable[..., TestClient]) -> None:
    """An overload, or a model that can not be loaded yet, has a status that BigQuery retries."""
    body = {"calls": [ROW]}
    assert send(serving("binary", PIN_FILE="/nowhere/pin.json"), "/", body).status_code in RETRIED
    for error in (Overloaded(""), ModelUnavailable(""), BodyTimeout(""), PredictionFailed("")):
        assert load_dialect("bigquery").refuse(error).status in RETRIED


@pytest.mark.parametrize("name", ["binary", "truth", "text", "several-numbers", "named-like-the-format"])
def test_hostile_calls_are_refused(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever stands where calls belong is answered, or refused in this dialect's shape; never a defect."""
    client = serving(name)
    for case, value in NO_INSTANCES.items():
        for calls in (value, [value], [[value]]):
            response = send(client, "/", {"calls": calls, "userDefinedContext": {}})
            if response.status_code != 200:
                assert response.status_code in (400, 422), case
                refused(response, response.status_code)
            else:
                assert len(response.json()["replies"]) == len(calls)
        if case != "null":
            assert send(client, "/", {"calls": [ROW], "userDefinedContext": value}).status_code in (400, 422, 200)


def test_limits_hold_and_json_arguments_are_not_counted_twice(serving: Callable[..., TestClient]) -> None:
    """As many calls as instances are taken, by name as well as in order; one more is too many."""
    client = serving("binary", MAX_INSTANCES="2000")
    for call in (ROW, [GOOD]):
        assert len(posted(client, "/", {"calls": [call] * 2000})["replies"]) == 2000
        assert "at most 2000" in refused(send(client, "/", {"calls": [call] * 2001}), 413)


@pytest.mark.parametrize("name", TOYS)
def test_the_description_is_true(
    name: str, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """The example works, and calls, answers and errors are what the schemas say."""
    version, client = published(name), serving(name)
    description = described("bigquery", version)
    by_name = {**AROUND, "calls": [[rows_of(name)[0]]], "userDefinedContext": {"outputs": "predictions"}}
    for body in (description.example, by_name):
        assert fits(description.request, body, version)
        assert fits(description.answer, posted(client, "/", body), version)
    assert fits(description.error, send(client, "/", {"calls": []}).json(), version)
