"""Measures every dialect beside the native one, in one run on one process: python -m tests.benchmarks.dialects."""

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import httpx2
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.benchmarks import client, versions
from tests.benchmarks.contenders import Setting, ours
from tests.benchmarks.servers import client_cpus, first_answer, pinned, running
from tests.benchmarks.versions import Version
from tests.speakers import SPEAKERS, VERTEX, Sent, Speaker

MODELS = ("churn", "reviews", "maintenance")
WANTED = 2.0  # times the native p50, for one instance
REPORTED = ("csv", "csv-bare", "mlflow-csv", "sagemaker-csv", "arrow", "parquet", "ndjson")  # only told


@click.command()
@click.option("--model", "models", multiple=True, default=MODELS, show_default=True, help="Repeatable.")
@click.option("--rounds", default=20, show_default=True, help="Turns that each dialect gets.")
@click.option("--requests", default=100, show_default=True, help="Requests in a turn.")
def main(models: tuple[str, ...], rounds: int, requests: int) -> None:
    """Print the p50 of one instance in each dialect, as microseconds and as a multiple of the native one."""
    shown = Table(title="p50 of one instance, us (times native)", box=SIMPLE)
    measured = {}
    for model in models:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
            measured[model] = measure(versions.publish(model, Path(name)), rounds, requests, Path(name))
    for column in ("dialect", *models, f"wanted: at most {WANTED:g}"):
        shown.add_column(column, justify="left" if column == "dialect" else "right")
    for speaker in SPEAKERS:
        found = {model: taken[speaker.name] for model, taken in measured.items()}
        ratios = {model: found[model] / measured[model]["native"] for model in models}
        cells = [f"{found[model]:,.0f} ({ratios[model]:.2f})" for model in models]
        shown.add_row(speaker.name, *cells, _verdict(speaker, max(ratios.values())))
    Console(width=None if sys.stdout.isatty() else 120).print(shown)


def measure(version: Version, rounds: int, requests: int, folder: Path) -> dict[str, float]:
    """Return the median microseconds of a request in each dialect, which take turns on a connection of their own."""
    contender = ours(Setting(version, Path(sys.executable).parent))
    contender = replace(contender, environment={**contender.environment, **VERTEX})
    with running(contender, folder) as server, pinned(client_cpus()):
        first_answer(server)
        described = httpx2.get(f"http://127.0.0.1:{server.port}/model", trust_env=False).json()
        sent = {speaker.name: written(speaker.write(version.rows(1), described)) for speaker in SPEAKERS}
        turns = [{name: turn(server.port, request, requests) for name, request in sent.items()} for _ in range(rounds)]
    return {name: statistics.median(each[name] for each in turns) for name in sent}


def turn(port: int, request: bytes, requests: int) -> float:
    """Return the median microseconds of some requests, after a few that do not count."""
    taken = client.latencies_of(port, request, requests, warm_up=10, seconds=60, blocking=False)
    return statistics.median(taken)


def written(sent: Sent) -> bytes:
    """Return a request as it goes over the wire, in one piece."""
    headers = {"Host": "127.0.0.1", **sent.headers, "Content-Length": str(len(sent.content))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {sent.path} HTTP/1.1\r\n{lines}\r\n".encode() + sent.content


def _verdict(speaker: Speaker, worst: float) -> str:
    if speaker.name in REPORTED:
        return ""
    return "reached" if worst <= WANTED else "missed"


if __name__ == "__main__":
    main()
