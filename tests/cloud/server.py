"""A threaded HTTP/1.1 server on loopback that carries requests to a responder; it knows nothing of Google."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cloud.errors import CloudError, invalid
from tests.cloud.faults import Ending, Pause, Step
from tests.cloud.messages import Request, error_response

Responder = Callable[[Request, threading.Event], Iterable[Step]]
HOST = "127.0.0.1"
# onoff=1, linger=0: close() sends RST instead of FIN.
LINGER_RESET = struct.pack("ii", 1, 0)
# Sizes of bodies and of chunks; longer ones are no sizes that anybody sends.
LENGTH, CHUNK = re.compile(r"[0-9]{1,10}"), re.compile(r"[0-9A-Fa-f]{1,8}")


class Server:
    """Listens from start() to stop(); stopping ends every open connection and every pause."""

    def __init__(self, responder: Responder, port: int = 0) -> None:
        """Bind a port, or any free one for 0.

        Raises OSError: the port is taken.
        """
        self._listener = _Listener((HOST, port), responder)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._listener.server_address[1]

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything and wait until nothing of it runs any more."""
        self._listener.closing.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
        self._listener.end_connections()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], responder: Responder) -> None:
        self.responder = responder
        self.closing = threading.Event()
        self.reset: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        if request in self.reset:
            self.reset.discard(request)
            self.close_request(request)  # the inherited way would send FIN first
        else:
            super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that went away is no error here
            super().handle_error(request, client_address)

    def end_connections(self) -> None:
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=10)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the journal tells what was asked."""

    def _exchange(self) -> None:
        try:
            body = self._body()
        except ValueError as fault:  # where the next request starts, nobody knows: the connection ends
            self.close_connection = True
            response = error_response(invalid(f"Your client has issued a malformed or illegal request: {fault}"))
            self.wfile.write(response.head + response.body)
            return
        request = Request(self.command, self.path, self.headers, body, client=self.client_address[0])
        if self.headers.get("Connection", "").lower() == "close":
            self.close_connection = True
        for step in self._steps(request):
            if not self._perform(step):
                self.close_connection = True
                return

    # The names are those that the base class looks for.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _exchange  # noqa: N815

    def _steps(self, request: Request) -> Iterable[Step]:
        try:
            return self.server.responder(request, self.server.closing)
        except Exception as fault:
            # A mistake of the double must be loud, and a 501 is what no client retries for minutes.
            traceback.print_exc()
            response = error_response(CloudError(501, "notImplemented", f"The local double failed: {fault!r}"))
            return [response.head, response.body, Ending.CLOSE]

    def _perform(self, step: Step) -> bool:
        """Do one step; tell whether the connection lives on."""
        if isinstance(step, bytes):
            self.wfile.write(step)
            return True
        if isinstance(step, Pause):
            return not self.server.closing.wait(step.seconds)
        if step is Ending.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self.server.reset.add(self.connection)
        return False

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(iter(self._chunk, b""))
        return self._read(_size(LENGTH, self.headers.get("Content-Length") or "0", 10))

    def _chunk(self) -> bytes:
        line = self.rfile.readline().decode("latin-1")
        size = _size(CHUNK, line.partition(";")[0].strip(), 16)
        chunk = self._read(size)
        while self.rfile.readline().strip() and not size:
            pass  # trailers after the last chunk; after the others only the line end
        return chunk

    def _read(self, size: int) -> bytes:
        content = self.rfile.read(size) if size else b""
        if len(content) < size:
            raise ConnectionError("the client went away before its body ended")
        return content


def _size(form: re.Pattern[str], text: str, base: int) -> int:
    if not form.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no size")
    return int(text, base)
