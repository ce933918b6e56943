"""Measures what one instance takes, for the defaults of infra/: python -m tests.benchmarks.instance.

The server has one CPU, as an instance has; the client another one. What Cloud Run's own front adds is not in it.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.benchmarks import versions
from tests.benchmarks.contenders import Setting, native_body, ours
from tests.benchmarks.measures import ask, memory_mb
from tests.benchmarks.servers import Server, first_answer, running
from tests.benchmarks.versions import Version

MODELS = ("churn", "reviews", "maintenance")
CONCURRENCIES = (1, 5, 10, 20, 40, 80, 160)
LARGE_ROWS = 2000


@dataclass(frozen=True)
class Measured:
    """One instance under so many requests at a time."""

    concurrency: int
    rate: float
    p50_us: float
    p99_us: float
    memory_mb: float


@click.command()
@click.option("--model", "models", multiple=True, default=MODELS, show_default=True, help="Repeatable.")
@click.option(
    "--seconds", default=4.0, show_default=True, help="How long each number of requests at a time is kept up."
)
def main(models: tuple[str, ...], seconds: float) -> None:
    """Print throughput, latency and memory of one instance by the requests that it answers at a time."""
    for model in models:
        table = Table(title=f"{model}: one instance, one instance a request", box=SIMPLE)
        for column in ("at a time", "requests/s", "p50 ms", "p99 ms", "memory MB"):
            table.add_column(column, justify="right")
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
            for found in measure(versions.publish(model, Path(name)), seconds, Path(name)):
                table.add_row(
                    "large" if not found.concurrency else str(found.concurrency),
                    f"{found.rate:,.0f}",
                    f"{found.p50_us / 1000:.2f}",
                    f"{found.p99_us / 1000:.2f}",
                    f"{found.memory_mb:.0f}",
                )
        Console(width=None if sys.stdout.isatty() else 100).print(table)


def measure(version: Version, seconds: float, folder: Path) -> Iterator[Measured]:
    """Yield the numbers for each concurrency, then (concurrency 0) for ten large requests at a time."""
    contender = ours(Setting(version, Path(sys.executable).parent))
    with running(contender, folder) as server:
        first_answer(server)
        ask(server, "throughput", seconds=1, connections=1)  # warm
        for concurrency in CONCURRENCIES:
            yield _under(server, concurrency, concurrency, contender.body, seconds)
        yield _under(server, 0, 10, native_body(version, LARGE_ROWS), seconds)


def _under(server: Server, name: int, connections: int, body: str, seconds: float) -> Measured:
    found = ask(server, "concurrent", seconds=seconds, connections=connections, body=body)
    return Measured(name, found["rate"], found["p50_us"], found["p99_us"], memory_mb(server.process.pid) or 0)


if __name__ == "__main__":
    main()
