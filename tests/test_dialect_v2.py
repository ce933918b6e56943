"""Open Inference Protocol v2: Triton's own client works unchanged, and every tensor is the native dialect's number."""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from lifecycle.frames import raw_instances
from lifecycle.signature import learn_features
from tests.server import Server
from tests.test_endpoint import GOOD
from tests.toys import TOYS, binary

MODEL = "binary"
DTYPES = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
ROWS = raw_instances(binary().features, learn_features(binary().features, {}))[:20]
ADULTS = [{**row, "income": 50.0 if row["income"] is None else row["income"]} for row in ROWS]


def tensors(rows: list[dict[str, Any]], metadata: dict[str, Any], *, as_binary: bool) -> list[triton.InferInput]:
    """Return a tensor a feature, as a user of tritonclient makes them; a missing number is NaN."""
    made = []
    for given in metadata["inputs"]:
        values = [np.nan if row[given["name"]] is None else row[given["name"]] for row in rows]
        array = np.array(values, dtype=DTYPES[given["datatype"]]).reshape(-1, 1)
        tensor = triton.InferInput(given["name"], array.shape, given["datatype"])
        made.append(tensor.set_data_from_numpy(array, binary_data=as_binary))
    return made


@pytest.fixture(scope="module")
def client_of_triton(server: Server) -> Any:
    """Return Triton's own client of a real process."""
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def native(server: Server, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the native answer for the same rows."""
    answer = server.client.post("/predict", json={"instances": rows}).json()
    answer["proba"] = [list(row.values()) for row in answer["probabilities"]]
    return answer


def labels(result: Any, name: str = "predict") -> list[str]:
    """Return an output's labels, which the client gives as bytes where they came in the binary extension."""
    return [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy(name).reshape(-1).tolist()]


def test_tritonclient_reads_what_the_server_says_of_itself(client_of_triton: Any) -> None:
    """Health, metadata, configuration, index and statistics satisfy the client."""
    client = client_of_triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("another")
    assert not client.is_model_ready(MODEL, "99")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(MODEL, "1")
    assert metadata["versions"] == ["1"]
    assert [tensor["name"] for tensor in metadata["inputs"]] == list(GOOD)
    config = client.get_model_config(MODEL)
    assert [tensor["data_type"] for tensor in config["input"]] == [
        "TYPE_STRING" if tensor["datatype"] == "BYTES" else f"TYPE_{tensor['datatype']}"
        for tensor in metadata["inputs"]
    ]
    assert client.get_model_repository_index() == [{"name": MODEL, "version": "1", "state": "READY"}]
    assert client.get_system_shared_memory_status() == client.get_cuda_shared_memory_status() == []


def test_statistics_count_what_was_answered_and_refused(client_of_triton: Any) -> None:
    """Each answered request adds one execution and its rows, each refused one a failure."""
    client = client_of_triton

    def counted() -> tuple[int, int, int]:
        (stats,) = client.get_inference_statistics(MODEL, "1")["model_stats"]
        return stats["execution_count"], stats["inference_count"], stats["inference_stats"]["fail"]["count"]

    metadata = client.get_model_metadata(MODEL)
    before = counted()
    client.infer(MODEL, tensors(ROWS[:7], metadata, as_binary=True))
    with pytest.raises(InferenceServerException):
        client.infer(MODEL, tensors(ROWS[:7], metadata, as_binary=True)[:2])
    assert counted() == (before[0] + 1, before[1] + 7, before[2] + 1)
    assert client.get_inference_statistics()["model_stats"][0]["name"] == MODEL


@pytest.mark.parametrize("as_binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_tritonclient_infers(client_of_triton: Any, server: Server, as_binary: bool, coding: str | None) -> None:
    """In either form, in any compression, the outputs are those asked for, in that order, with the native numbers."""
    wanted = ["predict_proba", "predict", "classes", "decision_function"]
    result = client_of_triton.infer(
        MODEL,
        tensors(ROWS, client_of_triton.get_model_metadata(MODEL), as_binary=as_binary),
        outputs=[triton.InferRequestedOutput(name, binary_data=as_binary) for name in wanted],
        request_id="mine",
        model_version="1",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    answer = native(server, ROWS)
    head = result.get_response()
    assert (head["id"], head["model_name"], head["model_version"]) == ("mine", MODEL, "1")
    assert [output["name"] for output in head["outputs"]] == wanted
    assert result.as_numpy("predict_proba").tolist() == answer["proba"]
    assert labels(result) == answer["predictions"]
    assert labels(result, "classes") == ["no", "yes"] * len(ROWS)
    assert result.as_numpy("decision_function").shape == (len(ROWS),)


def test_without_outputs_the_predictions_come_alone(client_of_triton: Any, server: Server) -> None:
    """The client's plain call gets one output, one value a row, in the binary extension, as it asked."""
    result = client_of_triton.infer(MODEL, tensors(ROWS, client_of_triton.get_model_metadata(MODEL), as_binary=True))
    (output,) = result.get_response()["outputs"]
    assert output["name"] == "predict"
    assert output["shape"] == [len(ROWS)]
    assert "data" not in output
    assert labels(result) == native(server, ROWS)["predictions"]


def test_the_best_classes_come_as_texts(client_of_triton: Any, server: Server) -> None:
    """The classification extension gives value, index and label of the best classes, best first."""
    wanted = triton.InferRequestedOutput("predict_proba", class_count=1)
    inputs = tensors(ROWS, client_of_triton.get_model_metadata(MODEL), as_binary=True)
    texts = labels(client_of_triton.infer(MODEL, inputs, outputs=[wanted]), "predict_proba")
    answer = native(server, ROWS)
    for text, chances in zip(texts, answer["proba"], strict=True):
        value, index, label = text.split(":")
        assert float(value) == max(chances)
        assert (index, label) == [("0", "no"), ("1", "yes")][chances.index(max(chances))]


def test_requests_beside_each_other_and_by_hand(client_of_triton: Any, server: Server) -> None:
    """The client's asynchronous call, and bodies that it makes and reads without sending them, work too."""
    inputs = tensors(ROWS, client_of_triton.get_model_metadata(MODEL), as_binary=True)
    expected = native(server, ROWS)["predictions"]
    started = [client_of_triton.async_infer(MODEL, inputs) for _ in range(3)]
    assert [labels(one.get_result()) for one in started] == [expected] * 3
    body, length = triton.InferenceServerClient.generate_request_body(inputs)
    response = server.client.post(
        f"/v2/models/{MODEL}/infer", content=body, headers={"Inference-Header-Content-Length": str(length)}
    )
    parsed = triton.InferenceServerClient.parse_response_body(
        response.content, header_length=int(response.headers["inference-header-content-length"])
    )
    assert labels(parsed) == expected


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_tritonclients_aio_infers(server: Server, coding: str | None) -> None:
    """The aio client, which always accepts compressed answers, reads all it asks for, errors included."""

    async def run() -> None:
        async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready(MODEL)
            assert not await client.is_model_ready("another")
            assert (await client.get_server_metadata())["name"] == "pilotlight"
            metadata = await client.get_model_metadata(MODEL)
            assert (await client.get_model_config(MODEL))["name"] == MODEL
            assert (await client.get_model_repository_index())[0]["state"] == "READY"
            assert (await client.get_inference_statistics())["model_stats"]
            for as_binary in (True, False):
                result = await client.infer(
                    MODEL,
                    tensors(ROWS, metadata, as_binary=as_binary),
                    outputs=[triton.InferRequestedOutput("predict_proba", binary_data=as_binary)],
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                assert result.as_numpy("predict_proba").tolist() == native(server, ROWS)["proba"]
            with pytest.raises(InferenceServerException, match='a tensor "city"'):
                await client.infer(MODEL, tensors(ROWS, metadata, as_binary=True)[:2])
            assert labels(await client.infer(MODEL, tensors(ROWS, metadata, as_binary=True)))

    asyncio.run(run())


def test_an_error_leaves_the_connection_usable(client_of_triton: Any) -> None:
    """After each kind of error the same connection answers the next call."""
    inputs = tensors(ROWS, client_of_triton.get_model_metadata(MODEL), as_binary=True)
    wrong: list[Callable[[], object]] = [
        lambda: client_of_triton.infer("another", inputs),
        lambda: client_of_triton.infer(MODEL, inputs[:2]),
        lambda: client_of_triton.infer(MODEL, inputs, outputs=[triton.InferRequestedOutput("odds")]),
        lambda: client_of_triton.load_model(MODEL),
        lambda: client_of_triton.register_system_shared_memory("region", "/key", 8),
        lambda: client_of_triton.get_model_metadata("another"),
    ]
    for call in wrong:
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status().startswith("4") or caught.value.status() == "501"
        assert len(caught.value.message()) > 10
        assert client_of_triton.infer(MODEL, inputs).as_numpy("predict").shape == (len(ROWS),)


# What is wrong, and what the message must name.


def named(rows: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return a JSON tensor a feature."""
    rows = [GOOD] if rows is None else rows
    datatypes = {"age": "INT64", "income": "FP64", "city": "BYTES", "member": "BOOL", "plan": "BYTES"}
    return [
        {"name": name, "shape": [len(rows)], "datatype": datatype, "data": [row[name] for row in rows]}
        for name, datatype in datatypes.items()
    ]


def infer(client: TestClient, body: Any, **headers: str) -> Any:
    """Return the response to a body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/v2/models/{MODEL}/infer", content=content, headers=headers)


def changed(index: int, **fields: Any) -> dict[str, Any]:
    """Return a body with one tensor changed."""
    inputs = named()
    inputs[index] |= fields
    return {"inputs": inputs}


def sized(size: Any) -> dict[str, Any]:
    """Return a body whose first tensor is said to come as so many bytes."""
    inputs = named()
    inputs[0] = {"name": "age", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": size}}
    return {"inputs": inputs}


WRONG: dict[str, tuple[Any, str]] = {
    "list": ([1], "an object"),
    "nothing": ({}, "at least one tensor"),
    "no-inputs": ({"inputs": []}, "at least one tensor"),
    "inputs-no-list": ({"inputs": {"a": 1}}, "at least one tensor"),
    "tensor-no-object": ({"inputs": [1]}, "/inputs/0"),
    "id-no-text": ({"id": 7, "inputs": named()}, "/id"),
    "parameters-no-object": ({"parameters": [], "inputs": named()}, "/parameters"),
    "no-name": (changed(0, name=None), "/inputs/0/name"),
    "unknown-name": (changed(0, name="aeg"), '"aeg"'),
    "name-twice": (changed(1, name="age"), "income"),
    "missing": ({"inputs": named()[:-1]}, '"plan"'),
    "too-many": ({"inputs": named() * 100}, "one of [n, 5]"),
    "unknown-datatype": (changed(0, datatype="INT7"), "/inputs/0/datatype"),
    "no-shape": (changed(0, shape=None), "/inputs/0/shape"),
    "shape-of-text": (changed(0, shape=["1"]), "/inputs/0/shape"),
    "shape-of-truth": (changed(0, shape=[True]), "/inputs/0/shape"),
    "shape-below-nothing": (changed(0, shape=[-1]), "/inputs/0/shape"),
    "shape-of-nothing": (changed(0, shape=[0], data=[]), "/inputs/0/shape"),
    "shape-without-end": (changed(0, shape=[1] * 1000), "/inputs/0/shape"),
    "huge-shape": (changed(0, shape=[1, 2**60, 2**60]), "/inputs/0/shape"),
    "endless-shape": (
        json.dumps(changed(0, shape=[1, 7])).replace("7]", "1" + "0" * 4001 + "]").replace("40", "NaN").encode(),
        "/inputs/0/shape",
    ),
    "shape-of-no-feature": (changed(0, shape=[1, 3], data=[1, 2, 3]), "/inputs/0/shape"),
    "nested-otherwise": (
        {"inputs": [{"name": "x", "shape": [2, 5], "datatype": "FP64", "data": [[1, 2]] * 5}]},
        "/inputs/0/data",
    ),
    "json-text-of-a-list": (changed(2, parameters={"content_type": "pd_json"}, data=["[1]"]), "plain value"),
    "other-batch": (changed(4, shape=[2], data=["paid", "free"]), "/inputs/4/shape"),
    "wide": (changed(4, shape=[1, 2], data=["paid", "free"]), "/inputs/4/shape"),
    "too-few-elements": (changed(0, data=[]), "/inputs/0/data"),
    "too-many-elements": (changed(0, data=[1, 2]), "/inputs/0/data"),
    "ragged": (changed(0, shape=[2], data=[[1], 2]), "/inputs/0/data"),
    "no-data": ({"inputs": [{"name": "age", "shape": [1], "datatype": "INT64"}, *named()[1:]]}, "/inputs/0/data"),
    "text-for-number": (changed(0, data=["40"]), "/inputs/0/data"),
    "fraction-for-integer": (changed(0, data=[40.5]), "/inputs/0/data"),
    "truth-for-integer": (changed(0, data=[True]), "/inputs/0/data"),
    "number-for-truth": (changed(3, data=[1]), "/inputs/3/data"),
    "number-for-text": (changed(2, data=[1]), "/inputs/2/data"),
    "object-for-number": (changed(1, data=[{}]), "/inputs/1/data"),
    "beyond-its-bits": (changed(0, datatype="INT8", data=[300]), "INT8"),
    "below-nothing": (changed(0, datatype="UINT16", data=[-1]), "UINT16"),
    "beyond-half": (changed(1, datatype="FP16", data=[1e6]), "FP16"),
    "beyond-brain": (changed(1, datatype="BF16", data=[1e39]), "BF16"),
    "endless-digits": (json.dumps({"inputs": named()}).replace("null", "1" + "0" * 400, 1).encode(), "64 bits"),
    "new-category": (changed(2, data=["Rom"]), "/inputs/2/data/0"),
    "null-for-number": (changed(0, data=[None]), "/inputs/0/data/0"),
    "shared-memory": (changed(0, parameters={"shared_memory_region": "r"}), "shared memory"),
    "unknown-content-type": (changed(0, parameters={"content_type": "image"}), "content_type"),
    "no-base64": (changed(2, parameters={"content_type": "base64"}), "base64"),
    "no-json-text": (changed(2, parameters={"content_type": "pd_json"}, data=["{"]), "JSON"),
    "unknown-output": ({"inputs": named(), "outputs": [{"name": "odds"}]}, "predict_proba"),
    "output-no-object": ({"inputs": named(), "outputs": ["predict"]}, "/outputs/0"),
    "outputs-no-list": ({"inputs": named(), "outputs": {"name": "predict"}}, "/outputs"),
    "output-twice": ({"inputs": named(), "outputs": [{"name": "predict"}] * 2}, "once"),
    "classes-of-labels": (
        {"inputs": named(), "outputs": [{"name": "predict", "parameters": {"classification": 1}}]},
        "predict_proba",
    ),
    "data-beside-bytes": (changed(0, parameters={"binary_data_size": 0}), "/inputs/0/data"),
    "binary-size-without-bytes": (sized(8), "/inputs/0/parameters/binary_data_size"),
    "binary-size-no-number": (sized("8"), "/inputs/0/parameters/binary_data_size"),
    "half": (b'{"inputs": [', "not JSON"),
    "empty": (b"", "empty"),
    "bytes": (b"\x00\xff\x00", "not UTF-8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_body_is_refused_in_the_protocols_shape(case: str, client: TestClient) -> None:
    """Whatever is wrong is a 400 with one key, whose text names it."""
    body, part = WRONG[case]
    response = infer(client, body)
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}
    assert part in response.json()["error"]


@pytest.mark.parametrize(
    ("length", "rest", "size"),
    [
        ("nan", b"", 8),
        ("-1", b"", 8),
        ("99999", b"", 8),
        ("9" * 5000, b"", 8),
        (None, b"\0" * 7, 8),
        (None, b"\0" * 9, 8),
        (None, b"\0" * 7, 7),
    ],
    ids=["no-number", "negative", "beyond", "endless", "too-few", "left-over", "wrong-size"],
)
def test_binary_data_must_fit(length: str | None, rest: bytes, size: int, client: TestClient) -> None:
    """The header and the sizes of all inputs must account for every byte."""
    inputs = named()
    inputs[0] = {"name": "age", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": inputs}).encode()
    given = str(len(head)) if length is None else length
    response = infer(client, head + rest, **{"inference-header-content-length": given})
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "blob",
    [b"\x04\0\0\0Ber", b"\x02\0\0", b"\xff\xff\xff\xffBern", b"\x01\0\0\0\xff", b"", b"\x01\0\0\0a\x01\0\0\0b"],
    ids=["cut", "no-length", "endless", "not-utf8", "none", "two"],
)
def test_binary_texts_must_fit(blob: bytes, client: TestClient) -> None:
    """Texts of the binary extension have their length before them, and there are as many as the shape says."""
    inputs = named()
    inputs[2] = {"name": "city", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": inputs}).encode()
    response = infer(client, head + blob, **{"inference-header-content-length": str(len(head))})
    assert response.status_code == 400, response.text
    assert "/inputs/2/data" in response.json()["error"]


@pytest.mark.parametrize("name", ["multiclass", "truth", "regression", "text", "named-like-the-format"])
def test_every_datatype_of_a_matrix_gives_the_native_answer(name: str, serving: Callable[..., TestClient]) -> None:
    """One matrix, whatever its name, flat or nested, is recognised by its shape; its numbers are the native ones."""
    toy = TOYS[name]()
    client = serving(name)
    rows = [list(row.values()) for row in raw_instances(toy.features, learn_features(toy.features, {}))[:10]]
    kinds = {type(value) for row in rows for value in row}
    datatype = "BYTES" if kinds == {str} else "FP64"
    expected = client.post("/predict", json={"instances": rows}).json()
    for data in (rows, [value for row in rows for value in row]):
        tensor = {"name": "input-1", "shape": [10, len(rows[0])], "datatype": datatype, "data": data}
        response = client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]})
        assert response.status_code == 200, response.text
        (output,) = response.json()["outputs"]
        assert output["data"] == expected["predictions"]


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_answers_in_tensors(name: str, serving: Callable[..., TestClient]) -> None:
    """Whatever shape a model has, each output that its metadata names has the shape that they say, JSON or binary."""
    client = serving(name)
    metadata = client.get(f"/v2/models/{name}").json()
    example = client.get("/model").json()["example"]["instances"][0]
    inputs = [
        {"name": tensor["name"], "shape": [2, 1], "datatype": tensor["datatype"], "data": [example[tensor["name"]]] * 2}
        for tensor in metadata["inputs"]
    ]
    for as_binary in (False, True):
        wanted = [{"name": one["name"], "parameters": {"binary_data": as_binary}} for one in metadata["outputs"]]
        response = client.post(f"/v2/models/{name}/infer", json={"inputs": inputs, "outputs": wanted})
        assert response.status_code == 200, response.text
        length = response.headers.get("inference-header-content-length")
        result = triton.InferenceServerClient.parse_response_body(
            response.content, header_length=int(length) if length else None
        )
        for one in metadata["outputs"]:
            array = result.as_numpy(one["name"])
            assert list(array.shape) == [2, *one["shape"][1:]]
            assert np_to_triton_dtype(array.dtype) == one["datatype"]


@pytest.mark.parametrize("datatype", ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"])
def test_whole_numbers_of_any_width_are_read(datatype: str, client: TestClient) -> None:
    """A whole number means the same in each datatype that holds it, in JSON and in bytes."""
    expected = infer(client, {"inputs": named()}).json()["outputs"]
    assert infer(client, changed(0, datatype=datatype)).json()["outputs"] == expected
    assert _as_binary(client, 0, datatype, np.array([GOOD["age"]], datatype.lower()).tobytes()) == expected


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_numbers_of_any_width_are_read(datatype: str, client: TestClient) -> None:
    """A number is the nearest that its datatype holds, in JSON and in bytes; NaN is missing."""
    number = 52.1
    narrow = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}.get(datatype)
    if narrow is None:
        blob = struct.pack("<f", number)[2:]
        meant = struct.unpack("<f", b"\0\0" + blob)[0]
    else:
        blob = narrow(number).tobytes()
        meant = float(narrow(number))
    expected = infer(client, {"inputs": named([{**GOOD, "income": meant}])}).json()["outputs"]
    assert infer(client, changed(1, datatype=datatype, data=[number])).json()["outputs"] == expected
    assert _as_binary(client, 1, datatype, blob) == expected
    missing = infer(client, {"inputs": named()}).json()["outputs"]
    blob = b"\xc0\x7f" if narrow is None else narrow("nan").tobytes()
    assert _as_binary(client, 1, datatype, blob) == missing
    body = json.dumps(changed(1, datatype=datatype, data=[float("nan")]))
    assert "NaN" in body
    assert infer(client, body.encode()).json()["outputs"] == missing


def _as_binary(client: TestClient, index: int, datatype: str, blob: bytes) -> Any:
    """Return the outputs where one input comes as bytes."""
    inputs = named()
    name = inputs[index]["name"]
    inputs[index] = {"name": name, "shape": [1, 1], "datatype": datatype, "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": inputs}).encode()
    response = infer(client, head + blob, **{"inference-header-content-length": str(len(head))})
    assert response.status_code == 200, response.text
    return response.json()["outputs"]


def test_content_types_of_mlserver_are_read(client: TestClient) -> None:
    """`pd`, `np`, `str`, `base64` and `pd_json` say how an input is meant; absent fields may be null."""
    expected = infer(client, {"inputs": named()}).json()["outputs"]
    typed = named()
    typed[2] |= {"parameters": {"content_type": "str"}}
    typed[4] |= {"parameters": {"content_type": "base64"}, "data": ["cGFpZA=="]}
    typed[0] |= {"parameters": None}
    body = {"id": None, "parameters": {"content_type": "pd"}, "inputs": typed, "outputs": None, "model_name": MODEL}
    assert infer(client, body).json()["outputs"] == expected
    mixed = named()
    mixed[2] |= {"parameters": {"content_type": "pd_json"}, "data": [json.dumps(GOOD["city"])]}
    assert infer(client, {"inputs": mixed}).json()["outputs"] == expected


def test_a_batch_has_the_shape_of_its_rows(client: TestClient) -> None:
    """The first dimension of every output is the batch, so that merged micro-batches can be told apart."""
    metadata = client.get(f"/v2/models/{MODEL}").json()
    wanted = [{"name": output["name"]} for output in metadata["outputs"]]
    outputs = infer(client, {"inputs": named([GOOD, GOOD, GOOD]), "outputs": wanted}).json()["outputs"]
    assert {output["shape"][0] for output in outputs} == {3}
    ids = next(output for output in outputs if output["name"] == "prediction_id")
    assert [one.rpartition("-")[2] for one in ids["data"]] == ["0", "1", "2"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_only_inferred_answers_are_compressed(coding: str, client: TestClient) -> None:
    """Small answers too, since clients ask for it by name; errors and metadata never, since clients read them plain."""
    headers = {"accept-encoding": coding}
    body = json.dumps({"inputs": named()}).encode()
    squeezed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    assert infer(client, squeezed, **headers, **{"content-encoding": coding}).headers["content-encoding"] == coding
    assert "content-encoding" not in infer(client, b"{}", **headers).headers
    assert "content-encoding" not in client.get(f"/v2/models/{MODEL}", headers=headers).headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/another", 404),
        ("GET", "/v2/models/binary/versions/2", 404),
        ("GET", "/v2/models/binary/versions/x/ready", 404),
        ("POST", "/v2/models/another/infer", 404),
        ("GET", "/v2/models/binary/infer", 405),
        ("POST", "/v2/repository/models/binary/load", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/{model}", 404),
    ],
)
def test_errors_of_paths_are_in_the_protocols_shape(method: str, path: str, status: int, client: TestClient) -> None:
    """Unknown models, versions, paths and methods are told under the one key."""
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()) == {"error"}


def test_health_has_the_keys_that_clients_read(client: TestClient) -> None:
    """KServe's client reads `live` and `ready`."""
    assert client.get("/v2/health/live").json()["live"] is True
    assert client.get("/v2/health/ready").json()["ready"] is True
    assert client.get(f"/v2/models/{MODEL}/ready").json() == {"name": MODEL, "ready": True}
    assert client.get("/v2/models").json() == {"models": [MODEL]}
