"""Newline-delimited JSON: answered line by line, a bad line without sinking the rest."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from function.dialects.ndjson import LINES_AT_ONCE
from lifecycle.frames import raw_instances
from lifecycle.signature import learn_features
from tests.server import Server
from tests.test_endpoint import GOOD, error
from tests.toys import TOYS, binary

MEDIA = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"]
HEADERS = {"content-type": MEDIA[0]}


def lines(client: Any, body: bytes, **settings: str) -> list[dict[str, Any]]:
    """Return the answers to a body, one a line."""
    response = client.post("/predict", content=body, headers=HEADERS | settings)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def written(rows: list[Any]) -> bytes:
    """Return rows, a line each."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("name", TOYS)
def test_each_line_has_the_native_answer(name: str, serving: Callable[..., TestClient]) -> None:
    """In more lines than are answered at once, each gets the native prediction and probabilities, and its own id."""
    toy = TOYS[name]()
    client = serving(name)
    rows = raw_instances(toy.features, learn_features(toy.features, {})) * 5
    native = client.post("/predict", json={"instances": rows}).json()
    answers = lines(client, written(rows))
    assert len(rows) > LINES_AT_ONCE
    assert [answer["prediction"] for answer in answers] == native["predictions"]
    assert [answer["line"] for answer in answers] == list(range(1, len(rows) + 1))
    if "probabilities" in native:
        assert [answer["probabilities"] for answer in answers] == native["probabilities"]
    ids = [answer["prediction_id"].rpartition("-") for answer in answers]
    assert len({request for request, _, _ in ids}) == 1
    assert [int(position) for _, _, position in ids] == list(range(len(rows)))


def test_a_bad_line_becomes_an_error_line(client: TestClient) -> None:
    """Whatever is wrong with a line is told in its place, and the others are answered."""
    body = b"".join(
        [
            written([GOOD]),
            b"{half\n",
            b"\n",
            b"  \t\r\n",
            written([{**GOOD, "age": "x", "city": "Rom"}]),
            b"[" * 100_000 + b"\n",
            b"\xff\n",
            written([list(GOOD.values()), [1, 2], 7]),
            json.dumps(GOOD).encode(),
        ]
    )
    answers = lines(client, body)
    assert [answer["line"] for answer in answers] == [1, 2, 5, 6, 7, 8, 9, 10, 11]
    codes = [answer["error"]["code"] if "error" in answer else None for answer in answers]
    malformed, invalid = "malformed_json", "invalid_instances"
    assert codes == [None, malformed, invalid, "too_many_instances", malformed, None, invalid, invalid, None]
    assert [detail["at"] for detail in answers[2]["error"]["details"]] == ["/age", "/city"]
    assert [answer["prediction_id"][-2:] for answer in answers if "error" not in answer] == ["-0", "-1", "-2"]


def test_nothing_but_bad_lines_is_answered_too(client: TestClient) -> None:
    """A body of errors alone has an error for each line."""
    assert [answer["error"]["code"] for answer in lines(client, b"{}\n" * 600)] == ["invalid_instances"] * 600


@pytest.mark.parametrize("media", MEDIA)
def test_every_name_of_the_media_type_is_known(media: str, client: TestClient) -> None:
    """The format has no registered name; the usual ones are taken, SageMaker's path takes it too."""
    for path in ("/predict", "/", "/invocations"):
        response = client.post(path, content=written([GOOD]), headers={"content-type": media})
        assert json.loads(response.text)["prediction"] in ("yes", "no")


def test_a_line_may_wrap_its_features(client: TestClient) -> None:
    """An instance may stand under `features`, by name or in order, as in the native format."""
    answers = lines(client, written([GOOD, {"features": GOOD}, {"features": list(GOOD.values())}]))
    assert len({json.dumps(answer["probabilities"]) for answer in answers}) == 1


def test_unusual_values_are_marked_in_their_line(client: TestClient) -> None:
    """Marks stand with the line that they are about."""
    answers = lines(client, written([GOOD, {**GOOD, "age": 100_000}, GOOD]))
    assert ["marks" in answer for answer in answers] == [False, True, False]
    assert answers[1]["marks"][0]["at"] == "/age"


@pytest.mark.parametrize("body", [b"", b"\n\n  \n"], ids=["empty", "blank"])
def test_a_body_without_lines_is_refused(body: bytes, client: TestClient) -> None:
    """There must be at least one line."""
    error(client.post("/predict", content=body, headers=HEADERS), 400, "malformed_body")


def test_the_limits_are_those_of_every_body(serving: Callable[..., TestClient]) -> None:
    """Too many lines or bytes are refused as a whole, before the first answer."""
    client = serving("binary", MAX_INSTANCES="3", MAX_BODY_MB="0.01")
    error(client.post("/predict", content=written([GOOD] * 4), headers=HEADERS), 413, "too_many_instances")
    error(client.post("/predict", content=written([GOOD] * 400), headers=HEADERS), 413, "body_too_large")


def test_answers_come_before_the_last_line_is_computed(server: Server) -> None:
    """The answer is streamed: it has no length, and arrives in pieces."""
    with server.client.stream("POST", "/predict", content=written([GOOD] * 3000), headers=HEADERS) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in response.headers
        pieces = list(response.iter_raw())
    assert len(pieces) > 1
    assert b"".join(pieces).count(b"\n") == 3000


def test_one_record_tells_of_all_lines(server: Server) -> None:
    """A request has one record, with what was answered and how many lines were not."""
    rows = raw_instances(binary().features, learn_features(binary().features, {}))[:30]
    response = server.client.post("/predict", content=written([*rows, {}, {}]), headers=HEADERS)
    record = next(
        one for one in server.wait_for_records("prediction", 1) if one["request_id"] == response.headers["x-request-id"]
    )
    assert (record["dialect"], record["outcome"]) == ("ndjson", "answered")
    assert (record["instances"], record["invalid_instances"]) == (30, 2)
    assert json.loads(record["features_json"])[0]["age"] == rows[0]["age"]
    assert len(json.loads(record["predictions_json"])) == record["instances_logged"]


def test_a_caller_who_goes_away_leaves_no_place_taken(environment: dict[str, str], tmp_path: Any) -> None:
    """With one place in all, the next request is answered although the one before was left in the middle."""
    with Server({**environment, "MAX_IN_FLIGHT": "1"}, tmp_path) as one_place:
        body = written([GOOD] * 20_000)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", one_place.port)) as connection:
                head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA[0]}\r\n"
                connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
            deadline = time.monotonic() + 20
            while (response := one_place.client.post("/predict", json=GOOD)).status_code == 429:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert response.status_code == 200
