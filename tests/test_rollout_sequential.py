"""The sequential tests are exact: expectations by full enumeration, ratios as scipy has them, no leaps."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import binom, multinomial, nchypergeom_fisher

from lifecycle.rollout.sequential import (
    EVENLY,
    FACTORS,
    ONE_LOOK,
    SMALL_FIRST,
    beyond,
    carried,
    compared,
    evidence,
    ordered,
)

MARGINS = [(3, 9, 4), (5, 5, 5), (1, 20, 2), (12, 3, 9), (8, 8, 15)]  # candidate, stable, events in all
BINS = [((1, 2), (4, 5)), ((2, 3), (3, 1, 4)), ((4, 9), (5, 4, 3, 1)), ((3, 2), (1, 1, 1, 2))]


def one(*batch: int, tolerated: float = 1.0) -> np.ndarray:
    """Return the log likelihood ratios of one batch."""
    return compared(np.array([batch]), np.array([tolerated]))[0]


def expected(candidate: int, stable: int, events: int, tolerated: float, odds: float) -> np.ndarray:
    """Return the expectation of a batch's likelihood ratios, given how many events there are in all."""
    counts = np.arange(max(0, events - stable), min(candidate, events) + 1)
    chances = nchypergeom_fisher.pmf(counts, candidate + stable, candidate, events, odds)
    ratios = [np.exp(one(candidate, count, stable, events - count, tolerated=tolerated)) for count in counts]
    return chances @ np.array(ratios)


@pytest.mark.parametrize("tolerated", [1.0, 1.2, 3.0])
@pytest.mark.parametrize("margins", MARGINS)
def test_at_the_tolerated_odds_the_expectation_is_one(margins: tuple[int, int, int], tolerated: float) -> None:
    """Over all outcomes of a batch, the ratio is 1 on average where the odds ratio is the tolerated one."""
    assert expected(*margins, tolerated, tolerated) == pytest.approx(np.ones(len(FACTORS)), rel=1e-9)


@pytest.mark.parametrize("odds", [0.1, 0.7, 1.0, 1.19])
@pytest.mark.parametrize("margins", MARGINS)
def test_below_the_tolerated_odds_the_expectation_is_at_most_one(margins: tuple[int, int, int], odds: float) -> None:
    """A version with fewer events than tolerated gains no evidence on average; above them it does."""
    assert (expected(*margins, 1.2, odds) <= 1 + 1e-9).all()
    assert (expected(*margins, 1.2, 2.0)[1:4] > 1).all()


def test_the_expectation_does_not_depend_on_how_common_events_are() -> None:
    """Two batches in a row, each with its own rate of events, have the expectation of 1 that each of them has."""
    for rates in ((0.1, 0.1), (0.02, 0.9)):
        total = np.zeros(len(FACTORS))
        for counts in itertools.product(range(4), range(6), range(4), range(6)):
            arms = zip(counts, (3, 5, 3, 5), (*rates[:1] * 2, *rates[1:] * 2), strict=True)
            chance = math.prod(binom.pmf(count, size, rate) for count, size, rate in arms)
            total += chance * np.exp(one(3, counts[0], 5, counts[1]) + one(3, counts[2], 5, counts[3]))
        assert total == pytest.approx(np.ones(len(FACTORS)), rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.tuples(st.integers(0, 400), st.integers(0, 4000)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    tolerated=st.floats(1, 5),
)
def test_ratios_are_those_of_the_definition(
    sizes: tuple[int, int], shares: tuple[float, float], tolerated: float
) -> None:
    """The ratio is that of Fisher's noncentral hypergeometric distribution, summed term by term."""
    candidate, stable = sizes
    ours, theirs = (round(size * share) for size, share in zip(sizes, shares, strict=True))
    counts = np.arange(max(0, ours + theirs - stable), min(candidate, ours + theirs) + 1)
    ways = -gammaln(counts + 1) - gammaln(candidate - counts + 1)
    ways -= gammaln(ours + theirs - counts + 1) + gammaln(stable - ours - theirs + counts + 1)
    odds = np.log(tolerated * FACTORS)[:, None]
    logs = odds[:, 0] * ours - np.logaddexp.reduce(ways + odds * counts, axis=1)
    assert one(candidate, ours, stable, theirs, tolerated=tolerated) == pytest.approx(
        logs - logs[0], abs=1e-6, rel=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(
    candidate=st.integers(1, 60),
    stable=st.integers(1, 60),
    events=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_one_event_more_of_the_candidate_never_speaks_for_it(
    candidate: int, stable: int, events: tuple[int, int]
) -> None:
    """Where one more request of the candidate has the event, no factor's ratio falls."""
    ours, theirs = min(events[0], candidate - 1), min(events[1], stable)
    assert (one(candidate, ours + 1, stable, theirs) >= one(candidate, ours, stable, theirs) - 1e-9).all()


FRESH = np.array([EVENLY])
NOTHING_TOLD = {
    "no-requests": (0, 0, 0, 0),
    "no-events": (50, 0, 900, 0),
    "nothing-but-events": (50, 50, 900, 900),
    "no-stable": (50, 7, 0, 0),
    "no-candidate": (0, 0, 900, 3),
}


@pytest.mark.parametrize("batch", NOTHING_TOLD.values(), ids=NOTHING_TOLD)
def test_a_batch_without_a_choice_says_nothing(batch: tuple[int, int, int, int]) -> None:
    """Where the events could have been on no other side, no evidence moves, to the bit."""
    assert (one(*batch) == 0).all()
    growth = FRESH
    assert (carried(growth, one(*batch)[None], FRESH) == growth).all()


def test_huge_counts_are_finite_right_and_take_little_memory() -> None:
    """Hundreds of thousands of requests are as exact as a few, within a few megabytes."""
    batches = np.array([(5_000, 20, 95_000, 300), (100_000, 50_000, 100_000, 49_000), (3, 1, 10**9, 10**8)])
    tracemalloc.start()
    logs = compared(batches, np.full(len(batches), 1.2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(logs).all()
    assert peak < 50e6
    parameters = [(100_000, 5_000, 320, 1.2 * factor) for factor in FACTORS[[0, 5]]]
    known = [nchypergeom_fisher.logpmf(20, *each) for each in parameters]
    assert logs[0, 5] == pytest.approx(known[1] - known[0], rel=1e-6)


def test_order_and_company_of_batches_do_not_matter() -> None:
    """A batch weighs the same alone as among thousands of others, wide and narrow."""
    random = np.random.default_rng(0)
    sizes = random.integers(0, 700, (3000, 2))
    events = random.binomial(sizes, random.random((3000, 2)))
    batches = np.stack([sizes[:, 0], events[:, 0], sizes[:, 1], events[:, 1]], axis=1)
    tolerated = random.uniform(1, 2, 3000)
    together = compared(batches, tolerated)
    for row in (0, 7, 1499, 2999):
        assert together[row] == pytest.approx(compared(batches[[row]], tolerated[[row]])[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("trials", "share"), [(1, 0.005), (40, 0.005), (200, 0.3), (3, 1.0)])
def test_events_beyond_a_share_have_an_expectation_of_one(trials: int, share: float) -> None:
    """At the share that is tolerated the expectation is 1, at half of it at most 1."""
    counts = np.arange(trials + 1)
    ratios = np.exp(beyond(np.full(trials + 1, trials), counts, np.full(trials + 1, share)))
    assert binom.pmf(counts, trials, share) @ ratios == pytest.approx(np.ones(len(FACTORS)), rel=1e-9)
    assert (binom.pmf(counts, trials, share / 2) @ ratios <= 1 + 1e-9).all()


def outcomes(total: int, bins: int) -> list[tuple[int, ...]]:
    """Return every way in which so many answers fall into bins."""
    return [way for way in itertools.product(range(total + 1), repeat=bins) if sum(way) == total]


@pytest.mark.parametrize(("arms", "pooled"), BINS)
def test_ranks_have_an_expectation_of_one_given_all_answers(arms: tuple[int, int], pooled: tuple[int, ...]) -> None:
    """Over all ways in which the pooled answers can be the candidate's, the ratio of ranks is 1 on average."""
    candidate = sum(pooled) - 3
    ways = [way for way in itertools.product(*(range(most + 1) for most in pooled)) if sum(way) == candidate]
    chances = np.array(
        [math.prod(math.comb(most, count) for most, count in zip(pooled, way, strict=True)) for way in ways]
    )
    ratios = np.exp(ordered(np.array(ways), np.array(pooled) - np.array(ways)))
    assert (chances / chances.sum()) @ ratios == pytest.approx(np.ones(len(FACTORS)), rel=1e-9)


FASTER = {
    "same": ((0.5, 0.3, 0.2), (0.5, 0.3, 0.2)),
    "faster": ((0.7, 0.2, 0.1), (0.5, 0.3, 0.2)),
    "faster-but-not-its-slowest": ((0.75, 0.05, 0.2), (0.5, 0.3, 0.2)),
}


@pytest.mark.parametrize(("mine", "theirs"), FASTER.values(), ids=FASTER)
def test_a_faster_candidate_gains_no_evidence_on_average(
    mine: tuple[float, float, float], theirs: tuple[float, float, float]
) -> None:
    """For every latency that is stochastically at most the stable's the expectation is at most 1; above, it is not."""
    ours, stables = np.array(outcomes(3, 3)), np.array(outcomes(4, 3))
    pairs = np.array(list(itertools.product(range(len(ours)), range(len(stables)))))
    ratios = np.exp(ordered(ours[pairs[:, 0]], stables[pairs[:, 1]]))
    chances = multinomial.pmf(ours, 3, mine)[pairs[:, 0]] * multinomial.pmf(stables, 4, theirs)[pairs[:, 1]]
    assert (chances @ ratios <= 1 + 1e-9).all()
    slower = multinomial.pmf(ours, 3, mine[::-1])[pairs[:, 0]] * multinomial.pmf(stables, 4, theirs)[pairs[:, 1]]
    assert (slower @ ratios)[1:6].min() > 1


def test_two_bins_are_events_and_the_rest() -> None:
    """Ranks in two bins are the same test as events among answers, with the square of the factor."""
    squares = np.log(FACTORS)[:, None] * 2
    for candidate, ours, stable, theirs in ((15, 4, 285, 30), (300, 180, 300, 150), (2, 1, 3, 1)):
        ranked = ordered(np.array([[candidate - ours, ours]]), np.array([[stable - theirs, theirs]]))[0]
        counts = np.arange(max(0, ours + theirs - stable), min(candidate, ours + theirs) + 1)
        logs = nchypergeom_fisher.logpmf(counts, candidate + stable, candidate, ours + theirs, 1)
        known = squares[:, 0] * ours - np.logaddexp.reduce(logs + squares * counts, axis=1)
        assert ranked == pytest.approx(known, rel=1e-6, abs=1e-6)


def test_no_look_alone_multiplies_evidence_by_more_than_its_bound() -> None:
    """A thousand errors at once count thirtyfold, and cutting ratios leaves an expectation of at most 1."""
    shocked = carried(FRESH, one(1000, 1000, 9000, 0)[None], FRESH)
    assert evidence(shocked)[0] <= ONE_LOOK
    assert evidence(shocked)[0] > ONE_LOOK - 0.1
    counts = np.arange(9)
    chances = nchypergeom_fisher.pmf(counts, 160, 8, 30, 1)
    looks = [one(8, count, 152, 30 - count)[None] for count in counts]
    grown = [np.exp(evidence(carried(FRESH, look, FRESH)))[0] for look in looks]
    assert chances @ np.array(grown) <= 1 + 1e-9


def test_a_fault_that_comes_late_is_found_as_soon_as_an_early_one() -> None:
    """A day of good looks delays a fault that begins then by a handful of looks, not by another day."""
    good, bad = one(300, 140, 300, 150)[None], one(300, 190, 300, 150)[None]

    def looks_until_found(growth: np.ndarray) -> int:
        looks = 0
        while evidence(growth)[0] < np.log(1000):
            growth, looks = carried(growth, bad, FRESH), looks + 1
        return looks

    day = FRESH
    for _ in range(2880):
        day = carried(day, good, FRESH)
    early = looks_until_found(FRESH)
    assert looks_until_found(day) <= early + 5


@pytest.mark.parametrize("stakes", [EVENLY, SMALL_FIRST], ids=["evenly", "small-first"])
def test_what_is_staked_is_one(stakes: tuple[float, ...]) -> None:
    """All stakes together are one franc, however they are shared out."""
    assert len(stakes) == len(FACTORS)
    assert np.exp(stakes).sum() == pytest.approx(1)


def test_a_small_difference_is_found_sooner_where_small_ones_have_the_larger_stake() -> None:
    """Half as many events more, look after look: small factors first need fewer looks, and the other way round."""

    def looks_until_found(stakes: tuple[float, ...], look: np.ndarray) -> int:
        growth, looks = np.array([stakes]), 0
        while evidence(growth)[0] < np.log(1000):
            growth, looks = carried(growth, look, np.array([stakes])), looks + 1
        return looks

    small, large = one(300, 115, 300, 100)[None], one(15, 1, 285, 0)[None]
    assert looks_until_found(SMALL_FIRST, small) < looks_until_found(EVENLY, small)
    assert looks_until_found(SMALL_FIRST, large) >= looks_until_found(EVENLY, large)
