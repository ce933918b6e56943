"""How a caller of each dialect writes rows and reads its answer: what the tests over all dialects speak with."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tritonclient.http as triton

Rows = list[dict[str, Any]]
Described = Mapping[str, Any]  # what GET /model answers

DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "text": "BYTES", "datetime": "BYTES"}
DTYPES = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
ARROW_TYPES = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "text": pa.string()}
VERTEX_PATH = "/vertex/predict"
VERTEX = {"AIP_PREDICT_ROUTE": VERTEX_PATH, "AIP_HEALTH_ROUTE": "/vertex/health"}  # what Vertex AI sets


class Sent(NamedTuple):
    """A request: path, body and headers."""

    path: str
    content: bytes
    headers: dict[str, str]


class Read(NamedTuple):
    """An answer: a prediction a row and, where the dialect tells them, each row's probabilities by class."""

    predictions: list[Any]
    probabilities: list[dict[str, float]] | None


class Speaker(NamedTuple):
    """One way to say the same."""

    name: str
    write: Callable[[Rows, Described], Sent]
    read: Callable[[Any, Described], Read]
    is_error: Callable[[Any], bool]
    invalid: int = 422  # the status of invalid instances
    typed: bool = False  # holds no value of another type than its feature's
    lines: bool = False  # tells what is wrong with a row in its place


def names(model: Described) -> list[str]:
    """Return the names of the features in their order."""
    return [feature["name"] for feature in model["features"]]


def listed(rows: Rows, model: Described) -> list[list[Any]]:
    """Return rows as lists in the order of the features."""
    return [[row[name] for name in names(model)] for row in rows]


def by_columns(rows: Rows, model: Described) -> dict[str, list[Any]]:
    """Return rows as columns by name."""
    return {name: [row[name] for row in rows] for name in names(model)}


def as_json(path: str, content: Any, **headers: str) -> Sent:
    """Return a request of JSON; a number that is none is written as the bare token, as Python does."""
    return Sent(path, json.dumps(content).encode(), {"content-type": "application/json", **headers})


def _native(response: Any, _: Described) -> Read:
    answer = response.json()
    return Read(answer["predictions"], answer.get("probabilities"))


def _native_error(response: Any) -> bool:
    body = response.json()
    return set(body) == {"error"} and set(body["error"]) == {"code", "message", "details"}


def _reads(key: str) -> Callable[[Any, Described], Read]:
    return lambda response, _: Read(response.json()[key], None)


def _text_error(response: Any) -> bool:
    body = response.json()
    return set(body) == {"error"} and isinstance(body["error"], str)


def _mlflow_error(response: Any) -> bool:
    return {"error_code", "message"} <= set(response.json())


def _lines(response: Any, _: Described) -> Read:
    answers = [json.loads(line) for line in response.text.splitlines()]
    chances = [answer["probabilities"] for answer in answers] if "probabilities" in answers[0] else None
    return Read([answer["prediction"] for answer in answers], chances)


def _write_lines(rows: Rows, _: Described) -> Sent:
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return Sent("/predict", body, {"content-type": "application/x-ndjson"})


def _write_csv(path: str, *, header: bool) -> Callable[[Rows, Described], Sent]:
    def write(rows: Rows, model: Described) -> Sent:
        text = io.StringIO()
        writer = csv.writer(text)
        if header:
            writer.writerow(names(model))
        for row in listed(rows, model):
            writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])
        return Sent(path, text.getvalue().encode(), {"content-type": "text/csv"})

    return write


def _table(columns: Mapping[str, list[Any]], model: Described) -> Read:
    """Read the columns that tables answer with."""
    classes = model["classes"]
    labels = {str(one).lower() if isinstance(one, bool) else str(one): one for one in classes or ()}
    found = columns["prediction"]
    predictions = [labels.get(one, one) if isinstance(one, str) else one for one in found]
    if classes is None:
        return Read([float(one) for one in predictions], None)
    keys = [one if isinstance(one, str) else json.dumps(one) for one in classes]
    if f"probability_{keys[0]}" not in columns:
        return Read(predictions, None)
    chances = zip(*([float(one) for one in columns[f"probability_{key}"]] for key in keys), strict=True)
    return Read(predictions, [dict(zip(keys, row, strict=True)) for row in chances])


def _read_csv(response: Any, model: Described) -> Read:
    header, *rows = csv.reader(io.StringIO(response.text))
    return _table({name: list(cells) for name, cells in zip(header, zip(*rows, strict=True), strict=True)}, model)


def _arrow_table(rows: Rows, model: Described) -> pa.Table:
    types = {feature["name"]: ARROW_TYPES.get(feature["type"], pa.string()) for feature in model["features"]}
    return pa.table({name: pa.array(column, types[name]) for name, column in by_columns(rows, model).items()})


def _write_arrow(rows: Rows, model: Described) -> Sent:
    table = _arrow_table(rows, model)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Sent("/predict", sink.getvalue(), {"content-type": "application/vnd.apache.arrow.stream"})


def _read_arrow(response: Any, model: Described) -> Read:
    return _table(pa.ipc.open_stream(response.content).read_all().to_pydict(), model)


def _write_parquet(rows: Rows, model: Described) -> Sent:
    sink = io.BytesIO()
    pq.write_table(_arrow_table(rows, model), sink)
    return Sent("/predict", sink.getvalue(), {"content-type": "application/vnd.apache.parquet"})


def _read_parquet(response: Any, model: Described) -> Read:
    return _table(pq.read_table(io.BytesIO(response.content)).to_pydict(), model)


def _write_tensors(rows: Rows, model: Described) -> Sent:
    inputs = [
        {
            "name": feature["name"],
            "shape": [len(rows), 1],
            "datatype": DATATYPES[feature["type"]],
            "data": [row[feature["name"]] for row in rows],
        }
        for feature in model["features"]
    ]
    wanted = [{"name": "predict"}, *([{"name": "predict_proba"}] if "probabilities" in model["outputs"] else [])]
    return as_json(f"/v2/models/{model['model']}/infer", {"inputs": inputs, "outputs": wanted})


def _write_binary(rows: Rows, model: Described) -> Sent:
    inputs = []
    for feature in model["features"]:
        datatype = DATATYPES[feature["type"]]
        column = [np.nan if row[feature["name"]] is None else row[feature["name"]] for row in rows]
        array = np.array(column, DTYPES[datatype]).reshape(-1, 1)
        inputs.append(triton.InferInput(feature["name"], array.shape, datatype).set_data_from_numpy(array))
    wanted = ["predict", *(["predict_proba"] if "probabilities" in model["outputs"] else [])]
    body, length = triton.InferenceServerClient.generate_request_body(
        inputs, outputs=[triton.InferRequestedOutput(name) for name in wanted]
    )
    headers = {"Inference-Header-Content-Length": str(length)} if length else {}
    return Sent(f"/v2/models/{model['model']}/infer", bytes(body), headers)


def _read_tensors(response: Any, model: Described) -> Read:
    length = response.headers.get("inference-header-content-length")
    result = triton.InferenceServerClient.parse_response_body(
        response.content, header_length=int(length) if length else None
    )
    found = result.as_numpy("predict").tolist()
    predictions = [one.decode() if isinstance(one, bytes) else one for one in found]
    chances = result.as_numpy("predict_proba")
    if chances is None:
        return Read(predictions, None)
    keys = [one if isinstance(one, str) else json.dumps(one) for one in model["classes"]]
    return Read(predictions, [dict(zip(keys, row, strict=True)) for row in chances.tolist()])


def _split(rows: Rows, model: Described) -> Sent:
    table = {"columns": names(model), "index": list(range(len(rows))), "data": listed(rows, model)}
    return as_json("/invocations", {"dataframe_split": table})


SPEAKERS = [
    Speaker("native", lambda rows, _: as_json("/predict", {"instances": rows}), _native, _native_error),
    Speaker(
        "native-lists", lambda rows, model: as_json("/", {"instances": listed(rows, model)}), _native, _native_error
    ),
    Speaker("ndjson", _write_lines, _lines, _native_error, lines=True),
    Speaker("csv", _write_csv("/predict", header=True), _read_csv, _native_error, typed=True),
    Speaker("csv-bare", _write_csv("/predict", header=False), _read_csv, _native_error, typed=True),
    Speaker("arrow", _write_arrow, _read_arrow, _native_error, typed=True),
    Speaker("parquet", _write_parquet, _read_parquet, _native_error, typed=True),
    Speaker("v2-json", _write_tensors, _read_tensors, _text_error, 400, typed=True),
    Speaker("v2-binary", _write_binary, _read_tensors, _text_error, 400, typed=True),
    Speaker(
        "v1-instances",
        lambda rows, model: as_json(f"/v1/models/{model['model']}:predict", {"instances": rows}),
        _reads("predictions"),
        _text_error,
        400,
    ),
    Speaker(
        "v1-inputs",
        lambda rows, model: as_json(f"/v1/models/{model['model']}:predict", {"inputs": by_columns(rows, model)}),
        _reads("outputs"),
        _text_error,
        400,
    ),
    Speaker("mlflow-split", _split, _reads("predictions"), _mlflow_error, 400),
    Speaker(
        "mlflow-records",
        lambda rows, _: as_json("/invocations", {"dataframe_records": rows}),
        _reads("predictions"),
        _mlflow_error,
        400,
    ),
    Speaker(
        "mlflow-inputs",
        lambda rows, model: as_json("/invocations", {"inputs": by_columns(rows, model)}),
        _reads("predictions"),
        _mlflow_error,
        400,
    ),
    Speaker(
        "mlflow-csv",
        _write_csv("/invocations", header=True),
        _reads("predictions"),
        _mlflow_error,
        400,
        typed=True,
    ),
    Speaker(
        "sagemaker-csv",
        _write_csv("/invocations", header=False),
        _reads("predictions"),
        _mlflow_error,
        400,
        typed=True,
    ),
    Speaker(
        "vetiver",
        lambda rows, _: Sent("/predict", json.dumps(rows).encode(), {}),
        _reads("predict"),
        lambda response: set(response.json()) == {"detail"},
    ),
    Speaker(
        "bigquery",
        lambda rows, model: as_json("/predict", {"requestId": "r", "caller": "c", "calls": listed(rows, model)}),
        _reads("replies"),
        lambda response: set(response.json()) == {"errorMessage"},
    ),
    Speaker("vertex", lambda rows, _: as_json(VERTEX_PATH, {"instances": rows}), _native, _native_error),
]


def say(client: Any, speaker: Speaker, rows: Rows, model: Described) -> Any:
    """Send rows in a dialect; return the response."""
    sent = speaker.write(rows, model)
    return client.post(sent.path, content=sent.content, headers=sent.headers)
