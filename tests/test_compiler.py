"""Every converter, held to scikit-learn: each class with its defaults for free, and with the options that matter."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import feature_selection as fs
from sklearn import linear_model as lm
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.cross_decomposition import CCA, PLSCanonical
from sklearn.decomposition import KernelPCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process._gpc import _BinaryGaussianProcessClassifierLaplace
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.neighbors import (
    LocalOutlierFactor,
    NeighborhoodComponentsAnalysis,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KernelCenterer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from function.contract import Proof
from lifecycle.compiler import CONVERTERS
from lifecycle.compiler.reasons import WHY
from lifecycle.compiler.table import table
from lifecycle.proof import compile_and_prove
from lifecycle.signature import learn_features, learn_signature

ROWS = 150
TEXTS = [
    "great tea, great price",
    "bad coffee!",
    "très bon thé",
    "stale",
    "I love it",
    "no 👍 at all",
    "",
    "a b c",
    "ÄÖ ü",
]


def numbers() -> pd.DataFrame:
    """Return positive numbers and whole numbers, and two targets: three classes and a number."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame(random.gamma(2.0, 10.0, (ROWS, 4)).round(2), columns=list("abcd"))
    frame["count"] = random.integers(0, 9, ROWS)
    frame["kind"] = np.digitize(frame.a + frame["count"] + random.normal(0, 5, ROWS), [18, 28])
    frame["amount"] = frame.b * 2 + frame.c + random.gamma(2.0, 1.0, ROWS)
    return frame


def mixed() -> pd.DataFrame:
    """Return numbers, text, booleans and categories of several dtypes, many missing, and a target of two classes."""
    random = np.random.default_rng(4)
    missing = lambda values, share=0.2: pd.Series(values).where(random.random(ROWS) > share)  # noqa: E731
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS),
            "income": missing(random.normal(50, 20, ROWS).round(3)),
            "visits": missing(random.integers(0, 20, ROWS)).astype("Int64"),
            "city": missing(random.choice(["Bern", "Genève", "Zürich", "Basel"], ROWS, p=[0.6, 0.3, 0.06, 0.04])),
            "plan": pd.Categorical(random.choice(["free", "paid"], ROWS), categories=["free", "paid", "team"]),
            "code": pd.Series(random.choice(["x", "y", None], ROWS), dtype=object),
            "member": random.random(ROWS) < 0.5,
            "size": random.normal(size=ROWS).astype(np.float32),
        }
    )
    frame["label"] = np.where(frame.age + frame.member * 30 + random.normal(0, 10, ROWS) > 65, "yes", "no")
    return frame


def texts() -> pd.DataFrame:
    """Return texts and a target of two classes."""
    random = np.random.default_rng(5)
    words = [" ".join(random.choice(TEXTS, 3)) for _ in range(ROWS)]
    return pd.DataFrame(
        {"text": words, "label": ["good" if "great" in word or "bon" in word else "bad" for word in words]}
    )


def prove(pipeline: Any, frame: pd.DataFrame, target: str | list[str]) -> Proof:
    """Return the proof of a fitted pipeline on a frame."""
    features = frame.drop(columns=target)
    targets = [target] if isinstance(target, str) else target
    task = "classification" if is_classifier(pipeline) else "regression"
    signature = learn_signature(pipeline, features, learn_features(features, {}), targets, task)
    file = io.BytesIO()
    joblib.dump(pipeline, file)
    return compile_and_prove(file.getvalue(), signature, [features])[1]


def holds(pipeline: Any, frame: pd.DataFrame, target: str | list[str]) -> None:
    """Fit a pipeline on all columns but the target and check that its proof holds."""
    fitted = pipeline.fit(frame.drop(columns=target), frame[target])
    proof = prove(fitted, frame, target)
    assert proof.verdict == "holds", proof.reason
    assert proof.rows == len(frame)
    assert proof.hard_rows > 20 or "text" in frame


NUMBERS = numbers()
INNER = lm.LogisticRegression()
VOTING_CLASSES = (StackingClassifier, VotingClassifier)
# Classes that cannot be made without parameters, or not tried on numbers.
MADE: dict[type, Callable[[], Any]] = {
    ColumnTransformer: lambda: ColumnTransformer([("a", StandardScaler(), ["a"]), ("b", "passthrough", ["b", "c"])]),
    FeatureUnion: lambda: FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]),
    FixedThresholdClassifier: lambda: FixedThresholdClassifier(INNER, threshold=0.3),
    FrozenEstimator: lambda: FrozenEstimator(INNER.fit(NUMBERS[[*"abcd", "count"]], NUMBERS.kind)),
    GridSearchCV: lambda: GridSearchCV(INNER, {"C": [0.1, 1.0]}, cv=2),
    Pipeline: lambda: Pipeline([("scale", StandardScaler()), ("model", INNER)]),
    RandomizedSearchCV: lambda: RandomizedSearchCV(INNER, {"C": [0.1, 1.0]}, n_iter=2, cv=2),
    TransformedTargetRegressor: lambda: TransformedTargetRegressor(func=np.log1p, inverse_func=np.expm1),
    TunedThresholdClassifierCV: lambda: TunedThresholdClassifierCV(INNER, cv=2),
    LocalOutlierFactor: lambda: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
    GaussianProcessClassifier: lambda: make_pipeline(StandardScaler(), GaussianProcessClassifier()),
    GaussianProcessRegressor: lambda: make_pipeline(StandardScaler(), GaussianProcessRegressor(alpha=0.1)),
    KernelCenterer: lambda: FrozenEstimator(KernelCenterer().fit(NUMBERS[[*"abcd", "count"]].head())),
    RadiusNeighborsClassifier: lambda: make_pipeline(StandardScaler(), RadiusNeighborsClassifier(9.0)),
    RadiusNeighborsRegressor: lambda: make_pipeline(StandardScaler(), RadiusNeighborsRegressor(9.0)),
    KernelRidge: lambda: KernelRidge(kernel="rbf", gamma=0.01),
    KernelPCA: lambda: make_pipeline(MinMaxScaler(clip=True), KernelPCA(3)),
    RBFSampler: lambda: make_pipeline(MinMaxScaler(clip=True), RBFSampler(random_state=0)),
    lm.SGDClassifier: lambda: lm.SGDClassifier(loss="log_loss", random_state=0),
    **{cls: lambda cls=cls: cls(n_components=1) for cls in (CCA, PLSCanonical)},  # type: ignore[dict-item]
    NeighborhoodComponentsAnalysis: lambda: make_pipeline(NeighborhoodComponentsAnalysis(max_iter=3), INNER),
    RandomTreesEmbedding: lambda: RandomTreesEmbedding(9, max_depth=3),
    SparseRandomProjection: lambda: SparseRandomProjection(3),
    GaussianRandomProjection: lambda: GaussianRandomProjection(n_components=3),
    **{cls: lambda cls=cls: cls(fs.f_regression) for cls in (fs.SelectFdr, fs.SelectFpr, fs.SelectFwe)},
    fs.GenericUnivariateSelect: lambda: fs.GenericUnivariateSelect(fs.f_regression, mode="k_best", param=2),
    fs.SelectKBest: lambda: fs.SelectKBest(fs.f_regression, k=2),
    fs.SelectPercentile: lambda: fs.SelectPercentile(fs.f_regression, percentile=60),
    **{cls: lambda cls=cls: cls(lm.Ridge()) for cls in (fs.RFE, fs.RFECV, fs.SelectFromModel)},
    fs.SequentialFeatureSelector: lambda: fs.SequentialFeatureSelector(lm.Ridge(), n_features_to_select=2, cv=2),
    MissingIndicator: lambda: MissingIndicator(features="all"),
    **{cls: lambda cls=cls: cls(INNER) for cls in (OneVsOneClassifier, OneVsRestClassifier, SelfTrainingClassifier)},
    **{cls: lambda cls=cls: cls(lm.Ridge()) for cls in (MultiOutputRegressor, RegressorChain)},
    **{cls: lambda cls=cls: cls(INNER) for cls in (ClassifierChain, MultiOutputClassifier)},
    **{cls: lambda cls=cls: cls([("a", INNER), ("b", DecisionTreeClassifier())]) for cls in VOTING_CLASSES},
    StackingRegressor: lambda: StackingRegressor([("a", lm.Ridge()), ("b", DecisionTreeRegressor())], lm.Ridge()),
    VotingRegressor: lambda: VotingRegressor([("a", lm.Ridge()), ("b", DecisionTreeRegressor())]),
    IsotonicRegression: lambda: make_pipeline(
        make_column_transformer(("passthrough", ["b"])), IsotonicRegression(out_of_bounds="clip")
    ),
    OutputCodeClassifier: lambda: OutputCodeClassifier(INNER, code_size=3),
}
# What takes no numbers is tried below and in tests/test_compiler_sparse.py, what is inside of another class with it.
NOT_ALONE = (
    *(CountVectorizer, DictVectorizer, FeatureHasher, HashingVectorizer, TfidfTransformer, TfidfVectorizer),
    _BinaryGaussianProcessClassifierLaplace,
)
BINARY = (FixedThresholdClassifier, TunedThresholdClassifierCV)
SEVERAL_TARGETS = (
    *(lm.MultiTaskElasticNet, lm.MultiTaskElasticNetCV, lm.MultiTaskLasso, lm.MultiTaskLassoCV),
    *(MultiOutputRegressor, RegressorChain),
)
SEVERAL_CLASSES = (ClassifierChain, MultiOutputClassifier)


@pytest.mark.filterwarnings("ignore")  # of convergence: how well a model fits does not matter here
@pytest.mark.parametrize("cls", [cls for cls in CONVERTERS if cls not in NOT_ALONE], ids=lambda cls: cls.__name__)
def test_every_compiled_class_equals_scikit_learn(cls: type) -> None:
    """A class that has a converter gives what scikit-learn gives, on its data and on hard rows."""
    estimator: BaseEstimator = MADE.get(cls, cls)()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    frame = NUMBERS.assign(kind=NUMBERS.kind > 0) if cls in BINARY else NUMBERS
    if cls in SEVERAL_CLASSES:
        holds(estimator, frame.assign(kind=frame.kind > 0, amount=frame.amount > 50), ["kind", "amount"])
    elif cls in SEVERAL_TARGETS:
        holds(estimator, frame, ["kind", "amount"])
    elif is_classifier(estimator):
        holds(estimator, frame.drop(columns="amount"), "kind")
    elif is_regressor(estimator) or hasattr(estimator, "predict"):  # clusterers, mixtures, detectors of outliers
        holds(estimator, frame.drop(columns="kind"), "amount")
    else:
        holds(make_pipeline(estimator, lm.LinearRegression()), frame.drop(columns="kind"), "amount")


FORESTS = {
    "depth-one": DecisionTreeClassifier(max_depth=1),
    "deep": DecisionTreeRegressor(),
    "best-first": DecisionTreeClassifier(max_leaf_nodes=5),
    "balanced": RandomForestClassifier(7, class_weight="balanced", max_features=0.5, random_state=0),
    "criterion": RandomForestRegressor(7, criterion="absolute_error", random_state=0, n_jobs=2),
    "extra": ExtraTreesClassifier(7, bootstrap=True, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=5, subsample=0.5, random_state=0),
    "boosted-zero": GradientBoostingClassifier(n_estimators=5, init="zero", random_state=0),
    "hist": HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=4),
    "hist-poisson": HistGradientBoostingRegressor(loss="poisson", max_iter=5),
    "hist-gamma": HistGradientBoostingRegressor(loss="gamma", max_iter=5),
    "hist-quantile": HistGradientBoostingRegressor(loss="quantile", quantile=0.8, max_iter=5),
    "hist-absolute": HistGradientBoostingRegressor(loss="absolute_error", max_iter=5),
}


@pytest.mark.parametrize("name", FORESTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_trees_equal_scikit_learn(name: str, dtype: str) -> None:
    """Trees of every growth and loss give what scikit-learn gives, for float64 and for float32 frames."""
    estimator = FORESTS[name]
    frame = NUMBERS.astype(dict.fromkeys([*"abcd", "count"], dtype))
    target, other = ("kind", "amount") if is_classifier(estimator) else ("amount", "kind")
    holds(estimator, frame.drop(columns=other), target)


@pytest.mark.filterwarnings("ignore")  # of convergence
@pytest.mark.parametrize("classes", [2, 3])
def test_losses_give_chances_of_their_own(classes: int) -> None:
    """The exponential loss, for two classes alone, halves its logit; the modified Huber loss cuts its scores."""
    frame = NUMBERS.drop(columns="amount").assign(kind=NUMBERS.kind.clip(upper=classes - 1))
    holds(make_pipeline(StandardScaler(), lm.SGDClassifier(loss="modified_huber", random_state=0)), frame, "kind")
    if classes == 2:
        holds(GradientBoostingClassifier(loss="exponential", n_estimators=5, random_state=0), frame, "kind")


@pytest.mark.parametrize("model", [DecisionTreeRegressor(), RandomForestRegressor(5), lm.Ridge()], ids=str)
def test_several_numbers_from_one_row_equal_scikit_learn(model: Any) -> None:
    """A regression with several targets gives all of them."""
    holds(model, NUMBERS, ["kind", "amount"])


def test_trees_send_missing_values_where_scikit_learn_does() -> None:
    """NaN goes left or right as each node learned."""
    frame = mixed()[["income", "visits", "age", "label"]]
    for estimator in (
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(9, random_state=0),
        HistGradientBoostingClassifier(max_iter=9),
    ):
        holds(estimator, frame, "label")


PREPROCESSING: dict[str, Any] = {
    "impute-mean": make_column_transformer((make_pipeline(SimpleImputer(), StandardScaler()), ["income", "visits"])),
    "impute-marked": make_column_transformer((SimpleImputer(add_indicator=True), ["income", "visits"])),
    "impute-zero": make_column_transformer((SimpleImputer(strategy="constant", fill_value=-1), ["income"])),
    "impute-text": make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), ["city"])
    ),
    "impute-constant-text": make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OrdinalEncoder()), ["city"])
    ),
    "one-hot": make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city", "plan", "code", "member"])),
    "one-hot-strict": make_column_transformer((OneHotEncoder(sparse_output=False), ["city", "plan"])),
    "one-hot-first": make_column_transformer((OneHotEncoder(drop="first"), ["plan", "member", "code"])),
    "one-hot-binary": make_column_transformer(
        (OneHotEncoder(drop="if_binary", handle_unknown="ignore", sparse_output=False), ["plan", "city"])
    ),
    "one-hot-rare": make_column_transformer(
        (OneHotEncoder(min_frequency=12, handle_unknown="infrequent_if_exist"), ["city", "age"])
    ),
    "one-hot-few": make_column_transformer((OneHotEncoder(max_categories=2, handle_unknown="ignore"), ["city"])),
    "one-hot-numbers": make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["age", "visits"])),
    "ordinal": make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "plan", "code"])
    ),
    "ordinal-missing": make_column_transformer((OrdinalEncoder(encoded_missing_value=-2), ["city", "code"])),
    "robust": make_column_transformer((make_pipeline(SimpleImputer(), RobustScaler()), ["income", "age"])),
    "clipped": make_column_transformer((MinMaxScaler((-1, 2), clip=True), ["age", "size"])),
    "ufunc": make_column_transformer((FunctionTransformer(np.log1p), ["age"]), (FunctionTransformer(), ["member"])),
    "remainder": make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["plan", "city", "code"]), ("drop", ["visits"]), remainder="passthrough"
    ),
    "selector": make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include=np.int64)),
        ("drop", ["city"]),
        ("passthrough", ["member"]),
    ),
    "weights": ColumnTransformer(
        [("a", StandardScaler(), ["age"]), ("b", "passthrough", ["member"])], transformer_weights={"a": 0.3}
    ),
    "union": make_column_transformer(
        (make_union(SimpleImputer(), make_pipeline(SimpleImputer(), MinMaxScaler())), ["income", "visits"])
    ),
    "singles": make_column_transformer((StandardScaler(), ["size"])),
}


@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_equals_scikit_learn(name: str) -> None:
    """Imputing, scaling and encoding give what scikit-learn gives, for every dtype, missing and unseen value."""
    step = PREPROCESSING[name]
    model: Any = HistGradientBoostingClassifier(max_iter=5)
    if name not in ("remainder", "one-hot-strict", "ordinal", "ordinal-missing", "singles"):
        model = make_pipeline(SimpleImputer(), lm.LogisticRegression())
    holds(make_pipeline(step, model), mixed(), "label")


TEXT: dict[str, list[Any]] = {
    "words": [CountVectorizer()],
    "pairs": [CountVectorizer(ngram_range=(1, 2))],
    "pairs-alone": [TfidfVectorizer(ngram_range=(2, 3))],
    "characters": [TfidfVectorizer(analyzer="char", ngram_range=(1, 3))],
    "within-words": [TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))],
    "stop-words": [TfidfVectorizer(stop_words="english", sublinear_tf=True)],
    "accents": [TfidfVectorizer(strip_accents="unicode", lowercase=False)],
    "ascii": [TfidfVectorizer(strip_accents="ascii", norm="l1")],
    "binary": [CountVectorizer(binary=True), TfidfTransformer(use_idf=False, norm=None)],
    "vocabulary": [TfidfVectorizer(vocabulary=["great", "bad", "bon"], smooth_idf=False)],
    "pattern": [TfidfVectorizer(token_pattern=r"\b(\w)\w*\b", max_features=9)],
    "counts-weighed": [CountVectorizer(min_df=2), TfidfTransformer(sublinear_tf=True)],
}


@pytest.mark.parametrize("name", TEXT)
def test_text_equals_scikit_learn(name: str) -> None:
    """Every way to cut texts into terms gives what scikit-learn gives, in one column of a frame or as a list."""
    frame = texts()
    model = lm.LogisticRegression()
    holds(make_pipeline(make_column_transformer((make_pipeline(*TEXT[name]), "text")), model), frame, "label")
    as_list = make_pipeline(*TEXT[name], model).fit(frame.text, frame.label)
    assert prove(as_list, frame, "label").verdict == "holds"


LINEAR: Iterable[tuple[int, Any]] = (
    (2, lm.LogisticRegression(solver="liblinear")),
    (2, lm.LogisticRegression(fit_intercept=False)),
    (3, lm.LogisticRegression(fit_intercept=False)),
    (2, lm.SGDClassifier(loss="hinge", random_state=0)),
    (3, lm.SGDClassifier(loss="hinge", random_state=0)),
    (2, lm.SGDClassifier(loss="log_loss", random_state=0)),
    (3, lm.SGDClassifier(loss="log_loss", random_state=0)),
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("classes", "estimator"), LINEAR, ids=str)
def test_linear_decisions_equal_scikit_learn(classes: int, estimator: Any) -> None:
    """Two classes and several, with probabilities and without, are decided as scikit-learn decides them."""
    frame = NUMBERS.drop(columns="amount").assign(kind=np.minimum(NUMBERS.kind, classes - 1))
    holds(make_pipeline(StandardScaler(), estimator), frame, "kind")


@pytest.mark.parametrize("method", ["predict_proba", "decision_function"])
@pytest.mark.parametrize("positive", ["yes", "no"])
def test_thresholds_mean_the_positive_class(method: str, positive: str) -> None:
    """A decision threshold is compared with the positive class's score, whichever class that is."""
    frame = mixed()[["age", "member", "label"]]
    holds(FixedThresholdClassifier(INNER, threshold=0.2, pos_label=positive, response_method=method), frame, "label")


def test_dictionaries_equal_scikit_learn() -> None:
    """Dictionaries of texts and numbers, what is missing left out of them, give what scikit-learn gives."""
    frame = mixed()[["city", "age", "income", "member", "label"]]
    features = frame.drop(columns="label")
    dictionaries = [{k: v for k, v in row.items() if v == v} for row in features.to_dict("records")]
    model = make_pipeline(DictVectorizer(), lm.LogisticRegression(max_iter=5000)).fit(dictionaries, frame.label)
    assert prove(model, frame, "label").verdict == "holds"


def test_what_is_not_compiled_is_named() -> None:
    """A step without an exact compiled form is no error: the proof names it and why, from the outside in."""
    frame = NUMBERS.drop(columns="kind")
    pipeline = make_pipeline(FunctionTransformer(np.nan_to_num), lm.LinearRegression())
    proof = prove(pipeline.fit(frame.drop(columns="amount"), frame.amount), frame, "amount")
    assert proof.verdict == "not compiled"
    assert proof.reason == "Pipeline: FunctionTransformer: calls a function that is no unary ufunc of NumPy"


class Unbounded(lm.LinearRegression):
    """A fitted pipeline that the compiled model differs from without bound."""

    def predict(self, X: Any) -> Any:
        """Return infinity."""
        return np.full(len(X), np.inf)


def test_a_difference_without_bound_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """However far the engines are apart, the proof fails and says where; it is no error."""
    frame = NUMBERS.drop(columns="kind")
    monkeypatch.setitem(CONVERTERS, Unbounded, CONVERTERS[lm.LinearRegression])
    proof = prove(Unbounded().fit(frame.drop(columns="amount"), frame.amount), frame, "amount")
    assert proof.verdict == "fails"
    assert str(proof.reason).startswith("predict gives inf by the fitted pipeline, ")


def test_the_table_of_estimators_is_that_of_the_code() -> None:
    """docs/estimators.md lists every public estimator as it is, and the reasons stand for no compiled one."""
    written = Path(__file__).parent.parent / "docs" / "estimators.md"
    assert written.read_text(encoding="utf-8") == table()
    compiled = {cls.__name__ for cls in CONVERTERS}
    assert not compiled & {name for names in WHY.values() for name in names}


class Doubled(lm.LinearRegression):
    """A subclass that answers otherwise than its class."""

    def predict(self, X: Any) -> Any:
        """Return twice what the class gives."""
        return 2 * super().predict(X)


def test_a_subclass_is_never_taken_for_its_class() -> None:
    """Converters are found by exact class: what a subclass changed cannot be known."""
    frame = NUMBERS.drop(columns="kind")
    proof = prove(Doubled().fit(frame.drop(columns="amount"), frame.amount), frame, "amount")
    assert proof.reason == "Doubled: this class is not compiled"


def test_a_converter_that_fails_names_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a converter cannot make sense of is no error of the packaging, and the reason says which step it was."""

    def fails(*_: Any) -> None:
        raise TypeError("sparse array length is ambiguous")

    monkeypatch.setitem(CONVERTERS, lm.Ridge, {"predict": fails})  # type: ignore[arg-type]
    frame = NUMBERS.drop(columns="kind")
    fitted = make_pipeline(StandardScaler(), lm.Ridge()).fit(frame.drop(columns="amount"), frame.amount)
    assert prove(fitted, frame, "amount").reason == "Pipeline: Ridge: TypeError: sparse array length is ambiguous"
