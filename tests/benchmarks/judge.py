"""Thousands of releases, good and bad, by the judge and by two usual ways: python -m tests.benchmarks.judge.

Requests are drawn instead of answered, so that only the judge is tried. Its own functions weigh and decide, of all
releases of a case at once.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click
import numpy as np
from scipy.stats import beta

from lifecycle.recipe import Rollout
from lifecycle.rollout import judge
from lifecycle.rollout.checks import Checks
from tests.benchmarks.judge_cases import (
    BEYOND,
    CASES,
    RATES,
    SAMPLE,
    Case,
    World,
    asked,
    counted,
    cuts_of,
    draw,
    luck,
    requests_of,
    worlds,
)
from tests.benchmarks.judge_peers import Ended, fixed_sample, threshold

SECONDS = 30.0  # between looks
RATES_BEYOND = ("2/s", "20/s")
LEAST = Rollout(steps=(5, 100))  # one step, as long as it must be
Results = dict[tuple[str, Case, str], Ended]  # by way, case and rate


def ours(case: Case, rate: float, releases: int, seed: int, rollout: Rollout | None = None) -> Ended:
    """Release many times with the judge."""
    rollout = rollout or Rollout()
    random = np.random.default_rng(seed)
    lucky = luck(case, rate, releases, random)
    checks, steps = asked(rollout), np.array(rollout.steps)
    growth = np.tile(judge.start(checks), (releases, 1, 1))
    total, doubtful = judge.against(checks, growth), judge.is_doubtful(growth)
    totals = np.zeros((releases, 4), dtype=int)
    at, within, minutes = np.zeros(releases, dtype=int), np.zeros(releases), np.zeros(releases)
    gone, active = np.zeros(releases, dtype=bool), np.arange(releases)
    while active.size:
        came = requests_of(case, rate, SECONDS, minutes[active], lucky.of(active), random)
        busy, came = active[came > 0], came[came > 0]
        share = random.binomial(came, steps[at[busy]] / 100)
        seen, answers = _looked(checks, worlds(case, minutes[busy], lucky.of(busy)), share, came - share, random)
        growth[busy] = judge.carried(checks, growth[busy], seen)
        total[busy], doubtful[busy] = judge.against(checks, growth[busy]), judge.is_doubtful(growth[busy])
        totals[busy] += np.stack([share, came - share, *answers], axis=1)
        minutes[active] += SECONDS / 60
        within[active] += SECONDS / 60
        step = judge.Step(steps[at[active]], within[active], "held")
        enough = judge.has_enough(checks, totals[active])
        verdict = judge.rule(checks, total[active], doubtful[active], enough, step)
        gone[active] = verdict == "roll back"
        on = active[verdict == "promote"]
        at[on], within[on] = at[on] + 1, 0
        active = active[(verdict != "roll back") & (steps[at[active]] < 100)]
    return Ended(gone, totals[:, 0], minutes)


def _looked(
    checks: Checks,
    worlds_now: tuple[World, World],
    share: np.ndarray,
    rest: np.ndarray,
    random: np.random.Generator,
) -> tuple[judge.Tally, tuple[np.ndarray, np.ndarray]]:
    """Return what each check counts in a look, and the answers that were read of either revision."""
    cuts = np.array(cuts_of(checks))
    off = judge.allowance_ms(checks, share, rest, SECONDS)[:, None]
    candidate = draw(share, worlds_now[0], cuts * checks.slower + off, SAMPLE, random)
    stable = draw(rest, worlds_now[1], cuts + 0 * off, SAMPLE, random)
    return counted(checks, candidate, stable), (candidate.answers, stable.answers)


WAYS: dict[str, Callable[[Case, float, int, int], Ended]] = {
    "the judge": ours,
    "threshold, 1 minute": partial(threshold, every=1, failures=5),
    "threshold, 5 minutes": partial(threshold, every=5, failures=4),
    "fixed sample": fixed_sample,
}


@click.command()
@click.option("--rollouts", type=click.IntRange(1), default=2000, show_default=True, help="Releases of each case.")
@click.option("--case", "part", default="", help="Only cases whose name holds this.")
@click.option(
    "--rate", "rates", type=click.Choice(list(RATES)), multiple=True, help="Only so many requests; repeatable."
)
def main(rollouts: int, part: str, rates: tuple[str, ...]) -> None:
    """Print how often, how late and after how many requests good and bad versions are rolled back."""
    tasks = [(way, case, rate) for case, rate in asked_for(part, rates or tuple(RATES)) for way in WAYS]
    bad = [case for case in CASES if part in case.name and not case.good and not case.after]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = {task: pool.submit(_run, *task, rollouts, seed) for seed, task in enumerate(tasks)}
        short = {case: pool.submit(ours, case, RATES["2/s"], rollouts, seed, LEAST) for seed, case in enumerate(bad)}
        for (way, case, rate), job in jobs.items():
            click.echo(f"{way}: {case.name}, {rate}: {100 * job.result().gone.mean():.3g} % rolled back", err=True)
        ended = {task: job.result() for task, job in jobs.items()}
        bought = {case: job.result() for case, job in short.items()}
    for line in report(ended, bought, rollouts):
        click.echo(line)


def asked_for(part: str, rates: Sequence[str]) -> Iterator[tuple[Case, str]]:
    """Yield each case with each rate of requests, those beyond the assumptions with two rates alone."""
    for case in (*CASES, *BEYOND):
        if part in case.name:
            yield from ((case, rate) for rate in rates if case in CASES or rate in RATES_BEYOND)


def report(ended: Results, bought: dict[Case, Ended], rollouts: int) -> Iterator[str]:
    """Yield the tables as Markdown."""
    of = f"of {rollouts:,} releases"
    yield from _table(f"Good versions: rolled back, in % {of} (95 % interval)", CASES, True, ended)
    what = "requests that the bad version answered (median, 95 %); minutes until it was gone (median, 95 %)"
    yield from _table(f"Bad versions: rolled back, in % {of}; {what}", CASES, False, ended)
    yield from _table(f"Good versions, beyond what the judge takes for granted: {of}", BEYOND, True, ended)
    yield from ("What the least evidence buys: one step of 5 %, 2/s, until 100 requests", "")
    yield from ("| bad version | rolled back, in % |", "| --- | --- |")
    yield from (f"| {case.name} | {100 * one.gone.mean():.3g} |" for case, one in bought.items())


def _run(way: str, case: Case, rate: str, rollouts: int, seed: int) -> Ended:
    return WAYS[way](case, RATES[rate], rollouts, seed)


def _table(title: str, cases: Sequence[Case], good: bool, ended: Results) -> Iterator[str]:
    yield from (title, "", f"| version | requests | {' | '.join(WAYS)} |", "| --- " * (len(WAYS) + 2) + "|")
    for case, rate in dict.fromkeys((case, rate) for _, case, rate in ended):
        if case in cases and case.good == good:
            yield f"| {case.name} | {rate} | {' | '.join(_cell(case, ended[way, case, rate]) for way in WAYS)} |"
    yield ""


def _cell(case: Case, ended: Ended) -> str:
    gone, total = int(ended.gone.sum()), len(ended.gone)
    share = f"{100 * gone / total:.3g}"
    if case.good:
        low, high = interval(gone, total)
        return f"{share} ({100 * low:.3g} to {100 * high:.3g})"
    if not gone:
        return "0"
    requests, minutes = (np.quantile(values[ended.gone], [0.5, 0.95]) for values in (ended.requests, ended.minutes))
    return f"{share}; {requests[0]:,.0f}, {requests[1]:,.0f}; {minutes[0]:.3g}, {minutes[1]:.3g}"


def interval(events: int, total: int) -> tuple[float, float]:
    """Return Clopper's and Pearson's 95 % interval of a share."""
    low = beta.ppf(0.025, events, total - events + 1) if events else 0.0
    high = beta.ppf(0.975, events + 1, total - events) if events < total else 1.0
    return float(low), float(high)


if __name__ == "__main__":
    main()
