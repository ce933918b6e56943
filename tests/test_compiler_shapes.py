"""Options of what changes numbers before a model, held to scikit-learn: powers, bins, quantiles, projections."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model as lm
from sklearn.compose import make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, VarianceThreshold, f_classif
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)

from tests.test_compiler import NUMBERS, holds, mixed, numbers, prove, texts

NUMERIC: dict[str, Any] = {
    "box-cox": PowerTransformer("box-cox"),
    "yeo-johnson-alone": PowerTransformer(standardize=False),
    "bins-one-hot": KBinsDiscretizer(4, encode="onehot-dense", strategy="kmeans", random_state=0),
    "bins-even": KBinsDiscretizer(3, encode="ordinal", strategy="uniform"),
    "quantiles": QuantileTransformer(n_quantiles=11),
    "cubes": PolynomialFeatures(3),
    "interactions": PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    "l1": Normalizer("l1"),
    "max": Normalizer("max"),
    "binary": Binarizer(threshold=12.5),
    "whitened": make_pipeline(StandardScaler(), PCA(3, whiten=True)),
    "independent": FastICA(2, random_state=0, whiten="arbitrary-variance"),
    "two-of-many": make_pipeline(SelectKBest(f_classif, k=3), VarianceThreshold(0.1)),
    "from-model": SelectFromModel(RandomForestClassifier(5, random_state=0)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NUMERIC)
def test_numbers_are_changed_as_scikit_learn_changes_them(name: str) -> None:
    """A step before a logistic regression gives what scikit-learn gives, on data and on hard rows."""
    frame = numbers().drop(columns="amount").assign(**{"count": lambda frame: frame["count"] + 1})
    holds(make_pipeline(NUMERIC[name], lm.LogisticRegression()), frame, "kind")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["label", "income"])
def test_targets_are_encoded_as_scikit_learn_encodes_them(target: str) -> None:
    """Categories become means of a class or of a number; unknown and missing ones too."""
    frame = mixed()[["city", "plan", "code", target]].dropna(subset=[target]).reset_index(drop=True)
    model = lm.LogisticRegression() if target == "label" else lm.LinearRegression()
    holds(make_pipeline(TargetEncoder(random_state=0), model), frame, target)


@pytest.mark.parametrize("features", ["all", "missing-only"])
def test_missing_values_are_marked_as_scikit_learn_marks_them(features: str) -> None:
    """Marks of what is missing stand beside imputed values."""
    marks = MissingIndicator(features=features, error_on_new=False)
    step = make_column_transformer((make_union(SimpleImputer(), marks), ["income", "visits", "age"]))
    holds(make_pipeline(step, lm.LogisticRegression()), mixed(), "label")


@pytest.mark.parametrize("step", [Normalizer(), TruncatedSVD(3, random_state=0), SelectKBest(k=4)], ids=str)
def test_texts_are_projected_as_scikit_learn_projects_them(step: Any) -> None:
    """Sparse counts of terms are normalized, projected and selected."""
    frame = texts()
    terms = make_column_transformer((TfidfVectorizer(), "text"))
    holds(make_pipeline(terms, step, lm.LogisticRegression()), frame, "label")


def test_elimination_hands_every_method_on() -> None:
    """A recursive elimination at the end of a pipeline predicts with the estimator fitted on what it kept."""
    frame = numbers().drop(columns="amount")
    holds(RFE(RandomForestClassifier(5, random_state=0), n_features_to_select=2), frame, "kind")
    holds(PLSRegression(3), numbers(), ["amount", "kind"])


def test_many_rows_are_computed_in_blocks() -> None:
    """Three blocks of rows and a rest are answered as one would be."""
    frame = pd.concat([numbers()] * 25, ignore_index=True)
    assert len(frame) > 3 * 1024
    holds(lm.LinearRegression(), frame.drop(columns="kind"), "amount")
    assert np.isfinite(frame.amount).all()


def test_edges_at_computed_numbers_are_not_compiled() -> None:
    """Edges that a product gave for training rows decide by its last bit, which a row alone need not share."""
    frame = NUMBERS.drop(columns="kind")
    for strategy, verdict in (("quantile", "not compiled"), ("uniform", "holds")):
        bins = KBinsDiscretizer(4, strategy=strategy, quantile_method="averaged_inverted_cdf")
        model = make_pipeline(PCA(3), bins, lm.Ridge()).fit(frame.drop(columns="amount"), frame.amount)
        assert prove(model, frame, "amount").verdict == verdict
