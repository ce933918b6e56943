"""Operations on densities and their logarithms: squares that measure how far a row lies, and shares from logarithms."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Matrix = np.ndarray


def scaled_squares(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return for each row and center the sum of (x - center)**2 / scale; both hold one line for each center."""
    centers = parameters.array("centers", "f", 2)
    scales = parameters.array("scales", "f", 2)
    if centers.shape != scales.shape or not len(centers):
        raise CompiledInvalid("scaled_squares: a scale for each number of the centers expected")
    pairs = list(zip(centers, scales, strict=True))

    def run(matrix: Matrix) -> Matrix:
        return np.stack([np.sum((matrix - center) ** 2 / scale, axis=1) for center, scale in pairs], axis=1)

    return run


def sum_squares(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the sum of each row's squares, as a matrix of one column."""
    return lambda matrix: np.sum(matrix**2, axis=1, keepdims=True)


def mark(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return 1.0 for the numbers of a sparse matrix that are above a threshold, else 0.0."""
    threshold = parameters.number("threshold")
    if threshold < 0:
        raise CompiledInvalid("mark: a threshold that zeros are not above expected")
    return lambda matrix: matrix._replace(data=(matrix.data > threshold).astype(np.float64))


def sum_codes(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return for each row the sum over its columns of what the column's code holds (rows x outputs).

    `values` (outputs x all codes) holds the columns' codes side by side, `counts` how many each column has; any other
    code is refused.
    """
    values = parameters.array("values", "f", 2)
    counts = parameters.array("counts", "i", 1)
    if counts.min(initial=0) < 0 or counts.sum() != values.shape[1]:
        raise CompiledInvalid("sum_codes: as many values as codes expected")
    tables = np.split(values, np.cumsum(counts)[:-1], axis=1)

    def run(codes: Matrix) -> Matrix:
        if (codes < 0).any() or (codes >= counts).any():
            raise ValueError("a category that training never had")
        sums = np.zeros((len(codes), len(values)))
        for table, column in zip(tables, codes.T, strict=True):
            sums += table[:, column].T
        return sums

    return run


def log_shares(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each row less the logarithm of the sum of its exponentials, the largest terms kept apart as SciPy does."""

    def run(logs: Matrix) -> Matrix:
        largest = logs.max(axis=1, keepdims=True)
        is_largest = logs == largest
        count = is_largest.sum(axis=1, keepdims=True, dtype=np.float64)
        shift = np.where(np.isfinite(largest), largest, 0.0)
        rest = np.exp(np.where(is_largest, -np.inf, logs) - shift).sum(axis=1, keepdims=True)
        rest = np.where(rest == 0, rest, rest / count)
        shares: Matrix = logs - (np.log1p(rest) + np.log(count) + largest)
        return shares

    return run


def shifted_log_shares(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return what `log_shares` does, computed otherwise: the row's largest number is subtracted first."""

    def run(logs: Matrix) -> Matrix:
        shifted = logs - logs.max(axis=1, keepdims=True)
        shares: Matrix = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return shares

    return run


def gap(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the second of two columns less the first, as a vector."""
    return lambda matrix: matrix[:, 1] - matrix[:, 0]
