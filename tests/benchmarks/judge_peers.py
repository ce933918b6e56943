"""The usual ways to judge a release, on the same cases: a fixed threshold, and a test of a sample of fixed size.

The threshold is Flagger's and Argo Rollouts' way: at each interval a query over that interval, and so many failed ones
end the release. Read in their sources: Flagger checks each minute and counts failures over the whole release
(`threshold: 5` in its tutorials); Argo Rollouts' guide checks every five minutes with `failureLimit: 3`, so that the
fourth failure ends it. Both compare with the stable revision here, which their users must write themselves, and pass
over an interval without a request to the candidate, which Flagger counts as a failure. Quantiles are those of the
answers, where Prometheus would interpolate between buckets.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, ndtr, ndtri

from lifecycle.recipe import Rollout
from lifecycle.rollout import judge
from lifecycle.rollout.checks import Checks
from tests.benchmarks.judge_cases import (
    MEDIAN_MS,
    SPREAD,
    Case,
    Drawn,
    World,
    asked,
    counted,
    draw,
    luck,
    requests_of,
    worlds,
)

MORE_ERRORS = 0.01
SLOWER = 1.2
QUANTILE = 0.99
ALL = 10**12  # no bound on records


class Ended(NamedTuple):
    """How releases ended, one each."""

    gone: np.ndarray  # rolled back
    requests: np.ndarray  # that the candidate answered until then
    minutes: np.ndarray


def threshold(case: Case, rate: float, releases: int, seed: int, every: int, failures: int) -> Ended:
    """Release with a check every so many minutes; so many failed ones end it."""
    random = np.random.default_rng(seed)
    lucky = luck(case, rate, releases, random)
    rollout = Rollout()
    failed, requests, minutes = np.zeros(releases), np.zeros(releases, int), np.zeros(releases)
    for at, percent in _schedule(rollout, every):
        active = np.flatnonzero(failed < failures)
        now = np.full(active.size, at)
        came = requests_of(case, rate, 60 * every, now, lucky.of(active), random)
        share = random.binomial(came, percent / 100)
        candidate, stable = worlds(case, now, lucky.of(active))
        ours, theirs = (
            _queried(world, number, random) for world, number in ((candidate, share), (stable, came - share))
        )
        with np.errstate(invalid="ignore"):
            failed[active] += (ours[0] > theirs[0] + MORE_ERRORS) | (ours[1] > SLOWER * theirs[1])
        requests[active] += share
        minutes[active] += every
    return Ended(failed >= failures, requests, minutes)


def fixed_sample(case: Case, rate: float, releases: int, seed: int) -> Ended:
    """Release with one test of each question at each step's end, with the level shared out among steps and questions.

    Questions, tolerances and weights are the judge's own. Errors and rejections: Fisher's exact test, for the tolerated
    odds ratio; latency: Mann-Whitney's; predictions: Wald's test of the odds ratio.
    """
    random = np.random.default_rng(seed)
    lucky = luck(case, rate, releases, random)
    rollout = Rollout()
    checks = asked(rollout)
    gone, requests, minutes = np.zeros(releases, bool), np.zeros(releases, int), np.zeros(releases)
    for step, percent in enumerate(rollout.steps[:-1]):
        active = np.flatnonzero(~gone)
        arms: list[list[Drawn]] = [[], []]
        for minute in range(int(rollout.minutes_per_step)):
            now = np.full(active.size, step * rollout.minutes_per_step + minute)
            came = requests_of(case, rate, 60, now, lucky.of(active), random)
            share = random.binomial(came, percent / 100)
            off = judge.allowance_ms(checks, share, came - share, 60.0)[:, None]
            cuts = _many_cuts(active.size)
            felt = (cuts * rollout.slower + off, cuts)
            for arm, world, number, at in zip(
                arms, worlds(case, now, lucky.of(active)), (share, came - share), felt, strict=True
            ):
                arm.append(draw(number, world, at, ALL, random))
        candidate, stable = (Drawn(*(sum(part) for part in zip(*arm, strict=True))) for arm in arms)
        level = rollout.false_rollbacks / (len(rollout.steps) - 1)
        gone[active] = _any_rejected(checks, candidate, stable, level)
        requests[active] += candidate.requests
        minutes[active] += rollout.minutes_per_step
    return Ended(gone, requests, minutes)


def _schedule(rollout: Rollout, every: int) -> list[tuple[float, int]]:
    """Return minutes and percent of each check, from which the last step is left out: nothing is beside it."""
    checks = int(rollout.minutes_per_step // every)
    whole = [percent for percent in rollout.steps[:-1] for _ in range(checks)]
    return [(at * every, percent) for at, percent in enumerate(whole)]


def _queried(world: World, requests: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an interval's error rate and 99 % quantile of latency; NaN, which fails no check, without requests."""
    drawn = draw(requests, world, np.full((len(requests), 1), MEDIAN_MS), ALL, random)
    with np.errstate(invalid="ignore"):
        errors = drawn.errors / np.where(requests > 0, requests, np.nan)
    answers = np.maximum(drawn.answers, 1)
    at = np.ceil(QUANTILE * answers)
    slow = MEDIAN_MS * world.scale * np.exp(SPREAD * ndtri(random.beta(at, answers - at + 1)))
    return errors, np.where(drawn.answers > 0, slow, np.nan)


def _many_cuts(releases: int) -> np.ndarray:
    """Return thresholds so close that Mann-Whitney's test loses next to nothing by them."""
    return np.broadcast_to(MEDIAN_MS * np.exp(SPREAD * np.linspace(-4, 6, 120)), (releases, 120))


def _any_rejected(checks: Checks, candidate: Drawn, stable: Drawn, level: float) -> np.ndarray:
    """Tell which releases fail a test, where each has its weight's part of the level."""
    rejected = _mann_whitney(candidate.slower, stable.slower, candidate.answers, stable.answers) < level * sum(
        check.weight for check in checks.checks if check.asked == "latency"
    )
    others = checks.model_copy(update={"checks": tuple(one for one in checks.checks if one.asked != "latency")})
    seen = counted(others, candidate, stable).events
    for at, check in enumerate(others.checks):
        batch = seen[:, at, [2, 3, 0, 1]] if check.fewer else seen[:, at]
        test = _wald if check.asked == "predictions" else _fisher
        rejected |= test(batch, check.tolerated) < level * check.weight
    return rejected


def _fisher(batch: np.ndarray, tolerated: float) -> np.ndarray:
    """Return the chance of at least so many events of the candidate, given all, at the tolerated odds ratio."""
    chances = np.ones(len(batch))
    for row, (candidate, ours, stable, theirs) in enumerate(batch.tolist()):
        events = ours + theirs
        if ours:
            counts = np.arange(max(0, events - stable), min(candidate, events) + 1)
            ways = -gammaln(counts + 1) - gammaln(candidate - counts + 1) - gammaln(events - counts + 1)
            ways += counts * np.log(tolerated) - gammaln(stable - events + counts + 1)
            shares = np.exp(ways - ways.max())
            chances[row] = shares[counts >= ours].sum() / shares.sum()
    return chances


def _wald(batch: np.ndarray, tolerated: float) -> np.ndarray:
    cells = np.stack([batch[:, 1], batch[:, 0] - batch[:, 1], batch[:, 3], batch[:, 2] - batch[:, 3]]) + 0.5
    logs = np.log(cells)
    excess = logs[0] - logs[1] - logs[2] + logs[3] - np.log(tolerated)
    return 1 - ndtr(excess / np.sqrt((1 / cells).sum(axis=0)))


def _mann_whitney(ours: np.ndarray, theirs: np.ndarray, candidate: np.ndarray, stable: np.ndarray) -> np.ndarray:
    """Return the one-sided chance, by the normal approximation with its correction for ties."""
    ends = np.zeros((len(ours), 1))
    mine = -np.diff(np.concatenate([candidate[:, None], ours, ends], axis=1), axis=1)
    their = -np.diff(np.concatenate([stable[:, None], theirs, ends], axis=1), axis=1)
    below = their.cumsum(axis=1) - their / 2
    wins = (mine * below).sum(axis=1)
    total = candidate + stable
    ties = ((mine + their) ** 3 - (mine + their)).sum(axis=1) / np.maximum(total * (total - 1.0), 1)
    deviation = np.sqrt(np.maximum(candidate * stable / 12.0 * (total + 1 - ties), 1e-9))
    return np.where(candidate * stable > 0, 1 - ndtr((wins - candidate * stable / 2) / deviation), 1.0)
