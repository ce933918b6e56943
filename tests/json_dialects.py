"""What the tests of all JSON dialects share: rows of every toy, native answers to compare with, and hostile bodies."""

import functools
import json
from typing import Any

import jsonschema_rs
from starlette.testclient import TestClient

from function.call import Served, Totals
from function.dialects import load_dialect
from function.schemas import Description, components
from lifecycle.frames import raw_instances
from lifecycle.signature import learn_features
from lifecycle.versions import Version
from tests.toys import TOYS

JSON = {"content-type": "application/json"}
GOOD = {"age": 40, "income": None, "city": "Genève", "member": True, "plan": "paid"}
BEYOND_64_BITS = 10**30

# Bodies that are JSON, or look like it, but no request of any dialect.
NO_REQUESTS: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"instances": [',
    "not-utf8": b'{"instances": ["\xff"]}',
    "deep": b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "null": b"null",
    "number": b"1",
    "text": b'"instances"',
    "object": b"{}",
    "unknown-name": b'{"age": 40, "\\u0000": [1]}',
}

# What may stand where a list of instances belongs.
NO_INSTANCES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 1,
    "infinity": float("inf"),
    "beyond-64-bits": BEYOND_64_BITS,
    "text": "[[1]]",
    "empty": [],
    "empty-object": {},
    "object-of-objects": {"age": {"0": 1}},
    "nulls": [None],
    "empty-rows": [[], []],
    "empty-objects": [{}, {}],
    "rows-of-rows": [[[[1]]]],
    "mixed": [1, "a", None, [1], {"age": 1}, [[1]], BEYOND_64_BITS],
    "long-names": [{"x" * 100_000: 1}],
    "pointers-in-names": [{"~/": 1, "": 2}],
    "control-characters": [{"\0\x1f": "\0"}],
    "wrong-types": [{"age": [], "income": {}, "city": 1, "member": "true", "plan": False}],
    "many": [[1]] * 300,
}


@functools.cache
def rows_of(name: str) -> list[dict[str, Any]]:
    """Return a toy's rows as a caller sends them."""
    features = TOYS[name]().features
    return raw_instances(features, learn_features(features, {}))


def native(client: TestClient, rows: Any, *outputs: str) -> dict[str, Any]:
    """Return the native answer to rows, for some outputs or for the usual ones."""
    parameters = {"parameters": {"outputs": list(outputs)}} if outputs else {}
    return posted(client, "/predict", {"instances": rows, **parameters})


def posted(client: TestClient, path: str, body: Any, **headers: str) -> Any:
    """Return the JSON of a body's answer, which is 200."""
    response = send(client, path, body, **headers)
    assert response.status_code == 200, response.text
    return response.json()


def send(client: TestClient, path: str, body: Any, **headers: str) -> Any:
    """Return the response to a body; NaN goes as the bare token that Python writes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=content, headers={**JSON, **names})


def lists_by_class(probabilities: list[Any]) -> list[Any]:
    """Return native probabilities without the names of the classes."""
    return [
        [list(target.values()) for target in row] if isinstance(row, list) else list(row.values())
        for row in probabilities
    ]


def described(dialect: str, version: Version) -> Description:
    """Return what a dialect says of itself for a version."""
    return load_dialect(dialect).describe(Served(version.manifest, 100_000, Totals(), lambda _: b""))


def fits(schema: Any, value: Any, version: Version) -> bool:
    """Tell whether a value is what a schema of a description says."""
    document = {**schema, "components": {"schemas": components(version.manifest.signature)}}
    return bool(jsonschema_rs.is_valid(document, value))
