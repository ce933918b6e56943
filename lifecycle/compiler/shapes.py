"""Converters that change the shape of numbers: powers, bins, quantiles, products, norms, marks of what is missing."""

import numpy as np
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    TargetEncoder,
)

from lifecycle.compiler.bayes import binarized
from lifecycle.compiler.preprocessing import categories_of
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.values import Matrix, SparseMatrix, Value, cells_of, finite, float64_of, matrix_of, take


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


def _ranked(transformer: QuantileTransformer, value: Value, program: Program) -> Matrix:
    if transformer.output_distribution != "uniform":
        raise NotCompiled("maps to a normal distribution")
    matrix = float64_of(value, program, allow_nan=True)
    arrays = {"quantiles": transformer.quantiles_.T, "references": transformer.references_}
    return Matrix(program.add("rank", matrix.register, arrays=arrays), matrix.width)


def _binned(binner: KBinsDiscretizer, value: Value, program: Program) -> Value:
    matrix = float64_of(value, program)
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


def _marked(indicator: MissingIndicator, value: Value, program: Program) -> Value:
    if not (isinstance(indicator.missing_values, float) and np.isnan(indicator.missing_values)):
        raise NotCompiled("marks values that are not NaN")
    matrix = finite(matrix_of(value, program), program, allow_nan=True)
    marks = Matrix(program.add("missing", matrix.register), matrix.width)
    if indicator.features == "all" or len(indicator.features_) == matrix.width:
        return marks
    if indicator.error_on_new:
        raise NotCompiled("refuses missing values in columns that had none")
    return take(marks, indicator.features_.tolist(), program)


def _target_encoded(encoder: TargetEncoder, value: Value, program: Program) -> Matrix:
    if encoder.target_type_ == "multiclass":
        raise NotCompiled("encodes several classes")
    cells = cells_of(value, program)
    keys = categories_of(encoder, cells)
    codes = [np.asarray(encoding, dtype=np.float64).tolist() for encoding in encoder.encodings_]
    unknown = [float(encoder.target_mean_)]
    return Matrix(program.add("codes", cells.register, categories=keys, codes=codes, unknown=unknown), len(keys))


CONVERTERS: Converters = {
    Binarizer: {"transform": _binarized},
    KBinsDiscretizer: {"transform": _binned},
    MissingIndicator: {"transform": _marked},
    Normalizer: {"transform": _normalized},
    PolynomialFeatures: {"transform": _multiplied},
    PowerTransformer: {"transform": _powered},
    QuantileTransformer: {"transform": _ranked},
    TargetEncoder: {"transform": _target_encoded},
}
