"""A matrix of which most numbers are zero, as texts and many categories give, and the operations that only it has."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters

Matrix = np.ndarray
# Of what is put side by side: a text in a body of the largest size has a tenth of it, and a program could double a
# matrix again and again.
MOST_ENTRIES = 1 << 25


class Sparse(NamedTuple):
    """The numbers that may differ from zero, row by row."""

    row_count: int
    rows: np.ndarray
    columns: np.ndarray
    data: np.ndarray

    def dot(self, weights: np.ndarray) -> np.ndarray:
        """Return the product with a dense matrix (features x outputs); sums in the order of SciPy's CSR product.

        Raises IndexError where the weights have fewer rows than this matrix has columns.
        """
        # bincount adds one number after the other, where a sum over an array would add in pairs.
        sums = [self.sum_rows(self.data * weights[:, output].take(self.columns)) for output in range(weights.shape[1])]
        return np.stack(sums, axis=1)

    def sum_rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum of each row of numbers that stand where the data stands."""
        return np.bincount(self.rows, numbers, minlength=self.row_count)


def densify(parameters: Parameters) -> Callable[[Sparse], Matrix]:
    """Return a sparse matrix as a dense one."""
    width = parameters.integer("width", 0, MOST_COLUMNS)

    def run(matrix: Sparse) -> Matrix:
        dense = np.zeros((matrix.row_count, width), matrix.data.dtype)
        dense[matrix.rows, matrix.columns] = matrix.data
        return dense

    return run


def join(parameters: Parameters) -> Callable[..., Sparse]:
    """Return matrices side by side, dense and sparse ones, as a sparse one; `widths` holds how wide each of them is."""
    widths = parameters.array("widths", "i", 1)
    if not len(widths) or widths.min() < 0 or widths.max() > np.iinfo(np.int32).max:
        raise CompiledInvalid("join: how wide each matrix is expected")
    starts = np.cumsum([0, *widths.tolist()])[:-1].tolist()

    def run(*matrices: Matrix | Sparse) -> Sparse:
        parts = [matrix if isinstance(matrix, Sparse) else _sparse(matrix) for matrix in matrices]
        if sum(len(part.rows) for part in parts) > MOST_ENTRIES:
            raise ValueError(f"more than {MOST_ENTRIES} numbers in a block of rows")
        rows = np.concatenate([part.rows for part in parts])
        columns = np.concatenate([part.columns + start for part, start in zip(parts, starts, strict=True)])
        order = np.argsort(rows, kind="stable")  # a row's numbers stay in the order of the parts
        data = np.concatenate([part.data for part in parts])
        return Sparse(parts[0].row_count, rows[order], columns[order], data[order])

    return run


def keep(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return some columns of a sparse matrix; a row's numbers stay in their order, as in SciPy's own selection."""
    indexes = parameters.array("indexes", "i", 1)
    order = np.argsort(indexes)
    known = indexes[order]
    if (known[1:] == known[:-1]).any():
        raise CompiledInvalid("keep: different columns expected")

    def run(matrix: Sparse) -> Sparse:
        if not len(known):
            return Sparse(matrix.row_count, *(part[:0] for part in matrix[1:]))
        places = np.minimum(np.searchsorted(known, matrix.columns), len(known) - 1)
        kept = known[places] == matrix.columns
        return Sparse(matrix.row_count, matrix.rows[kept], order[places[kept]], matrix.data[kept])

    return run


def scale(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return a sparse matrix times a number."""
    factor = parameters.number("factor")
    return lambda matrix: matrix._replace(data=matrix.data * factor)


def clip(parameters: Parameters) -> Callable[[Sparse], Sparse]:
    """Return a sparse matrix with what is below or above a bound at that bound."""
    low, high = parameters.number("low"), parameters.number("high")
    if not low <= 0 <= high:
        raise CompiledInvalid("clip: bounds that keep zeros expected")
    return lambda matrix: matrix._replace(data=np.minimum(np.maximum(matrix.data, low), high))


def _sparse(matrix: Matrix) -> Sparse:
    rows, columns = np.nonzero(matrix)
    return Sparse(len(matrix), rows, columns, matrix[rows, columns])
