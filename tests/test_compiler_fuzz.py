"""Random pipelines of compiled classes on random frames: compiled, or an honest fallback, never a wrong answer."""

import functools
import io
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from sklearn import linear_model as lm
from sklearn.base import is_classifier
from sklearn.cluster import FeatureAgglomeration
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomTreesEmbedding,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # before its import
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    KernelCenterer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import SparseRandomProjection
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from function.engines.numpy_engine import read_compiled
from function.engines.sklearn_engine import SklearnEngine
from function.validation import Instances, Validator
from lifecycle.frames import raw_instances
from lifecycle.proof import Comparison, compile_and_prove
from lifecycle.signature import learn_features, learn_signature
from tests.test_compiler import SEVERAL_CLASSES, SEVERAL_TARGETS
from tests.test_compiler_corners import CLASSES, made

WORDS = ["great", "bad", "tea", "thé", "TEA", "👍", "naïve", "don't", "a", "42", ""]
MANY = ["blue", "high", "low", "mid", "red", *(f"x{number}" for number in range(150))]
NUMBER_STEPS = [
    *(StandardScaler(), MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler(), Normalizer(), PolynomialFeatures(2)),
    *(PowerTransformer(), QuantileTransformer(n_quantiles=7), VarianceThreshold(), PCA(2), SelectKBest(k=1)),
    *(KBinsDiscretizer(3, encode="onehot-dense"), FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())])),
    *(KBinsDiscretizer(3), SplineTransformer(4), SplineTransformer(knots="quantile", extrapolation="linear")),
    *(QuantileTransformer(n_quantiles=7, output_distribution="normal"), FeatureAgglomeration(2), BernoulliRBM(2)),
    *(SparseRandomProjection(2), RandomTreesEmbedding(5), MissingIndicator(features="all")),
]
IMPUTERS = [
    *(
        SimpleImputer(),
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        KNNImputer(n_neighbors=3),
    ),
    *(KNNImputer(weights="distance", add_indicator=True), IterativeImputer(max_iter=3)),
]
SPARSE_STEPS = [
    *(MaxAbsScaler(), StandardScaler(with_mean=False), RobustScaler(with_centering=False), Normalizer("max")),
    *(SelectKBest(k=3), VarianceThreshold(), TruncatedSVD(2), Binarizer(), SparseRandomProjection(3)),
]
CATEGORY_STEPS = [
    *(OneHotEncoder(handle_unknown="ignore"), OneHotEncoder(categories=[MANY, MANY], handle_unknown="ignore")),
    *(OneHotEncoder(handle_unknown="ignore", sparse_output=False), OneHotEncoder(drop="first", sparse_output=False)),
    OneHotEncoder(min_frequency=3, handle_unknown="infrequent_if_exist", sparse_output=False),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    TargetEncoder(cv=2),
]
TEXT_STEPS = [
    *(TfidfVectorizer(), TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))),
    CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"),
    *(HashingVectorizer(n_features=2**12), HashingVectorizer(n_features=20, analyzer="char", norm=None)),
]
MODELS = [
    *(lm.LogisticRegression(), lm.RidgeClassifier(), lm.Ridge(), lm.PoissonRegressor(), DecisionTreeClassifier()),
    *(RandomForestClassifier(7), ExtraTreesRegressor(7), GradientBoostingClassifier(n_estimators=4)),
    *(HistGradientBoostingClassifier(max_iter=4), HistGradientBoostingRegressor(max_iter=4)),
    HistGradientBoostingClassifier(max_iter=4, categorical_features=[0], min_samples_leaf=3),
    *(KNeighborsClassifier(4), KNeighborsRegressor(3, weights="distance"), KNeighborsClassifier(3, algorithm="brute")),
    *(FixedThresholdClassifier(lm.LogisticRegression(), threshold=0.3), lm.SGDClassifier(loss="modified_huber")),
    TransformedTargetRegressor(lm.Ridge(), transformer=QuantileTransformer(n_quantiles=9)),
    TransformedTargetRegressor(DecisionTreeRegressor(), transformer=PowerTransformer()),
]


def random_frame(seed: int, rows: int) -> pd.DataFrame:
    """Return numbers of several scales and dtypes, categories, texts and a target of each task."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.integers(-3, 5)
    frame = pd.DataFrame(
        {
            "small": random.normal(0, scale, rows).round(random.integers(0, 6)),
            "whole": random.integers(-5, 6, rows),
            "flag": random.random(rows) < 0.5,
            "level": random.choice(["low", "mid", "high", "näh"], rows),
            "color": pd.Categorical(random.choice(["red", "blue"], rows)),
            "text": [" ".join(random.choice(WORDS, random.integers(0, 6))) for _ in range(rows)],
        }
    )
    frame["gap"] = pd.Series(random.gamma(2, scale, rows)).where(random.random(rows) > 0.2)
    noise = random.normal(0, 1, rows)
    frame["kind"] = np.where(frame.whole + noise > 1, "b", "a")
    frame["amount"] = np.abs(frame.whole + noise)
    return frame


@functools.cache
def every_model() -> list[Any]:
    """Return a small model of each compiled class that predicts one target from rows of numbers."""
    several = {*SEVERAL_CLASSES, *SEVERAL_TARGETS, ColumnTransformer, KernelCenterer}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that will go
        return [made(cls) for cls in CLASSES if hasattr(cls, "predict") and cls not in several]


@st.composite
def pipelines(draw: st.DrawFn, models: list[Any]) -> Any:
    """Return pipelines of one to four kinds of columns, some steps each, and a model."""
    numbers = draw(st.lists(st.sampled_from(NUMBER_STEPS), max_size=2))
    imputer = draw(st.sampled_from(IMPUTERS))
    parts: list[tuple[str, Any, Any]] = [("numbers", make_pipeline(imputer, *numbers), ["small", "whole", "gap"])]
    if draw(st.booleans()):
        parts.append(("categories", draw(st.sampled_from(CATEGORY_STEPS)), ["level", "color"]))
    if draw(st.booleans()):
        parts.append(("rest", "passthrough", ["flag"]))
    texts = draw(st.integers(0, 3))
    if texts < 2:
        parts = [*(parts if texts else []), ("text", draw(st.sampled_from(TEXT_STEPS)), "text")]
    threshold = draw(st.sampled_from([0.0, 0.3, 1.0]))
    steps = draw(st.lists(st.sampled_from(SPARSE_STEPS), max_size=1))
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=threshold), *steps, draw(st.sampled_from(models)))


def never_wrong(pipeline: Any, seed: int) -> None:
    """Fit, compile and prove a pipeline; where it is compiled, hold it to rows that the proof has not seen."""
    frame = random_frame(seed, 60)
    features = frame.drop(columns=["kind", "amount"])
    target = "kind" if is_classifier(pipeline) else "amount"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence and of constant columns
        try:
            pipeline.fit(features, frame[target])
            task = "classification" if target == "kind" else "regression"
            signature = learn_signature(pipeline, features, learn_features(features, {}), [target], task)
        except (TypeError, ValueError):  # such steps do not go together
            assume(False)
        file = io.BytesIO()
        joblib.dump(pipeline, file)
        content, proof = compile_and_prove(file.getvalue(), signature, [features])
        event(f"{proof.verdict}")
        if content is None:
            event(f"because {str(proof.reason)[:60]}")
            return
        fresh = random_frame(seed + 1, 40)[features.columns]
        columns = Validator(signature).columns(Instances(raw_instances(fresh, signature.features), str))
        Comparison(SklearnEngine(pipeline, signature), read_compiled(content), signature).hold(columns)


@settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(pipeline=pipelines(MODELS), seed=st.integers(0, 10**6))
def test_a_random_pipeline_is_never_answered_otherwise(pipeline: Any, seed: int) -> None:
    """Whatever is compiled answers rows that its proof has not seen as the fitted pipeline does."""
    never_wrong(pipeline, seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("models", [lambda: MODELS, every_model], ids=["usual", "every"])
@settings(max_examples=2000, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_thousands_of_random_pipelines_are_never_answered_otherwise(
    models: Callable[[], list[Any]], data: st.DataObject, seed: int
) -> None:
    """The same, at length: with the models that most pipelines end in, and with one of every class."""
    never_wrong(data.draw(pipelines(models())), seed)
