"""A matrix of which most numbers are zero, as texts give."""

from typing import NamedTuple

import numpy as np


class Sparse(NamedTuple):
    """The numbers that may differ from zero, by row and then by column."""

    row_count: int
    rows: np.ndarray
    columns: np.ndarray
    data: np.ndarray

    def dot(self, weights: np.ndarray) -> np.ndarray:
        """Return the product with a dense matrix (features x outputs); sums in the order of SciPy's CSR product."""
        if len(self.columns) and int(self.columns.max()) >= len(weights):
            raise IndexError("the sparse matrix has more columns than the weights have rows")
        # bincount adds one number after the other, where a sum over an array would add in pairs.
        sums = [self.sum_rows(self.data * weights[:, output].take(self.columns)) for output in range(weights.shape[1])]
        return np.stack(sums, axis=1)

    def sum_rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return the sum of each row of numbers that stand where the data stands."""
        return np.bincount(self.rows, numbers, minlength=self.row_count)
