"""make drill: every release that must be promoted or rolled back, on this machine, and what came of each."""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.drill.trial import Report
from tests.drill.trials import AT_ONCE, SEED, SHORT, TRIALS, run

# A log has no width of its own, and the evidence is long.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


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
        shown = "[red]FAILED[/]" if report.faults else "[green]as it must be[/]"
        out.print(f"{shown}  {name} ({report.what}): {report.ended}")
        for fault in report.faults:
            out.print(f"    {fault}", markup=False)
    out.print(table({name: reports[name] for name in names}))
    bad = [name for name, report in reports.items() if report.faults]
    minutes = (time.monotonic() - started) / 60
    out.print(f"{len(reports) - len(bad)} of {len(reports)} as they must be, in {minutes:.1f} minutes; seed {SEED}.")
    return 1 if bad else 0


def table(reports: dict[str, Report]) -> Table:
    """Return what came of each trial, in one picture."""
    shown = Table("trial", "ended", "requests of the candidate", "seconds until it was gone", "failed", "evidence")
    for name, report in reports.items():
        met = report.met
        stays = "stays" if report.ended == "promoted" else "-"
        gone = f"{met.seconds:.1f}" if met.requests and report.ended != "promoted" else stays
        cells = (name, report.ended, str(met.requests), gone, str(sum(met.failed.values())), report.evidence)
        shown.add_row(*cells, style="red" if report.faults else "")
    return shown


if __name__ == "__main__":
    sys.exit(main())
