"""Nearest neighbours: every metric, weight and search, and rows that are equally far, which only an order decides."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import AffinityPropagation, Birch, MeanShift
from sklearn.compose import make_column_transformer
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.neighbors import neighbors
from tests.test_compiler import NUMBERS, holds, prove
from tests.test_compiler_bayes import frame_of

FRAME = NUMBERS.drop(columns="kind")
METRICS: dict[str, dict[str, Any]] = {
    "euclidean": {},
    "manhattan": {"p": 1},
    "chebyshev": {"metric": "chebyshev"},
    "minkowski": {"p": 3},
}
# Without a tree a training row's distance from itself cancels out in a product, and its inverse is a weight.
SEARCHES = [
    search
    for search in itertools.product(METRICS, ("kd_tree", "ball_tree", "brute"), ("uniform", "distance"))
    if search != ("euclidean", "brute", "distance")
]


def whole(rows: int = 300) -> pd.DataFrame:
    """Return small whole numbers, of which many rows are alike and many more equally far from each other."""
    random = np.random.default_rng(8)
    frame = pd.DataFrame(random.integers(0, 4, (rows, 3)).astype(float), columns=list("abc"))
    return frame.assign(kind=random.integers(0, 3, rows), amount=random.normal(size=rows))


@pytest.mark.parametrize(("metric", "algorithm", "weights"), SEARCHES)
def test_neighbours_equal_scikit_learn(metric: str, algorithm: Any, weights: Any) -> None:
    """The same rows are found, and their votes and means are the same."""
    options = {**METRICS[metric], "algorithm": algorithm, "weights": weights}
    holds(make_pipeline(StandardScaler(), KNeighborsClassifier(4, **options)), frame_of(3), "kind")
    holds(KNeighborsRegressor(3, **options), FRAME, "amount")


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
@pytest.mark.parametrize("metric", METRICS)
def test_equally_far_rows_are_chosen_as_scikit_learn_does(metric: str, algorithm: Any, weights: Any) -> None:
    """Which of many equally far rows are among the nearest depends on the order in which the tree is searched."""
    options = {**METRICS[metric], "algorithm": algorithm, "weights": weights, "leaf_size": 7}
    holds(KNeighborsClassifier(5, **options), whole().drop(columns="amount"), "kind")
    holds(KNeighborsRegressor(6, **options), whole().drop(columns="kind"), "amount")


@pytest.mark.parametrize("metric", METRICS)
def test_equally_far_rows_are_chosen_without_a_tree(metric: str) -> None:
    """Without a tree the first rows stay, as far as a heap keeps them."""
    options = {**METRICS[metric], "algorithm": "brute"}
    holds(KNeighborsClassifier(5, **options), whole(200).drop(columns="amount"), "kind")
    holds(KNeighborsRegressor(6, **options), whole(200).drop(columns="kind"), "amount")
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(sparse_output=False), ["c"]))
    holds(make_pipeline(columns, KNeighborsClassifier(5, **options)), whole(200).drop(columns="amount"), "kind")


def test_all_rows_may_be_neighbours() -> None:
    """As many neighbours as there are rows, and several numbers for each."""
    holds(KNeighborsRegressor(len(NUMBERS), weights="distance", algorithm="kd_tree"), NUMBERS, ["kind", "amount"])
    holds(KNeighborsRegressor(1), NUMBERS, ["kind", "amount"])


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_local_outliers_equal_scikit_learn(algorithm: Any) -> None:
    """How densely a row lies among its neighbours, and on which side of the threshold."""
    model = LocalOutlierFactor(7, novelty=True, algorithm=algorithm, contamination=0.1)
    holds(make_pipeline(StandardScaler(), model), FRAME, "amount")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("metric", "algorithm", "weights"), SEARCHES)
def test_all_rows_within_a_radius_equal_scikit_learn(metric: str, algorithm: Any, weights: Any) -> None:
    """Votes and means are those of all rows within a radius, of which some rows have none."""
    options = {**METRICS[metric], "algorithm": algorithm, "weights": weights}
    holds(make_pipeline(StandardScaler(), RadiusNeighborsRegressor(1.4, **options)), FRAME, "amount")
    if weights == "uniform":
        model = RadiusNeighborsClassifier(1.4, outlier_label=1, **options)
        holds(make_pipeline(StandardScaler(), model), frame_of(3), "kind")
        on_the_radius = whole(200).drop(columns="kind")
        holds(RadiusNeighborsRegressor(2.0, **options), on_the_radius, "amount")


@pytest.mark.filterwarnings("ignore")
def test_rows_without_neighbours_are_refused_or_missing() -> None:
    """Without a class for outliers such a row is refused; several numbers are all missing."""
    holds(make_pipeline(StandardScaler(), RadiusNeighborsClassifier(9.0)), frame_of(2), "kind")
    frame = NUMBERS.assign(kind=NUMBERS.kind * 1.5)
    holds(make_pipeline(StandardScaler(), RadiusNeighborsRegressor(1.0)), frame, ["kind", "amount"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kernel", ["rbf", "knn"])
@pytest.mark.parametrize("cls", [LabelPropagation, LabelSpreading])
def test_spread_labels_equal_scikit_learn(cls: Any, kernel: Any) -> None:
    """Classes spread to rows that are near by a kernel, or by being neighbours."""
    frame = frame_of(3)
    frame.loc[::3, "kind"] = frame.kind.iloc[0]
    holds(make_pipeline(StandardScaler(), cls(kernel=kernel, gamma=0.7, n_neighbors=5)), frame, "kind")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "model",
    [
        AffinityPropagation(random_state=0),
        Birch(threshold=0.4, n_clusters=3),
        Birch(n_clusters=None),
        MeanShift(bandwidth=0.9),
    ],
    ids=["exemplars", "three-subclusters", "subclusters", "modes"],
)
def test_nearest_centers_equal_scikit_learn(model: Any) -> None:
    """Clusters are those of the nearest center."""
    holds(make_pipeline(StandardScaler(), model), FRAME, "amount")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"metric": "cosine"}, "measures by cosine"),
        ({"weights": np.exp}, "calls a function for its weights"),
        ({"p": 3, "metric_params": {"w": [1, 2, 3, 4, 5]}}, "measures with weights"),
    ],
    ids=["cosine", "function", "weighted"],
)
@pytest.mark.filterwarnings("ignore")
def test_neighbours_that_are_not_compiled_are_named(options: dict[str, Any], reason: str) -> None:
    """What is measured or weighed otherwise is served by scikit-learn."""
    model = KNeighborsRegressor(3, **options).fit(FRAME.drop(columns="amount"), FRAME.amount)
    assert reason in str(prove(model, FRAME, "amount").reason)


@pytest.mark.parametrize(
    "change",
    [{"order": [0, 7]}, {"starts": [0, 0]}, {"ends": [9]}, {"leaf": [False]}, {"ends": [-1]}],
    ids=["row-outside", "two-nodes", "end-outside", "no-leaf", "negative"],
)
def test_a_tree_that_is_none_is_refused(change: dict[str, list[Any]]) -> None:
    """Leaves share the kept rows among them, so that a search ends and reads nothing else."""
    arrays: dict[str, list[Any]] = {"order": [0, 1], "starts": [0], "ends": [2], "leaf": [True]}
    tree = {name: np.array(values) for name, values in (arrays | change).items()}
    tree |= {"points": np.zeros((2, 3)), "low": np.zeros((1, 3)), "high": np.zeros((1, 3))}
    with pytest.raises(CompiledInvalid):
        neighbors(Parameters("neighbors", {"form": "euclidean", "power": 2.0, "count": 1}, tree))
