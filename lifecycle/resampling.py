"""The paired bootstrap: every metric on many resamples of the same rows at once, each resample a row of weights.

A resample is how often each row was drawn. What is compared is measured on the same draws, so that a row that is hard
for both does not count as noise between them. The metrics repeat those of metrics.py, which has the reasons and the
single values; a test holds the two together.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lifecycle.metrics import Outcome

BLOCK = 2_000_000  # weights held at once: some 16 MB, whatever the number of rows
BINS = 10  # of a calibration curve, equally filled
TINY = np.finfo(float).eps

Weighted = Callable[[np.ndarray], np.ndarray]  # weights, resamples x rows -> one value a resample; NaN: undefined


def resample(count: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield blocks of weights, resamples x rows: how often each of `count` rows was drawn."""
    random = np.random.default_rng(seed)
    step = max(1, BLOCK // max(1, count))
    for start in range(0, resamples, step):
        drawn = [random.integers(0, count, count) for _ in range(min(step, resamples - start))]
        yield np.array([np.bincount(rows, minlength=count) for rows in drawn], dtype=float)


def values(measures: Sequence[Weighted], count: int, resamples: int) -> np.ndarray:
    """Return each measure on every resample of `count` rows, resamples x measures."""
    with np.errstate(all="ignore"):  # a resample without a positive row has no recall: NaN, and said so by who asks
        blocks = [np.column_stack([one(weights) for one in measures]) for weights in resample(count, resamples)]
    return np.concatenate(blocks) if measures else np.empty((resamples, 0))


def weighted(name: str, outcomes: "Sequence[Outcome]") -> Weighted:
    """Return a metric of metrics.METRICS, or `calibration`, as a function of weights, averaged over the targets."""
    prepared = [PREPARE[name](outcome) for outcome in outcomes]
    return lambda weights: np.mean([one(weights) for one in prepared], axis=0)


def on_rows(measure: Weighted, rows: np.ndarray | None) -> Weighted:
    """Return a measure that was prepared for some rows as one of weights of all rows."""
    return measure if rows is None else lambda weights: measure(weights[:, rows])


def _mean(losses: np.ndarray) -> Weighted:
    return lambda weights: weights @ losses / weights.sum(axis=1)


def _accuracy(outcome: "Outcome") -> Weighted:
    return _mean((outcome.true == outcome.predicted).astype(float))


def _brier(outcome: "Outcome") -> Weighted:
    if outcome.positive is None:
        raise ValueError("it is for two classes")
    return _mean((outcome.chance - outcome.is_true) ** 2)


def _log_loss(outcome: "Outcome") -> Weighted:
    own = np.take_along_axis(outcome.known_chances, np.maximum(outcome.true, 0)[:, None], axis=1)[:, 0]
    return _mean(np.where(outcome.true < 0, np.nan, -np.log(np.clip(own, TINY, 1 - TINY))))


def _absolute(outcome: "Outcome") -> Weighted:
    return _mean(np.abs(outcome.true - outcome.predicted))


def _rmse(outcome: "Outcome") -> Weighted:
    squared = _mean((outcome.true - outcome.predicted) ** 2)
    return lambda weights: np.sqrt(squared(weights))


def _r2(outcome: "Outcome") -> Weighted:
    squared = _mean((outcome.true - outcome.predicted) ** 2)
    centred = outcome.true - outcome.true.mean()
    mean, power = _mean(centred), _mean(centred**2)
    return lambda weights: 1 - squared(weights) / (power(weights) - mean(weights) ** 2)


def _median(outcome: "Outcome") -> Weighted:
    errors = np.abs(outcome.true - outcome.predicted)
    order = np.argsort(errors)
    ordered = errors[order]

    def measured(weights: np.ndarray) -> np.ndarray:
        drawn = np.cumsum(weights[:, order], axis=1)
        total = drawn[:, -1:]
        lower = (drawn >= np.floor((total + 1) / 2)).argmax(axis=1)
        upper = (drawn >= np.floor((total + 2) / 2)).argmax(axis=1)
        return np.asarray((ordered[lower] + ordered[upper]) / 2)

    return measured


Ratio = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of rows hit, predicted and true, by class


def _hits(outcome: "Outcome") -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the function from weights to how often each class was hit, predicted and true, resamples x classes."""
    classes = np.arange(0 if outcome.classes is None else len(outcome.classes))
    predicted = (outcome.predicted[:, None] == classes).astype(float)
    true = (outcome.true[:, None] == classes).astype(float)
    return lambda weights: (weights @ (predicted * true), weights @ predicted, weights @ true)


def _by_class(ratio: Ratio) -> Callable[["Outcome"], Weighted]:
    """Return a ratio of the positive class, or its average over the classes there are, where more than two."""

    def prepare(outcome: "Outcome") -> Weighted:
        count, positive = _hits(outcome), outcome.positive

        def measured(weights: np.ndarray) -> np.ndarray:
            right, predicted, true = count(weights)
            ratios = ratio(right, predicted, true)
            if positive is None:
                return _average(ratios, true + predicted > 0)
            return np.where(true[:, positive] > 0, ratios[:, positive], np.nan)

        return measured

    return prepare


def _balanced_accuracy(outcome: "Outcome") -> Weighted:
    count = _hits(outcome)

    def measured(weights: np.ndarray) -> np.ndarray:
        right, _, true = count(weights)
        return _average(_share(right, true), true > 0)

    return measured


def _average(ratios: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.asarray((ratios * there).sum(axis=1) / there.sum(axis=1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, and 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


def _roc_auc(outcome: "Outcome") -> Weighted:
    if outcome.positive is not None:
        return _area(outcome.is_true, outcome.chance)
    chances = outcome.known_chances
    each = [_area((outcome.true == index).astype(int), chances[:, index]) for index in range(chances.shape[1])]
    return lambda weights: np.mean([one(weights) for one in each], axis=0)


def _area(is_true: np.ndarray, scores: np.ndarray) -> Weighted:
    """Return the share of pairs of a positive and a negative row that the scores put in order; a tie is half a pair."""
    order = np.argsort(scores, kind="stable")
    starts = _starts(scores[order])
    positive = is_true[order].astype(float)

    def measured(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, order]
        good = np.add.reduceat(drawn * positive, starts, axis=1)
        bad = np.add.reduceat(drawn * (1 - positive), starts, axis=1)
        below = np.cumsum(bad, axis=1) - bad / 2
        return np.asarray((good * below).sum(axis=1) / (good.sum(axis=1) * bad.sum(axis=1)))

    return measured


def _average_precision(outcome: "Outcome") -> Weighted:
    if outcome.positive is None:
        raise ValueError("it is for two classes")
    order = np.argsort(-outcome.chance, kind="stable")
    starts = _starts(outcome.chance[order])
    positive = outcome.is_true[order].astype(float)

    def measured(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, order]
        good = np.add.reduceat(drawn * positive, starts, axis=1)
        found = np.cumsum(good, axis=1)
        named = np.cumsum(np.add.reduceat(drawn, starts, axis=1), axis=1)
        return np.asarray((good * _share(found, named)).sum(axis=1) / good.sum(axis=1))

    return measured


def _starts(ordered: np.ndarray) -> np.ndarray:
    """Return where each run of equal values begins."""
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _calibration(outcome: "Outcome") -> Weighted:
    """Return how far probabilities are from shares, on average over bins; of numbers, how far the mean is off.

    Of two classes the probability is the positive one's, of more that of the predicted class. A mean residual is given
    as a share of the target's standard deviation.
    """
    if outcome.classes is None:
        spread = outcome.true.std() or 1.0
        residual = _mean((outcome.predicted - outcome.true) / spread)
        return lambda weights: np.abs(residual(weights))
    if outcome.positive is not None:
        chances, happened = outcome.chance, outcome.is_true
    else:
        chances = outcome.known_chances.max(axis=1)
        happened = (outcome.known_chances.argmax(axis=1) == outcome.true).astype(int)
    edges = np.unique(np.quantile(chances, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, chances, side="right")
    excess = np.eye(len(edges) + 1)[bins] * (chances - happened)[:, None]
    return lambda weights: np.abs(weights @ excess).sum(axis=1) / weights.sum(axis=1)


PREPARE: dict[str, Callable[["Outcome"], Weighted]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _by_class(lambda right, predicted, true: _share(right, predicted)),
    "recall": _by_class(lambda right, predicted, true: _share(right, true)),
    "f1": _by_class(lambda right, predicted, true: _share(2 * right, predicted + true)),
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "mae": _absolute,
    "rmse": _rmse,
    "median_absolute_error": _median,
    "r2": _r2,
    "calibration": _calibration,
}
