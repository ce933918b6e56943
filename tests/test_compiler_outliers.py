"""Detectors of outliers: thresholds that some training rows meet exactly, some features a tree, missing numbers."""

from typing import Any

import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.test_compiler import NUMBERS, holds, mixed

MODELS: dict[str, Any] = {
    "contamination": IsolationForest(n_estimators=9, contamination=0.1, random_state=0),
    "some-features": IsolationForest(n_estimators=9, max_features=0.5, random_state=0),
    "few-rows": IsolationForest(n_estimators=9, max_samples=5, bootstrap=True, random_state=0),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_isolated_rows_equal_scikit_learn(name: str, dtype: str) -> None:
    """Scores are the same to the last bit that decides, for float64 and for float32 frames."""
    frame = NUMBERS.drop(columns="kind").astype(dict.fromkeys([*"abcd", "count"], dtype))
    holds(MODELS[name], frame, "amount")


@pytest.mark.parametrize("contamination", [0.1, 0.02])
def test_rows_outside_of_an_ellipse_equal_scikit_learn(contamination: float) -> None:
    """Distances in the fitted covariance are the same to the last bit that decides, scaled and not."""
    frame = NUMBERS.drop(columns="kind")
    model = EllipticEnvelope(contamination=contamination, random_state=0)
    holds(model, frame, "amount")
    holds(make_pipeline(StandardScaler(), model), frame, "amount")


def test_missing_numbers_are_isolated_too() -> None:
    """NaN goes where each tree sends it."""
    holds(IsolationForest(n_estimators=9, random_state=0), mixed()[["income", "visits", "age", "label"]], "label")
