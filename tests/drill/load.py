"""Callers: several connections that ask without a pause or a second try, and what became of every request.

Run as a script it is the process that asks; its job is one JSON object on stdin, and it ends when stdin does, so that
it never outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.client import connect, exchange, status

AGENT = "drill-caller/1"
VERSION = re.compile(rb'"version":(\d+)')
GIVES_UP_SECONDS = 30
NO_ANSWER = 0


class Answer(NamedTuple):
    """What became of one request: when it was sent (seconds since 1970), and what came back.

    The status is NO_ANSWER where the connection broke; the version is 0 where no version answered.
    """

    sent: float
    status: int
    latency_ms: float
    trace: str
    version: int

    @property
    def failed(self) -> bool:
        """Whether its caller did not get what it asked for."""
        return self.status != 200


class Load:
    """Callers at work in a process of their own, from `with` to its end."""

    def __init__(self, url: str, token: str, bodies: Sequence[str], rate: float, notes: Path, connections: int = 8):
        """Let all connections together ask `rate` times a second, each time with one of these JSON bodies."""
        self.rate = rate
        self._notes = notes
        port = int(url.rpartition(":")[2])
        self._job = {"port": port, "token": token, "bodies": bodies, "rate": rate, "connections": connections}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Load:
        self._notes.touch()
        command = [sys.executable, "-m", "tests.drill.load", str(self._notes)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._job) + "\n")
        self._process.stdin.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more; requests under way are waited for."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()
            if process.returncode:
                raise RuntimeError(f"the callers ended with exit code {process.returncode}")

    def answers(self) -> list[Answer]:
        """Return what became of every request so far, in the order in which they ended."""
        lines = self._notes.read_text(encoding="utf-8").split("\n")[:-1]  # what is being written has no end yet
        return [Answer(*json.loads(line)) for line in lines]


def ask(job: dict[str, Any], ending: threading.Event, index: int) -> Iterator[Answer]:
    """Yield what became of each request of one connection, at random distances, until the end."""
    chance = random.Random(index)
    connection: socket.socket | None = None
    try:
        while not ending.wait(chance.expovariate(job["rate"] / job["connections"])):
            trace = f"{chance.getrandbits(128):032x}"
            request = _request(job["token"], trace, chance.choice(job["bodies"]))
            sent, started = time.time(), time.perf_counter()
            try:
                connection = connection or _connect(job["port"])
                answer = exchange(connection, request)
            except (OSError, ValueError):
                _close(connection)
                answer, connection = b"", None
            latency_ms = (time.perf_counter() - started) * 1000
            yield Answer(sent, status(answer) if answer else NO_ANSWER, latency_ms, trace, _version(answer))
    finally:
        _close(connection)


def _connect(port: int) -> socket.socket:
    connection = connect(port)
    connection.settimeout(GIVES_UP_SECONDS)
    return connection


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()


def _request(token: str, trace: str, body: str) -> bytes:
    content = body.encode()
    fields = {
        "Host": "127.0.0.1",
        "Authorization": f"Bearer {token}",
        "Content-Length": str(len(content)),
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        "traceparent": f"00-{trace}-{os.urandom(8).hex()}-01",
    }
    lines = ["POST /predict HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _version(answer: bytes) -> int:
    found = VERSION.search(answer)
    return int(found[1]) if found else 0


def _note(answers: Iterable[Answer], notes: Path) -> None:
    with notes.open("a", encoding="utf-8", buffering=1) as file:
        for answer in answers:
            file.write(json.dumps(answer) + "\n")


def main(notes: Path) -> None:
    """Ask until stdin ends."""
    job, ending = json.loads(sys.stdin.readline()), threading.Event()
    asking = [
        threading.Thread(target=_note, args=(ask(job, ending, index), notes)) for index in range(job["connections"])
    ]
    for thread in asking:
        thread.start()
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    ending.set()
    for thread in asking:
        thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
