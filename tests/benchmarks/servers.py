"""A contender's processes: started in a group of their own, apart from the client's CPU, and always killed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import client
from tests.benchmarks.contenders import Contender
from tests.cloud import CloudDouble

READY_TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.001
# Below the range from which systems take client ports: a poll of a port inside it can connect to itself.
PORTS = range(20_000, 32_000)
# Servers start as in a fresh container: no setting of the caller's shell reaches them. Above all not
# PYTHONDONTWRITEBYTECODE, with which every cold start would compile its imports again.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
ALL_CPUS: set[int] = os.sched_getaffinity(0) if sys.platform == "linux" else set()


@dataclass(frozen=True)
class Server:
    """A started contender; `started` is the performance counter's value in seconds just before its process was."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    started: float
    stdout: Path
    stderr: Path


class ContenderError(Exception):
    """A contender died, answered with an error or did not answer; the message holds what it wrote to stderr."""

    def __init__(self, server: Server, problem: str) -> None:
        self.server = server
        written = server.stderr.read_text(errors="replace").strip() or "(nothing)"
        super().__init__(f"{server.contender.name}: {problem}\nIt wrote to stderr:\n{written}")


@contextmanager
def running(contender: Contender, folder: Path) -> Iterator[Server]:
    """Start a contender, its output going to files in a folder, and kill its whole process group in the end."""
    port = free_port()
    stdout, stderr = folder / f"{contender.name}-{port}.out", folder / f"{contender.name}-{port}.err"
    # Files, not pipes: nobody has to read them while the measurement runs.
    with stdout.open("wb") as out, stderr.open("wb") as err, pinned(server_cpus()):
        started = time.perf_counter()
        process = subprocess.Popen(
            contender.command,
            cwd=folder,
            env=environment(contender, port),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Server(contender, process, port, started, stdout, stderr)
    finally:
        kill_group(process)


@contextmanager
def storage_double(bucket: str) -> Iterator[dict[str, str]]:
    """Run a double of Cloud Storage with a bucket, apart from the servers' CPUs; yield the variables that lead to it.

    They are set in this process too, which fills the bucket.
    """
    cloud = CloudDouble(buckets=[bucket])
    with pinned(client_cpus()):  # its threads stay there
        cloud.start()
    before = {name: os.environ.get(name) for name in cloud.environment}
    os.environ.update(cloud.environment)
    try:
        yield cloud.environment
    finally:
        cloud.stop()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def first_answer(server: Server, timeout_seconds: float = READY_TIMEOUT_SECONDS) -> tuple[float, bytes]:
    """Return the seconds from process start to the first answer with status 200, and that answer.

    Raises ContenderError when the server dies, answers with another status than 503 (not ready), or takes too long.
    """
    request = client.post(server.contender.path, server.contender.body)
    end = time.perf_counter() + timeout_seconds
    with pinned(client_cpus()):
        while time.perf_counter() < end:
            answer = attempt(server.port, request, end)
            now = time.perf_counter()
            if answer is not None and client.status(answer) == 200:
                return now - server.started, answer
            if answer is not None and client.status(answer) != 503:
                raise ContenderError(server, f"expected status 200, found {answer.decode(errors='replace')}")
            if server.process.poll() is not None:
                raise ContenderError(server, f"ended with {server.process.returncode} before its first answer")
            time.sleep(POLL_SECONDS)
    raise ContenderError(server, f"expected a first answer within {timeout_seconds:g} s, found none")


def attempt(port: int, request: bytes, end: float) -> bytes | None:
    """Return the answer to one request on a new connection, or None where there is no server (yet, or any more)."""
    try:
        with client.connect(port) as connection:
            connection.settimeout(max(end - time.perf_counter(), POLL_SECONDS))
            return client.exchange(connection, request)
    except OSError:
        return None


def environment(contender: Contender, port: int) -> dict[str, str]:
    """Return the environment variables that a contender starts with."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    # Google's Python buildpack sets PYTHONUNBUFFERED for every function.
    return kept | {"PYTHONUNBUFFERED": "1", "PORT": str(port)} | contender.environment


def compile_sources(python: Path, folders: list[Path]) -> None:
    """Write the byte code of source folders, as an image build does; other packages have theirs from pip."""
    # A file that does not compile is told best by the server that imports it.
    subprocess.run([str(python), "-m", "compileall", "-q", *map(str, folders)], check=False, timeout=120)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children at once: there is nothing to save, and waiting would have to be bounded."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a port on which nobody listens."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"expected a free port between {PORTS.start} and {PORTS.stop}, found none")


def client_cpus() -> set[int]:
    """Return the CPU that the client has to itself, where there is more than one."""
    return set(sorted(ALL_CPUS)[-1:])


def server_cpus() -> set[int]:
    """Return the CPUs that the client leaves; of two that is one, the share that Cloud Run gives by default."""
    return (ALL_CPUS - client_cpus()) or ALL_CPUS


def client_is_apart() -> bool:
    """Return whether the client has a CPU on which no server runs."""
    return client_cpus().isdisjoint(server_cpus()) and bool(client_cpus())


@contextmanager
def pinned(cpus: set[int]) -> Iterator[None]:
    """Keep this process, and the processes started meanwhile for good, on some CPUs; no effect outside Linux."""
    if sys.platform != "linux":
        yield
        return
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ALL_CPUS)
