"""vetiver's format, from the outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from functions_framework.aio import create_asgi_app
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from starlette.testclient import TestClient

from function.store import FileStore
from lifecycle.pinning import write_pin
from lifecycle.versions import Version
from tests.json_dialects import GOOD, NO_INSTANCES, described, fits, native, posted, rows_of, send
from tests.server import ROOT
from tests.toys import TOYS, Toy, publish_toy

PATH = "/predict"


def refused(response: Any, status: int = 422) -> Any:
    """Return the detail of an error that has this status and FastAPI's shape."""
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert set(response.json()) == {"detail"}
    if status == 422:
        assert detail
        assert all(set(fault) == {"type", "loc", "msg"} and fault["loc"][0] == "body" for fault in detail)
    else:
        assert isinstance(detail, str)
    return detail


@pytest.mark.parametrize("name", TOYS)
def test_numbers_are_those_of_the_native_dialect(name: str, serving: Callable[..., TestClient]) -> None:
    """Every toy's records get, bit for bit, what the native dialect answers."""
    client, rows = serving(name), rows_of(name)
    assert posted(client, PATH, rows) == {"predict": native(client, rows)["predictions"]}


def test_a_frame_is_posted_and_loaded_as_the_client_does(client: TestClient) -> None:
    """What pandas writes as records is read without content type, at either path, and the answer makes a frame."""
    rows = rows_of("binary")[:20]
    content = pd.DataFrame(rows).to_json(orient="records")
    for path in ("/predict", "/"):
        response = client.post(path, content=content)
        assert response.status_code == 200, response.text
        assert list(pd.DataFrame.from_dict(response.json()).predict) == native(client, rows)["predictions"]


def year(frame: pd.DataFrame) -> np.ndarray:
    """Return the year of a frame's dates."""
    return pd.to_datetime(frame.iloc[:, 0]).dt.year.to_numpy().reshape(-1, 1)


@pytest.mark.parametrize("offset", [None, "UTC"])
def test_dates_come_as_pandas_writes_them(offset: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Milliseconds since 1970, which pandas writes for a date, are that date."""
    dates = pd.Series(pd.date_range("1965-03-01", periods=60, freq="400D", tz=offset))
    frame = pd.DataFrame({"seen": dates, "value": dates.dt.year * 2.0})
    toy = Toy(
        make_pipeline(FunctionTransformer(year), LinearRegression()).fit(frame[["seen"]], frame.value), frame, ["value"]
    )
    store = FileStore(tmp_path / "store")
    pin = write_pin(publish_toy(store, "dates", toy), tmp_path)
    monkeypatch.setenv("MODEL_STORE", store.url)
    monkeypatch.setenv("PIN_FILE", str(pin))
    client = TestClient(create_asgi_app("predict", str(ROOT / "function" / "main.py"), "http"))
    texts = [{"seen": date.isoformat()} for date in frame.seen]
    milliseconds = [{"seen": date.value // 10**6} for date in frame.seen]
    assert posted(client, PATH, milliseconds) == {"predict": native(client, texts)["predictions"]}
    for value in (10**30, -(10**17), 1.5, True):
        assert refused(send(client, PATH, [{"seen": value}]))[0]["loc"] == ["body", 0, "seen"]


FAULTS: dict[str, tuple[Any, list[Any], str]] = {
    "value": ([GOOD, {**GOOD, "age": "x"}], ["body", 1, "age"], "value_error"),
    "missing": ([{name: value for name, value in GOOD.items() if name != "age"}], ["body", 0, "age"], "missing"),
    "unknown": ([{**GOOD, "a/b~": 1}], ["body", 0, "a/b~"], "value_error"),
    "numeric-name": ([{**GOOD, "7": 1}], ["body", 0, "7"], "value_error"),
    "list": ([GOOD, list(GOOD.values())], ["body", 1], "value_error"),
    "number": ([1, 2], ["body", 0], "value_error"),
    "empty": ([], ["body"], "value_error"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_as_fastapi_does(case: str, client: TestClient) -> None:
    """Whatever is wrong with records is a 422 that says where in the body, what kind, and what was expected."""
    body, loc, kind = FAULTS[case]
    fault = refused(send(client, PATH, body))[0]
    assert (fault["loc"], fault["type"]) == (loc, kind)
    assert fault["msg"].startswith("Expected ")


def test_every_fault_is_told(client: TestClient) -> None:
    """All faults of all records are found at once."""
    detail = refused(send(client, PATH, [{**GOOD, "age": "x", "city": "Rom"}, GOOD, {**GOOD, "member": 1}]))
    assert [fault["loc"][1:] for fault in detail] == [[0, "age"], [0, "city"], [2, "member"]]


@pytest.mark.parametrize("name", ["binary", "truth", "text", "several-numbers", "named-like-the-format"])
def test_hostile_records_are_refused(name: str, serving: Callable[..., TestClient]) -> None:
    """An array of anything but records is refused in this dialect's shape; never a defect."""
    client = serving(name)
    for case, value in NO_INSTANCES.items():
        if isinstance(value, list):
            assert len(refused(send(client, PATH, value))) <= 50, case


def test_limits_and_missing_models_are_told_in_one_text(serving: Callable[..., TestClient]) -> None:
    """Errors that are not about the records hold one text, as FastAPI's do."""
    client = serving("binary", MAX_INSTANCES="3")
    assert "at most 3" in refused(send(client, PATH, [GOOD] * 4), 413)
    refused(serving("binary", PIN_FILE="/nowhere/pin.json").get("/metadata"), 503)


def test_metadata_has_what_vetiver_keeps(client: TestClient) -> None:
    """Metadata has the fields of vetiver's own, all of them."""
    metadata = client.get("/metadata").json()
    assert set(metadata) == {"user", "version", "url", "required_pkgs", "python_version"}
    assert metadata["version"] == "1"
    assert metadata["user"]["model"] == "binary"
    assert "scikit-learn" in metadata["required_pkgs"]


def test_the_prototype_is_the_schema_of_a_record(client: TestClient) -> None:
    """The prototype has a property a feature, each with a type, and fits a record that is accepted."""
    prototype = client.get("/prototype").json()
    assert list(prototype["properties"]) == list(GOOD)
    assert [prototype["properties"][name]["type"] for name in ("age", "city", "member")] == [
        "integer",
        "string",
        "boolean",
    ]
    assert prototype["properties"]["income"]["type"] == ["number", "null"]
    assert all("example" in column for column in prototype["properties"].values())
    assert prototype["required"] == list(GOOD)
    assert prototype["type"] == "object"


@pytest.mark.parametrize("name", TOYS)
def test_the_description_is_true(
    name: str, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """The example works, and answers, errors and what is only read are what the schemas say."""
    version, client = published(name), serving(name)
    description = described("vetiver", version)
    assert fits(description.request, description.example, version)
    assert fits(description.answer, posted(client, PATH, description.example), version)
    for body in ([], [{}]):
        assert fits(description.error, send(client, PATH, body).json(), version)
    for read in ("metadata", "prototype"):
        assert fits(description.reads[read][1], client.get(f"/{read}").json(), version)
    assert fits(client.get("/prototype").json(), description.example[0], version)
