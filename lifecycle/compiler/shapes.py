"""Converters that change the shape of numbers: powers, bins, quantiles, products, norms."""

from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    TargetEncoder,
)
from sklearn.preprocessing._data import BOUNDS_THRESHOLD

from lifecycle.compiler.preprocessing import categories_of
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import binarized
from lifecycle.compiler.values import Matrix, SparseMatrix, Value, cells_of, finite, float64_of, take

PRODUCTS = ("affine", "distances", "kernel")  # operations whose last bits depend on how many rows they are given


def _normalized(normalizer: Normalizer, value: Value, program: Program) -> Matrix | SparseMatrix:
    if isinstance(value, SparseMatrix):
        register = program.add("normalize", finite(value, program).register, norm=normalizer.norm)
        return SparseMatrix(register, value.width)
    matrix = float64_of(value, program)
    return Matrix(program.add("normalize_rows", matrix.register, norm=normalizer.norm), matrix.width)


def _binarized(binarizer: Binarizer, value: Value, program: Program) -> Matrix | SparseMatrix:
    return binarized(float(binarizer.threshold), value, program)


def _powered(transformer: PowerTransformer, value: Value, program: Program) -> Matrix:
    matrix = float64_of(value, program, allow_nan=True)
    arrays = {"exponents": transformer.lambdas_}
    method = transformer.method.replace("-", "_")
    powered = Matrix(program.add("power", matrix.register, method=method, arrays=arrays), matrix.width)
    if not transformer.standardize:
        return powered
    return program.convert(transformer._scaler, "transform", powered)  # type: ignore[no-any-return]


def _unpowered(transformer: PowerTransformer, value: Value, program: Program) -> Matrix:
    if transformer.standardize:
        value = program.convert(transformer._scaler, "inverse_transform", value)
    matrix = float64_of(value, program, allow_nan=True)
    arrays = {"exponents": transformer.lambdas_}
    method = transformer.method.replace("-", "_")
    return Matrix(program.add("unpower", matrix.register, method=method, arrays=arrays), matrix.width)


def _unranked(transformer: QuantileTransformer, value: Value, program: Program) -> Matrix:
    matrix = float64_of(value, program, allow_nan=True)
    arrays = {"quantiles": transformer.quantiles_.T, "references": transformer.references_}
    if transformer.output_distribution == "normal":
        register = program.add("normal_unrank", matrix.register, margin=BOUNDS_THRESHOLD, arrays=arrays)
    else:
        register = program.add("unrank", matrix.register, arrays=arrays)
    return Matrix(register, matrix.width)


def _ranked(transformer: QuantileTransformer, value: Value, program: Program) -> Matrix:
    matrix = float64_of(value, program, allow_nan=True)
    arrays = {"quantiles": transformer.quantiles_.T, "references": transformer.references_}
    if transformer.output_distribution == "normal":
        nearest = BOUNDS_THRESHOLD - np.spacing(1)
        low, high = float(norm.ppf(nearest)), float(norm.ppf(1 - nearest))
        register = program.add(
            "normal_rank", matrix.register, margin=BOUNDS_THRESHOLD, low=low, high=high, arrays=arrays
        )
        return Matrix(register, matrix.width)
    return Matrix(program.add("rank", matrix.register, arrays=arrays), matrix.width)


def _binned(binner: KBinsDiscretizer, value: Value, program: Program) -> Value:
    matrix = float64_of(value, program)
    if binner.strategy == "quantile" and program.comes_from(matrix.register, PRODUCTS):
        raise NotCompiled("has edges at what a product gave for training rows, whose last bit decides their bins")
    inner = [np.asarray(edges[1:-1], dtype=np.float64) for edges in binner.bin_edges_]
    arrays = {"edges": np.concatenate(inner), "sizes": np.array([len(edges) for edges in inner])}
    codes = Matrix(program.add("bins", matrix.register, arrays=arrays), matrix.width)
    if binner.encode == "ordinal":
        return codes
    return program.convert(binner._encoder, "transform", codes)  # type: ignore[no-any-return]


def _multiplied(features: PolynomialFeatures, value: Value, program: Program) -> Matrix:
    """Add products of columns, factor by factor from the last one, as `PolynomialFeatures` reuses its products."""
    matrix = float64_of(value, program)
    factors = [np.repeat(np.arange(len(powers)), powers)[::-1] for powers in features.powers_]
    degree = max((len(term) for term in factors), default=0)
    table = np.full((max(degree, 1), len(factors)), matrix.width)  # one beyond the last column: the number 1
    for term, indexes in enumerate(factors):
        table[: len(indexes), term] = indexes
    return Matrix(program.add("products", matrix.register, arrays={"factors": table}), len(factors))


def _target_encoded(encoder: TargetEncoder, value: Value, program: Program) -> Matrix:
    cells = cells_of(value, program)
    keys = categories_of(encoder, cells)
    codes = [np.asarray(encoding, dtype=np.float64).tolist() for encoding in encoder.encodings_]
    unknown = np.atleast_1d(np.asarray(encoder.target_mean_, dtype=np.float64)).tolist()
    columns = cells.register
    if encoder.target_type_ == "multiclass":  # each column once for every class
        each = [program.add("column", cells.register, index=index) for index in range(len(keys))]
        columns = program.add("gather", *np.repeat(each, len(unknown)).tolist())
        keys = [one for one in keys for _ in unknown]
        unknown = unknown * len(each)
    return Matrix(program.add("codes", columns, categories=keys, codes=codes, unknown=unknown), len(keys))


def _splined(transformer: SplineTransformer, value: Value, program: Program) -> Matrix:
    """Add `SplineTransformer.transform`, column by column."""
    missing = transformer.handle_missing == "zeros"
    matrix = float64_of(value, program, allow_nan=missing)
    width = transformer.bsplines_[0].c.shape[1]
    parts, degree = [], int(transformer.degree)
    for index, spline in enumerate(transformer.bsplines_):
        parts.append(_spline(transformer.extrapolation, spline, index, degree, matrix, program))
        if transformer.extrapolation == "linear" and degree <= 1:
            degree += 1  # scikit-learn counts it up while it goes through the columns
    joined = Matrix(program.add("concatenate", *parts), width * len(parts))
    if transformer.include_bias:
        return joined
    kept = [place for place in range(joined.width) if (place + 1) % width]
    return take(joined, kept, program)  # type: ignore[return-value]


def _spline(extrapolation: str, spline: Any, index: int, degree: int, matrix: Matrix, program: Program) -> int:
    arrays = {"knots": np.asarray(spline.t, np.float64)}
    outside = {"continue": "continue", "periodic": "periodic", "error": "refuse"}.get(extrapolation, "bounded")
    if outside == "bounded":
        arrays |= _beyond(extrapolation, spline, degree)
    return program.add("splines", matrix.register, index=index, degree=int(spline.k), outside=outside, arrays=arrays)


def _beyond(extrapolation: str, spline: Any, degree: int) -> dict[str, np.ndarray]:
    """Return the values of a column's splines at its bounds, and how they go on; only the outermost ones are not 0."""
    bounds = np.array([spline.t[degree], spline.t[-degree - 1]], np.float64)
    outermost = np.zeros((2, spline.c.shape[1]), bool)
    if extrapolation == "constant" and degree == 0:
        raise NotCompiled("refuses numbers above the knots of splines of degree 0")
    count = max(degree, 1) + (degree == 1) if extrapolation == "linear" else degree
    if count > outermost.shape[1]:
        raise NotCompiled("has fewer splines than go on beyond their bounds")
    outermost[0, :count] = outermost[1, outermost.shape[1] - count :] = True
    arrays = {"bounds": bounds, "edges": np.where(outermost, spline(bounds), 0.0)}
    if extrapolation == "linear":
        arrays["slopes"] = np.where(outermost, spline(bounds, nu=1), 0.0)
    return arrays


CONVERTERS: Converters = {
    Binarizer: {"transform": _binarized},
    KBinsDiscretizer: {"transform": _binned},
    Normalizer: {"transform": _normalized},
    PolynomialFeatures: {"transform": _multiplied},
    PowerTransformer: {"transform": _powered, "inverse_transform": _unpowered},
    QuantileTransformer: {"transform": _ranked, "inverse_transform": _unranked},
    SplineTransformer: {"transform": _splined},
    TargetEncoder: {"transform": _target_encoded},
}
