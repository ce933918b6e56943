"""What a model is measured by: one table of metrics a task, each with a bootstrap interval."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import sklearn.metrics as sk

from function.contract import Metric
from lifecycle.resampling import values, weighted

RESAMPLES = 300
SMALLEST_SLICE = 30  # fewer rows say nothing about a slice
MANY_VALUES = 12  # a number with more distinct values is sliced by its quartiles


class Outcome(NamedTuple):
    """True and predicted values of the same rows, for one target; classes are numbered."""

    true: np.ndarray
    predicted: np.ndarray
    chances: np.ndarray | None  # rows x classes
    classes: np.ndarray | None
    positive: int | None  # of two classes, the one that metrics mean

    def take(self, rows: np.ndarray) -> "Outcome":
        """Return the outcome of some rows."""
        chances = None if self.chances is None else self.chances[rows]
        return self._replace(true=self.true[rows], predicted=self.predicted[rows], chances=chances)

    @property
    def is_true(self) -> np.ndarray:
        """1 where the true class is the positive one, else 0."""
        return np.asarray(self.true == self.positive, dtype=int)

    @property
    def known_chances(self) -> np.ndarray:
        """The probabilities, rows x classes; raises ValueError where there are none."""
        if self.chances is None:
            raise ValueError("the model gives no probabilities")
        return self.chances

    @property
    def chance(self) -> np.ndarray:
        """The probability of the positive class."""
        return np.asarray(self.known_chances[:, self.positive])


Measure = Callable[[Outcome], float]


class Measured(dict[str, Metric]):
    """Metrics by name, and by name why the others could not be measured."""

    def __init__(self, metrics: Mapping[str, Metric], reasons: Mapping[str, str]) -> None:
        super().__init__(metrics)
        self.reasons = reasons


class _Hits(NamedTuple):
    """Per class: how often it was predicted rightly, predicted at all, and true."""

    right: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


def _hits(outcome: Outcome) -> _Hits:
    """Count by class; scikit-learn's own checks would cost most of a bootstrap."""
    count = 0 if outcome.classes is None else len(outcome.classes)
    known = outcome.true >= 0  # a class that training never had is nobody's hit
    right = outcome.true[outcome.true == outcome.predicted]
    return _Hits(*(np.bincount(a, minlength=count) for a in (right, outcome.predicted, outcome.true[known])))


def _of_positive(ratio: Callable[[_Hits], np.ndarray]) -> Measure:
    """Return a metric of the positive class, or its average over the classes there are, where more than two."""

    def measured(outcome: Outcome) -> float:
        hits = _hits(outcome)
        if outcome.positive is None:
            return float(ratio(hits)[hits.true + hits.predicted > 0].mean())
        if not hits.true[outcome.positive]:
            raise ValueError("no row is of the positive class")
        return float(ratio(hits)[outcome.positive])

    return measured


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, and 0 where the whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return shares


def _precision(hits: _Hits) -> np.ndarray:
    return _share(hits.right, hits.predicted)


def _recall(hits: _Hits) -> np.ndarray:
    return _share(hits.right, hits.true)


def _f1(hits: _Hits) -> np.ndarray:
    return _share(2 * hits.right, hits.predicted + hits.true)


def _roc_auc(outcome: Outcome) -> float:
    if outcome.positive is not None:
        return float(sk.roc_auc_score(outcome.is_true, outcome.chance))
    return float(sk.roc_auc_score(outcome.true, outcome.known_chances, multi_class="ovr", labels=outcome.classes))


def _balanced_accuracy(outcome: Outcome) -> float:
    hits = _hits(outcome)
    return float(_recall(hits)[hits.true > 0].mean())


def _average_precision(outcome: Outcome) -> float:
    if outcome.positive is None:
        raise ValueError("it is for two classes")
    if not outcome.is_true.any():
        raise ValueError("no row is of the positive class")
    return float(sk.average_precision_score(outcome.is_true, outcome.chance))


def _brier(outcome: Outcome) -> float:
    if outcome.positive is None:
        raise ValueError("it is for two classes")
    return float(np.mean((outcome.chance - outcome.is_true) ** 2))


def _rmse(outcome: Outcome) -> float:
    return float(np.sqrt(np.mean((outcome.true - outcome.predicted) ** 2)))


METRICS: dict[str, dict[str, Measure]] = {
    "classification": {
        "accuracy": lambda o: float(np.mean(o.true == o.predicted)),
        "balanced_accuracy": _balanced_accuracy,
        "precision": _of_positive(_precision),
        "recall": _of_positive(_recall),
        "f1": _of_positive(_f1),
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "log_loss": lambda o: float(sk.log_loss(o.true, o.known_chances, labels=o.classes)),
        "brier": _brier,
    },
    "regression": {
        "mae": lambda o: float(np.mean(np.abs(o.true - o.predicted))),
        "rmse": _rmse,
        "median_absolute_error": lambda o: float(np.median(np.abs(o.true - o.predicted))),
        "r2": lambda o: float(sk.r2_score(o.true, o.predicted)),
    },
}


def measure(name: str, task: str, outcomes: list[Outcome]) -> float:
    """Return a metric, averaged over the targets; NaN where it cannot be measured, or overflows."""
    return _try(name, task, outcomes)[0]


def measure_all(task: str, test: list[Outcome], train: list[Outcome] | None) -> Measured:
    """Return every metric that can be measured, with the 95 % percentile bootstrap interval over test rows."""
    tried = {name: _try(name, task, test) for name in METRICS[task]}
    found = {name: value for name, (value, _) in tried.items()}
    kept = [name for name, value in found.items() if value == value]
    draws = values([weighted(name, test) for name in kept], len(test[0].true), RESAMPLES)
    metrics = {}
    for column, name in enumerate(kept):
        drawn = draws[:, column]
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (found[name], found[name])
        on_train = measure(name, task, train) if train else math.nan
        kept_train = None if math.isnan(on_train) else on_train
        metrics[name] = Metric(value=found[name], low=float(low), high=float(high), train=kept_train)
    return Measured(metrics, {name: reason for name, (_, reason) in tried.items() if reason})


def slices(column: Any) -> dict[str, np.ndarray]:
    """Return the rows of each slice of a column: its values, or its quartiles where it has many numbers."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MANY_VALUES:
        numbers = column.dropna().astype(float)
        quartiles = np.unique(np.quantile(numbers[np.isfinite(numbers)], [0.25, 0.5, 0.75]))
        column = pd.cut(column, [-np.inf, *quartiles, np.inf], include_lowest=True)
    groups = column.astype(object).where(column.notna(), "missing").to_numpy()
    texts = np.array([str(value) for value in groups])
    found = {text: np.flatnonzero(texts == text) for text in sorted(set(texts))}
    return {text: rows for text, rows in found.items() if rows.size >= SMALLEST_SLICE}


def _try(name: str, task: str, outcomes: list[Outcome]) -> tuple[float, str]:
    """Return a metric and nothing, or NaN and why it cannot be measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # undefined values come back as NaN, and are said so
        try:
            value = float(np.mean([METRICS[task][name](outcome) for outcome in outcomes]))
        except (ValueError, TypeError) as error:
            return math.nan, " ".join(str(error).split())
    return (value, "") if math.isfinite(value) else (math.nan, "it is not defined for these rows")
