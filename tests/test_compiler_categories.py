"""Histogram boosting that splits categories: known, rare, unknown and missing ones, by dtype, by name, by mask."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from function.engines.numpy_engine import read_compiled
from function.engines.sklearn_engine import SklearnEngine
from lifecycle.compiler import compile_pipeline
from lifecycle.signature import learn_features, learn_signature
from tests.test_compiler import holds, prove

ROWS = 240
CITIES = ["Bern", "Genève", "Zürich", "Basel", "Lugano", "Chur", "Sion", "Aarau", "Thun"]
MODELS: dict[str, Any] = {
    "classes": HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=4),
    "shallow": HistGradientBoostingClassifier(max_iter=8, max_depth=1, min_samples_leaf=4),
    "few-bins": HistGradientBoostingClassifier(max_iter=8, max_bins=40, min_samples_leaf=4),
    "by-name": HistGradientBoostingClassifier(
        max_iter=8, categorical_features=["paid", "size", "city"], min_samples_leaf=4
    ),
    "by-mask": HistGradientBoostingClassifier(
        max_iter=8, categorical_features=[True, False, False, True, True], min_samples_leaf=4
    ),
    "early": HistGradientBoostingClassifier(max_iter=60, early_stopping=True, random_state=0, min_samples_leaf=4),
    "numbers": HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=4),
    "constrained": HistGradientBoostingRegressor(max_iter=8, monotonic_cst={"age": 1}, min_samples_leaf=4),
    "poisson": HistGradientBoostingRegressor(loss="poisson", max_iter=8, min_samples_leaf=4),
    "gamma": HistGradientBoostingRegressor(loss="gamma", max_iter=8, min_samples_leaf=4),
    "quantile": HistGradientBoostingRegressor(loss="quantile", quantile=0.7, max_iter=8, min_samples_leaf=4),
    "absolute": HistGradientBoostingRegressor(loss="absolute_error", max_iter=8, min_samples_leaf=4),
}


def frame(classes: int, missing: bool) -> pd.DataFrame:
    """Return categories of text and of numbers, numbers, and both targets; categories and numbers may be missing."""
    random = np.random.default_rng(11)
    city = random.integers(0, len(CITIES), ROWS)
    size = random.integers(0, 30, ROWS)
    age = random.normal(40, 12, ROWS).round(1)
    keep = random.random((3, ROWS)) > (0.15 if missing else 0.0)
    return pd.DataFrame(
        {
            "size": pd.Categorical(pd.Series(size).where(keep[0]), categories=range(33)),
            "age": pd.Series(age).where(keep[1]),
            "visits": random.integers(0, 9, ROWS),
            "city": pd.Categorical(pd.Series(np.array(CITIES)[city]).where(keep[2]), categories=[*CITIES, "Olten"]),
            "paid": pd.Categorical(random.random(ROWS) < 0.3),
            "kind": (city * 7 + size * 3 + random.integers(0, 3, ROWS)) % 5 % classes,
            "amount": (city * 7 % 5) + (size * 5 % 7) + age / 40 + random.random(ROWS),
        }
    )


@pytest.mark.parametrize(("name", "missing"), [*((name, True) for name in MODELS), ("classes", False)])
def test_split_categories_equal_scikit_learn(name: str, missing: bool) -> None:
    """Every loss, two classes and several: known, unseen and missing categories go where each node sends them."""
    model = MODELS[name]
    if isinstance(model, HistGradientBoostingRegressor):
        holds(model, frame(2, missing).drop(columns="kind"), "amount")
        return
    for classes in (2, 3):
        holds(model, frame(classes, missing).drop(columns="amount"), "kind")


def test_nodes_do_split_categories() -> None:
    """What is tried above are splits of categories, of numbers, and both beneath each other."""
    rows = frame(2, True)
    model = HistGradientBoostingRegressor(max_iter=8, min_samples_leaf=4)
    model.fit(rows.drop(columns=["kind", "amount"]), rows.amount)
    nodes = np.concatenate([stage[0].nodes for stage in model._predictors])
    inner = nodes[nodes["is_leaf"] == 0]
    assert {0, 1} == set(inner["is_categorical"])
    assert {0, 1} == set(inner["missing_go_to_left"][inner["is_categorical"] == 1])


def test_only_categories_are_split_too() -> None:
    """A frame without a number has splits of categories alone."""
    holds(HistGradientBoostingClassifier(max_iter=5), frame(2, True)[["city", "size", "kind"]], "kind")


def test_codes_of_a_step_before_are_split() -> None:
    """Categories that another step made numbers of are told by a mask."""
    coder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    steps = make_column_transformer((coder, ["city"]), (SimpleImputer(), ["age", "visits"]))
    model = HistGradientBoostingClassifier(max_iter=8, categorical_features=[0], min_samples_leaf=4)
    holds(make_pipeline(steps, model), frame(3, True)[["city", "age", "visits", "kind"]], "kind")


def test_text_of_two_dtypes_is_split_by_name() -> None:
    """Columns of texts need no category dtype to be categories; their missing values may be NaN or None."""
    rows = frame(2, True)[["city", "age", "kind"]]
    for dtype in ("str", "object"):
        text = rows.city.astype(object).where(rows.city.notna(), None if dtype == "object" else np.nan).astype(dtype)
        model = HistGradientBoostingClassifier(max_iter=8, categorical_features=["city"], min_samples_leaf=4)
        named = rows.assign(city=text)
        proof = prove(model.fit(named.drop(columns="kind"), named.kind), named, "kind")
        assert proof.verdict == "holds", proof.reason


def test_categories_of_single_precision_are_found() -> None:
    """0.7 is a category of a float32 column, which holds another number, 0.699999988, in its place."""
    random = np.random.default_rng(3)
    rows = pd.DataFrame({"rate": random.choice(np.array([0.3, 0.7], np.float32), ROWS), "z": random.normal(size=ROWS)})
    rows["amount"] = rows.rate * 9 + rows.z
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["rate"]), ("passthrough", ["z"]))
    model = make_pipeline(columns, Ridge()).fit(rows[["rate", "z"]], rows.amount)
    signature = learn_signature(model, rows, learn_features(rows[["rate", "z"]], {}), ["amount"], "regression")
    compiled = read_compiled(compile_pipeline(model, signature))
    columns_asked = {"rate": [0.7, 0.3, 0.5], "z": [0.0, 1.0, 2.0]}
    expected = SklearnEngine(model, signature).predict(columns_asked, ["predict"])
    assert compiled.predict(columns_asked, ["predict"])["predict"] == pytest.approx(expected["predict"], rel=1e-12)


def test_infinite_numbers_are_no_categories() -> None:
    """What became infinite on its way to an encoder is refused, as scikit-learn refuses it."""
    rows = frame(2, False)[["visits", "age", "kind"]].astype({"visits": float})
    steps = (FunctionTransformer(np.exp), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    columns = make_column_transformer((make_pipeline(*steps), ["visits"]), (StandardScaler(), ["age"]))
    holds(make_pipeline(columns, LogisticRegression()), rows, "kind")
