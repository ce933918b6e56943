"""Imputers held to scikit-learn: predictions column by column, nearest rows, other values for missing, marks."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model as lm
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline, make_union

from function.engines.operations import Parameters
from function.engines.operations.imputation import DISTANCES, impute_nearest
from tests.test_compiler import NUMBERS, holds, mixed, prove

ITERATIVE: list[dict[str, Any]] = [
    {},
    {"add_indicator": True, "n_nearest_features": 2, "max_iter": 3},
    {"estimator": ExtraTreesRegressor(5, random_state=0), "initial_strategy": "median", "max_iter": 2},
    {"estimator": lm.Ridge(), "min_value": 1.5, "max_value": [80, 30, 100, 2], "imputation_order": "random"},
    {"skip_complete": True, "max_iter": 2},
    {"max_iter": 0},
]
NEAREST: list[dict[str, Any]] = [
    *({}, {"weights": "distance"}, {"n_neighbors": 1}, {"n_neighbors": 200, "weights": "distance"}),
    {"add_indicator": True},
]


def gaps() -> pd.DataFrame:
    """Return correlated numbers, half of the rows with some of them missing, and a target of two classes."""
    random = np.random.default_rng(6)
    base = random.normal(20, 5, (150, 1))
    frame = pd.DataFrame(base + random.normal(0, 3, (150, 4)), columns=list("abcd"))
    frame["label"] = np.where(frame.a + frame.b > 40, "yes", "no")
    for name in "abc":
        frame[name] = frame[name].where(random.random(150) > 0.25)
    return frame


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", ITERATIVE, ids=str)
def test_iterated_imputation_equals_scikit_learn(options: dict[str, Any]) -> None:
    """Every round of predictions gives what scikit-learn gives, within its bounds, with marks and without."""
    holds(make_pipeline(IterativeImputer(random_state=0, **options), lm.LogisticRegression()), gaps(), "label")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", NEAREST, ids=str)
def test_nearest_imputation_equals_scikit_learn(options: dict[str, Any]) -> None:
    """What is missing is the mean of the nearest rows, or the column's where no row is comparable."""
    holds(make_pipeline(KNNImputer(**options), lm.LogisticRegression()), gaps(), "label")
    step = make_column_transformer((KNNImputer(**options), ["income", "visits", "age", "size"]))
    holds(make_pipeline(step, lm.LogisticRegression()), mixed(), "label")


def test_far_more_rows_than_fit_at_once_give_the_same() -> None:
    """Distances are computed in parts, whose size changes nothing."""
    random = np.random.default_rng(2)
    rows = random.normal(size=(20_000, 3))
    rows[random.random(rows.shape) < 0.2] = np.nan
    wanted = random.normal(size=(300, 3))
    wanted[:, 0] = np.nan
    assert len(wanted) * len(rows) > DISTANCES
    fitted = KNNImputer(n_neighbors=3).fit(rows)
    arrays = {"rows": rows, "means": np.zeros(3)}
    run = impute_nearest(Parameters("impute_nearest", {"neighbors": 3, "weights": "uniform", "order": "rows"}, arrays))
    np.testing.assert_allclose(run(wanted), fitted.transform(wanted), rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_other_values_stand_for_missing() -> None:
    """A number that stands for missing is replaced and marked."""
    frame = mixed()[["age", "income", "member", "size", "label"]].fillna({"income": -1.0})
    imputer = SimpleImputer(missing_values=-1.0, add_indicator=True)
    step = make_column_transformer((make_union(imputer, MissingIndicator(missing_values=-1.0)), ["income"]))
    holds(make_pipeline(step, lm.LogisticRegression()), frame, "label")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("marked", [False, True])
def test_single_precision_is_imputed_as_such(marked: bool) -> None:
    """Numbers that are float32 stay so, with marks beside them too."""
    frame = mixed()[["size", "income", "label"]].astype({"income": np.float32})
    trees = ExtraTreesRegressor(5, random_state=0)
    frame["label"] = (frame.label == "yes").astype(float)
    holds(make_pipeline(SimpleImputer(strategy="median", add_indicator=marked), trees), frame, "label")


def test_what_is_drawn_at_random_is_not_compiled() -> None:
    """An imputation that answers otherwise each time is named."""
    frame = gaps()
    model = make_pipeline(IterativeImputer(sample_posterior=True, max_iter=1), lm.LogisticRegression())
    reason = prove(model.fit(frame.drop(columns="label"), frame.label), frame, "label").reason
    assert reason == "Pipeline: IterativeImputer: draws what is missing at random"


@pytest.mark.filterwarnings("ignore")
def test_rounds_by_nearest_rows_take_complete_rows() -> None:
    """A row in which nothing is missing asks the imputer's own estimator for no row at all."""
    frame = NUMBERS.drop(columns="kind").assign(a=NUMBERS.a.where(NUMBERS.index % 7 != 0))
    imputer = IterativeImputer(KNeighborsRegressor(3), max_iter=2, random_state=0)
    holds(make_pipeline(imputer, lm.Ridge()), frame, "amount")
