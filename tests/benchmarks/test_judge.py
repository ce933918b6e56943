"""The simulation draws what it says, the usual ways do what their users know, and the guide holds what was measured."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binomtest, fisher_exact, mannwhitneyu, norm

from lifecycle.recipe import Rollout
from tests.benchmarks.judge import RATES_BEYOND, WAYS, interval, main, ours
from tests.benchmarks.judge_cases import (
    BEYOND,
    CASES,
    CLASSES,
    ERRORS,
    MEDIAN_MS,
    RATES,
    REJECTIONS,
    SEGMENTS,
    SHARES,
    Case,
    asked,
    counted,
    cuts_of,
    draw,
    luck,
    worlds,
)
from tests.benchmarks.judge_peers import _fisher, _mann_whitney, fixed_sample, threshold

GUIDE = (Path(__file__).resolve().parent.parent.parent / "docs" / "judge.md").read_text(encoding="utf-8")
BY_NAME = {case.name: case for case in (*CASES, *BEYOND)}
HOPELESS = Case("nothing but errors", errors=0.99)


def test_draws_have_the_shares_that_the_case_states() -> None:
    """Of a million requests, each thing that checks count is as common as the case says, on both sides."""
    random, checks = np.random.default_rng(0), asked(Rollout())
    case = Case("all at once", errors=0.05, slower=2.0, never=True, broken=True)
    made = worlds(case, np.array([5.0]), luck(case, 2.0, 1, random))
    cuts = np.array([cuts_of(checks)])
    candidate, stable = (draw(np.array([10**6]), world, cuts, 10**9, random) for world in made)
    assert candidate.errors[0] / 1e6 == pytest.approx(ERRORS + 0.05, rel=0.05)
    assert stable.errors[0] / 1e6 == pytest.approx(ERRORS, rel=0.1)
    assert stable.rejections[0] / 1e6 == pytest.approx(REJECTIONS, rel=0.05)
    events = counted(checks, candidate, stable).events[0]
    for check, (total, count, stable_total, stable_count) in zip(checks.checks, events / 1.0, strict=True):
        if check.asked == "latency":
            cut = check.cut or check.cuts[len(check.cuts) // 2]
            for found, scale in ((count / total, 2.0), (stable_count / stable_total, 1.0)):
                assert found == pytest.approx(1 - norm.cdf(np.log(cut / MEDIAN_MS / scale) / 0.5), rel=0.05)
        if check.label == "call":
            assert count == 0
        if check.where and check.where.value == "south" and check.label == "stay":
            assert count == total
            assert stable_count / stable_total == pytest.approx(SHARES[2, CLASSES.index("stay")], rel=0.02)
            assert stable_total / stable.answers[0] == pytest.approx(SEGMENTS["south"], rel=0.02)


def test_a_fault_that_comes_late_is_not_there_before() -> None:
    """Until its minute the candidate is drawn as the stable is."""
    case = Case("late", errors=0.5, slower=3, never=True, after=20)
    candidate, stable = worlds(case, np.array([19.5, 20.0]), luck(case, 2.0, 2, np.random.default_rng(0)))
    for mine, theirs in zip(candidate[:3], stable[:3], strict=True):
        same = np.isclose(mine, theirs).reshape(2, -1).all(axis=1)
        assert same.tolist() == [True, False]


@pytest.mark.parametrize(("every", "failures", "minutes", "requests"), [(1, 5, 5, 300), (5, 4, 20, 900 + 1500)])
def test_the_threshold_ends_a_hopeless_release_after_its_failures(
    every: int, failures: int, minutes: int, requests: int
) -> None:
    """Each check of a version that fails always fails, so that the last one allowed ends the release."""
    ended = threshold(HOPELESS, 20.0, 50, 0, every, failures)
    assert ended.gone.all()
    assert (ended.minutes == minutes).all()
    assert ended.requests.mean() == pytest.approx(requests, rel=0.05)


def test_the_fixed_sample_ends_a_hopeless_release_after_a_step() -> None:
    """The test is done once, when the first step's sample is full."""
    ended = fixed_sample(HOPELESS, 20.0, 50, 0)
    assert ended.gone.all()
    assert (ended.minutes == 15).all()


@pytest.mark.parametrize("batch", [(20, 5, 200, 11), (300, 40, 300, 22), (5, 0, 9, 3), (50, 50, 50, 10)])
def test_fishers_test_is_scipys(batch: tuple[int, int, int, int]) -> None:
    """At an odds ratio of 1 the chance is that of Fisher's exact test."""
    candidate, events, stable, stable_events = batch
    table = [[events, candidate - events], [stable_events, stable - stable_events]]
    assert _fisher(np.array([batch]), 1.0)[0] == pytest.approx(fisher_exact(table, "greater").pvalue)


def test_mann_whitneys_test_is_scipys() -> None:
    """With ties, the chance is that of scipy's asymptotic test."""
    random = np.random.default_rng(1)
    mine, their = random.integers(0, 6, 40) + (random.random(40) < 0.3), random.integers(0, 6, 90)
    above = [np.array([[(values > cut).sum() for cut in range(-1, 7)]]) for values in (mine, their)]
    found = _mann_whitney(*above, np.array([40]), np.array([90]))[0]
    known = mannwhitneyu(mine, their, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    assert found == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize(("events", "total"), [(0, 2000), (3, 2000), (2000, 2000), (17, 40)])
def test_intervals_are_cloppers_and_pearsons(events: int, total: int) -> None:
    """The interval is the exact one."""
    known = binomtest(events, total).proportion_ci(method="exact")
    assert interval(events, total) == pytest.approx((known.low, known.high))


def test_good_versions_pass_and_hopeless_ones_do_not() -> None:
    """A few releases of each kind, all the way: the good end at 100 %, the bad are gone in a few looks."""
    good = ours(CASES[0], RATES["2/s"], 10, 0)
    assert not good.gone.any()
    assert (good.minutes >= 45).all()
    bad = ours(HOPELESS, RATES["2/s"], 20, 0)
    assert bad.gone.all()
    assert np.median(bad.requests) < 20
    idle = ours(CASES[0], RATES["ten a day"], 2, 0)
    assert not idle.gone.any()
    assert (idle.minutes == 180).all()


def test_the_command_prints_its_tables() -> None:
    """The report has a row for each case and rate, as Markdown: who was rolled back, after how many requests, when."""
    options = ["--rollouts", "2", "--case", "% slower", "--rate", "200/s"]
    done = CliRunner().invoke(main, options, catch_exceptions=False)
    assert f"| version | requests | {' | '.join(WAYS)} |" in done.stdout
    assert re.search(r"^\| 20 % slower \| 200/s \| 100; [\d,]+, [\d,]+; [\d.]+, [\d.]+ \|", done.stdout, re.M)
    assert re.search(r"^\| 9 % slower \| 200/s \| 0 \(0 to 84.2\) \|", done.stdout, re.M)


ROWS = [row.strip("| ").split(" | ") for row in re.findall(r"^\|.*\|$", GUIDE, re.M)]


@pytest.mark.parametrize("case", BY_NAME.values(), ids=BY_NAME)
def test_the_guide_holds_what_was_measured_of_each_case(case: Case) -> None:
    """docs/judge.md has a row for each case and rate, and no good version is rolled back more often than stated."""
    rows = {row[1]: row[2:] for row in ROWS if row[0] == case.name and len(row) == 2 + len(WAYS)}
    assert list(rows) == list(RATES if case in CASES else RATES_BEYOND)
    for cells in rows.values() if case.good and case in CASES else ():
        assert float(cells[0].split()[0]) <= 100 * Rollout().false_rollbacks


def test_the_guide_names_no_case_that_is_gone() -> None:
    """Each row of the guide's tables is of a case that the simulation still has."""
    assert {row[0] for row in ROWS if len(row) == 2 + len(WAYS)} <= {*BY_NAME, "version", "---"}
