"""Calls to a private service and its tags: signed, marked, never made twice, and never three that fail."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection
from google.auth.credentials import AnonymousCredentials

from function.contract import CHECK_AGENT
from lifecycle.errors import CloudFailed
from lifecycle.rollout import calls as calling
from lifecycle.rollout.calls import Calls, Spent, minter
from tests.cloud.oauth import OWNER, identity_token


class Minted:
    """Mints tokens of the owner and remembers for whom."""

    def __init__(self, seconds: int = 3600) -> None:
        self.audiences: list[str] = []
        self._seconds = seconds

    def __call__(self, audience: str) -> str:
        """Return a token that lasts a while."""
        self.audiences.append(audience)
        return identity_token(OWNER, audience, self._seconds)


class Listener:
    """A server that does one thing to each connection, and counts what it is sent."""

    def __init__(self, act: Callable[[socket.socket], None]) -> None:
        self.requests: list[str] = []
        self._act = act
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                received = connection.recv(65536)
                if received:
                    self.requests.append(received.decode())
                    self._act(connection)

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def listen() -> Iterator[Callable[[bytes], Listener]]:
    """Return the function that makes a server which answers every request with the same bytes."""
    opened: list[Listener] = []

    def start(answer: bytes) -> Listener:
        opened.append(Listener(lambda connection: connection.sendall(answer)))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


def answered(status: int) -> bytes:
    """Return an answer without a body."""
    return f"HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(("seconds", "minted"), [(3600, 1), (299, 3)], ids=["fresh", "about-to-expire"])
def test_a_token_is_renewed_in_time(listen: Callable[[bytes], Listener], seconds: int, minted: int) -> None:
    """A token is used again until a few minutes before it expires."""
    mint = Minted(seconds)
    with Calls("a", mint) as calls:
        server = listen(answered(200))
        for _ in range(3):
            assert calls.get(server.url).status == 200
    assert mint.audiences == ["a"] * minted


def test_calls_say_that_they_check(listen: Callable[[bytes], Listener]) -> None:
    """The agent is the one that the function and looks know checks by."""
    server = listen(answered(200))
    with Calls("a", Minted()) as calls:
        calls.get(server.url)
    assert f"user-agent: {CHECK_AGENT}/1" in server.requests[0].lower()


def test_a_netrc_does_not_sign(
    listen: Callable[[bytes], Listener], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What somebody's .netrc says of the host does not take the token's place."""
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = listen(answered(200))
    with Calls("a", Minted()) as calls:
        calls.get(server.url)
    assert "authorization: bearer" in server.requests[0].lower()


def test_a_connection_that_cannot_be_opened_is_tried_once_more(
    listen: Callable[[bytes], Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refused connection costs nothing; two are no answer."""
    server, tried = listen(answered(200)), []
    real = urllib3.util.connection.create_connection

    def unsteady(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        tried.append(address)
        if len(tried) in (1, 3, 4):
            raise ConnectionRefusedError
        return real(address, *args, **kwargs)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", unsteady)
    with Calls("a", Minted()) as calls:
        assert calls.get(server.url).status == 200
        called = calls.get(server.url)
    assert (called.status, called.failed, len(tried)) == (0, True, 4)
    assert called.said == "no answer (ConnectionError)"


BROKEN = {
    "nothing": b"",
    "half-a-line": b"HTTP/1",
    "half-a-body": b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
    "no-http": b"hello\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_may_have_been_answered_is_not_asked_again(listen: Callable[[bytes], Listener], answer: bytes) -> None:
    """A call whose answer broke off is made once, and is a failure."""
    server = listen(answer)
    with Calls("a", Minted()) as calls:
        called = calls.post(server.url, b"{}")
    assert (called.status, called.failed, calls.failures, len(server.requests)) == (0, True, 1, 1)


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_an_answer_is_an_answer(listen: Callable[[bytes], Listener], status: int) -> None:
    """Whatever its status, an answered call is made once, and only the service's own faults count."""
    server = listen(answered(status))
    with Calls("a", Minted()) as calls:
        called = calls.get(server.url)
    assert (called.status, len(server.requests), calls.failures) == (status, 1, int(status >= 500))


def test_a_service_that_hangs_is_a_failure(
    listen: Callable[[bytes], Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call has its time, and is not made again."""
    monkeypatch.setattr(calling, "ANSWER_SECONDS", 0.05)
    freed = threading.Event()
    server = Listener(lambda _: freed.wait() and None)
    with Calls("a", Minted()) as calls:
        called = calls.get(server.url)
    freed.set()
    server.close()
    assert called.said == "no answer (ReadTimeout)"
    assert len(server.requests) == 1


def test_a_third_call_cannot_fail(listen: Callable[[bytes], Listener]) -> None:
    """After two failures, whether answered or not, nothing more is asked."""
    server = listen(answered(503))
    with Calls("a", Minted()) as calls:
        calls.get(server.url)
        calls.get("http://127.0.0.1:1/")
        with pytest.raises(Spent, match="an alert counts three"):
            calls.get(server.url)
    assert len(server.requests) == 1


class Iam:
    """The one method of IAM Credentials that mints identity tokens."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, body))
                token = identity_token("deliver@example.com", body["audience"])
                text = json.dumps({"token": token} if outer.status == 200 else {"error": {"message": "no role"}})
                self.send_response(outer.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def iam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Iam]:
    """Return an IAM Credentials that clients find by themselves."""
    minting = Iam()
    monkeypatch.setenv("GOOGLE_IAM_CREDENTIALS_CUSTOM_ENDPOINT", minting.url)
    yield minting
    minting.close()


def test_tokens_are_minted_for_the_release_identity(iam: Iam, listen: Callable[[bytes], Listener]) -> None:
    """IAM Credentials is asked for the identity, the audience and the e-mail address, which Cloud Run looks for."""
    server = listen(answered(200))
    with Calls("https://service", minter("deliver@example.com", AnonymousCredentials())) as calls:
        assert calls.get(server.url).status == 200
    path = "/v1/projects/-/serviceAccounts/deliver@example.com:generateIdToken?alt=json"
    assert iam.asked == [(path, {"audience": "https://service", "includeEmail": True})]


def test_a_token_that_is_not_given_names_the_role(iam: Iam) -> None:
    """Without the role that mints tokens, nothing is asked, and the role is named."""
    iam.status = 403
    with (
        Calls("https://service", minter("deliver@example.com", AnonymousCredentials())) as calls,
        pytest.raises(CloudFailed, match=r"deliver@example.com.*serviceAccountOpenIdTokenCreator"),
    ):
        calls.get("http://127.0.0.1:1/")
