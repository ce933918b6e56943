"""What a candidate is asked before it gets traffic: every wrong answer is found, and no alert is raised by asking."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.auth.credentials import AnonymousCredentials
from starlette.testclient import TestClient

from function.contract import GOLDEN
from function.model import read_golden
from function.store import FileStore
from lifecycle.rollout.calls import Called, Calls
from lifecycle.rollout.examination import BadBody, ColdStart, Examined, bad_bodies, examine, read_cold_start
from lifecycle.rollout.reads import Reads
from lifecycle.versions import Version
from tests.cloud import CloudDouble
from tests.cloud.oauth import identity_token
from tests.endpoints import Endpoint
from tests.server import Server
from tests.toys import TOYS

Answer = tuple[int, Any]


def open_calls(address: str) -> Calls:
    """Return calls of an owner."""
    return Calls(address, lambda audience: identity_token("owner@example.com", audience))


def examined(address: str, store: FileStore, version: Version) -> Examined:
    """Return what an examination found."""
    with open_calls(address) as calls:
        return examine(calls, address, store, version)


def wrong_bodies(store: FileStore, version: Version) -> list[BadBody]:
    """Return the wrong bodies of a version's model."""
    manifest = version.manifest
    examples = read_golden(store.get(f"{manifest.model}/{manifest.version}/{GOLDEN}").content)
    return bad_bodies(manifest.signature, examples[0].instance)


@pytest.mark.parametrize("name", TOYS)
def test_every_wrong_body_is_refused_as_documented(
    name: str, store: FileStore, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """Whatever shape a model has, the function refuses each body with the status and the code that are expected."""
    client = serving(name)
    bodies = wrong_bodies(store, published(name))
    answers = {
        bad.name: client.post(bad.path, content=bad.body, headers={"content-type": bad.media_type}) for bad in bodies
    }
    found = {wrong: (answer.status_code, answer.json()["error"]["code"]) for wrong, answer in answers.items()}
    assert found == {bad.name: (bad.status, bad.code) for bad in bodies}
    assert len(bodies) >= 15


class Twisted:
    """The real answers of a real server, some of them changed on their way."""

    def __init__(self, server: Server) -> None:
        self.change: Callable[[str, str, bytes, Answer], Answer] = lambda verb, path, body, answer: answer
        self.asked: list[tuple[str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["content-length"])))

            def _answer(self, body: bytes) -> None:
                outer.asked.append((self.path, body))
                kept = {"content-type": self.headers.get("content-type", "application/json")}
                real = server.client.request(self.command, self.path, content=body, headers=kept)
                status, content = outer.change(self.command, self.path, body, (real.status_code, real.json()))
                text = orjson.dumps(content)
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def twisted(server: Server) -> Iterator[Twisted]:
    """Return a server between the examination and the real one."""
    between = Twisted(server)
    yield between
    between.close()


def test_a_good_version_passes(twisted: Twisted, store: FileStore, published: Callable[[str], Version]) -> None:
    """Every golden example and every wrong body is asked, and nothing is found."""
    found = examined(twisted.url, store, published("binary"))
    assert found.faults == ()
    assert found.golden == len(read_golden(store.get(f"binary/1/{GOLDEN}").content)) > 5
    assert found.bodies == tuple(bad.name for bad in wrong_bodies(store, published("binary")))
    assert found.golden_ms > 0


class Direct:
    """Calls without a network between."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def get(self, url: str) -> Called:
        """Ask the application."""
        return self._called(self._client.get(url))

    def post(self, url: str, body: bytes, media_type: str = "application/json") -> Called:
        """Ask the application."""
        return self._called(self._client.post(url, content=body, headers={"content-type": media_type}))

    def _called(self, answer: Any) -> Called:
        return Called(answer.status_code, answer.content, 1.0)


@pytest.mark.parametrize("name", TOYS)
def test_good_versions_of_every_shape_pass(
    name: str, store: FileStore, published: Callable[[str], Version], serving: Callable[..., TestClient]
) -> None:
    """Labels, numbers, several targets and chains are compared in the form that each is answered in."""
    found = examine(Direct(serving(name)), "", store, published(name))
    assert found.faults == ()
    assert found.golden > 0


def test_few_instances_at_once_are_enough(
    twisted: Twisted, store: FileStore, published: Callable[[str], Version]
) -> None:
    """Where an endpoint takes fewer instances than there are examples, they are sent in parts."""
    refused = (413, {"error": {"code": "too_many_instances"}})
    twisted.change = lambda verb, path, body, answer: refused if body.count(b'"age"') > 5 else answer
    found = examined(twisted.url, store, published("binary"))
    assert found.faults == ()
    assert found.golden == len(read_golden(store.get(f"binary/1/{GOLDEN}").content))


def is_golden(body: bytes) -> bool:
    """Tell whether a request holds golden examples."""
    return body.count(b'"age"') > 1


def of_golden(change: Callable[[dict[str, Any]], Any]) -> Callable[..., Answer]:
    """Return what changes the answer to golden examples."""

    def apply(_: str, __: str, body: bytes, answer: Answer) -> Answer:
        return (answer[0], change(answer[1])) if is_golden(body) else answer

    return apply


def swap_label(answer: dict[str, Any]) -> dict[str, Any]:
    """Answer the first instance with the other label."""
    first, *rest = answer["predictions"]
    return {**answer, "predictions": ["no" if first == "yes" else "yes", *rest]}


def nudge(by: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what moves a probability a little."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        first, *rest = answer["probabilities"]
        return {**answer, "probabilities": [{**first, "no": first["no"] * (1 + by)}, *rest]}

    return change


WRONG: dict[str, tuple[Callable[..., Answer], str]] = {
    "another-version": (
        lambda verb, path, body, answer: (200, {**answer[1], "version": 9}) if path == "/model" else answer,
        "GET /model: the version is 9, expected 1",
    ),
    "another-engine": (
        lambda verb, path, body, answer: (200, {**answer[1], "engine": "sklearn"}) if path == "/model" else answer,
        "GET /model: the engine is 'sklearn', expected 'numpy'",
    ),
    "no-description": (
        lambda verb, path, body, answer: (404, {"error": {}}) if path == "/model" else answer,
        "GET /model: expected 200, found 404",
    ),
    "another-label": (of_golden(swap_label), "golden example 0: predictions: found"),
    "another-probability": (of_golden(nudge(1e-9)), "golden example 0: probabilities: found"),
    "no-probabilities": (
        of_golden(lambda answer: {**answer, "probabilities": None}),
        "golden example 0: probabilities",
    ),
    "fewer-answers": (
        of_golden(lambda answer: {**answer, "predictions": answer["predictions"][1:]}),
        "golden example 0: predictions: found null",
    ),
    "wrong-form": (of_golden(lambda answer: [answer]), "golden examples: expected 200, found 200 ["),
    "golden-refused": (
        lambda verb, path, body, answer: (422, {"error": {}}) if is_golden(body) else answer,
        'golden examples: expected 200, found 422 {"error":{}}',
    ),
    "nonsense-accepted": (
        lambda verb, path, body, answer: (200, {}) if body == b'"instances"' else answer,
        "a text: expected 400 invalid_body, found 200 {}",
    ),
    "another-code": (
        lambda verb, path, body, answer: (
            (400, {"error": {"code": "x"}}) if body == b"" and path != "/model" else answer
        ),
        "an empty body: expected 400 malformed_json, found 400",
    ),
    "refused-as-ours": (
        lambda verb, path, body, answer: (500, {"error": {"code": "internal_error"}}) if body == b"" else answer,
        "expected 400 malformed_json, found 500",
    ),
}


@pytest.mark.parametrize(("change", "fault"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_found(
    twisted: Twisted,
    store: FileStore,
    published: Callable[[str], Version],
    change: Callable[..., Answer],
    fault: str,
) -> None:
    """Each kind of wrong answer is named with what was expected and what was found."""
    twisted.change = change
    faults = examined(twisted.url, store, published("binary")).faults
    assert any(fault in found for found in faults), faults


def test_the_last_bits_may_differ(twisted: Twisted, store: FileStore, published: Callable[[str], Version]) -> None:
    """Within the tolerance of the proof, an answer is the recorded one."""
    twisted.change = of_golden(nudge(1e-14))
    assert examined(twisted.url, store, published("binary")).faults == ()


def test_many_wrong_answers_are_told_in_few_words(
    twisted: Twisted, store: FileStore, published: Callable[[str], Version]
) -> None:
    """The first golden examples that differ are shown, the others counted."""
    twisted.change = of_golden(lambda answer: {**answer, "predictions": [None] * len(answer["predictions"])})
    found = examined(twisted.url, store, published("binary"))
    assert found.faults[-1] == f"and {found.golden - 3} more golden examples are answered otherwise"
    assert len(found.faults) == 4


def test_it_ends_before_an_alert(twisted: Twisted, store: FileStore, published: Callable[[str], Version]) -> None:
    """A candidate that fails is asked twice: an alert counts three failures, and nobody is to be woken."""
    twisted.change = lambda verb, path, body, answer: (503, {"error": {}}) if verb == "POST" else answer
    found = examined(twisted.url, store, published("binary"))
    assert [path for path, _ in twisted.asked] == ["/model", "/predict", "/predict"]
    assert found.faults[-1] == "nothing more was asked, because 2 calls failed and an alert counts three"


def test_golden_examples_are_those_that_were_published(
    twisted: Twisted, published: Callable[[str], Version], store: FileStore, tmp_path: Path
) -> None:
    """A golden.jsonl that was changed in the store is not asked about, and is a fault of its own."""
    (tmp_path / "binary" / "1").mkdir(parents=True)
    content = store.get(f"binary/1/{GOLDEN}").content
    (tmp_path / "binary" / "1" / GOLDEN).write_bytes(content.replace(b"yes", b"no", 1) + b"\n")
    found = examined(twisted.url, FileStore(tmp_path), published("binary"))
    assert found.faults == ("golden.jsonl of binary 1 is not what was published",)
    assert found.golden == 0


def test_checks_leave_no_trace_in_what_is_counted(
    store: FileStore, published: Callable[[str], Version], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a private service, at its tag: the candidate passes, its records are checks, and its cold start is known."""
    with CloudDouble(seed=1) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        endpoint = Endpoint(cloud, tmp_path, store.url, "binary", private=True)
        revision = endpoint.deploy(published("binary"))
        endpoint.split({revision: 100}, {"candidate": revision})
        with open_calls(endpoint.url) as calls:
            found = examine(calls, endpoint.tags["candidate"], store, published("binary"))
        assert found.faults == ()
        with open_calls("https://another.example.com") as calls:
            assert calls.get(f"{endpoint.tags['candidate']}/model").status == 401
        kinds = {entry["jsonPayload"]["kind"] for entry in cloud.signals.entries.find("jsonPayload.kind:*")}
        assert kinds == {"load", "check"}
        with Reads(cloud.project, AnonymousCredentials()) as reads:
            cold = read_cold_start(reads, revision)
            assert read_cold_start(reads, "another", wait=lambda _: None) is None
        record = cloud.signals.entries.find('jsonPayload.kind="load"')[-1]["jsonPayload"]
        assert cold == ColdStart(**{name: record[name] for name in ColdStart._fields})
        assert cold.total_ms >= cold.load_ms
        assert json.loads(json.dumps(cold._asdict())) == cold._asdict()
