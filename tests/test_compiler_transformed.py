"""Targets that a transformer changed, and what projects rows otherwise than by a product, held to scikit-learn."""

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from sklearn import linear_model as lm
from sklearn.cluster import FeatureAgglomeration
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor, RandomTreesEmbedding
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import SparseRandomProjection

from function.engines.operations.normal import normal_share
from tests.test_compiler import holds, numbers, prove
from tests.test_compiler_sparse import beside, rich

TARGETS: list[Any] = [
    *(StandardScaler(), RobustScaler(), MaxAbsScaler(), MinMaxScaler((-1, 2)), PowerTransformer()),
    *(PowerTransformer("box-cox", standardize=False), FunctionTransformer(np.log1p, np.expm1), None),
    *(QuantileTransformer(n_quantiles=20), QuantileTransformer(n_quantiles=30, output_distribution="normal")),
    make_pipeline(FunctionTransformer(np.sqrt, np.square), StandardScaler()),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("transformer", TARGETS, ids=str)
@pytest.mark.parametrize("model", [lm.Ridge(), RandomForestRegressor(5, random_state=0)], ids=str)
def test_targets_are_changed_back_as_scikit_learn_does(transformer: Any, model: Any) -> None:
    """What a regression predicts is changed back by the inverse of what its target was changed by."""
    regressor = TransformedTargetRegressor(make_pipeline(StandardScaler(), model), transformer=transformer)
    holds(regressor, numbers().drop(columns="kind"), "amount")


@pytest.mark.filterwarnings("ignore")
def test_several_targets_are_changed_back() -> None:
    """Each of several targets is changed back by its own numbers."""
    holds(TransformedTargetRegressor(lm.Ridge(), transformer=StandardScaler()), numbers(), ["amount", "kind"])


def test_shares_of_the_normal_distribution_equal_scipy() -> None:
    """The normal distribution is SciPy's, wherever a share is not as good as zero."""
    random = np.random.default_rng(0)
    at = np.concatenate([random.normal(0, 2, 50_000), random.uniform(-11, 38, 20_000), [0, -0.0, 1, np.inf, np.nan]])
    np.testing.assert_allclose(normal_share(at), ndtr(at), rtol=1e-14, atol=0)


PROJECTIONS: list[Any] = [
    *(RandomTreesEmbedding(30, sparse_output=False, random_state=0), SparseRandomProjection(3, random_state=0)),
    FeatureAgglomeration(3),
    make_pipeline(MinMaxScaler(), BernoulliRBM(4, n_iter=2, random_state=0)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", PROJECTIONS, ids=str)
def test_projections_equal_scikit_learn(step: Any) -> None:
    """Leaves, sparse weights, pooled columns and hidden units give what scikit-learn gives."""
    holds(make_pipeline(step, lm.Ridge()), numbers().drop(columns="kind"), "amount")


SPARSE_PROJECTIONS: list[Any] = [
    RandomTreesEmbedding(30, random_state=0),
    *(SparseRandomProjection(9, dense_output=dense, random_state=0) for dense in (False, True)),
    BernoulliRBM(4, n_iter=2, random_state=0),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", SPARSE_PROJECTIONS, ids=str)
def test_projections_of_sparse_rows_equal_scikit_learn(step: Any) -> None:
    """The same of texts beside numbers."""
    holds(make_pipeline(beside(TfidfVectorizer()), step, lm.LogisticRegression()), rich(), "label")


def test_what_pools_otherwise_is_not_compiled() -> None:
    """Pooling by another function than the mean is named."""
    frame = numbers().drop(columns="kind")
    model = make_pipeline(FeatureAgglomeration(2, pooling_func=np.median), lm.Ridge())
    proof = prove(model.fit(frame.drop(columns="amount"), frame.amount), frame, "amount")
    assert proof.reason == "Pipeline: FeatureAgglomeration: pools by another function than the mean"
