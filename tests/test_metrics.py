"""Metrics held against scikit-learn's own functions, their intervals, and the slices they are measured in."""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from lifecycle import metrics
from lifecycle.metrics import MANY_VALUES, METRICS, SMALLEST_SLICE, Outcome, measure, measure_all, slices

ROWS = 300


def outcome_of(true: Any, chances: Any, positive: int | None = None) -> Outcome:
    """Return the outcome of a classifier that predicts the likeliest class."""
    chances = np.asarray(chances)
    classes = np.arange(chances.shape[1])
    return Outcome(np.asarray(true), chances.argmax(axis=1), chances, classes, positive)


def binary(positive: int = 1, rows: int = ROWS) -> Outcome:
    """Return an outcome of two classes that is right more often than not."""
    random = np.random.default_rng(1)
    true = random.integers(0, 2, rows)
    chance = np.clip(0.5 + (true - 0.5) * 0.4 + random.normal(0, 0.25, rows), 0.01, 0.99)
    return outcome_of(true, np.c_[1 - chance, chance], positive)


def multiclass(rows: int = ROWS) -> Outcome:
    """Return an outcome of four classes."""
    random = np.random.default_rng(2)
    true = random.integers(0, 4, rows)
    chances = random.random((rows, 4)) + 0.8 * np.eye(4)[true]
    return outcome_of(true, chances / chances.sum(axis=1, keepdims=True))


def numbers(seed: int = 3, rows: int = ROWS) -> Outcome:
    """Return an outcome of a regression."""
    random = np.random.default_rng(seed)
    true = random.normal(10, 3, rows)
    return Outcome(true, true + random.normal(0, 1, rows), None, None, None)


OF_TWO = {
    "accuracy": lambda o: sk.accuracy_score(o.true, o.predicted),
    "balanced_accuracy": lambda o: sk.balanced_accuracy_score(o.true, o.predicted),
    "precision": lambda o: sk.precision_score(o.true, o.predicted, pos_label=o.positive),
    "recall": lambda o: sk.recall_score(o.true, o.predicted, pos_label=o.positive),
    "f1": lambda o: sk.f1_score(o.true, o.predicted, pos_label=o.positive),
    "roc_auc": lambda o: sk.roc_auc_score(o.true == o.positive, o.chances[:, o.positive]),
    "average_precision": lambda o: sk.average_precision_score(o.true == o.positive, o.chances[:, o.positive]),
    "log_loss": lambda o: sk.log_loss(o.true, o.chances),
    "brier": lambda o: sk.brier_score_loss(o.true == o.positive, o.chances[:, o.positive]),
}
OF_MANY = {
    "accuracy": lambda o: sk.accuracy_score(o.true, o.predicted),
    "balanced_accuracy": lambda o: sk.balanced_accuracy_score(o.true, o.predicted),
    "precision": lambda o: sk.precision_score(o.true, o.predicted, average="macro"),
    "recall": lambda o: sk.recall_score(o.true, o.predicted, average="macro"),
    "f1": lambda o: sk.f1_score(o.true, o.predicted, average="macro"),
    "roc_auc": lambda o: sk.roc_auc_score(o.true, o.chances, multi_class="ovr"),
    "log_loss": lambda o: sk.log_loss(o.true, o.chances, labels=o.classes),
}
OF_NUMBERS = {
    "mae": lambda true, predicted: sk.mean_absolute_error(true, predicted),
    "rmse": lambda true, predicted: sk.root_mean_squared_error(true, predicted),
    "median_absolute_error": lambda true, predicted: sk.median_absolute_error(true, predicted),
    "r2": lambda true, predicted: sk.r2_score(true, predicted),
}


def test_the_tables_hold_every_metric() -> None:
    """No metric goes without its counterpart in scikit-learn."""
    assert set(OF_TWO) == set(METRICS["classification"])
    assert set(OF_NUMBERS) == set(METRICS["regression"])


@pytest.mark.parametrize("positive", [0, 1])
@pytest.mark.parametrize("name", OF_TWO)
def test_a_metric_of_two_classes_is_scikit_learns(name: str, positive: int) -> None:
    """Whichever of the two classes is the positive one, the value is that of scikit-learn's function."""
    outcome = binary(positive)
    assert measure(name, "classification", [outcome]) == pytest.approx(OF_TWO[name](outcome), rel=1e-12)


@pytest.mark.parametrize("name", OF_MANY)
def test_a_metric_of_many_classes_is_scikit_learns(name: str) -> None:
    """With more than two classes, metrics of one class are averaged over the classes."""
    assert measure(name, "classification", [multiclass()]) == pytest.approx(OF_MANY[name](multiclass()), rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss"])
def test_a_class_without_rows_counts_for_nothing(name: str) -> None:
    """A class that neither occurs nor was predicted in these rows does not draw an average down."""
    whole = multiclass()
    rows = np.flatnonzero((whole.true < 3) & (whole.predicted < 3))
    outcome = whole.take(rows)
    assert measure(name, "classification", [outcome]) == pytest.approx(OF_MANY[name](outcome), rel=1e-12)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_metric_of_numbers_is_scikit_learns(name: str) -> None:
    """One target gives scikit-learn's value, several give its uniform average."""
    one, other = numbers(3), numbers(4)
    assert measure(name, "regression", [one]) == pytest.approx(OF_NUMBERS[name](one.true, one.predicted), rel=1e-12)
    expected = OF_NUMBERS[name](np.c_[one.true, other.true], np.c_[one.predicted, other.predicted])
    assert measure(name, "regression", [one, other]) == pytest.approx(expected, rel=1e-12)


def test_several_labels_a_row_are_averaged() -> None:
    """Targets with other numbers of classes are measured one by one, then averaged."""
    two, many = binary()._replace(positive=None), multiclass()
    expected = (sk.accuracy_score(two.true, two.predicted) + sk.accuracy_score(many.true, many.predicted)) / 2
    assert measure("accuracy", "classification", [two, many]) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["brier", "average_precision"])
def test_a_metric_of_two_classes_is_none_of_many(name: str) -> None:
    """What is defined for two classes is not measured with more."""
    assert math.isnan(measure(name, "classification", [multiclass()]))


@pytest.mark.parametrize("name", ["recall", "precision", "f1", "roc_auc", "average_precision"])
def test_without_a_positive_row_there_is_no_metric(name: str) -> None:
    """Where no row is of the positive class, nothing can be said about it, rather than 0 or 1."""
    outcome = binary()
    assert math.isnan(measure(name, "classification", [outcome.take(np.flatnonzero(outcome.true == 0))]))


def test_without_a_negative_row_there_is_no_order() -> None:
    """Rows of the positive class alone cannot be told from others."""
    outcome = binary()
    alone = outcome.take(np.flatnonzero(outcome.true == 1))
    assert math.isnan(measure("roc_auc", "classification", [alone]))
    assert measure("recall", "classification", [alone]) == measure("recall", "classification", [outcome])


def test_metrics_of_probabilities_need_probabilities() -> None:
    """A model without predict_proba is measured by its labels alone."""
    found = measure_all("classification", [binary()._replace(chances=None)], None)
    assert set(found) == {"accuracy", "balanced_accuracy", "precision", "recall", "f1"}


def test_a_class_that_training_never_had_is_nobodys_hit() -> None:
    """A row of an unknown class is a wrong answer, and no warning or failure."""
    outcome = binary()
    true = outcome.true.copy()
    true[:30] = -1
    changed = outcome._replace(true=true)
    assert measure("accuracy", "classification", [changed]) == pytest.approx(np.mean(true == outcome.predicted))
    assert measure("recall", "classification", [changed]) == pytest.approx(
        sk.recall_score(true[30:], outcome.predicted[30:])
    )


def test_an_interval_contains_its_value_and_narrows_with_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 95 % bootstrap interval lies around the value, and a hundred times the rows give a narrower one."""
    monkeypatch.setattr(metrics, "RESAMPLES", 60)
    few = measure_all("classification", [binary(rows=80)], None)
    many = measure_all("classification", [binary(rows=8000)], None)
    assert set(few) == set(many) == set(OF_TWO)
    for name in few:
        assert few[name].low <= few[name].value <= few[name].high
        assert many[name].low <= many[name].value <= many[name].high
        assert many[name].high - many[name].low < (few[name].high - few[name].low) / 2


def test_an_interval_is_about_as_wide_as_theory_has_it() -> None:
    """The interval of a mean is that of its standard error."""
    outcome = numbers(rows=1000)
    found = measure_all("regression", [outcome], None)["mae"]
    errors = np.abs(outcome.true - outcome.predicted)
    assert found.high - found.low == pytest.approx(2 * 1.96 * errors.std() / np.sqrt(1000), rel=0.15)


def test_measuring_is_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same outcomes give the same intervals."""
    monkeypatch.setattr(metrics, "RESAMPLES", 20)
    assert measure_all("regression", [numbers()], None) == measure_all("regression", [numbers()], None)


def test_training_rows_are_measured_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric holds its value on the training rows, and none where that is unknown or cannot be measured."""
    monkeypatch.setattr(metrics, "RESAMPLES", 5)
    train = binary(rows=50)
    known = measure_all("classification", [binary()], [train])
    assert known["accuracy"].train == measure("accuracy", "classification", [train])
    assert measure_all("classification", [binary()], None)["accuracy"].train is None
    alone = train.take(np.flatnonzero(train.true == 0))
    assert measure_all("classification", [binary()], [alone])["roc_auc"].train is None


def test_what_cannot_be_measured_is_left_out_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes of a single class give the metrics that still mean something, and no noise."""
    monkeypatch.setattr(metrics, "RESAMPLES", 5)
    outcome = binary()
    alone = outcome.take(np.flatnonzero(outcome.true == 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure_all("classification", [alone], None)
    assert set(found) == {"accuracy", "balanced_accuracy", "log_loss", "brier"}
    assert found.reasons["recall"] == "no row is of the positive class"
    assert set(found.reasons) == set(OF_TWO) - set(found)


def test_why_a_metric_is_left_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities that are not there and classes that are too many are named, metric by metric."""
    monkeypatch.setattr(metrics, "RESAMPLES", 5)
    unsure = measure_all("classification", [binary()._replace(chances=None)], None)
    assert {unsure.reasons[name] for name in ("roc_auc", "log_loss", "brier")} == {"the model gives no probabilities"}
    many = measure_all("classification", [binary()._replace(positive=None)], None)
    assert many.reasons["brier"] == many.reasons["average_precision"] == "it is for two classes"


SLICES: dict[str, tuple[Any, dict[str, int]]] = {
    "text": (["a"] * 40 + ["b"] * 30, {"a": 40, "b": 30}),
    "small-ones-skipped": (["a"] * 40 + ["b"] * (SMALLEST_SLICE - 1), {"a": 40}),
    "missing": (["a"] * 30 + [None] * 35, {"a": 30, "missing": 35}),
    "missing-numbers": ([1.0] * 30 + [np.nan] * 35, {"1.0": 30, "missing": 35}),
    "booleans": ([True] * 30 + [False] * 30, {"True": 30, "False": 30}),
    "few-numbers": (list(range(MANY_VALUES)) * 30, {str(value): 30 for value in range(MANY_VALUES)}),
    "category": (pd.Categorical(["a"] * 30, categories=["a", "unused"]), {"a": 30}),
    "nullable-integers": (pd.array([1] * 30 + [None] * 30, "Int64"), {"1": 30, "missing": 30}),
}


@pytest.mark.parametrize("case", SLICES)
def test_a_slice_is_the_rows_of_a_value(case: str) -> None:
    """Each value that thirty rows share is a slice, missing values too."""
    values, counts = SLICES[case]
    column = pd.Series(values, index=np.arange(len(values)) * 7)
    found = slices(column)
    assert {text: len(rows) for text, rows in found.items()} == counts
    for text, rows in found.items():
        assert {("missing" if pd.isna(value) else str(value)) for value in column.iloc[rows]} == {text}


@pytest.mark.parametrize("dtype", ["float64", "Int64"])
def test_many_numbers_are_sliced_by_their_quartiles(dtype: str) -> None:
    """A column of many numbers has four slices of about the same size, and one of what is missing."""
    column = pd.Series([*range(200), *[None] * 40], dtype=dtype)
    found = slices(column)
    assert sorted(map(len, found.values())) == [40, 50, 50, 50, 50]
    assert "missing" in found


def test_numbers_that_pile_up_have_fewer_slices() -> None:
    """Where quartiles coincide, the slices are merged and every row is in one."""
    found = slices(pd.Series([0] * 150 + list(range(1, 51))))
    assert sum(map(len, found.values())) == 200


def test_infinite_numbers_are_sliced() -> None:
    """An infinity in the column is no failure."""
    assert sum(map(len, slices(pd.Series([*map(float, range(199)), np.inf, -np.inf])).values())) == 201


def test_an_error_beyond_all_numbers_is_no_metric() -> None:
    """A value that overflows is left out: JSON has no infinity, and no limit could be held against it."""
    true = np.array([1e200, -1e200, 0.0])
    outcome = Outcome(true, true * -1e10, None, None, None)
    assert math.isnan(measure("rmse", "regression", [outcome]))
    assert measure("mae", "regression", [outcome]) > 1e200
