"""scikit-learn's corner cases for every compiled class: odd dtypes, constant columns, one class, one row, nothing left.

Each is proven and then held to rows that its proof has not seen, or the reason why it is not compiled stands here.
"""

import io
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model as lm
from sklearn.base import ClassifierMixin, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    KernelCenterer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from function.engines.numpy_engine import read_compiled
from function.engines.sklearn_engine import SklearnEngine
from function.validation import Validator
from lifecycle.compiler import CONVERTERS
from lifecycle.errors import ArtifactRefused
from lifecycle.frames import raw_instances
from lifecycle.proof import Comparison, _valid, compile_and_prove
from lifecycle.signature import learn_features, learn_signature
from tests.test_compiler import BINARY, INNER, MADE, NOT_ALONE, SEVERAL_CLASSES, SEVERAL_TARGETS

pytestmark = pytest.mark.filterwarnings("ignore")  # of convergence, constant columns, empty arrays
ROWS = 30


def verdict(pipeline: Any, frame: pd.DataFrame, fresh: pd.DataFrame, targets: list[str]) -> str:
    """Fit, compile and prove; return "holds" once fresh rows are answered alike, "unfit", or why it is not compiled."""
    features = frame.drop(columns=[*{"kind", "amount", *targets} & {*frame.columns}])
    try:
        pipeline.fit(features, frame[targets[0] if len(targets) == 1 else targets])
        task = "classification" if is_classifier(pipeline) else "regression"
        signature = learn_signature(pipeline, features, learn_features(features, {}), targets, task)
    except (ArtifactRefused, ValueError, TypeError, NotImplementedError, np.linalg.LinAlgError):
        return "unfit"  # scikit-learn itself does without this case
    file = io.BytesIO()
    joblib.dump(pipeline, file)
    content, proof = compile_and_prove(file.getvalue(), signature, [features])
    if content is None:
        return f"{proof.verdict}: {proof.reason}"
    columns = _valid(Validator(signature), raw_instances(fresh[features.columns], signature.features))
    if columns:
        Comparison(SklearnEngine(pipeline, signature), read_compiled(content), signature).hold(columns)
    return "holds"


# Every class, on numbers


def numbers(seed: int) -> pd.DataFrame:
    """Return three columns of numbers, three classes, and a number."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.gamma(3.0, 1.0, (ROWS, 2)).round(2), columns=["a", "b"])
    frame["c"] = random.integers(0, 5, ROWS)
    frame["kind"] = np.digitize(frame.a + frame.c + random.normal(0, 1, ROWS), [4, 6])
    return frame.assign(amount=frame.b * 2 + frame.c + random.gamma(2.0, 1.0, ROWS))


def typed(a: str, b: str, c: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return the function that gives the columns other dtypes, of which whole ones cut and boolean ones compare."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for name, dtype in {"a": a, "b": b, "c": c}.items():
            column = frame[name].clip(upper=100)
            if dtype.lower().startswith("bool"):
                column = column > column.median()
            elif "int" in dtype.lower():
                column = column.astype("int64")
            frame = frame.assign(**{name: column.astype(dtype)})
        return frame

    return change


CORNERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "float32": typed("float32", "float32", "float32"),
    "nullable": typed("Float32", "boolean", "Int64"),
    "one-class": lambda frame: frame.assign(kind=7),
}
MORE_CORNERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one-column": lambda frame: frame[["b", "kind", "amount"]],
    "constant-column": lambda frame: frame.assign(a=3.5, c=0),
    "constant-columns": lambda frame: frame.assign(a=0.1, b=0.1, c=0.1),
    "constant-target": lambda frame: frame.assign(amount=0.1),
    "whole": typed("int64", "int64", "int64"),
    "small": typed("int8", "uint8", "int16"),
    "small-beside-float32": typed("float32", "uint8", "bool"),
    "float32-beside-float64": typed("float32", "float64", "int64"),
    "boolean": typed("bool", "bool", "bool"),
    "Float64": typed("Float64", "Float64", "Float64"),
    "Float32": typed("Float32", "Float32", "Float32"),
    "nullable-boolean": typed("boolean", "boolean", "boolean"),
    "nullable-beside-float32": typed("float32", "Float64", "Int8"),
    "one-row": lambda frame: frame.iloc[:1],
    "text-classes": lambda frame: frame.assign(kind=frame.kind.map({0: "ä", 1: "", 2: "b"})),
    "true-classes": lambda frame: frame.assign(kind=frame.kind > 0),
}
# What cannot be equal, or was not worth it; anything else that is not compiled is a fault.
REASONS = (
    "takes float32 numbers",  # and computes in float32, in an order that BLAS chooses
    "was fitted with float32 numbers",
    "knows one class",
    "was fitted on a single row",
    "cuts the waves of whole numbers off to whole numbers",
)
# Proofs that fail, so that scikit-learn serves the version: what was learned of constant columns is noise, which any
# other last bit changes, and sums of the largest numbers overflow.
OVERFLOW = "1.7976931348623157e+308"  # infinite, or none at all, by the order in which BLAS adds
NOISE = ("PCA", "IncrementalPCA", "LinearDiscriminantAnalysis", "ComplementNB", "MiniBatchKMeans", "FactorAnalysis")


def made(cls: type) -> Any:
    """Return a small estimator of a class."""
    estimator = MADE.get(cls, cls)()
    wanted = {"random_state": 0, "n_estimators": 3, "cv": 2, "max_iter": 50, "Cs": 2}
    wanted |= {"max_iter": 3} if "Hist" in cls.__name__ else {}
    wanted |= {"handle_unknown": "ignore"} if cls is OneHotEncoder else {}  # each refused row is tried alone
    wanted |= {"handle_unknown": "use_encoded_value", "unknown_value": -1} if cls is OrdinalEncoder else {}
    return estimator.set_params(**{name: value for name, value in wanted.items() if name in estimator.get_params()})


def hold_class(cls: type, corner: Callable[[pd.DataFrame], pd.DataFrame], is_noise: bool) -> None:
    """Check a class in a corner case."""
    frame, fresh, estimator = corner(numbers(3)), corner(numbers(4)), made(cls)
    if cls in BINARY and frame.kind.nunique() > 1:
        frame = frame.assign(kind=frame.kind != frame.kind.min())
    targets = ["amount"]
    if cls in SEVERAL_CLASSES:
        targets, frame = ["one", "two"], frame.assign(one=frame.kind == 1, two=frame.amount > frame.amount.median())
    elif cls in SEVERAL_TARGETS:
        targets = ["kind", "amount"] if frame.kind.dtype.kind in "bi" else ["amount", "amount2"]
        frame = frame.assign(amount2=frame.amount * 2)
    elif is_classifier(estimator):
        targets = ["kind"]
    elif not (is_regressor(estimator) or hasattr(estimator, "predict")):
        estimator = make_pipeline(estimator, DecisionTreeRegressor(max_depth=4, random_state=0))
    found = verdict(
        estimator, frame.drop(columns={"kind", "amount", "amount2"} & {*frame} - {*targets}), fresh, targets
    )
    if found.startswith("fails") and (OVERFLOW in found or (is_noise and cls.__name__ in NOISE)):
        return
    assert found in ("holds", "unfit") or found.endswith(REASONS), found


# What is frozen was fitted on other columns.
CLASSES = [cls for cls in CONVERTERS if cls not in (*NOT_ALONE, FrozenEstimator, KernelCenterer)]


def applies(cls: type, corner: str) -> bool:
    """Return whether a case means anything for a class: targets of other types do for classifiers only."""
    return "class" not in corner or issubclass(cls, ClassifierMixin)


# The quick cases try one class of those that share their converters, the long ones all.
OWN = {tuple(CONVERTERS[cls].values()): cls for cls in CLASSES}.values()
CASES = [(cls, corner) for cls in OWN for corner in CORNERS if applies(cls, corner)]
MORE_CASES = [(cls, corner) for cls in CLASSES for corner in {**CORNERS, **MORE_CORNERS} if applies(cls, corner)]


@pytest.mark.parametrize(("cls", "corner"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_every_class_holds_in_the_corners(cls: type, corner: str) -> None:
    """Single precision, pandas' own dtypes and a single class give what scikit-learn gives."""
    hold_class(cls, CORNERS[corner], is_noise=False)


@pytest.mark.long
@pytest.mark.parametrize(("cls", "corner"), MORE_CASES, ids=lambda one: getattr(one, "__name__", one))
def test_every_class_holds_in_more_corners(cls: type, corner: str) -> None:
    """The same for one column, every other dtype, constant columns and targets, one row, and labels of other types."""
    hold_class(cls, {**CORNERS, **MORE_CORNERS}[corner], is_noise=corner == "constant-columns")


# Options that meet, on columns of every dtype


def columns(seed: int) -> pd.DataFrame:
    """Return columns of every dtype, with what is missing in several ways, and a target of each task."""
    random = np.random.default_rng(seed)

    def missing(values: Any) -> pd.Series:
        return pd.Series(values).where(random.random(50) > 0.2)

    frame = pd.DataFrame(
        {
            "zäh 1": random.integers(18, 90, 50),
            "é": missing(random.normal(50, 20, 50).round(2)),
            "visits": missing(random.integers(0, 9, 50)).astype("Int64"),
            "city": missing(random.choice(["Bern", "Genève", "Zürich"], 50)),
            "plan": pd.Categorical(random.choice(["free", "paid"], 50), categories=["paid", "free", "team"]),
            "code": pd.Series(random.choice(["x", "y", None], 50), dtype=object),
            "mix": pd.Series([["u", None, np.nan, "v"][index] for index in random.integers(0, 4, 50)], dtype=object),
            "member": random.random(50) < 0.5,
            "size": random.normal(size=50).astype(np.float32),
            "flag": pd.array(random.random(50) < 0.5, dtype="boolean"),
            "ordered": pd.Categorical(random.choice(["a", "b"], 50), categories=["c", "b", "a"], ordered=True),
            "string": pd.array(random.choice(["p", "q"], 50), dtype="string"),
            "number": pd.Categorical(random.choice([3, 1, 2], 50)),
            "tenth": random.integers(0, 4, 50).astype(np.float32) / 10,
            "byte": random.integers(0, 200, 50).astype("uint8"),
            "short": random.integers(-9, 9, 50).astype("int16"),
            "text": [" ".join(random.choice(["Great", "bad", "tea", "thé"], 3)) for _ in range(50)],
        }
    )
    noise = random.normal(0, 10, 50)
    return frame.assign(
        label=np.where(frame["zäh 1"] + frame.member * 30 + noise > 65, "yes", "no"), worth=frame.byte + noise
    )


NUMBERS = ["zäh 1", "é", "visits"]
CODED: dict[str, Any] = {"handle_unknown": "use_encoded_value", "unknown_value": -1}


def imputed() -> Any:
    """Return the usual steps for numbers."""
    return make_pipeline(SimpleImputer(), StandardScaler())


def hot(**options: Any) -> OneHotEncoder:
    """Return an encoder that gives a dense matrix and knows no unknown category."""
    return OneHotEncoder(**{"handle_unknown": "ignore", "sparse_output": False, **options})


def after(*steps: Any, model: Any = INNER, **options: Any) -> Any:
    """Return a column transformer before a model."""
    return make_pipeline(make_column_transformer(*steps, **options), model)


TREE = DecisionTreeClassifier(max_depth=4, random_state=0)
ODD: dict[str, Any] = {
    "class-weight": after((imputed(), NUMBERS), model=lm.LogisticRegression(class_weight="balanced")),
    "pandas-out": after((imputed(), NUMBERS), (hot(), ["city"]), verbose_feature_names_out=False).set_output(
        transform="pandas"
    ),
    "pandas-out-scaled": make_pipeline(
        make_column_transformer((imputed(), NUMBERS), (hot(), ["city"])), StandardScaler(), TREE
    ).set_output(transform="pandas"),
    "passthrough-between": after((imputed(), ["é"]), ("passthrough", ["size", "member", "zäh 1"]), (hot(), ["plan"])),
    "remainder": after(
        (hot(), ["city", "plan", "code", "ordered", "string", "text"]),
        ("drop", ["visits", "number", "mix"]),
        remainder="passthrough",
        model=HistGradientBoostingClassifier(max_iter=3),
    ),
    "by-dtype": after(
        (imputed(), make_column_selector(dtype_include="number")),
        (hot(), make_column_selector(dtype_include="category")),
    ),
    "by-name": after((imputed(), make_column_selector("^(z|é|s)", dtype_include="number"))),
    "by-no-name": after((imputed(), make_column_selector("^nothing")), (imputed(), ["é"])),
    "empty-list": after((imputed(), []), (imputed(), ["zäh 1"]), (hot(), [])),
    "all-dropped": after(("drop", ["é"]), ("passthrough", ["member"]), (hot(drop=["p"]), ["string"])),
    "nested": after((make_column_transformer((imputed(), [0]), (MinMaxScaler(), [1])), ["é", "size"])),
    "by-position": after((imputed(), [1, 0]), (StandardScaler(), slice(14, 16)), ("passthrough", [-4])),
    "by-mask": after((imputed(), [True, True, *[False] * 15])),
    "logarithm": after((FunctionTransformer(np.log1p), ["zäh 1"])),
    "logarithm-nullable": after((make_pipeline(FunctionTransformer(np.log1p), SimpleImputer()), ["visits", "é"])),
    "no-function": after((FunctionTransformer(), ["size", "byte"]), model=TREE),
    "ordinal-missing": after((OrdinalEncoder(encoded_missing_value=-9, **CODED), ["city", "code", "plan"])),
    "ordinal-given": after(
        (OrdinalEncoder(categories=[["Zürich", "Bern", np.nan], ["team", "paid", "free"]], **CODED), ["city", "plan"]),
        model=HistGradientBoostingClassifier(max_iter=3),
    ),
    "ordinal-rare": after((OrdinalEncoder(min_frequency=15, **CODED), ["city", "text"]), model=TREE),
    "ordinal-of-all": after(
        (OrdinalEncoder(**CODED), ["tenth", "byte", "member", "number", "flag", "visits", "string"]),
        model=HistGradientBoostingClassifier(max_iter=3),
    ),
    "hot-if-binary": after((hot(drop="if_binary"), ["plan", "member", "city", "code", "string", "flag"])),
    "hot-given": after((hot(categories=[["Zürich", "Bern"], ["team", "free", "paid"]]), ["city", "plan"])),
    "hot-of-all": after((hot(), ["tenth", "flag", "number", "visits", "byte", "ordered"])),
    "hot-dropped": after((hot(drop=["Bern", "free"]), ["city", "plan"])),
    "hot-rare": after((hot(handle_unknown="warn", min_frequency=20), ["city", "plan", "code"])),
    "hot-whole": after((hot(dtype=np.int8), ["city", "plan"]), ("passthrough", ["size"]), model=TREE),
    "hot-nothing-varies": make_pipeline(
        make_column_transformer((hot(), ["city", "string"])), VarianceThreshold(0.22), INNER
    ),
    "target-coded": after((TargetEncoder(random_state=0, cv=2), ["city", "plan", "tenth", "number", "byte"])),
    "impute-number": after((SimpleImputer(missing_values=0), ["short", "byte"])),
    "impute-text": after((make_pipeline(SimpleImputer(strategy="most_frequent"), hot()), ["city", "string"])),
    "impute-none": after(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="?", missing_values=None), hot()), ["code"])
    ),
    "impute-marked": after((SimpleImputer(strategy="median", add_indicator=True), ["visits", "é", "byte"])),
    "bins": after((KBinsDiscretizer(4, strategy="uniform", encode="onehot-dense"), ["zäh 1", "short"])),
    "selected-most": make_pipeline(
        make_column_transformer((imputed(), NUMBERS)), SelectFromModel(INNER, max_features=1), TREE
    ),
    "union": make_pipeline(
        make_column_transformer((imputed(), NUMBERS)),
        FeatureUnion([("a", "drop"), ("b", "passthrough"), ("c", PCA(2))], transformer_weights={"b": 2}),
        INNER,
    ),
    "calibrated": CalibratedClassifierCV(after((imputed(), NUMBERS)), method="isotonic", cv=2),
    "calibrated-tree": CalibratedClassifierCV(after((imputed(), NUMBERS), model=TREE), cv=2),
    "searched": GridSearchCV(after((imputed(), NUMBERS)), {"logisticregression__C": [0.1, 1]}, cv=2),
    "few-terms": after((TfidfVectorizer(max_features=3, ngram_range=(1, 2)), "text")),
    "one-term": after((CountVectorizer(max_features=1, binary=True), "text")),
    "few-features": after((imputed(), NUMBERS), model=RandomForestClassifier(3, max_features=1, random_state=0)),
    "boosted-few-features": after(
        (imputed(), NUMBERS), model=GradientBoostingClassifier(n_estimators=3, max_features="log2", random_state=0)
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_options_equal_scikit_learn(name: str) -> None:
    """Options that are legal and rare give what scikit-learn gives, on columns of every dtype."""
    drop = ["worth"]
    assert verdict(ODD[name], columns(1).drop(columns=drop), columns(2).drop(columns=drop), ["label"]) == "holds"


@pytest.mark.parametrize("labels", [(False, True), (-1, 3), ("1", "0"), (2.0, 1.0)], ids=str)
@pytest.mark.parametrize("model", [INNER, TREE, AdaBoostClassifier(n_estimators=3, random_state=0)], ids=str)
def test_labels_of_every_type_equal_scikit_learn(model: Any, labels: tuple[Any, Any]) -> None:
    """Classes may be truths, whole numbers, floats or text."""
    frame, fresh = (columns(seed)[["zäh 1", "member", "label"]] for seed in (1, 2))
    frame = frame.assign(label=frame.label.map(dict(zip(("no", "yes"), labels, strict=True))))
    assert verdict(after((StandardScaler(), ["zäh 1", "member"]), model=model), frame, fresh, ["label"]) == "holds"


REGRESSIONS: dict[str, Any] = {
    "isotonic": after(("passthrough", ["zäh 1"]), model=IsotonicRegression(out_of_bounds="clip")),
    "isotonic-byte": after(("passthrough", ["byte"]), model=IsotonicRegression(out_of_bounds="nan", y_min=10)),
    "trees": after((imputed(), NUMBERS), model=ExtraTreesRegressor(3, max_features=2, random_state=0)),
    "best": after((imputed(), [*NUMBERS, "byte"]), model=make_pipeline(SelectKBest(k=1), lm.Ridge())),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_odd_regressions_equal_scikit_learn(name: str) -> None:
    """The same, for numbers."""
    drop = ["label"]
    assert (
        verdict(REGRESSIONS[name], columns(1).drop(columns=drop), columns(2).drop(columns=drop), ["worth"]) == "holds"
    )


NOT_COMPILED: dict[str, tuple[Any, str]] = {
    "integers-squared": (after((FunctionTransformer(np.square), ["zäh 1"])), "computes square of the column zäh 1 of"),
    "half-precision": (after((FunctionTransformer(np.sqrt), ["byte"])), "computes sqrt of the column byte of dtype"),
    "single-precision": (after((FunctionTransformer(np.square), ["size"])), "computes square of the column size of"),
    "none-and-nan": (after((OrdinalEncoder(**CODED), ["mix"]), model=TREE), "another missing value than the column"),
    "float32-codes": (after((OrdinalEncoder(dtype=np.float32, **CODED), ["plan"]), model=TREE), "gives <class 'numpy"),
    "text-beside-numbers": (
        after((make_column_transformer((imputed(), [0]), remainder="passthrough"), ["é", "city"]), model=TREE),
        "",
    ),
}


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_would_not_be_equal_is_not_compiled(name: str) -> None:
    """What NumPy computes in another dtype, and two kinds of missing values in one column, is left to scikit-learn."""
    pipeline, reason = NOT_COMPILED[name]
    drop = ["worth"]
    found = verdict(pipeline, columns(1).drop(columns=drop), columns(2).drop(columns=drop), ["label"])
    assert found.startswith("not compiled: ") or (found == "unfit" and not reason), found
    assert reason in found


def test_float32_is_scaled_in_float32() -> None:
    """The standard scaler rounds its means to the dtype of the rows: a tree after it tells the last bit."""
    frame, fresh = (typed("float32", "float32", "float32")(numbers(seed)) for seed in (3, 4))
    model = make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0))
    assert verdict(model, frame.drop(columns="kind"), fresh, ["amount"]) == "holds"


@pytest.mark.parametrize("encoder", [hot(), OrdinalEncoder(**CODED), TargetEncoder(cv=2, random_state=0)], ids=str)
def test_float32_categories_are_compared_as_float32(encoder: Any) -> None:
    """0.1 is the category 0.1 of a float32 column, which is another number than the double 0.1."""
    frame, fresh = (columns(seed)[["tenth", "label"]] for seed in (1, 2))
    assert verdict(make_pipeline(encoder, TREE), frame, fresh.assign(tenth=0.1), ["label"]) == "holds"


def test_pipelines_without_columns_are_refused_by_scikit_learn_too() -> None:
    """Where nothing is selected at all there is nothing to compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = columns(1)[["é", "label"]]
        assert verdict(after((imputed(), [])), frame, frame, ["label"]) == "unfit"
