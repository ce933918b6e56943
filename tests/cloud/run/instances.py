"""An instance: a real process that was given what Cloud Run gives to a container, and what it prints."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from tests.cloud.artifactregistry.images import Image
from tests.cloud.logging.entries import Origin
from tests.cloud.run import probes, processes
from tests.cloud.run.guard import Guard
from tests.cloud.run.probes import HOST, Verdict
from tests.cloud.run.processes import Tree, Usage
from tests.cloud.run.specs import Spec

SYSTEM = "varlog/system"
STOP_SECONDS = 10.0
# Below what Linux gives to outgoing connections, so that no client can have taken the port in the meantime.
PORTS = range(18000, 32000)
MIB = 1 << 20
MEMORY_DOCS = "https://cloud.google.com/run/docs/configuring/memory-limits"


Lines = Callable[[Origin, str, str], None]


class Instance:
    """One process; it is started once and ends once."""

    def __init__(self, origin: Origin, spec: Spec, image: Image, lines: Lines) -> None:
        self.origin = origin
        self.spec = spec
        self.port = _free_port()
        self.ended = threading.Event()
        self.exit_code: int | None = None
        self.startup_seconds: float | None = None
        # For the pool that holds it, under the pool's lock.
        self.under_way = 0
        self.idle_since = time.monotonic()
        self._image = image
        self._lines = lines
        self._stopping = False
        self._final: Usage | None = None
        self._descendants: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def start(self, platform: Mapping[str, str], home: Path, guard: Guard, on_end: Callable[[Instance], None]) -> None:
        """Start the process; `on_end` is called once it ended and everything it printed was handed on."""
        self._started = time.monotonic()
        self._group = guard.group
        self._process = subprocess.Popen(
            self._command(),
            cwd=self._image.folder,
            env=self._environment(platform, home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=self._group,
        )
        streams: list[tuple[str, IO[bytes]]] = []
        for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            if stream is not None:
                streams.append((name, stream))
        readers = [_thread(self._read, name, stream) for name, stream in streams]
        _thread(self._await_end, readers, on_end)

    def await_start(self) -> Verdict:
        """Ask the startup probe until it is decided, log what came of it, and stop the process where it failed."""
        verdict = probes.await_start(self.spec.startup, self.port, self.spec.container, self.ended)
        if verdict.passed:
            self.startup_seconds = time.monotonic() - self._started
        elif not self.ended.is_set():
            self.stop()
        self.log(verdict.line)
        if verdict.passed and self.spec.liveness:
            _thread(self._watch)
        return verdict

    def log(self, text: str) -> None:
        """Hand on a line of Cloud Run's own about this instance."""
        self._lines(self.origin, SYSTEM, text)

    def stop(self) -> None:
        """Ask the process to end, as Cloud Run does, kill it where it does not, and wait until it is gone."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        if not self.ended.wait(STOP_SECONDS):
            self._signal(signal.SIGKILL)
            self.ended.wait()

    def find_descendants(self, tree: Tree) -> None:
        """Take note of the processes that this one has started: a container is all of them."""
        self._descendants = processes.descendants(self._process.pid, tree)

    def kill_if_too_large(self) -> bool:
        """Kill the container where it holds more memory than its limit, as Cloud Run does; tell whether it did."""
        used, limit = self.usage().rss_bytes, self.spec.memory_bytes
        if used <= limit:
            return False
        with self._lock:
            first, self._stopping = not self._stopping, True  # its last words are those of the limit
        if first:
            self.log(out_of_memory(limit, used))
            self._signal(signal.SIGKILL)
        return first

    def usage(self) -> Usage:
        """Return what the container has used; its memory is 0 once it ended."""
        return self._final or processes.usage([self._process.pid, *self._descendants])

    @property
    def age_seconds(self) -> float:
        """How long ago the process was started."""
        return time.monotonic() - self._started

    def _command(self) -> list[str]:
        if self.spec.command:
            return [*self.spec.command, *self.spec.arguments]
        return [*self._image.command, *self.spec.arguments]

    def _environment(self, platform: Mapping[str, str], home: Path) -> dict[str, str]:
        scripts = Path(sys.executable).parent
        return {
            "PATH": f"{scripts}:{os.defpath}",
            "HOME": str(home),
            **self._image.environment,
            **platform,
            **self.spec.environment,
            # Cloud Run gives every container the same port; on one machine each instance needs its own.
            "PORT": str(self.port),
            "K_SERVICE": self.origin.service,
            "K_REVISION": self.origin.revision,
            "K_CONFIGURATION": self.origin.service,
        }

    def _read(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in iter(stream.readline, b""):
                try:
                    self._lines(self.origin, name, line.decode("utf-8", "replace").removesuffix("\n"))
                except Exception:  # who no longer reads blocks the container
                    traceback.print_exc()

    def _await_end(self, readers: list[threading.Thread], on_end: Callable[[Instance], None]) -> None:
        # Left unreaped at first: until the lock is held, the process id must not become another process's.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            _, status, used = os.wait4(self._process.pid, 0)
            self.exit_code = self._process.returncode = os.waitstatus_to_exitcode(status)
            self._final = Usage(used.ru_utime + used.ru_stime, 0)
        self._end_descendants()
        for reader in readers:
            reader.join(1)  # a grandchild may hold the pipe for longer
        self.ended.set()
        if not self._stopping:
            self.log(_last_words(self.exit_code))
        on_end(self)

    def _end_descendants(self) -> None:
        """Kill what the process has left behind: a container ends with its first process."""
        for pid in self._descendants:
            if processes.group_of(pid) == self._group:  # and not another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _watch(self) -> None:
        if self.spec.liveness is None:
            return
        failure = probes.watch_liveness(self.spec.liveness, self.port, self.spec.container, self.ended)
        if failure is not None:
            self.log(failure)
            self.stop()

    def _signal(self, number: int) -> None:
        with self._lock:
            if self.exit_code is None:
                os.kill(self._process.pid, number)


def severity_of(line: str) -> str:
    """Return the severity with which Cloud Run logs a line of its own."""
    if " probe failed " in line or line.startswith("Memory limit "):
        return "ERROR"
    return "WARNING" if line.startswith(("Container ", "Response size ", "Truncated ")) else "INFO"


def out_of_memory(limit_bytes: int, used_bytes: int) -> str:
    """Return what Cloud Run logs of an instance that it kills for its memory."""
    advice = f"Consider increasing the memory limit, see {MEMORY_DOCS}"
    return f"Memory limit of {limit_bytes // MIB} MiB exceeded with {used_bytes // MIB} MiB used. {advice}"


def _last_words(code: int) -> str:
    return f"Container called exit({code})." if code >= 0 else f"Container terminated on signal {-code}."


def _free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


def _thread(run: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread
