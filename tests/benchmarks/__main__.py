"""Measures the function beside the handler that everyone writes first, in one run: python -m tests.benchmarks."""

import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tests.benchmarks import measures, versions
from tests.benchmarks.contenders import BUCKET, CONTENDERS, HERE, Contender, Setting, native_body
from tests.benchmarks.measures import LARGE_ROWS, QUICK, Plan
from tests.benchmarks.pipelines import PIPELINES
from tests.benchmarks.results import Result, Verdict, compared, result, verdicts
from tests.benchmarks.servers import ContenderError, compile_sources, server_cpus, storage_double
from tests.benchmarks.versions import ROOT, LifecycleError
from tests.environments import EnvironmentFault

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
    "beside us": ("beside_p99_us", "{:,.0f}"),
}
CAPTION = (
    "Medians; servers have every CPU but the client's. cold: process start to first prediction; p50, p99: one "
    "connection; rps: 16 connections; own: a request without its predict_ms; beside: p99 of small requests beside a "
    "stream of requests with 10,000 rows."
)
# What is asked to answer small requests beside large ones: the others differ in their engine alone, or have none.
BESIDE = ("ours", "naive", "onnx")
BUSY_LOAD = 0.5

# Progress goes to stderr, so that stdout holds the tables alone.
progress = Console(stderr=True)


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    default=list(PIPELINES),
    show_default=True,
    help="One of these, or a folder's name under models/; repeatable.",
)
@click.option(
    "--contender",
    "names",
    multiple=True,
    type=click.Choice(list(CONTENDERS)),
    default=list(CONTENDERS),
    show_default=True,
    help="A server to measure; repeatable.",
)
@click.option("--store", metavar="URL", help="Measure the newest versions in this file:// store instead of fitting.")
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
        measured = [measure(model, names, store, python, plan) for model in models]
    except (ContenderError, LifecycleError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    rows = compared([one for each in measured for one in each.results])
    judged = [one for each in measured for one in verdicts(each.model, rows, each.compute_ms)]
    # Without a terminal rich assumes 80 columns, in which the numbers would not fit.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for each in measured:
        console.print(table(each.model, [row for row in rows if row["model"] == each.model]))
    console.print(targets(judged))
    if json_file:
        json_file.write_text(json.dumps(report(plan, measured, rows, judged, load_before), indent=2) + "\n")


@dataclass(frozen=True)
class Measured:
    """One model: a result for each contender, compute alone, and the largest difference that its proof found."""

    model: str
    results: list[Result]
    compute_ms: dict[str, float] | None
    largest_differences: dict[str, float]


def measure(model: str, names: tuple[str, ...], store: str | None, python: Path, plan: Plan) -> Measured:
    """Measure all contenders that serve one model."""
    compile_sources(python, [ROOT / "function", HERE])
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name, storage_double(BUCKET) as cloud:
        folder = Path(name)
        progress.print(f"{model}: {'taking the newest version' if store else 'fitting, packaging'}")
        version = versions.newest(model, store, folder / "pins") if store else versions.publish(model, folder)
        contenders = list(made(names, Setting(version, python.parent, cloud)))
        progress.print(f"{model}: {plan.starts} cold starts of {', '.join(one.name for one in contenders)}")
        colds = measures.cold_starts(contenders, plan.starts, folder)
        progress.print(f"{model}: {plan.rounds} rounds of latency and throughput")
        loads = measures.under_load(contenders, plan, folder)
        progress.print(f"{model}: small requests beside large ones, compute alone")
        asked = [one for one in contenders if one.name in BESIDE]
        beside = measures.beside_large(asked, native_body(version, LARGE_ROWS), plan, folder)
        compiled = (version.folder / "model.npz").exists()
        return Measured(
            model=model,
            results=[result(model, name, colds[name], loads[name], beside.get(name)) for name in colds],
            compute_ms=measures.compute_ms(version, python) if compiled else None,
            largest_differences=version.manifest()["proof"]["largest_differences"] if compiled else {},
        )


def made(names: tuple[str, ...], setting: Setting) -> Iterator[Contender]:
    """Yield the contenders of some names; says which peer this machine cannot have."""
    for name in dict.fromkeys(names):
        try:
            yield CONTENDERS[name](setting)
        except EnvironmentFault as error:
            progress.print(f"{setting.version.model}: {name} is left out: {error}")


def targets(judged: list[Verdict]) -> Table:
    """Return what was wanted and what was found, a line each."""
    shown = Table(title="what we want of it", box=SIMPLE)
    for column in ("model", "measure", "found", "wanted", ""):
        shown.add_column(column, justify="right" if column in ("found", "wanted") else "left")
    for one in judged:
        wanted = "-" if one.wanted is None else f"{one.wanted:.3g}"
        reached = {None: "", True: "reached", False: "missed"}[one.reached]
        shown.add_row(one.model, one.measure, f"{one.found:.3g}", wanted, reached)
    return shown


def table(model: str, rows: list[dict[str, Any]]) -> Table:
    """Return one model's rows for people; a dash where a contender has no such number."""
    shown = Table(title=model, caption=CAPTION, box=SIMPLE)
    for column in COLUMNS:
        shown.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        shown.add_row(*("-" if row[key] is None else form.format(row[key]) for key, form in COLUMNS.values()))
    return shown


def report(
    plan: Plan, measured: list[Measured], rows: list[dict[str, Any]], judged: list[Verdict], load_before: float
) -> dict[str, Any]:
    """Return the rows and verdicts for machines, with what they depend on."""
    return {
        "python": platform.python_version(),
        "functions_framework": installed_version("functions-framework"),
        "cpus": os.cpu_count(),
        "server_cpus": len(server_cpus()),
        "load_before": load_before,
        "plan": asdict(plan),
        "results": rows,
        "targets": [asdict(one) for one in judged],
        "compute_ms": {each.model: each.compute_ms for each in measured},
        "largest_differences": {each.model: each.largest_differences for each in measured},
    }


def leave(signal_number: int, frame: FrameType | None) -> None:
    """Turn a signal into an exit that runs every `finally`."""
    sys.exit(128 + signal_number)


if __name__ == "__main__":
    main()
