"""Naive Bayes and discriminant analysis: priors, smoothing, solvers, two classes and several, few columns and many."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from tests.test_compiler import NUMBERS, ROWS, holds, mixed, prove, texts

MODELS: Iterable[Any] = (
    GaussianNB(),
    GaussianNB(var_smoothing=0.1),
    MultinomialNB(alpha=0.1, fit_prior=False),
    ComplementNB(norm=True),
    BernoulliNB(binarize=12.5, alpha=0.5),
    LinearDiscriminantAnalysis(),
    LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.2),
    QuadraticDiscriminantAnalysis(reg_param=0.1),
    QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.2),
)


def frame_of(classes: int) -> pd.DataFrame:
    """Return numbers and a target of some classes."""
    return NUMBERS.drop(columns="amount").assign(kind=np.minimum(NUMBERS.kind, classes - 1))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_densities_equal_scikit_learn(classes: int, model: Any) -> None:
    """Two classes and several give the same classes, probabilities and scores."""
    holds(model, frame_of(classes), "kind")


@pytest.mark.parametrize("cls", [GaussianNB, LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis])
def test_priors_are_kept(cls: Any) -> None:
    """Priors that somebody chose stand in for the shares of the training data."""
    holds(make_pipeline(StandardScaler(), cls(priors=[0.2, 0.7, 0.1])), frame_of(3), "kind")


@pytest.mark.parametrize("cls", [GaussianNB, LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis])
def test_many_columns_equal_scikit_learn(cls: Any) -> None:
    """Twenty columns, which NumPy adds in another order than seven, give the same sums."""
    random = np.random.default_rng(6)
    frame = pd.DataFrame(random.normal(3, 2, (ROWS, 20)), columns=[f"x{i}" for i in range(20)])
    frame["kind"] = np.digitize(frame.x0 + frame.x1, [5, 7])
    holds(cls(), frame, "kind")


@pytest.mark.parametrize("model", [MultinomialNB(), ComplementNB(), BernoulliNB()], ids=str)
@pytest.mark.parametrize("vectorizer", [CountVectorizer(), TfidfVectorizer(ngram_range=(1, 2))], ids=str)
def test_sparse_counts_equal_scikit_learn(model: Any, vectorizer: Any) -> None:
    """Texts as sparse counts and weights are classified as scikit-learn classifies them."""
    holds(make_pipeline(make_column_transformer((vectorizer, "text")), model), texts(), "label")


def test_categories_equal_scikit_learn() -> None:
    """Codes of categories are looked up, and a code that training never had is refused."""
    codes = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["plan", "member"])
    )
    holds(make_pipeline(codes, CategoricalNB()), mixed(), "label")
    holds(CategoricalNB(alpha=0.1, min_categories=12), NUMBERS[["count", "kind"]], "kind")


def test_discriminants_are_features() -> None:
    """The transform of a discriminant analysis gives what scikit-learn gives, for every solver that has one."""
    for solver in ("svd", "eigen"):
        discriminants = LinearDiscriminantAnalysis(solver=solver, n_components=1)
        holds(make_pipeline(discriminants, LogisticRegression()), frame_of(3), "kind")
        holds(make_pipeline(LinearDiscriminantAnalysis(solver=solver), LogisticRegression()), frame_of(3), "kind")


@pytest.mark.parametrize("model", [MultinomialNB(), ComplementNB(), BernoulliNB(binarize=12.1)], ids=str)
def test_counts_in_single_precision_are_weighed_in_double(model: Any) -> None:
    """What naive Bayes learns of counts is float64, whatever its rows are."""
    holds(model, frame_of(3).astype(dict.fromkeys([*"abcd", "count"], "float32")), "kind")


def test_single_precision_is_not_compiled() -> None:
    """Float32 numbers stay float32 in these models, which no operation computes."""
    frame = frame_of(2).astype(dict.fromkeys([*"abcd", "count"], "float32"))
    proof = prove(GaussianNB().fit(frame.drop(columns="kind"), frame.kind), frame, "kind")
    assert proof.reason == "GaussianNB: takes float32 numbers"
