"""How servers are measured: interleaved (A, B, C, A, B, C, ...), so that noise hits all alike; prints nothing."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from operator import sub
from pathlib import Path
from typing import Any

from tests.benchmarks.contenders import Contender
from tests.benchmarks.servers import (
    ContenderError,
    Server,
    client_cpus,
    client_is_apart,
    first_answer,
    pinned,
    running,
    server_cpus,
)
from tests.benchmarks.versions import ROOT, LifecycleError, Version

CLIENT = Path(__file__).with_name("client.py")
CONNECTIONS = 16
LARGE_ROWS = 10_000
COMPUTE_ROWS = 1_000
COMPUTE_TIMEOUT_SECONDS = 600
# What a client may take on top of its measurement: start of its process, warm-up, one slow answer at the end.
CLIENT_GRACE_SECONDS = 60


@dataclass(frozen=True)
class Plan:
    """How long to measure; requests and seconds are totals for one contender, spread over the rounds."""

    starts: int = 7
    rounds: int = 5
    requests: int = 2000
    warm_up: int = 200
    latency_seconds: float = 20.0
    throughput_seconds: float = 5.0
    beside_seconds: float = 8.0


QUICK = Plan(
    starts=1, rounds=2, requests=40, warm_up=5, latency_seconds=2.0, throughput_seconds=0.4, beside_seconds=0.5
)


@dataclass(frozen=True)
class Round:
    """One contender's numbers in one round, the last two None where it prints no prediction records.

    `predict_us` is the engine's median; `own_us` the median of what each request took beside its engine: HTTP,
    validation, the prediction record. Taken request by request, because the engine's noise would drown a difference
    of medians.
    """

    p50_us: float
    p99_us: float
    requests_per_second: float
    predict_us: float | None = None
    own_us: float | None = None


@dataclass(frozen=True)
class Load:
    """One contender's rounds, and the memory that its processes hold after them (None outside Linux)."""

    rounds: list[Round]
    memory_mb: float | None


def cold_starts(contenders: list[Contender], starts: int, folder: Path) -> dict[str, list[float]]:
    """Return the seconds from process start to first prediction of each contender, a fresh process each time.

    One more start comes first and does not count: it writes missing byte code and fills the file cache.
    """
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for start in range(starts + 1):
        for contender in contenders:
            with running(contender, folder) as server:
                taken, _ = first_answer(server)
            if start:
                seconds[contender.name].append(taken)
    return seconds


def under_load(contenders: list[Contender], plan: Plan, folder: Path) -> dict[str, Load]:
    """Return the latencies, throughput and memory of contenders that all run at once, one being asked at a time."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running(contender, folder)) for contender in contenders]
        for server in servers:
            first_answer(server)
            latencies(server, plan, plan.warm_up)
        rounds = [[one_round(server, plan) for server in servers] for _ in range(plan.rounds)]
        return {
            server.contender.name: Load([each[index] for each in rounds], memory_mb(server.process.pid))
            for index, server in enumerate(servers)
        }


def one_round(server: Server, plan: Plan) -> Round:
    """Measure one server's latencies, then its throughput."""
    offset = server.stdout.stat().st_size
    taken = latencies(server, plan, max(plan.requests // plan.rounds, 1))
    predict = predict_us(server, offset, len(taken)) if server.contender.prints_records else []
    answered = ask(server, "throughput", connections=CONNECTIONS, seconds=plan.throughput_seconds / plan.rounds)
    return Round(
        p50_us=statistics.median(taken),
        p99_us=percentile(taken, 99),
        requests_per_second=answered,
        predict_us=statistics.median(predict) if predict else None,
        own_us=statistics.median(map(sub, taken, predict)) if predict else None,
    )


def beside_large(contenders: list[Contender], large_body: str, plan: Plan, folder: Path) -> dict[str, list[float]]:
    """Return the microseconds of small requests to each contender while another connection sends large ones."""
    taken = {}
    for contender in contenders:
        with running(contender, folder) as server:
            first_answer(server)
            taken[contender.name] = ask(server, "latencies_beside", large_body=large_body, seconds=plan.beside_seconds)
    return taken


def compute_ms(version: Version, python: Path) -> dict[str, float]:
    """Return the milliseconds that each engine takes for COMPUTE_ROWS rows; raises LifecycleError."""
    command = [str(python), "-m", "tests.benchmarks.compute", str(version.folder)]
    rows = "".join(f"{json.dumps(row)}\n" for row in version.rows(COMPUTE_ROWS))
    with pinned(server_cpus()):
        done = subprocess.run(
            command, cwd=ROOT, input=rows, capture_output=True, text=True, timeout=COMPUTE_TIMEOUT_SECONDS, check=False
        )
    if done.returncode:
        raise LifecycleError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stderr}")
    taken: dict[str, float] = json.loads(done.stdout)
    return taken


def latencies(server: Server, plan: Plan, requests: int) -> list[float]:
    """Return the microseconds of requests sent one after the other on one connection."""
    # A new connection and a server that just lost the CPU to another one: the first requests tell about those.
    return ask(
        server,
        "latencies",
        requests=requests,
        warm_up=plan.warm_up // 10,
        seconds=plan.latency_seconds / plan.rounds,
        blocking=not client_is_apart(),
    )


def ask(server: Server, measure: str, *, seconds: float, **arguments: Any) -> Any:
    """Return what the client in its own process measures on a server.

    Raises ContenderError when the client gets no answer, or a wrong one.
    """
    contender = server.contender
    job = {"measure": measure, "port": server.port, "path": contender.path, "body": contender.body} | arguments
    job["seconds"] = seconds
    timeout_seconds = seconds + CLIENT_GRACE_SECONDS
    try:
        with pinned(client_cpus()):
            done = subprocess.run(
                [sys.executable, str(CLIENT)],
                input=json.dumps(job),
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise ContenderError(server, f"expected {measure} within {timeout_seconds:g} s, found no answer") from None
    if done.returncode:
        raise ContenderError(server, f"failed while its {measure} was measured:\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def predict_us(server: Server, offset: int, requests: int) -> list[float]:
    """Return the microseconds that the engine took for each of the last requests, in their order.

    They come from the prediction records printed since a file offset. Raises ContenderError when records are missing.
    """
    with server.stdout.open("rb") as output:
        output.seek(offset)
        taken = [record["predict_ms"] * 1000 for record in json_lines(output) if "predict_ms" in record]
    if len(taken) < requests:
        raise ContenderError(server, f"expected {requests} prediction records on stdout, found {len(taken)}")
    return taken[-requests:]


def json_lines(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return the JSON objects among lines; other lines are not ours to judge."""
    return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}\n")]


def percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that `percent` of a hundred values do not exceed (nearest rank)."""
    return sorted(values)[-(-len(values) * percent // 100) - 1]


def memory_mb(group: int) -> float | None:
    """Return the resident megabytes of a process group, each page counted once, as a container's limit counts them.

    Anonymous pages are shared out between forks by the kernel (Pss_Anon). File pages are those of the process with
    most of them: master and worker map the same libraries. Their Pss would not do, since the other contenders map
    these libraries too and would get a part of the bill. None where there is no /proc.
    """
    processes = [entry for entry in Path("/proc").glob("[0-9]*") if process_group(entry) == group]
    if not processes:
        return None
    anonymous = sum(kilobytes(entry / "smaps_rollup", "Pss_Anon:") for entry in processes)
    files = max(kilobytes(entry / "status", "RssFile:") for entry in processes)
    return (anonymous + files) * 1024 / 1e6


def process_group(entry: Path) -> int | None:
    """Return the process group in a folder of /proc, or None when the process has just ended."""
    try:
        # The command's name, in parentheses, may contain anything: count from its end.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[2])
    except (FileNotFoundError, ProcessLookupError):
        return None


def kilobytes(file: Path, name: str) -> int:
    """Return one line's value of a file of /proc in kB."""
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(name))
