"""Vertex AI's custom containers, from the outside."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from function.settings import SettingsError, read_settings
from function.store import FileStore
from lifecycle.versions import Version
from tests.json_dialects import GOOD, NO_INSTANCES, NO_REQUESTS, described, fits, native, posted, rows_of, send
from tests.test_endpoint import error
from tests.toys import TOYS

PATH = "/v1/endpoints/1/deployedModels/2:predict"
HEALTH = "/v1/endpoints/1/deployedModels/2"
ROW = list(GOOD.values())

Serve = Callable[[str], TestClient]


@pytest.fixture
def vertex(serving: Callable[..., TestClient]) -> Serve:
    """Return the function that serves a toy at the paths that Vertex AI chooses where nobody else does."""
    return lambda name: serving(name, AIP_PREDICT_ROUTE=PATH, AIP_HEALTH_ROUTE=HEALTH)


def same(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Tell whether two answers differ in nothing but the ids of their requests."""
    return {**answer, "prediction_ids": 0} == {**expected, "prediction_ids": 0}


@pytest.mark.parametrize("name", TOYS)
def test_numbers_are_those_of_the_native_dialect(name: str, vertex: Serve) -> None:
    """Every toy's rows get the native answer; what is asked for instead stands under predictions, bit for bit."""
    client, rows = vertex(name), rows_of(name)
    expected = native(client, rows)
    assert same(posted(client, PATH, {"instances": rows}), expected)
    if "probabilities" in expected:
        body = {"instances": rows, "parameters": {"outputs": ["probabilities"]}}
        answer = posted(client, PATH, body)
        assert answer["predictions"] == expected["probabilities"]
        assert "probabilities" not in answer


@pytest.mark.parametrize("more", [{}, {"parameters": None}, {"parameters": {}}], ids=["absent", "null", "empty"])
def test_without_outputs_the_answer_is_the_native_one(more: dict[str, Any], vertex: Serve) -> None:
    """Parameters that ask for nothing leave predictions as labels, probabilities and ids beside them."""
    client = vertex("binary")
    answer = posted(client, PATH, {"instances": [GOOD, ROW], **more})
    assert same(answer, native(client, [GOOD, ROW]))
    assert len(set(answer["prediction_ids"])) == 2


def test_several_outputs_make_objects(vertex: Serve) -> None:
    """Predictions hold an object an instance, by the words that were asked for, in their order."""
    client = vertex("binary")
    words = ["probabilities", "predictions"]
    answer = posted(client, PATH, {"instances": [GOOD, GOOD], "parameters": {"outputs": [*words, "predictions"]}})
    expected = native(client, [GOOD, GOOD], *words)
    assert answer["predictions"] == [
        {"probabilities": chances, "predictions": label}
        for chances, label in zip(expected["probabilities"], expected["predictions"], strict=True)
    ]
    assert [list(one) for one in answer["predictions"]] == [words, words]
    assert set(answer) == {"model", "version", "predictions", "prediction_ids"}


def test_marks_are_told_beside_predictions(vertex: Serve) -> None:
    """What was unusual stands in the answer, as in the native dialect."""
    answer = posted(vertex("binary"), PATH, {"instances": [GOOD, {**GOOD, "age": 100_000}]})
    assert answer["marks"][0]["at"] == "/instances/1/age"


def test_one_feature_takes_bare_values(vertex: Serve) -> None:
    """A model of one feature takes its values as instances, which may be any JSON."""
    client = vertex("text")
    expected = native(client, [["great tea"], ["stale"]])
    assert same(posted(client, PATH, {"instances": ["great tea", "stale"]}), expected)


FAULTS: dict[str, tuple[Any, int, str, str]] = {
    "value": ({"instances": [GOOD, {**GOOD, "age": "x"}]}, 422, "invalid_instances", "/instances/1/age"),
    "output": ({"instances": [ROW], "parameters": {"outputs": ["odds"]}}, 400, "invalid_body", "/parameters/outputs"),
    "no-output": ({"instances": [ROW], "parameters": {"outputs": []}}, 400, "invalid_body", "/parameters/outputs"),
    "null-output": ({"instances": [ROW], "parameters": {"outputs": None}}, 400, "invalid_body", "/parameters/outputs"),
    "parameters": ({"instances": [ROW], "parameters": [1]}, 400, "invalid_body", "/parameters"),
    "parameter": ({"instances": [ROW], "parameters": {"threshold": 1}}, 400, "invalid_body", "/parameters"),
    "empty": ({"instances": []}, 400, "invalid_body", "/instances"),
    "no-list": ({"instances": GOOD}, 400, "invalid_body", "/instances"),
    "extra-name": ({"instances": [ROW], "features": ROW}, 400, "invalid_body", "/features"),
    "bare": (GOOD, 400, "invalid_body", ""),
    "array": ([GOOD], 400, "invalid_body", ""),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_have_the_native_shape(case: str, vertex: Serve) -> None:
    """Whatever is wrong with a body is told as the native dialect tells it."""
    body, status, code, at = FAULTS[case]
    assert error(send(vertex("binary"), PATH, body), status, code)["details"][0]["at"] == at


@pytest.mark.parametrize("name", ["binary", "text", "named-like-the-format"])
def test_hostile_bodies_are_refused(name: str, vertex: Serve) -> None:
    """What is no request, or no instance, is answered, or refused in the native shape; never a defect."""
    client = vertex(name)
    for body in NO_REQUESTS.values():
        assert send(client, PATH, body).json()["error"]["code"] in ("malformed_json", "invalid_body")
    for value in NO_INSTANCES.values():
        for body in ({"instances": value}, {"instances": [GOOD], "parameters": {"outputs": value}}):
            response = send(client, PATH, body)
            if response.status_code != 200:
                assert response.status_code in (400, 422), response.text
                assert set(response.json()["error"]) == {"code", "message", "details"}


def test_features_named_like_wrappers_keep_their_place(vertex: Serve) -> None:
    """A list is the wrapper; a plain value is a feature, and no request here."""
    client = vertex("named-like-the-format")
    row = {"features": 30, "instances": 40.5}
    assert same(posted(client, PATH, {"instances": [row]}), native(client, [row]))
    error(send(client, PATH, row), 400, "invalid_body")


def test_its_health_is_readiness(vertex: Serve, serving: Callable[..., TestClient]) -> None:
    """The path of AIP_HEALTH_ROUTE is 200 once the model is loaded, and 503 where it cannot be."""
    assert vertex("binary").get(HEALTH).json()["ready"] is True
    lost = serving("binary", PIN_FILE="/nowhere/pin.json", AIP_HEALTH_ROUTE="/health/live")
    error(lost.get("/health/live"), 503, "model_unavailable")


@pytest.mark.parametrize("path", ["/predict", "/", "/invocations"])
def test_a_path_of_ours_may_be_chosen(path: str, serving: Callable[..., TestClient]) -> None:
    """Where Vertex AI chooses a path that we have, its instances are meant as it does, and the rest stays."""
    client = serving("binary", AIP_PREDICT_ROUTE=path)
    expected = native(serving("binary"), [GOOD])
    body = {"instances": [GOOD], "parameters": {"outputs": ["probabilities"]}}
    assert posted(client, path, body)["predictions"] == expected["probabilities"]
    assert same(posted(client, path, {"instances": [GOOD]}), expected)
    if path != "/invocations":
        assert posted(client, path, [GOOD]) == {"predict": expected["predictions"]}
        assert posted(client, path, GOOD)["predictions"] == expected["predictions"]
    else:
        assert posted(client, path, {"dataframe_records": [GOOD]}) == {"predictions": expected["predictions"]}


def test_limits_hold(serving: Callable[..., TestClient]) -> None:
    """More instances than one request may have are too many."""
    client = serving("binary", AIP_PREDICT_ROUTE=PATH, MAX_INSTANCES="3")
    error(send(client, PATH, {"instances": [GOOD] * 4}), 413, "too_many_instances")


@pytest.mark.parametrize("name", TOYS)
def test_the_description_is_true(name: str, published: Callable[[str], Version], vertex: Serve) -> None:
    """The example works, and answers and errors are what the schemas say, whatever is asked for."""
    version, client = published(name), vertex(name)
    description = described("vertex", version)
    several = {**description.example, "parameters": {"outputs": ["predictions"]}}
    for body in (description.example, several):
        assert fits(description.request, body, version)
        assert fits(description.answer, posted(client, PATH, body), version)
    assert fits(description.error, send(client, PATH, {}).json(), version)


def test_vertex_ais_copy_of_a_version_is_served(
    published: Callable[[str], Version], serving: Callable[..., TestClient], store: FileStore, tmp_path: Path
) -> None:
    """Where Vertex AI has copied a version's folder, it is read there, and held to the pin as ever."""
    version = published("binary")
    copy = tmp_path / "artifacts"
    shutil.copytree(store.root / version.manifest.model / str(version.manifest.version), copy)
    nowhere = (tmp_path / "nowhere").as_uri()
    client = serving("binary", AIP_STORAGE_URI=copy.as_uri(), MODEL_STORE=nowhere)
    assert client.get("/health/ready").json()["version"] == version.manifest.version
    (copy / "golden.jsonl").write_text("")
    damaged = serving("binary", AIP_STORAGE_URI=copy.as_uri(), MODEL_STORE=nowhere)
    assert "not the file" in damaged.get("/health/ready").json()["error"]["message"]


@pytest.mark.parametrize("variable", ["AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE", "AIP_STORAGE_URI"])
def test_what_vertex_ai_sets_is_checked(variable: str) -> None:
    """A path or address that is none ends the process with the variable's name."""
    with pytest.raises(SettingsError, match=variable):
        read_settings({variable: "predict"})
