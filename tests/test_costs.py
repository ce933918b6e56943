"""What small requests could cost: time, memory and places that no caller may take without end.

None of these asserts a time; what they send took minutes to days before it was bounded, and a test may take one.
"""

import gzip
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.server import Server
from tests.test_endpoint import GOOD, JSON, error

pytestmark = pytest.mark.timeout(60)

QUOTES = b"[" * 3_000 + b'"' + b'\\"' * 2_000_000


@pytest.mark.parametrize("path", ["/predict", "/", "/invocations", "/feedback", "/v1/models/binary:predict"])
def test_a_text_that_never_ends_is_read_once(path: str, serving: Callable[..., TestClient]) -> None:
    """Escaped quotes after an unclosed one are looked at once, not once for each of them."""
    client = serving("binary", MAX_INSTANCES="100")
    assert client.post(path, content=QUOTES, headers=JSON).status_code in (400, 413)
    lines = client.post("/predict", content=QUOTES, headers={"content-type": "application/x-ndjson"})
    assert json.loads(lines.text)["error"]["code"] in ("too_many_instances", "malformed_json")


def test_brackets_are_counted_outside_of_text(serving: Callable[..., TestClient]) -> None:
    """Brackets in texts are values; beyond the bound outside of them, a body is refused unread."""
    client = serving("text", MAX_INSTANCES="10")
    rows = [{"review": '[{"\\' * 3_000} for _ in range(10)]
    assert client.post("/predict", json={"instances": rows}).status_code == 200
    nested = {"instances": [{"review": [[]] * 5_000}]}
    error(client.post("/predict", json=nested), 413, "too_many_instances")


def test_commas_are_counted_outside_of_quotes(serving: Callable[..., TestClient]) -> None:
    """Commas in quoted cells are values; beyond the bound outside of them, a table is refused unread."""
    client = serving("text", MAX_INSTANCES="10")
    kind = {"content-type": "text/csv"}
    assert client.post("/predict", content='"' + "a," * 50_000 + '"', headers=kind).status_code == 200
    error(client.post("/predict", content='"",' * 500_000, headers=kind), 413, "too_many_instances")


BOMBS: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "lines": ("/predict", b"1\n" * 8_000_000, {"content-type": "application/x-ndjson"}, 413),
    "blank-lines": ("/predict", b"\n" * 16_000_000, {"content-type": "application/x-ndjson"}, 400),
    "cells": ("/predict", b'"",' * 5_500_000, {"content-type": "text/csv"}, 413),
    "quotes-and-brackets": ("/predict", b"[" * 900_000 + b'"",,' * 3_900_000, JSON, 413),
    "unknown-names": (
        "/predict",
        b"".join(b'{"incme%d":1}\n' % index for index in range(60_000)),
        {"content-type": "application/x-ndjson"},
        200,
    ),
    "narrow-floats": (
        "/v2/models/binary/infer",
        b'{"inputs":[{"name":"income","shape":[100000],"datatype":"BF16","data":[' + b"1," * 99_999 + b"1]}]}",
        {},
        400,
    ),
    "json-texts": (
        "/v2/models/binary/infer",
        json.dumps(
            {
                "inputs": [
                    {
                        "name": "city",
                        "shape": [1],
                        "datatype": "BYTES",
                        "parameters": {"content_type": "pd_json"},
                        "data": ["[" + "[[]]," * 3_000_000 + "[]]"],
                    }
                ]
            }
        ).encode(),
        {},
        400,
    ),
}


@pytest.mark.parametrize("case", BOMBS)
def test_what_packs_small_is_bounded(case: str, client: TestClient) -> None:
    """Bodies of millions of tiny things, a few kilobytes when packed, are refused or answered in seconds."""
    path, body, headers, status = BOMBS[case]
    packed = gzip.compress(body, 1)
    response = client.post(path, content=packed, headers={**headers, "content-encoding": "gzip"})
    assert response.status_code == status, response.text[:300]


def test_a_wide_tensor_is_refused_before_it_is_read(client: TestClient) -> None:
    """A shape that fits no feature is refused by what it says, not by what it holds."""
    blob = np.full(8_000_000, 0x9C, np.uint8).tobytes()
    tensor = {"name": "age", "shape": [1, len(blob)], "datatype": "INT8", "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    response = client.post(
        "/v2/models/binary/infer", content=head + blob, headers={"inference-header-content-length": str(len(head))}
    )
    assert response.status_code == 400
    assert "/inputs/0/shape" in response.json()["error"]


def test_a_length_of_many_zeros_is_a_length(server: Server) -> None:
    """HTTP allows a length any number of digits."""
    body = json.dumps(GOOD).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {'0' * 5000}{len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("name", ["content-type", "content-encoding", "inference-header-content-length"])
def test_headers_that_decide_are_given_once(name: str, client: TestClient) -> None:
    """Two answers to how a body is read are none."""
    headers = [("content-type", "application/json"), (name, "identity"), (name, "gzip")]
    error(client.post("/predict", content=json.dumps(GOOD), headers=headers), 400, "invalid_body")


def test_paths_end_where_they_end(client: TestClient) -> None:
    """A line break behind a path makes it another one."""
    for path in ("/v2/models/binary/infer%0A", "/v1/models/binary:predict%0A", "/docs/page.js%0A"):
        assert client.post(path, json={}).status_code in (404, 405)


def test_who_does_not_read_gives_its_place_back(environment: dict[str, str], tmp_path: Path) -> None:
    """An answer that streams to nobody is broken off after the time that a body may take."""
    settings = {**environment, "MAX_IN_FLIGHT": "1", "BODY_TIMEOUT_SECONDS": "1"}
    body = (json.dumps(GOOD).encode() + b"\n") * 60_000
    with Server(settings, tmp_path) as one_place, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", one_place.port))
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        _wait(lambda: one_place.client.post("/predict", json=GOOD).status_code == 429)
        _wait(lambda: one_place.client.post("/predict", json=GOOD).status_code == 200)


def _wait(happens: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 40
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)
