"""Bodies in gzip and deflate: read within the limits, written where they are asked for and worth it."""

import gzip
import json
import zlib
from collections.abc import Callable

import httpx2
import pytest
from starlette.testclient import TestClient

from function.coding import accepted
from tests.test_endpoint import GOOD, JSON, error

BODY = json.dumps({"instances": [GOOD] * 40}).encode()
WRITE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "x-gzip": gzip.compress}


def send(client: TestClient, body: bytes, coding: str, **headers: str) -> httpx2.Response:
    """Return the response to an encoded body."""
    return client.post("/predict", content=body, headers={**JSON, "content-encoding": coding, **headers})


@pytest.mark.parametrize("coding", WRITE)
def test_an_encoded_body_is_read_as_the_plain_one(coding: str, client: TestClient) -> None:
    """Encoded or not, a body gets the same predictions."""
    plain = client.post("/predict", content=BODY, headers=JSON).json()
    assert send(client, WRITE[coding](BODY), coding).json()["predictions"] == plain["predictions"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_answer_is_encoded_where_it_is_asked_for_and_worth_it(coding: str, client: TestClient) -> None:
    """Only an answer of a kibibyte or more is encoded, and says so."""
    headers = {**JSON, "accept-encoding": coding}
    large = client.post("/predict", content=BODY, headers=headers)
    assert large.headers["content-encoding"] == coding
    assert large.headers["vary"] == "accept-encoding"
    assert len(large.json()["predictions"]) == 40
    assert "content-encoding" not in client.post("/predict", json=GOOD, headers=headers).headers
    plain = client.post("/predict", content=BODY, headers={**JSON, "accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused_before_it_is_unpacked(coding: str, serving: Callable[..., TestClient]) -> None:
    """What unpacks to more than a body may hold is a 413, however small it is."""
    client = serving("binary", MAX_BODY_MB="2")
    bomb = WRITE[coding](b" " * 100_000_000)
    assert len(bomb) < 1_000_000
    error(send(client, bomb, coding), 413, "body_too_large")
    assert "predictions" in send(client, WRITE[coding](BODY + b" " * 1_500_000), coding).json()


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-1], gzip.compress(BODY)[:5], b"", gzip.compress(BODY) * 2, gzip.compress(BODY) + b"x"],
    ids=["plain", "cut", "head", "empty", "two", "more"],
)
def test_what_is_not_in_its_encoding_is_the_callers_mistake(body: bytes, client: TestClient) -> None:
    """A body that is not what its content encoding says is a 400."""
    error(send(client, body, "gzip"), 400, "malformed_body")


def test_an_unknown_encoding_names_the_known_ones(client: TestClient) -> None:
    """A 415 says which encodings are read."""
    assert "gzip, deflate" in error(send(client, BODY, "br"), 415, "unsupported_media_type")["message"]


def test_memory_under_way_counts_what_was_unpacked(serving: Callable[..., TestClient]) -> None:
    """An encoded body counts with its length after unpacking, and no longer than it is under way."""
    client = serving("binary", MAX_BODY_MB="1", MAX_IN_FLIGHT_MB="1")
    for _ in range(3):
        body = WRITE["gzip"](json.dumps(GOOD).encode() + b" " * 900_000)
        assert send(client, body, "gzip").status_code == 200


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip"),
        ("GZIP ; q=1", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        ("identity", None),
        ("", None),
        ("gzip;q=nonsense", None),
    ],
)
def test_the_most_wanted_encoding_is_chosen(offered: str, wanted: str | None) -> None:
    """Accept-Encoding is read with its weights."""
    assert accepted(offered) == wanted
