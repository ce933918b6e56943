"""The bootstrap on weights: the very metrics of metrics.py, on rows that were drawn again."""

import numpy as np
import pytest

from lifecycle.metrics import METRICS, Outcome, measure
from lifecycle.resampling import BLOCK, on_rows, resample, values, weighted


def classes(rows: int, count: int, positive: int | None) -> Outcome:
    """Return an outcome whose probabilities have ties and know something."""
    random = np.random.default_rng(rows)
    true = random.integers(0, count, rows)
    chances = random.dirichlet(np.ones(count), rows) + 0.3 * np.eye(count)[true]
    chances = (chances / chances.sum(axis=1, keepdims=True)).round(1)
    chances[:, 0] += 1 - chances.sum(axis=1)
    chances = chances.clip(0, 1)
    return Outcome(true, chances.argmax(axis=1), chances, np.arange(count), positive)


def numbers(rows: int) -> Outcome:
    """Return an outcome of numbers far from 0."""
    random = np.random.default_rng(rows)
    true = random.normal(50, 1, rows)
    return Outcome(true, true + random.normal(0, 0.5, rows), None, None, None)


OUTCOMES = {
    "two-classes": ("classification", [classes(120, 2, 1)]),
    "two-classes-the-other": ("classification", [classes(120, 2, 0)]),
    "four-classes": ("classification", [classes(150, 4, None)]),
    "two-targets": ("classification", [classes(90, 3, None), classes(90, 2, None)]),
    "few-rows": ("classification", [classes(6, 2, 1)]),
    "numbers": ("regression", [numbers(101)]),
    "an-even-number-of-numbers": ("regression", [numbers(100)]),
    "two-targets-of-numbers": ("regression", [numbers(60), numbers(60)]),
}
CASES = [
    (case, name)
    for case, (task, outcomes) in OUTCOMES.items()
    for name in METRICS[task]
    if np.isfinite(measure(name, task, outcomes))
]


@pytest.mark.parametrize(("case", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_a_weighted_metric_is_the_metric_of_the_rows_drawn(case: str, name: str) -> None:
    """Each row weighs as often as it was drawn; what metrics.py cannot measure is not finite here."""
    task, outcomes = OUTCOMES[case]
    rows = len(outcomes[0].true)
    (weights,) = resample(rows, 12)
    with np.errstate(all="ignore"):
        found = weighted(name, outcomes)(weights)
    for one, drawn in zip(found, weights.astype(int), strict=True):
        expected = measure(name, task, [outcome.take(np.repeat(np.arange(rows), drawn)) for outcome in outcomes])
        if np.isfinite(expected):
            assert one == pytest.approx(expected, rel=1e-9)
        else:
            assert not np.isfinite(one)


def test_calibration_is_how_far_probabilities_are_from_shares() -> None:
    """What is as sure as it is right has none; what is always sure and right half of the time has 0.5."""
    true = np.tile([0, 1], 500)
    right = Outcome(true, true, np.eye(2)[true], np.arange(2), 1)
    sure = Outcome(true, np.ones(1000, int), np.tile([0.0, 1.0], (1000, 1)), np.arange(2), 1)
    everything = np.ones((1, 1000))
    assert weighted("calibration", [right])(everything) == pytest.approx(0)
    assert weighted("calibration", [sure])(everything) == pytest.approx(0.5)
    high = numbers(400)
    high = high._replace(predicted=high.true + 2 * high.true.std())
    assert weighted("calibration", [high])(np.ones((1, 400))) == pytest.approx(2)


def test_resamples_are_repeatable_and_come_in_blocks() -> None:
    """However many rows there are, so many weights are held at once; each resample draws as many rows as there are."""
    blocks = list(resample(BLOCK // 4, 10))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert all((block.sum(axis=1) == BLOCK // 4).all() for block in blocks)
    first, again = (np.concatenate(list(resample(50, 7))) for _ in range(2))
    assert (first == again).all()
    assert len(np.unique(first, axis=0)) == 7


def test_what_is_measured_on_some_rows_takes_weights_of_all() -> None:
    """A slice is resampled with the rows around it: one draw for everybody."""
    outcome = classes(80, 2, 1)
    rows = np.arange(0, 80, 3)
    part = on_rows(weighted("accuracy", [outcome.take(rows)]), rows)
    found = values([part, weighted("accuracy", [outcome])], 80, 5)
    assert found.shape == (5, 2)
    (weights,) = resample(80, 5)
    right = outcome.true == outcome.predicted
    assert found[:, 0] == pytest.approx([np.average(right[rows], weights=one[rows]) for one in weights])
