"""Converters of imputers: constants and means of columns, predictions from other columns, nearest rows, marks."""

from typing import Any

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # without it the class cannot be imported
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer

from lifecycle.compiler.program import Converters, NotCompiled, Program, is_nan, label
from lifecycle.compiler.values import (
    Cells,
    Matrix,
    Table,
    Value,
    Vector,
    beside,
    cells_of,
    finite,
    float64_of,
    matrix_of,
    take,
)


def _imputed(imputer: SimpleImputer, value: Value, program: Program) -> Value:
    if isinstance(value, Cells) or (isinstance(value, Table) and _has_text(value)):
        return _filled(imputer, value, program)
    matrix = finite(matrix_of(value, program), program, allow_nan=is_nan(imputer.missing_values))
    statistics = imputer.statistics_.astype(np.float64).astype(matrix.dtype)
    kept = matrix
    known = ~np.isnan(statistics)
    if not imputer.keep_empty_features and not known.all():
        kept, statistics = take(matrix, np.flatnonzero(known).tolist(), program), statistics[known]  # type: ignore[assignment]
    if is_nan(imputer.missing_values):
        register = program.add("impute", kept.register, arrays={"statistics": statistics})
    else:
        missing = float(imputer.missing_values)
        register = program.add("replace", kept.register, missing=missing, arrays={"statistics": statistics})
    return _with_marks(imputer, Matrix(register, kept.width, kept.dtype), matrix, program)


def _filled(imputer: SimpleImputer, value: Value, program: Program) -> Cells:
    if imputer.add_indicator:
        raise NotCompiled("marks missing text")
    cells = cells_of(value, program)
    statistics = [label(statistic) for statistic in imputer.statistics_]
    if None in statistics:
        raise NotCompiled("has columns without a value")
    stands = imputer.missing_values
    missing = None if stands is None or is_nan(stands) else label(stands)
    kinds = {"none"} if stands is None else {"nan"}
    if missing is None and not set(cells.missing) <= kinds:
        raise NotCompiled("looks for another missing value than the column has")
    register = program.add("fill", cells.register, missing=[missing], values=statistics)
    return Cells(register, cells.missing if missing is not None else ("nan",) * len(statistics))


def _has_text(table: Table) -> bool:
    return any(feature.type == "text" for _, feature in table.columns)


def _iterated(imputer: IterativeImputer, value: Value, program: Program) -> Value:
    """Add `IterativeImputer.transform`: every estimator of every round predicts one column from others."""
    if imputer.sample_posterior:
        raise NotCompiled("draws what is missing at random")
    matrix = _numbers(imputer, value, program)
    filled: Matrix = program.convert(imputer.initial_imputer_, "transform", matrix)
    empty = np.asarray(imputer._is_empty_feature)
    if empty.any() and imputer.keep_empty_features:
        raise NotCompiled("keeps columns without a value")
    original = matrix_of(take(matrix, np.flatnonzero(~empty).tolist(), program), program) if empty.any() else matrix
    for column, others, estimator in imputer.imputation_sequence_ if imputer.n_iter_ else ():
        rows = program.add("incomplete_rows", filled.register, original.register, index=int(column))
        known = take(Matrix(rows, filled.width), np.asarray(others).tolist(), program)
        predicted = program.convert(estimator, "predict", known)
        if not isinstance(predicted, Vector):
            raise NotCompiled("predicts several numbers for one column")
        bounds = np.array([imputer._min_value[column], imputer._max_value[column]], np.float64)
        reads = (filled.register, original.register, predicted.register)
        filled = Matrix(
            program.add("impute_column", *reads, index=int(column), arrays={"bounds": bounds}), filled.width
        )
    return _with_marks(imputer, filled, matrix, program)


def _nearest(imputer: KNNImputer, value: Value, program: Program) -> Value:
    """Add `KNNImputer.transform`."""
    if imputer.weights not in ("uniform", "distance") or imputer.metric != "nan_euclidean":
        raise NotCompiled("has a metric or weights of its own")
    if imputer._fit_X.dtype != np.float64:
        raise NotCompiled(f"was fitted with {imputer._fit_X.dtype} numbers")
    matrix = _numbers(imputer, value, program)
    known = np.ma.array(imputer._fit_X, mask=imputer._mask_fit_X)
    means = np.array([np.ma.filled(column.mean(), np.nan) for column in known.T], np.float64)
    register = program.add(
        "impute_nearest",
        matrix.register,
        neighbors=int(imputer.n_neighbors),
        weights=imputer.weights,
        order="rows" if imputer._fit_X.flags.c_contiguous else "columns",
        arrays={"rows": np.where(imputer._mask_fit_X, np.nan, imputer._fit_X), "means": means},
    )
    valid = np.asarray(imputer._valid_mask)
    imputed: Value = Matrix(register, matrix.width)
    if not valid.all():
        if imputer.keep_empty_features:
            raise NotCompiled("keeps columns without a value")
        imputed = take(imputed, np.flatnonzero(valid).tolist(), program)
    return _with_marks(imputer, imputed, matrix, program)


def _numbers(imputer: Any, value: Value, program: Program) -> Matrix:
    if not is_nan(imputer.missing_values):
        raise NotCompiled("takes another value for missing than NaN")
    return float64_of(value, program, allow_nan=True)


def _with_marks(imputer: Any, imputed: Value, matrix: Matrix, program: Program) -> Value:
    """Add columns that mark what was missing, where the imputer was asked for them."""
    if not imputer.add_indicator:
        return imputed
    features = imputer.indicator_.features_.tolist()
    if not features:
        return imputed
    return beside([imputed, take(_marks(imputer.missing_values, matrix, program), features, program)], program)


def _marks(missing: Any, matrix: Matrix, program: Program) -> Matrix:
    if is_nan(missing):
        register = program.add("missing", matrix.register)
    else:
        register = program.add("equal_to", matrix.register, missing=float(missing))
    # Beside float32 numbers scikit-learn's flags become float32.
    if matrix.dtype == "f4":
        register = program.add("cast", register, dtype="f4")
    return Matrix(register, matrix.width, matrix.dtype)


def _marked(indicator: MissingIndicator, value: Value, program: Program) -> Value:
    stands = indicator.missing_values
    if not isinstance(stands, int | float | np.number):
        raise NotCompiled("marks values that are no numbers")
    matrix = finite(matrix_of(value, program), program, allow_nan=is_nan(stands))
    marks = _marks(stands, matrix, program)
    if indicator.features == "all" or len(indicator.features_) == matrix.width:
        return marks
    if indicator.error_on_new:
        raise NotCompiled("refuses missing values in columns that had none")
    return take(marks, indicator.features_.tolist(), program)


CONVERTERS: Converters = {
    IterativeImputer: {"transform": _iterated},
    KNNImputer: {"transform": _nearest},
    MissingIndicator: {"transform": _marked},
    SimpleImputer: {"transform": _imputed},
}
