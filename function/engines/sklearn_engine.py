"""The engine that runs the fitted pipeline itself, with scikit-learn and pandas."""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from function.contract import Feature, Method, Signature
from function.engines import Outputs
from function.validation import Columns, Value


class SklearnEngine:
    """A fitted pipeline, and the columns that it was fitted on."""

    name = "sklearn"

    def __init__(self, pipeline: Any, signature: Signature) -> None:
        for estimator in _estimators(pipeline, set()):
            if "n_jobs" in vars(estimator):
                estimator.n_jobs = 1  # one row is not worth a thread, and sums keep one order
        self._pipeline = pipeline
        self._rows = input_builder(signature)

    def predict(self, columns: Columns, methods: Sequence[Method]) -> Outputs:
        """Return what the fitted pipeline's own methods give."""
        rows = self._rows(columns)
        return {method: _by_row(getattr(self._pipeline, method)(rows)) for method in methods}


def load_pipeline(content: bytes, fitted_with: str) -> Any:
    """Unpickle a fitted pipeline whose digest was verified; raises ValueError for another scikit-learn's."""
    if fitted_with != sklearn.__version__:
        raise ValueError(f"fitted with scikit-learn {fitted_with}, this image has {sklearn.__version__}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        return joblib.load(io.BytesIO(content))


def input_builder(signature: Signature) -> Callable[[Columns], Any]:
    """Return the function from validated columns to what the fitted pipeline takes, every column with its own dtype.

    The dtype is never inferred: pandas would infer another one for a single row.
    """
    features = signature.features
    if signature.form == "frame":
        builders = [(feature.name, column_builder(feature)) for feature in features]
        return lambda columns: pd.DataFrame({name: build(columns[name]) for name, build in builders}, copy=False)
    if signature.form == "column":
        name, build = features[0].name, column_builder(features[0])
        return lambda columns: pd.Series(build(columns[name]))
    if signature.form == "records":
        return lambda columns: _records(features, columns)
    numeric = all(feature.type in ("integer", "number", "boolean") for feature in features)
    dtype = np.float64 if numeric else object
    return lambda columns: np.array([_filled(columns[f.name]) for f in features], dtype=dtype).T


def column_builder(feature: Feature) -> Callable[[Sequence[Value]], Any]:
    """Return the function from one column's values to a column of the dtype of training, None as its missing value."""
    if feature.dtype == "category":
        categories = pd.Index(feature.categories or (), dtype=feature.category_dtype)
        dtype = pd.CategoricalDtype(categories, feature.ordered)
        return lambda values: pd.Categorical(values, dtype=dtype)
    if feature.dtype == "object":  # of an array of objects pandas would infer str
        filled = _filled if feature.missing == "nan" else list
        return lambda values: pd.Series(filled(values), dtype=object)
    if feature.type == "datetime":
        return lambda values: pd.Series(values, dtype=feature.dtype)
    own = pd.api.types.pandas_dtype(feature.dtype)
    if isinstance(own, np.dtype):
        return lambda values: np.array(_filled(values) if feature.nullable else values, dtype=own)
    return lambda values: pd.array(values, dtype=own)  # str, string, Int64, Float64, boolean, ...


def _filled(values: Sequence[Value]) -> list[Any]:
    return [np.nan if value is None else value for value in values]


def _records(features: Sequence[Feature], columns: Columns) -> list[dict[str, Any]]:
    names = [feature.name for feature in features]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*(columns[name] for name in names), strict=True)
    ]


def _by_row(output: Any) -> list[Any]:
    """Return an output as plain values, one entry a row; several targets' probabilities come as one array each."""
    if isinstance(output, list):
        return [list(row) for row in zip(*(np.asarray(target).tolist() for target in output), strict=True)]
    return np.asarray(output).tolist()  # type: ignore[no-any-return]


def _estimators(value: Any, seen: set[int]) -> Iterator[BaseEstimator]:
    """Yield every estimator inside a fitted one: parameters and fitted attributes, in any nesting of containers."""
    if id(value) in seen:
        return
    seen.add(id(value))
    children: Sequence[Any] = ()
    if isinstance(value, BaseEstimator):
        yield value
        children = list(vars(value).values())
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        children = list(value.flat) if isinstance(value, np.ndarray) else value
    elif isinstance(value, dict):
        children = list(value.values())
    for child in children:
        if isinstance(child, BaseEstimator | list | tuple | dict | np.ndarray):
            yield from _estimators(child, seen)
