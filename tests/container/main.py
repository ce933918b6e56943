"""A container for tests: says what it was given, and holds, streams, dies or lies when it is asked to.

Some paths wait until the file named by GATE is there, so that a test decides when they go on.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

GATE = Path(os.environ.get("GATE", "/nowhere"))
HELD: list[bytes] = []


class Container(BaseHTTPRequestHandler):
    """Answers by path; anything else is answered with what the container and the request were given."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        behaviour = getattr(self, f"_{self.path.strip('/').partition('?')[0] or 'echo'}", self._echo)
        behaviour(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _echo(self, body: bytes) -> None:
        given = {"environment": dict(os.environ), "headers": list(self.headers.items()), "bytes": len(body)}
        self._send(200, json.dumps({**given, "verb": self.command, "pid": os.getpid()}).encode())

    def _hold(self, _: bytes) -> None:
        print("holding", flush=True)
        _await_gate()
        self._send(200, b"held")

    def _stream(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        _await_gate()
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def _drip(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:  # until nobody listens any more
            self.wfile.write(b"4\r\ndrop\r\n")
            time.sleep(0.005)

    def _short(self, _: bytes) -> None:
        self._head(200, 100)
        self.wfile.write(b"less")
        self.close_connection = True

    def _large(self, _: bytes) -> None:
        self._head(200, (32 << 20) + 1)

    def _alive(self, _: bytes) -> None:
        self._send(503 if GATE.exists() else 200, b"")

    def _missing(self, _: bytes) -> None:
        self._send(404, b"not here")

    def _grow(self, _: bytes) -> None:
        HELD.append(b"x" * (int(self.path.partition("?")[2]) << 20))
        print("grown", flush=True)
        _await_gate()
        self._send(200, b"grown")

    def _exit(self, _: bytes) -> None:
        os._exit(3)

    def _send(self, status: int, body: bytes) -> None:
        self._head(status, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def _await_gate() -> None:
    while not GATE.exists():
        time.sleep(0.005)


def _end(*_: object) -> None:
    print("asked to end", flush=True)
    if "STUBBORN" not in os.environ:
        os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    if "EXIT" in os.environ:
        print("cannot start", file=sys.stderr, flush=True)
        sys.exit(int(os.environ["EXIT"]))
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Container).serve_forever()
