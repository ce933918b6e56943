"""Has one revision more of some event than the other? An exact test that may be looked at as often as one likes.

Requests between two looks went to either revision by chance. Given how many each answered, and how many events there
were in all, the events on the candidate's side follow Fisher's noncentral hypergeometric distribution, whose only
parameter is the odds ratio: how common the event is, and how that changes with the hour, drops out.

The likelihood ratio of a larger odds ratio to the tolerated one has an expectation of at most 1 while the true one is
at most the tolerated one: it grows with the count, and the count with the odds ratio. The product over the looks,
averaged over a grid of odds ratios, is therefore a nonnegative supermartingale, which ever reaches 1 / alpha with a
probability of at most alpha (Ville's inequality, 1939). Sources: Turner, Ly, Grünwald, Generic E-variables for exact
sequential k-sample tests that allow for optional stopping (2024); Ramdas, Grünwald, Vovk, Shafer, Game-theoretic
statistics and safe anytime-valid inference (2023); for `carried`, Herbster, Warmuth, Tracking the best expert (1998).
"""

import numpy as np

# Odds ratios above the tolerated one, as factors: small ones need many requests and are found late, large ones early.
# The first one stakes nothing, so that it keeps what the others lose on a version that goes bad late.
FACTORS = np.concatenate([[1.0], np.geomspace(1.25, 100, 12)])
# The growth, as logs, before anything was seen: what is staked on each factor. Rare events are many times as many where
# something broke; answers that are slower or different are often so by little, which takes every bit of stake.
EVENLY = tuple(np.log(np.full(len(FACTORS), 1 / len(FACTORS))).tolist())
_SMALL = np.concatenate([[1.0], 1 / np.arange(1, len(FACTORS))])
SMALL_FIRST = tuple(np.log(_SMALL / _SMALL.sum()).tolist())
# What one look says counts at most thirtyfold: a stalled instance takes many requests with it at once, and no look
# alone may roll back. An expectation of at most 1 stays so when the largest values are cut.
ONE_LOOK = float(np.log(30))
# At each look that says something this share is spread anew over the grid, so that the next hour is not held to what
# fitted the last one.
SPREAD = 0.001
_BLOCK = 128  # counts at once: FACTORS ** _BLOCK is a float
_ROWS = 512  # batches at once, so that memory is bounded
_PAIRS = 1024  # of batches and factors


def compared(batches: np.ndarray, tolerated: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio of each of FACTORS for events split between two revisions, batches x factors.

    A batch is (candidate, its events, stable, its events); `tolerated` is the odds ratio from which the candidate has
    too many of them, one a batch.
    """
    logs = np.zeros((len(batches), len(FACTORS)))
    candidate, candidate_events, stable, stable_events = np.asarray(batches, dtype=float).T
    events = candidate_events + stable_events
    low = np.maximum(0, events - stable)
    width = np.minimum(candidate, events) - low
    telling = np.flatnonzero(width > 0)
    telling = telling[np.argsort(width[telling], kind="stable")]  # alike in width, so that few cells are padding
    for start in range(0, len(telling), _ROWS):
        rows = telling[start : start + _ROWS]
        totals = _log_totals(candidate[rows], stable[rows], events[rows], low[rows], np.log(tolerated[rows]))
        logs[rows] = np.log(FACTORS) * (candidate_events - low)[rows, None] - (totals - totals[:, :1])
    return logs


def beyond(trials: np.ndarray, events: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio of each of FACTORS for events that each trial may be with at most `share`."""
    expected = np.log1p(share[:, None] * (FACTORS - 1))
    return np.asarray(np.log(FACTORS) * events[:, None] - trials[:, None] * expected)


def ordered(candidate: np.ndarray, stable: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio of each of FACTORS for answers sorted into bins, batches x factors.

    `candidate` and `stable` are batches x bins, the slowest answers in the last bin. An answer's odds of being the
    candidate's grow with its bin, from 1 to the square of the factor. Given how many answers are in each bin, who gave
    them is a draw without replacement. The ratio never falls when one of the candidate's answers moves to a slower bin,
    so its expectation is at most 1 for every candidate whose latency is stochastically at most the stable's.
    """
    logs = np.zeros((len(candidate), len(FACTORS)))
    totals = np.stack([candidate.sum(axis=1), stable.sum(axis=1)])
    telling = np.flatnonzero(totals.all(axis=0))
    telling = telling[np.argsort(totals[:, telling].min(axis=0), kind="stable")]
    scores = np.linspace(0, 2, candidate.shape[1])
    for start in range(0, len(telling), _ROWS):
        rows = telling[start : start + _ROWS]
        pooled = (candidate[rows] + stable[rows]).astype(float)
        ways = _log_ways(pooled, totals[0, rows].astype(float), np.log(FACTORS)[:, None] * scores)
        logs[rows] = np.log(FACTORS) * (candidate[rows] @ scores)[:, None] - (ways - ways[:, :1])
    return logs


def carried(growth: np.ndarray, logs: np.ndarray, stakes: np.ndarray) -> np.ndarray:
    """Return the growth after a look, all as logs, ... x factors; a look that says nothing leaves it as it was."""
    telling = logs.any(axis=-1)
    old, after = growth[telling], np.array(growth)
    spread = np.log(SPREAD) + np.broadcast_to(stakes, growth.shape)[telling] + evidence(old)[:, None]
    after[telling] = np.logaddexp(np.log1p(-SPREAD) + old, spread) + np.minimum(logs[telling], ONE_LOOK)
    return after


def evidence(growth: np.ndarray) -> np.ndarray:
    """Return the log of the evidence that there are more events than tolerated: of the sum over the factors."""
    peak = growth.max(axis=-1)
    return np.asarray(peak + np.log(np.exp(growth - peak[..., None]).sum(axis=-1)))


def _log_totals(
    candidate: np.ndarray, stable: np.ndarray, events: np.ndarray, low: np.ndarray, log_odds: np.ndarray
) -> np.ndarray:
    """Return the log of the sum over the possible counts of ways * odds ** count * factor ** (count - low), per factor.

    Ways are relative to those of the lowest possible count. Counts are taken block by block, each relative to its
    largest term: what underflows is a share of less than 1e-60 of the sum, since FACTORS ** _BLOCK is below 1e257.
    """
    totals = np.full((len(low), len(FACTORS)), -np.inf)
    high = np.minimum(candidate, events)
    powers = FACTORS ** np.arange(_BLOCK)[:, None]
    first = np.zeros(len(low))
    for offset in range(0, int((high - low).max()) + 1, _BLOCK):
        size = min(_BLOCK, int((high - low).max()) + 1 - offset)
        count = low[:, None] + np.arange(offset, offset + size)
        ways = (candidate[:, None] - count).clip(0) * (events[:, None] - count).clip(0)
        with np.errstate(divide="ignore"):  # beyond the highest possible count there is no way
            steps = (
                np.log(ways / ((count + 1) * (stable - events + 1)[:, None] + count * (count + 1))) + log_odds[:, None]
            )
        terms = first[:, None] + np.concatenate([np.zeros((len(low), 1)), steps[:, :-1].cumsum(axis=1)], axis=1)
        first = terms[:, -1] + steps[:, -1]
        peak = np.maximum(terms.max(axis=1, keepdims=True), -1e300)
        with np.errstate(divide="ignore"):
            block = np.log(np.exp(terms - peak) @ powers[:size])
        totals = np.logaddexp(totals, block + peak + offset * np.log(FACTORS))
    return totals


def _log_ways(pooled: np.ndarray, drawn: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return the log of the weighted number of ways to draw so many of the pooled answers, batches x factors.

    It is the coefficient of t ** drawn in the product over bins of (1 + odds * t) ** pooled. On the circle through the
    saddle point that product is, but for a constant, the chance that a sum of independent draws is its own mean.
    """
    log_radius = _saddle(pooled, drawn, log_odds)
    chance = 1 / (1 + np.exp(-(log_radius[..., None] + log_odds)))  # batches x factors x bins
    bins = pooled.shape[1]
    whole = (pooled[:, None] * -np.log1p(-chance)).sum(axis=-1) - drawn[:, None] * log_radius
    each = np.broadcast_to(pooled[:, None], chance.shape).reshape(-1, bins)
    mean = _log_chance_of_sum(each, chance.reshape(-1, bins), np.repeat(drawn, len(log_odds)))
    return np.asarray(whole + mean.reshape(log_radius.shape))


def _log_chance_of_sum(pooled: np.ndarray, chance: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the log of the chance that `pooled` independent draws per bin, each with its chance, are `drawn` in all.

    It is the mean of the characteristic function over the circle. With evenly spaced angles the error is the chance to
    be a multiple of their number off, and where the function is below 1e-13 angles are left out.
    """
    spread = chance * (1 - chance)
    variance = (pooled * spread).sum(axis=1)
    logs = np.empty(len(drawn))
    order = np.argsort(variance)  # alike in width, so that all of a part need as many angles
    for start in range(0, len(order), _PAIRS):
        at = order[start : start + _PAIRS]
        points = int(min(7 * np.sqrt(variance[at[-1]]) + 16, pooled[at].sum(axis=1).max() + 1))
        angles = 2 * np.pi / points * np.arange(points // 2 + 1)
        angles = angles[variance[at[0]] * (1 - np.cos(angles)) < 30]
        total = np.zeros(len(at))
        for index, angle in enumerate(angles):
            left = 1 - np.cos(angle)
            size = (pooled[at] * np.log(np.maximum(1 - 2 * spread[at] * left, 1e-300))).sum(axis=1) / 2
            turn = (pooled[at] * np.arctan2(chance[at] * np.sin(angle), 1 - chance[at] * left)).sum(axis=1)
            weight = 1 if index == 0 or 2 * index == points else 2
            total += weight / points * np.exp(size) * np.cos(turn - angle * drawn[at])
        logs[at] = np.log(total)
    return logs


def _saddle(pooled: np.ndarray, drawn: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return the log radius at which the expected number of draws is `drawn`, by bisection, batches x factors."""
    near = np.log(drawn) - np.log(pooled.sum(axis=1) - drawn)
    low, high = near[:, None] - log_odds.max(axis=1), near[:, None] - log_odds.min(axis=1)
    for _ in range(12):  # near is enough: the radius only decides how many angles it takes
        middle = (low + high) / 2
        expected = (pooled[:, None] / (1 + np.exp(-(middle[..., None] + log_odds)))).sum(axis=-1)
        few = expected < drawn[:, None]
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return np.asarray((low + high) / 2)
