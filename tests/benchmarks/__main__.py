"""Measures the function beside the handler that everyone writes first, in one run: python -m tests.benchmarks."""

import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import asdict, replace
from importlib.metadata import version as installed_version
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.benchmarks import measures, versions
from tests.benchmarks.contenders import CONTENDERS, HERE, ROOT
from tests.benchmarks.measures import QUICK, Plan
from tests.benchmarks.results import Result, compared, result
from tests.benchmarks.servers import ContenderError, compile_sources, server_cpus
from tests.benchmarks.versions import LifecycleError, Version

COLUMNS = {
    "contender": ("contender", "{}"),
    "cold s": ("cold_seconds", "{:.3f}"),
    "x naive": ("cold_times_naive", "{:.2f}"),
    "p50 us": ("p50_us", "{:,.0f}"),
    "p99 us": ("p99_us", "{:,.0f}"),
    "rps": ("requests_per_second", "{:,.0f}"),
    "memory MB": ("memory_mb", "{:.0f}"),
    "own us": ("own_us", "{:,.0f}"),
    "own/echo": ("own_times_echo", "{:.2f}"),
}
CAPTION = (
    "Medians; servers have every CPU but the client's. cold: process start to first prediction; p50, p99: one "
    "connection; rps: 16 connections; own: a request without its predict_ms, wanted at most 2.0 echoes."
)
BUSY_LOAD = 0.5

# Progress goes to stderr, so that stdout holds the tables alone.
progress = Console(stderr=True)


@click.command()
@click.option("--model", "models", multiple=True, default=["churn"], show_default=True, help="A model; repeatable.")
@click.option(
    "--contender",
    "names",
    multiple=True,
    type=click.Choice(list(CONTENDERS)),
    default=list(CONTENDERS),
    show_default=True,
    help="A server to measure; repeatable.",
)
@click.option("--store", metavar="URL", help="Measure the newest versions in this file:// store instead of training.")
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=sys.executable,
    help="Run the servers from this interpreter's virtual environment.",
)
@click.option("--starts", type=click.IntRange(1), help="Cold starts of each contender.  [default: 7]")
@click.option("--requests", type=click.IntRange(1), help="Requests on the single connection.  [default: 2000]")
@click.option("--seconds", type=click.FloatRange(0.1), help="Duration with 16 connections.  [default: 5]")
@click.option("--quick", is_flag=True, help="Only try whether everything can be measured; the numbers mean little.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the results here."
)
def main(
    models: tuple[str, ...],
    names: tuple[str, ...],
    store: str | None,
    python: Path,
    starts: int | None,
    requests: int | None,
    seconds: float | None,
    quick: bool,
    json_file: Path | None,
) -> None:
    """Measure the function beside the handler that everyone writes first, and beside an echo, in one run."""
    # The servers are killed on the way out, which a terminated process would not pass.
    signal.signal(signal.SIGTERM, leave)
    load_before = os.getloadavg()[0]
    if load_before > BUSY_LOAD:
        progress.print(f"The load average is {load_before:.1f}: what else runs here will show in the numbers.")
    wanted = {"starts": starts, "requests": requests, "throughput_seconds": seconds}
    plan = replace(QUICK if quick else Plan(), **{name: value for name, value in wanted.items() if value is not None})
    try:
        results = [each for model in models for each in measure(model, names, store, python, plan)]
    except (ContenderError, LifecycleError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    rows = compared(results)
    # Without a terminal rich assumes 80 columns, in which the numbers would not fit.
    console = Console(width=None if sys.stdout.isatty() else 110)
    for model in models:
        console.print(table(model, [row for row in rows if row["model"] == model]))
    if json_file:
        json_file.write_text(json.dumps(report(plan, rows, load_before), indent=2) + "\n")


def measure(model: str, names: tuple[str, ...], store: str | None, python: Path, plan: Plan) -> list[Result]:
    """Measure all contenders that serve one model."""
    compile_sources(python, [ROOT / "function", HERE])
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        version = prepare(model, names, store, folder)
        contenders = [CONTENDERS[name](version, python.parent) for name in dict.fromkeys(names)]
        progress.print(f"{model}: {plan.starts} cold starts of {', '.join(names)}")
        colds = measures.cold_starts(contenders, plan.starts, folder)
        progress.print(f"{model}: {plan.rounds} rounds of latency and throughput")
        loads = measures.under_load(contenders, plan, folder)
    return [result(model, name, colds[name], loads[name]) for name in colds]


def prepare(model: str, names: tuple[str, ...], store: str | None, folder: Path) -> Version:
    """Return the version to serve: trained now unless a store is given, and pinned where our own server takes part."""
    if store is None:
        store = (folder / "store").as_uri()
        progress.print(f"{model}: training")
        versions.train(model, store)
    version = versions.newest(model, store, folder / "pins")
    if "ours" in names:
        versions.pin(version)
    return version


def table(model: str, rows: list[dict[str, Any]]) -> Table:
    """Return one model's rows for people; a dash where a contender has no such number."""
    shown = Table(title=model, caption=CAPTION, box=SIMPLE)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        shown.add_row(*("-" if row[key] is None else form.format(row[key]) for key, form in COLUMNS.values()))
    return shown


def report(plan: Plan, rows: list[dict[str, Any]], load_before: float) -> dict[str, Any]:
    """Return the rows for machines, with what they depend on."""
    return {
        "python": platform.python_version(),
        "functions_framework": installed_version("functions-framework"),
        "cpus": os.cpu_count(),
        "server_cpus": len(server_cpus()),
        "load_before": load_before,
        "plan": asdict(plan),
        "results": rows,
    }


def leave(signal_number: int, frame: FrameType | None) -> None:
    """Turn a signal into an exit that runs every `finally`."""
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    main()
