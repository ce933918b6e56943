"""Operations on matrices of numbers that know no model: element by element, and column by column."""

import math
from collections.abc import Callable

import numpy as np

from function.engines.operations import MOST_COLUMNS, Parameters
from function.engines.operations.sparse import Sparse

Matrix = np.ndarray
BINARY = {name: getattr(np, name) for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power")}
UNARY = {
    name: getattr(np, name)
    for name in (
        *("abs", "cbrt", "ceil", "cos", "exp", "exp2", "expm1", "floor", "log", "log10", "log1p", "log2", "negative"),
        *("positive", "reciprocal", "rint", "sign", "sin", "sqrt", "square", "tan", "tanh", "trunc"),
    )
}
DTYPES = ("f8", "f4", "i8", "b1")


def cast(parameters: Parameters) -> Callable[[Matrix | Sparse], Matrix | Sparse]:
    """Return a matrix in another dtype."""
    dtype = np.dtype(parameters.choice("dtype", DTYPES))

    def run(matrix: Matrix | Sparse) -> Matrix | Sparse:
        if isinstance(matrix, Sparse):
            return matrix._replace(data=matrix.data.astype(dtype))
        return matrix.astype(dtype)

    return run


def finite(parameters: Parameters) -> Callable[[Matrix | Sparse], Matrix | Sparse]:
    """Return a matrix as it is; raises ValueError where it holds infinities, or NaN that is not allowed."""
    allow_nan = parameters.flag("allow_nan")

    def run(matrix: Matrix | Sparse) -> Matrix | Sparse:
        found = matrix.data if isinstance(matrix, Sparse) else matrix
        # Comparing each number would cost more, and a sum is finite only where all that it sums is.
        if not math.isfinite(np.add.reduce(found, axis=None)):
            bad = np.isinf(found) if allow_nan else ~np.isfinite(found)
            if bad.any():
                raise ValueError("a number is missing, infinite, or too large for the model")
        return matrix

    return run


def impute(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a matrix with a column's statistic where a value is missing."""
    statistics = parameters.array("statistics", "f", 1)
    return lambda matrix: np.where(np.isnan(matrix), statistics, matrix)


def replace(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a matrix with a column's statistic where a value is the one that stands for missing."""
    statistics = parameters.array("statistics", "f", 1)
    missing = parameters.number("missing")
    return lambda matrix: np.where(matrix == missing, statistics, matrix)


def missing(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return 1.0 where a value is missing, else 0.0."""
    return lambda matrix: np.isnan(matrix).astype(np.float64)


def arithmetic(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a binary ufunc of a matrix and one number a column."""
    ufunc = BINARY[parameters.choice("ufunc", tuple(BINARY))]
    operand = parameters.array("operand", "f", 1)
    return lambda matrix: ufunc(matrix, operand)


def apply(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a unary ufunc of every number."""
    return UNARY[parameters.choice("ufunc", tuple(UNARY))]  # type: ignore[no-any-return]


def by_column(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a matrix as it is, column after column in memory, where that decides how the next operation adds up."""
    return np.asfortranarray


def select(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return some columns of a matrix, in their order."""
    indexes = parameters.array("indexes", "i", 1)
    return lambda matrix: matrix[:, indexes]


def concatenate(_: Parameters) -> Callable[..., Matrix]:
    """Return matrices side by side."""

    def run(*matrices: Matrix) -> Matrix:
        if (
            sum([matrix.shape[1] for matrix in matrices]) > MOST_COLUMNS
        ):  # a program could double a matrix again and again
            raise ValueError(f"more than {MOST_COLUMNS} columns")
        return np.concatenate(matrices, axis=1)

    return run
