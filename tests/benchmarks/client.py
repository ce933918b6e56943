"""The client that measures, run in a process of its own; raw sockets, so that its cost stays far below a server's.

The job is one JSON object on stdin (`{"measure": "latencies", "port": 8080, ...}`: a function below and its arguments),
the result one JSON value on stdout. It knows no timeouts: a server that hangs is the business of whoever started both.
"""

import gc
import json
import re
import selectors
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST_CHUNK = b"\r\n0\r\n\r\n"
CHUNK_BYTES = 1 << 16


def post(path: str, body: str) -> bytes:
    """Return a keep-alive POST request with a JSON body, ready to be sent in one piece."""
    content = body.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return head.encode() + b"\r\n\r\n" + content


def connect(port: int) -> socket.socket:
    """Return a connection to a port of this machine that sends without waiting for more."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Send one request and return the whole answer, head included, whatever its status."""
    connection.sendall(request)
    answer = receive(connection)
    while missing_bytes(answer):
        answer += receive(connection)
    return answer


def latencies(
    port: int, path: str, body: str, requests: int, warm_up: int, seconds: float, blocking: bool
) -> list[float]:
    """Return the microseconds of each JSON request on one connection; stops early when the seconds are over."""
    return latencies_of(port, post(path, body), requests, warm_up, seconds, blocking)


def latencies_of(port: int, request: bytes, requests: int, warm_up: int, seconds: float, blocking: bool) -> list[float]:
    """Return the microseconds of each request on one connection, whatever it holds.

    A client that sleeps while it waits (blocking) also measures how long its system takes to wake it, on a virtual
    machine more than half of an echo's time. One that has a CPU to itself had better not.
    """
    taken: list[float] = []
    with connect(port) as connection:
        connection.setblocking(blocking)
        for _ in range(warm_up):
            require_ok(exchange(connection, request))
        end = time.perf_counter() + seconds
        for _ in range(requests):
            before = time.perf_counter()
            answer = exchange(connection, request)
            after = time.perf_counter()
            require_ok(answer)
            taken.append((after - before) * 1e6)
            if after > end:
                break
    return taken


def latencies_beside(port: int, path: str, body: str, large_body: str, seconds: float) -> list[float]:
    """Return the microseconds of each request on one connection while another one sends large requests in a row.

    Both wait asleep: the client that does not sleep would take the CPU from the one that sends.
    """
    large = post(path, large_body)
    over = threading.Event()

    def stream() -> None:
        with connect(port) as connection:
            while not over.is_set():
                require_ok(exchange(connection, large))

    with ThreadPoolExecutor(1) as pool:
        streaming = pool.submit(stream)
        try:
            taken = latencies(port, path, body, sys.maxsize, 1, seconds, blocking=True)
        finally:
            over.set()
        streaming.result()  # raises what it raised
    return taken


def throughput(port: int, path: str, body: str, connections: int, seconds: float) -> float:
    """Return the answers a second over several connections, each with one request under way at any time."""
    taken, elapsed = closed_loop(port, path, body, connections, seconds)
    return len(taken) / elapsed


def concurrent(port: int, path: str, body: str, connections: int, seconds: float) -> dict[str, float]:
    """Return the answers a second, and the median and 99th percentile of the microseconds that each took."""
    taken, elapsed = closed_loop(port, path, body, connections, seconds)
    ordered = sorted(taken)
    return {
        "rate": len(ordered) / elapsed,
        "p50_us": ordered[len(ordered) // 2],
        "p99_us": ordered[int(len(ordered) * 0.99)],
    }


def closed_loop(port: int, path: str, body: str, connections: int, seconds: float) -> tuple[list[float], float]:
    """Return the microseconds of each request and the seconds in all; every connection has one under way at a time."""
    request = post(path, body)
    taken = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        unfinished = {stack.enter_context(connect(port)): b"" for _ in range(connections)}
        sent = {}
        for connection in unfinished:
            selector.register(connection, selectors.EVENT_READ)
            sent[connection] = time.perf_counter()
            connection.sendall(request)
        start = now = time.perf_counter()
        # At least one answer, however slow the server: a rate of zero would hide how slow.
        while now < start + seconds or not taken:
            for key, _ in selector.select():
                connection = key.fileobj
                answer = unfinished[connection] + receive(connection)
                if missing_bytes(answer):
                    unfinished[connection] = answer
                    continue
                require_ok(answer)
                unfinished[connection] = b""
                now = time.perf_counter()
                taken.append((now - sent[connection]) * 1e6)
                sent[connection] = now
                connection.sendall(request)
            now = time.perf_counter()
    return taken, now - start


def receive(connection: socket.socket) -> bytes:
    """Return the next bytes of an answer, asking again and again where the connection does not block.

    Raises ConnectionError when the server has closed the connection.
    """
    while True:
        try:
            received = connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            continue
        if not received:
            raise ConnectionError("expected an answer on a kept-alive connection, found it closed by the server")
        return received


def missing_bytes(answer: bytes) -> int:
    """Return how many bytes an answer still lacks; 1 while its head, or its last chunk, is incomplete.

    Raises ValueError for an answer that is neither of a known length nor chunked.
    """
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return 1
    length = CONTENT_LENGTH.search(answer, 0, head)
    if length is None:
        if CHUNKED.search(answer, 0, head) is None:
            raise ValueError(f"expected a Content-Length header, found {answer[:head]!r}")
        return 0 if answer.endswith(LAST_CHUNK) else 1
    return head + 4 + int(length[1]) - len(answer)


def status(answer: bytes) -> int:
    """Return the HTTP status of an answer."""
    return int(answer[9:12])


def require_ok(answer: bytes) -> None:
    """Raise ValueError with the whole answer unless its status is 200: an error is quick, but no prediction."""
    if status(answer) != 200:
        raise ValueError(f"expected status 200, found {answer.decode(errors='replace')}")


if __name__ == "__main__":
    gc.disable()
    job = json.load(sys.stdin)
    measures = (concurrent, latencies, latencies_beside, throughput)
    measure = {one.__name__: one for one in measures}[job.pop("measure")]
    json.dump(measure(**job), sys.stdout)
