"""Converters of what comes before a model: scaling and encoding."""

from typing import Any

import numpy as np
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from lifecycle.compiler.program import Converters, NotCompiled, Program, is_nan, label, ufunc_name
from lifecycle.compiler.steps import apply
from lifecycle.compiler.values import Cells, Matrix, SparseMatrix, Table, Value, cells_of, finite, matrix_of

Operand = np.ndarray
WIDE_INTEGERS = ("int32", "uint32", "int64", "uint64")
ON_INTEGERS = ("abs", "negative", "reciprocal", "square")  # ufuncs that leave integers integers, and change them


# A row of so many categories is mostly zeros: dense, it would cost more than the model that follows.
WIDE_ONE_HOT = 256


def _standard(scaler: StandardScaler, value: Value, program: Program) -> Matrix | SparseMatrix:
    mean = scaler.mean_ if scaler.with_mean else None
    scale = scaler.scale_ if scaler.with_std else None
    if isinstance(value, SparseMatrix):
        return _sparse_scaled(mean, scale, value, program)
    matrix = finite(matrix_of(value, program), program, allow_nan=True)
    if matrix.dtype == "f8":
        return _chain(matrix, [("subtract", mean), ("divide", scale)], program)
    return _standard_singles(matrix, [("subtract", mean), ("divide", scale)], program)


def _standard_singles(matrix: Matrix, steps: list[tuple[str, Operand | None]], program: Program) -> Matrix:
    """Add arithmetic in float32: this scaler, and no other, rounds what it learned to the dtype of the rows."""
    register = matrix.register
    for ufunc, operand in steps:
        if operand is not None:
            arrays = {"operand": operand.astype(np.float32)}
            register = program.add("arithmetic", register, ufunc=ufunc, arrays=arrays)
    return Matrix(register, matrix.width, matrix.dtype)


def _robust(scaler: RobustScaler, value: Value, program: Program) -> Matrix | SparseMatrix:
    center = scaler.center_ if scaler.with_centering else None
    scale = scaler.scale_ if scaler.with_scaling else None
    if isinstance(value, SparseMatrix):
        return _sparse_scaled(center, scale, value, program)
    return _arithmetic([("subtract", center), ("divide", scale)], value, program)


def _max_abs(scaler: MaxAbsScaler, value: Value, program: Program) -> Matrix | SparseMatrix:
    if isinstance(value, SparseMatrix):
        sparse = _sparse_scaled(None, scaler.scale_, value, program)
        if not getattr(scaler, "clip", False):
            return sparse
        return SparseMatrix(program.add("clip", sparse.register, low=-1.0, high=1.0), sparse.width)
    scaled = _arithmetic([("divide", scaler.scale_)], value, program)
    return _clipped(scaled, -1.0, 1.0, program) if getattr(scaler, "clip", False) else scaled


def _min_max(scaler: MinMaxScaler, value: Value, program: Program) -> Matrix:
    scaled = _arithmetic([("multiply", scaler.scale_), ("add", scaler.min_)], value, program)
    low, high = scaler.feature_range
    return _clipped(scaled, low, high, program) if scaler.clip else scaled


def _unstandard(scaler: StandardScaler, value: Value, program: Program) -> Matrix:
    scale = scaler.scale_ if scaler.with_std else None
    mean = scaler.mean_ if scaler.with_mean else None
    return _arithmetic([("multiply", scale), ("add", mean)], value, program)


def _unrobust(scaler: RobustScaler, value: Value, program: Program) -> Matrix:
    scale = scaler.scale_ if scaler.with_scaling else None
    center = scaler.center_ if scaler.with_centering else None
    return _arithmetic([("multiply", scale), ("add", center)], value, program)


def _unmax_abs(scaler: MaxAbsScaler, value: Value, program: Program) -> Matrix:
    return _arithmetic([("multiply", scaler.scale_)], value, program)


def _unmin_max(scaler: MinMaxScaler, value: Value, program: Program) -> Matrix:
    return _arithmetic([("subtract", scaler.min_), ("divide", scaler.scale_)], value, program)


def _sparse_scaled(
    center: Operand | None, scale: Operand | None, value: SparseMatrix, program: Program
) -> SparseMatrix:
    """Add products with what a dense matrix would be divided by, as `inplace_column_scale` multiplies."""
    if center is not None:
        raise NotCompiled("centers sparse columns")
    matrix = finite(value, program, allow_nan=True)
    if scale is None:
        return matrix
    weights = 1.0 / scale.astype(np.float64)
    return SparseMatrix(program.add("weigh", matrix.register, arrays={"weights": weights}), matrix.width)


def _clipped(matrix: Matrix, low: float, high: float, program: Program) -> Matrix:
    floors, ceilings = np.full(matrix.width, float(low)), np.full(matrix.width, float(high))
    return _chain(matrix, [("maximum", floors), ("minimum", ceilings)], program)


def _arithmetic(steps: list[tuple[str, Operand | None]], value: Value, program: Program) -> Matrix:
    """Add in-place arithmetic of a scaler, which keeps NaN and refuses infinities."""
    return _chain(finite(matrix_of(value, program), program, allow_nan=True), steps, program)


def _chain(matrix: Matrix, steps: list[tuple[str, Operand | None]], program: Program) -> Matrix:
    register = matrix.register
    for ufunc, operand in steps:
        if operand is not None:
            register = program.add("arithmetic", register, ufunc=ufunc, arrays={"operand": operand.astype(np.float64)})
            if matrix.dtype == "f4":  # computed in float64, kept in float32, as NumPy does in place
                register = program.add("cast", register, dtype="f4")
    return Matrix(register, matrix.width, matrix.dtype)


def categories_of(encoder: Any, cells: Cells) -> list[list[Any]]:
    """Return each column's categories as keys, None for the missing value that the column has."""
    found = []
    for categories, stands in zip(encoder.categories_, cells.missing, strict=True):
        keys = [label(category) for category in categories]
        for position, category in enumerate(categories):
            if keys[position] is None and (category is None) != (stands == "none"):
                raise NotCompiled("has a category for another missing value than the column has")
        if len(set(keys)) != len(keys):
            raise NotCompiled("has two missing values as categories")
        found.append(keys)
    return found


def _one_hot(encoder: OneHotEncoder, value: Value, program: Program) -> Matrix | SparseMatrix:
    cells = cells_of(value, program)
    keys = categories_of(encoder, cells)
    width = int(sum(encoder._n_features_outs))
    starts = np.cumsum([0, *encoder._n_features_outs])[:-1].tolist()
    places = [
        [start + place if (place := _place(encoder, column, code)) is not None else width for code in range(len(one))]
        for column, (one, start) in enumerate(zip(keys, starts, strict=True))
    ]
    unknown = [_unknown_place(encoder, column, start, width) for column, start in enumerate(starts)]
    known: dict[str, Any] = {"categories": keys, "places": places, "unknown": unknown, "width": width}
    if encoder.sparse_output and width > WIDE_ONE_HOT:
        return SparseMatrix(program.add("one_hot_sparse", cells.register, **known), width)
    return Matrix(program.add("one_hot", cells.register, **known), width)


def _place(encoder: OneHotEncoder, column: int, code: int) -> int | None:
    """Return the output of a category within its column's outputs, or None where it was dropped."""
    if encoder._infrequent_enabled and encoder._default_to_infrequent_mappings[column] is not None:
        code = int(encoder._default_to_infrequent_mappings[column][code])
    dropped = encoder._drop_idx_after_grouping
    if dropped is None or dropped[column] is None:
        return code
    if code == dropped[column]:
        return None
    return code - 1 if code > dropped[column] else code


def _unknown_place(encoder: OneHotEncoder, column: int, start: int, width: int) -> int | None:
    if encoder.handle_unknown == "error":
        return None
    infrequent = encoder._infrequent_indices[column] if encoder._infrequent_enabled else None
    if infrequent is None or encoder.handle_unknown == "ignore":
        return width
    place = _place(encoder, column, int(infrequent[0]))
    return width if place is None else start + place


def _ordinal(encoder: OrdinalEncoder, value: Value, program: Program) -> Matrix:
    if encoder.dtype != np.float64:
        raise NotCompiled(f"gives {encoder.dtype}")
    cells = cells_of(value, program)
    keys = categories_of(encoder, cells)
    codes = [[_code(encoder, column, code) for code in range(len(one))] for column, one in enumerate(keys)]
    unknown = None if encoder.handle_unknown == "error" else float(encoder.unknown_value)
    register = program.add("codes", cells.register, categories=keys, codes=codes, unknown=[unknown])
    return Matrix(register, len(keys))


def _code(encoder: OrdinalEncoder, column: int, code: int) -> float:
    if is_nan(encoder.categories_[column][code]):  # None is a category like any other
        return float(encoder.encoded_missing_value)
    if encoder._infrequent_enabled and encoder._default_to_infrequent_mappings[column] is not None:
        return float(encoder._default_to_infrequent_mappings[column][code])
    return float(code)


def _function(transformer: FunctionTransformer, value: Value, program: Program) -> Value:
    return _called(transformer.func, transformer.kw_args, transformer, value, program)


def _inverse_function(transformer: FunctionTransformer, value: Value, program: Program) -> Value:
    return _called(transformer.inverse_func, transformer.inv_kw_args, transformer, value, program)


def _called(function: Any, options: Any, transformer: FunctionTransformer, value: Value, program: Program) -> Value:
    if function is None and not transformer.validate:
        return value
    if options:
        raise NotCompiled("calls a function with arguments of its own")
    name = None if function is None else ufunc_name(function)
    if name and isinstance(value, Table):
        _check_computed_in_double(name, value)
    matrix = matrix_of(value, program)
    if transformer.validate:
        matrix = finite(matrix, program)
    if name is None:
        return matrix
    if matrix.dtype != "f8":
        raise NotCompiled("takes float32 numbers")
    return apply(matrix, name, program)


def _check_computed_in_double(ufunc: str, table: Table) -> None:
    """Raise NotCompiled where a ufunc computes a column of the frame in another dtype than float64.

    Of small integers NumPy makes float16 or float32, and what it computes of integers as integers may overflow.
    """
    for _, feature in table.columns:
        fractional = feature.dtype.lower() == "float64"
        whole = feature.dtype.lower() in WIDE_INTEGERS and ufunc not in ON_INTEGERS
        if not (fractional or whole):
            raise NotCompiled(f"computes {ufunc} of the column {feature.name} of dtype {feature.dtype}")


CONVERTERS: Converters = {
    FunctionTransformer: {"transform": _function, "inverse_transform": _inverse_function},
    MaxAbsScaler: {"transform": _max_abs, "inverse_transform": _unmax_abs},
    MinMaxScaler: {"transform": _min_max, "inverse_transform": _unmin_max},
    OneHotEncoder: {"transform": _one_hot},
    OrdinalEncoder: {"transform": _ordinal},
    RobustScaler: {"transform": _robust, "inverse_transform": _unrobust},
    StandardScaler: {"transform": _standard, "inverse_transform": _unstandard},
}
