"""Splines, normal quantiles, means of several classes and bins, held to scikit-learn."""

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from sklearn import linear_model as lm
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer, SplineTransformer, TargetEncoder

from function.engines.operations.normal import normal_quantile
from tests.test_compiler import holds, mixed, numbers, prove

OPTIONS: list[dict[str, Any]] = [
    *({"extrapolation": kind, "degree": degree} for kind in ("linear", "continue") for degree in (0, 1, 3)),
    *({"extrapolation": "constant", "degree": degree} for degree in (1, 3)),
    *({"extrapolation": "periodic", "degree": degree} for degree in (0, 1, 2)),
    {"extrapolation": "periodic", "degree": 2, "n_knots": 3},
    {"extrapolation": "error"},
    {"knots": "quantile", "n_knots": 7, "include_bias": False},
    {"knots": "quantile", "n_knots": 9, "degree": 2, "extrapolation": "periodic"},
    {"knots": np.array([[1.0] * 3, [9.5] * 3, [40.0] * 3]), "extrapolation": "linear", "order": "F"},
    {"sparse_output": True, "degree": 2},
    {"sparse_output": True, "extrapolation": "linear"},
    {"sparse_output": True, "extrapolation": "periodic"},
    {"sparse_output": True, "extrapolation": "error"},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_splines_equal_scikit_learn(options: dict[str, Any]) -> None:
    """Knots, degrees and what lies beyond the knots give what scikit-learn gives, also where its columns differ."""
    step = make_column_transformer((SplineTransformer(**options), ["a", "b", "count"]))
    holds(make_pipeline(step, lm.Ridge()), numbers().drop(columns="kind"), "amount")


def test_splines_that_scikit_learn_cannot_extend_are_not_compiled() -> None:
    """Beyond the knots of constant splines of degree 0 scikit-learn 1.9 stumbles over its own slices."""
    frame = numbers().drop(columns="kind")
    model = make_pipeline(SplineTransformer(degree=0), lm.Ridge()).fit(frame.drop(columns="amount"), frame.amount)
    reason = "Pipeline: SplineTransformer: refuses numbers above the knots of splines of degree 0"
    assert prove(model, frame, "amount").reason == reason


@pytest.mark.parametrize("extrapolation", ["constant", "linear", "continue", "periodic", "error"])
def test_splines_of_missing_numbers_are_zeros(extrapolation: str) -> None:
    """What is missing has no spline, where that is asked for."""
    splines = SplineTransformer(handle_missing="zeros", extrapolation=extrapolation)
    step = make_column_transformer((splines, ["income", "visits", "age"]))
    holds(make_pipeline(step, lm.LogisticRegression()), mixed(), "label")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"n_quantiles": 9, "subsample": None}], ids=str)
def test_normal_quantiles_equal_scikit_learn(options: dict[str, Any]) -> None:
    """Numbers are mapped to a normal distribution, repeated ones and those beyond the data too."""
    step = QuantileTransformer(output_distribution="normal", random_state=0, **options)
    holds(make_pipeline(step, lm.Ridge()), numbers().drop(columns="kind"), "amount")


def test_normal_quantiles_equal_scipy() -> None:
    """The quantiles of the normal distribution are SciPy's, in the middle and in both tails."""
    random = np.random.default_rng(0)
    tails = 10.0 ** -random.uniform(0, 320, 20_000)
    edges = np.array([0, 1, 0.5, 5e-324, 1 - 2**-53, np.exp(-2), 1 - np.exp(-2), -1, 2, np.nan])
    shares = np.concatenate([random.random(50_000), tails, 1 - 10.0 ** -random.uniform(0, 17, 20_000), edges])
    np.testing.assert_allclose(normal_quantile(shares), ndtri(shares), rtol=1e-15, atol=0)


@pytest.mark.filterwarnings("ignore")
def test_means_of_several_classes_equal_scikit_learn() -> None:
    """A category becomes its share of each class; unknown and missing ones too."""
    frame = mixed()[["city", "plan", "code", "age", "label"]]
    frame["label"] = np.digitize(frame.age, [35, 60])
    step = make_column_transformer((TargetEncoder(random_state=0), ["city", "plan", "code"]))
    holds(make_pipeline(step, lm.LogisticRegression()), frame, "label")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("encode", ["onehot", "onehot-dense", "ordinal"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
def test_bins_equal_scikit_learn(encode: Any, strategy: Any) -> None:
    """Bins of every strategy and encoding are those of scikit-learn."""
    step = KBinsDiscretizer(4, encode=encode, strategy=strategy, random_state=0)
    holds(make_pipeline(step, lm.Ridge()), numbers().drop(columns="kind"), "amount")
