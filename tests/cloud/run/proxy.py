"""Carries one request to a process on loopback and its answer back, piece by piece; it knows nothing of Cloud Run."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterable, Iterator

from tests.cloud.run.probes import HOST

Fields = list[tuple[str, str]]
PIECE_BYTES = 1 << 16
# These concern one connection, not the request (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class ConnectionLost(Exception):
    """The other side went away, or what it said is not HTTP."""


class DeadlinePassed(Exception):
    """The other side took too long."""


class Upstream:
    """One exchange with a process; close it in any case."""

    def __init__(self, port: int, deadline: float) -> None:
        """Take the port and when, of time.monotonic(), the whole answer must be there."""
        self._deadline = deadline
        self._connection = http.client.HTTPConnection(HOST, port)
        self._socket: socket.socket  # the connection forgets it where the answer's end will close it
        self._response: http.client.HTTPResponse | None = None

    def send(self, verb: str, target: str, fields: Fields, body: bytes) -> None:
        """Send a request and wait for the head of its answer; raises ConnectionLost, DeadlinePassed."""
        try:
            self._connection.timeout = self._left_seconds()
            self._connection.putrequest(verb, target, skip_host=True, skip_accept_encoding=True)
            for name, value in fields:
                self._connection.putheader(name, value)
            if body or verb in WITH_BODY:
                self._connection.putheader("Content-Length", str(len(body)))
            self._connection.endheaders()
            self._socket = self._connection.sock
            with contextlib.suppress(ConnectionError):  # it may have answered, and closed, before it read everything
                self._connection.send(body)
            self._limit()
            self._response = self._connection.getresponse()
        except TimeoutError:
            raise DeadlinePassed from None
        except (OSError, http.client.HTTPException) as fault:
            raise ConnectionLost(repr(fault)) from None

    @property
    def status(self) -> int:
        """The answer's status."""
        return self._answer.status

    @property
    def fields(self) -> Fields:
        """The answer's end-to-end header fields, repeated ones too."""
        return end_to_end(self._answer.headers.items())

    @property
    def left_bytes(self) -> int | None:
        """How much of the body is still to come; None where only its end will tell."""
        return None if self._answer.chunked else self._answer.length

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes; raises ConnectionLost where it ends too early, DeadlinePassed."""
        while self.left_bytes != 0:
            try:
                self._limit()
                piece = self._answer.read1(PIECE_BYTES)
            except TimeoutError:
                raise DeadlinePassed from None
            except (OSError, http.client.HTTPException) as fault:
                raise ConnectionLost(repr(fault)) from None
            if not piece:
                break
            yield piece
        if self.left_bytes:
            raise ConnectionLost(f"{self.left_bytes} bytes are missing")

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        if self._response is not None:
            self._response.close()
        self._connection.close()

    @property
    def _answer(self) -> http.client.HTTPResponse:
        if self._response is None:
            raise ConnectionLost("nothing was answered yet")
        return self._response

    def _limit(self) -> None:
        self._socket.settimeout(self._left_seconds())

    def _left_seconds(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def end_to_end(fields: Iterable[tuple[str, str]]) -> Fields:
    """Return the header fields that are meant for the other end, not for this connection."""
    return [(name, value) for name, value in fields if name.lower() not in HOP_BY_HOP]
