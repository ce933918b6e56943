"""make drill: every release that must be promoted or rolled back, on this machine, and what came of each."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from tests.drill import disturbances, trial
from tests.drill.sabotage import CASES
from tests.drill.trial import Report

SEED = 7
# Most of a release is waiting for evidence: three at a time keep two processors busy.
AT_ONCE = 3
SHORT = ("good", "errors-for-callers", "swapped")
# Those that take long come first.
TRIALS: dict[str, Callable[[], Report]] = {
    "killed, bad": partial(disturbances.killed, "errors-for-callers", SEED),
    "killed, good": partial(disturbances.killed, "good", SEED),
    "troubled, good": partial(disturbances.troubled, "good"),
    "troubled, bad": partial(disturbances.troubled, "errors-for-callers"),
    **{name: partial(trial.release, case) for name, case in CASES.items()},
    "two at once": disturbances.two_at_once,
    "rolled back by hand": disturbances.rolled_back_by_hand,
}
out = Console(highlight=False)


def main() -> int:
    """Run the trials; return 1 where anything was not as it has to be."""
    parser = argparse.ArgumentParser(prog="make drill", description=__doc__)
    parser.add_argument("--only", choices=TRIALS, action="append", help="run this one; may be given several times")
    parser.add_argument("--short", action="store_true", help=f"run {', '.join(SHORT)}")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many run side by side")
    options = parser.parse_args()
    names = options.only or (SHORT if options.short else tuple(TRIALS))
    started, reports = time.monotonic(), {}
    for name, report in run(names, options.at_once):
        reports[name] = report
        out.print(f"{'[red]FAILED[/]' if report.faults else '[green]as it must be[/]'}  {name}: {report.ended}")
        for fault in report.faults:
            out.print(f"    {fault}", markup=False)
    out.print(table({name: reports[name] for name in names}))
    bad = [name for name, report in reports.items() if report.faults]
    minutes = (time.monotonic() - started) / 60
    out.print(f"{len(reports) - len(bad)} of {len(reports)} as they must be, in {minutes:.1f} minutes; seed {SEED}.")
    return 1 if bad else 0


def run(names: Sequence[str], at_once: int) -> Iterator[tuple[str, Report]]:
    """Yield each trial's report as it ends; each has a cloud of its own, in a process that others do not slow down."""
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        under_way = {pool.submit(TRIALS[name]): name for name in names}
        for done in as_completed(under_way):
            yield under_way[done], done.result()


def table(reports: dict[str, Report]) -> Table:
    """Return what came of each trial, in one picture."""
    shown = Table(
        "trial", "what", "ended", "requests it answered", "s until it was gone", "failed", "s in all", "evidence"
    )
    for name, report in reports.items():
        met = report.met
        gone = f"{met.seconds:.1f}" if met.requests else "-"
        failed = str(sum(met.failed.values()))
        cells = (
            name,
            report.what,
            report.ended,
            str(met.requests),
            gone,
            failed,
            f"{report.seconds:.0f}",
            report.evidence,
        )
        shown.add_row(*cells, style="red" if report.faults else "")
    return shown


if __name__ == "__main__":
    sys.exit(main())
