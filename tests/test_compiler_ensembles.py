"""What is made of other estimators, held to scikit-learn: options of votes, bags, stacks, boosts, calibration."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model as lm
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.test_compiler import NUMBERS, holds, mixed, prove, texts

FEATURES = [*"abcd", "count"]
NAMES = np.array(["low", "middle", "high"])
LOGISTIC = make_pipeline(StandardScaler(), lm.LogisticRegression())
MARGIN = make_pipeline(StandardScaler(), LinearSVC())
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
FOREST = RandomForestClassifier(4, max_depth=3, random_state=0)
STUMP = DecisionTreeClassifier(max_depth=1)
RIDGE = lm.Ridge()
LEAVES = DecisionTreeRegressor(max_depth=3, random_state=0)
THREE = [("one", LOGISTIC), ("two", TREE), ("three", FOREST)]
NUMERIC = [("one", RIDGE), ("two", LEAVES), ("three", RandomForestRegressor(3, random_state=0))]


def classes(count: int) -> pd.DataFrame:
    """Return numbers with a target of two or three classes that have names."""
    return NUMBERS[FEATURES].assign(kind=NAMES[np.minimum(NUMBERS.kind, count - 1)])


CLASSIFIERS: dict[str, Any] = {
    "dummy-prior": DummyClassifier(),
    "dummy-frequent": DummyClassifier(strategy="most_frequent"),
    "dummy-constant": DummyClassifier(strategy="constant", constant="middle"),
    "voting-hard": VotingClassifier(THREE),
    "voting-hard-tied": VotingClassifier(THREE[:2]),
    "voting-hard-weights": VotingClassifier(THREE, weights=[0.1, 0.2, 0.3]),
    "voting-soft": VotingClassifier(THREE, voting="soft"),
    "voting-soft-weights": VotingClassifier(THREE, voting="soft", weights=[1, 2, 3]),
    "voting-dropped": VotingClassifier([*THREE, ("no", "drop")], voting="soft", weights=[1, 2, 3, 4]),
    "bagging-features": BaggingClassifier(TREE, 4, max_features=0.6, bootstrap_features=True, random_state=0),
    "bagging-scores": BaggingClassifier(LOGISTIC, 4, max_features=3, random_state=0),
    "bagging-votes": BaggingClassifier(MARGIN, 5, random_state=0),
    "bagging-trees": BaggingClassifier(n_estimators=7, random_state=0),
    "bagging-few": BaggingClassifier(make_pipeline(TREE), 6, max_samples=4, random_state=0),
    "bagging-few-votes": BaggingClassifier(VotingClassifier([("one", TREE)]), 6, max_samples=4, random_state=0),
    "stacking": StackingClassifier(THREE, RIDGE_CLASSIFIER := lm.RidgeClassifier(), cv=2),
    "stacking-passthrough": StackingClassifier(THREE, TREE, cv=2, passthrough=True),
    "stacking-predict": StackingClassifier(THREE, TREE, cv=2, stack_method="predict"),
    "stacking-scores": StackingClassifier([("one", MARGIN), ("two", RIDGE_CLASSIFIER)], LOGISTIC, cv=2),
    "sigmoid": CalibratedClassifierCV(MARGIN, cv=2),
    "sigmoid-chances": CalibratedClassifierCV(FOREST, cv=2, ensemble=False),
    "isotonic": CalibratedClassifierCV(MARGIN, method="isotonic", cv=3),
    "isotonic-chances": CalibratedClassifierCV(TREE, method="isotonic", cv=2),
    "isotonic-alone": CalibratedClassifierCV(LOGISTIC, method="isotonic", cv=2, ensemble=False),
    "temperature-chances": CalibratedClassifierCV(FOREST, method="temperature", cv=2),
    "rest-scores": OneVsRestClassifier(MARGIN),
    "rest-chances": OneVsRestClassifier(TREE),
    "rest-both": OneVsRestClassifier(LOGISTIC),
    "rest-regressors": OneVsRestClassifier(LEAVES),
    "one-on-one-scores": OneVsOneClassifier(MARGIN),
    "one-on-one-chances": OneVsOneClassifier(FOREST),
    "codes-scores": OutputCodeClassifier(MARGIN, code_size=4, random_state=0),
    "codes-chances": OutputCodeClassifier(TREE, code_size=3, random_state=1),
    "codes-constant": OutputCodeClassifier(TREE, code_size=9, random_state=2),
    "boosting": AdaBoostClassifier(n_estimators=12, random_state=0),
    "boosting-forests": AdaBoostClassifier(FOREST, n_estimators=3, random_state=0),
    "boosting-perfect": AdaBoostClassifier(DecisionTreeClassifier(), n_estimators=3, random_state=0),
    "self-training": SelfTrainingClassifier(LOGISTIC),
    "self-training-margin": SelfTrainingClassifier(TREE, criterion="k_best", k_best=5),
}


@pytest.mark.filterwarnings("ignore")  # of convergence: how well a model fits does not matter here
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_ensembles_of_classes_equal_scikit_learn(name: str, count: int) -> None:
    """What decides for one of two or of three classes by other estimators decides as scikit-learn does."""
    holds(CLASSIFIERS[name], classes(count), "kind")


REGRESSORS: dict[str, Any] = {
    "dummy-mean": DummyRegressor(),
    "dummy-median": DummyRegressor(strategy="median"),
    "dummy-quantile": DummyRegressor(strategy="quantile", quantile=0.9),
    "dummy-constant": DummyRegressor(strategy="constant", constant=1.5),
    "voting": VotingRegressor(NUMERIC),
    "voting-weights": VotingRegressor(NUMERIC, weights=[1, 0.1, 7]),
    "bagging-features": BaggingRegressor(n_estimators=4, max_features=0.5, bootstrap=False, random_state=0),
    "bagging-trees": BaggingRegressor(n_estimators=7, random_state=0),
    "bagging-linear": BaggingRegressor(RIDGE, 9, max_features=3, random_state=0),
    "stacking": StackingRegressor(NUMERIC, cv=2),
    "stacking-passthrough": StackingRegressor(NUMERIC, LEAVES, cv=2, passthrough=True),
    "boosting": AdaBoostRegressor(n_estimators=9, random_state=0),
    "boosting-squares": AdaBoostRegressor(RIDGE, n_estimators=4, loss="square", random_state=0),
    "ransac": lm.RANSACRegressor(random_state=0),
    "ransac-ridge": lm.RANSACRegressor(RIDGE, min_samples=20, random_state=0),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_ensembles_of_numbers_equal_scikit_learn(name: str) -> None:
    """What makes a number of other estimators' numbers makes the one that scikit-learn does."""
    holds(REGRESSORS[name], NUMBERS.drop(columns="kind"), "amount")


IN_SINGLE_PRECISION: dict[str, Any] = {
    "dummy": DummyRegressor(),
    "voting": VotingRegressor([("one", LEAVES), ("two", DecisionTreeRegressor(random_state=0))]),
    "bagging": BaggingRegressor(n_estimators=4, max_features=0.5, random_state=0),
    "stacking": StackingRegressor([("one", LEAVES)], LEAVES, cv=2, passthrough=True),
    "boosting": AdaBoostRegressor(n_estimators=4, random_state=0),
    "ransac": lm.RANSACRegressor(LEAVES, min_samples=20, random_state=0),
}


@pytest.mark.parametrize("name", IN_SINGLE_PRECISION)
def test_ensembles_keep_the_precision_of_a_frame(name: str) -> None:
    """What a frame of float32 holds reaches the estimators as float32."""
    holds(IN_SINGLE_PRECISION[name], NUMBERS.drop(columns="kind").astype(dict.fromkeys(FEATURES, "float32")), "amount")


SEVERAL: dict[str, Any] = {
    "each": MultiOutputRegressor(LEAVES),
    "chain": RegressorChain(RIDGE),
    "chain-ordered": RegressorChain(LEAVES, order=[2, 0, 1]),
    "dummy": DummyRegressor(),
    "bagging": BaggingRegressor(n_estimators=3, random_state=0),
    "ransac": lm.RANSACRegressor(random_state=0),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_targets_equal_scikit_learn(name: str) -> None:
    """Several targets come in their order, each by its own estimator or after the others."""
    frame = NUMBERS.assign(third=NUMBERS.a - NUMBERS.d)
    holds(SEVERAL[name], frame, ["kind", "amount", "third"])


@pytest.mark.parametrize("outside", ["clip", "nan", "raise"])
@pytest.mark.parametrize("increasing", [True, False])
def test_isotonic_regression_equals_scikit_learn(outside: str, increasing: bool) -> None:
    """A monotonic line clips, loses or refuses what lies beyond training."""
    frame = NUMBERS[["b", "amount"]]
    holds(IsotonicRegression(out_of_bounds=outside, increasing=increasing), frame, "amount")


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration_of_a_fitted_model_equals_scikit_learn(method: str) -> None:
    """A classifier that was fitted before is calibrated as it is."""
    frame = classes(2)
    fitted = FrozenEstimator(LOGISTIC.fit(frame[FEATURES], frame.kind))
    holds(CalibratedClassifierCV(fitted, method=method), frame, "kind")


@pytest.mark.parametrize("strategy", ["calibrated", "bagged", "boosted", "voted"])
def test_weights_of_rows_equal_scikit_learn(strategy: str) -> None:
    """Weighted rows change what was fitted, not how it answers."""
    model: Any = {
        "calibrated": CalibratedClassifierCV(TREE, method="isotonic", cv=2),
        "bagged": BaggingClassifier(STUMP, 4, random_state=0),
        "boosted": AdaBoostClassifier(STUMP, n_estimators=5, random_state=0),
        "voted": VotingClassifier(THREE[1:], voting="soft"),
    }[strategy]
    frame = classes(3)
    weights = np.random.default_rng(0).uniform(0.1, 3, len(frame))
    proof = prove(model.fit(frame[FEATURES], frame.kind, sample_weight=weights), frame, "kind")
    assert proof.verdict == "holds", proof.reason


COLUMNS = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
    (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", "plan"]),
)
ON_FRAMES: dict[str, Any] = {
    "voting": VotingClassifier([("one", make_pipeline(COLUMNS, lm.LogisticRegression())), ("two", DummyClassifier())]),
    "stacking": StackingClassifier([("one", make_pipeline(COLUMNS, TREE))], LOGISTIC, cv=2),
    "calibrated": CalibratedClassifierCV(make_pipeline(COLUMNS, lm.RidgeClassifier()), cv=2),
    "rest": OneVsRestClassifier(make_pipeline(COLUMNS, LOGISTIC)),
    "bagging": make_pipeline(COLUMNS, BaggingClassifier(LOGISTIC, 3, max_features=0.7, random_state=0)),
    "boosting": make_pipeline(COLUMNS, AdaBoostClassifier(n_estimators=4, random_state=0)),
    "threshold": FixedThresholdClassifier(
        CalibratedClassifierCV(make_pipeline(COLUMNS, TREE), cv=2), threshold=0.3, pos_label="no"
    ),
    "voting-thresholds": VotingClassifier(
        [("one", FixedThresholdClassifier(make_pipeline(COLUMNS, TREE), threshold=0.3, pos_label=0))]
    ),
}


@pytest.mark.parametrize("name", ON_FRAMES)
def test_ensembles_hand_frames_on(name: str) -> None:
    """Estimators within an ensemble see the columns that it sees, with text and what is missing."""
    holds(ON_FRAMES[name], mixed(), "label")


@pytest.mark.parametrize(
    "model", [BaggingClassifier(lm.LogisticRegression(), 3, random_state=0), OneVsOneClassifier(lm.RidgeClassifier())]
)
def test_ensembles_take_texts(model: Any) -> None:
    """Sparse columns stay sparse within an ensemble."""
    holds(make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), model), texts(), "label")


NOT_COMPILED: dict[str, tuple[Any, str]] = {
    "random": (DummyClassifier(strategy="stratified"), "DummyClassifier: answers at random"),
    "whole": (DummyRegressor(strategy="constant", constant=1), "DummyRegressor: gives int64 numbers"),
    "negative": (VotingClassifier(THREE, weights=[1, 2, -1]), "VotingClassifier: has negative weights"),
    "batch": (
        CalibratedClassifierCV(MARGIN, method="temperature", cv=2),
        "CalibratedClassifierCV: calibrates decision functions of several classes by temperature",
    ),
}


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_no_ensemble_compiles_is_named(name: str) -> None:
    """What cannot be equal is left to scikit-learn, and the proof says why."""
    model, reason = NOT_COMPILED[name]
    frame = classes(3) if is_classifier(model) else NUMBERS.drop(columns="kind")
    target = frame.columns[-1]
    proof = prove(model.fit(frame[FEATURES], frame[target]), frame, target)
    assert (proof.verdict, proof.reason) == ("not compiled", reason)
