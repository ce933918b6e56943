"""The real functions-framework command in a process of its own, and what it printed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0


class Server:
    """A serving process; use it as a context. Its records are read unless it prints to a descriptor of the caller's."""

    def __init__(self, environment: Mapping[str, str], cwd: Path, stdout: int = subprocess.PIPE) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(Path(sys.executable).with_name("functions-framework")), "--target", "predict"]
        command += ["--source", str(ROOT / "function" / "main.py"), "--asgi", "--host", "127.0.0.1"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "PIN_", "K_"))}
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**kept, **environment, "PORT": str(self.port)},
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self.lines: list[bytes] = []
        self.errors: list[bytes] = []
        streams = [(self.process.stdout, self.lines), (self.process.stderr, self.errors)]
        self._readers = [_collect(stream, lines) for stream, lines in streams if stream]
        self.client = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def __enter__(self) -> "Server":
        """Wait until the process answers, without asking for the model."""
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.client.get("/health/live")
            except httpx2.TransportError:
                time.sleep(0.02)
            else:
                return self
        self.close()
        raise AssertionError(f"the server did not start: {b''.join(self.errors).decode()}")

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def close(self) -> int:
        """Ask the process to end, as Cloud Run does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        for reader in self._readers:
            reader.join()
        self.client.close()
        return code

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the records printed so far, oldest first."""
        records = [json.loads(line) for line in list(self.lines)]
        return [record for record in records if kind in (None, record["kind"])]

    def wait_for_records(self, kind: str, count: int) -> list[dict[str, Any]]:
        """Return the records of a kind as soon as there are that many."""
        deadline = time.monotonic() + 20
        while len(found := self.records(kind)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(found) >= count, found
        return found


def _collect(stream: Any, lines: list[bytes]) -> threading.Thread:
    def read() -> None:
        with stream:
            lines.extend(iter(stream.readline, b""))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
