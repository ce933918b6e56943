"""Operations that guess what is missing from what is not: by the nearest rows, and by predictions column by column."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters

Matrix = np.ndarray
DISTANCES = 1 << 21  # at once: 16 MB, of which the arithmetic needs a handful


def equal_to(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return 1.0 where a value is the one that stands for missing, else 0.0."""
    missing = parameters.number("missing")
    return lambda matrix: (matrix == missing).astype(np.float64)


def incomplete_rows(parameters: Parameters) -> Callable[[Matrix, Matrix], Matrix]:
    """Return those rows of a filled matrix in which a column of the original has NaN."""
    index = parameters.integer("index", 0, MOST_COLUMNS)
    return lambda filled, original: filled[np.isnan(original[:, index])]


def impute_column(parameters: Parameters) -> Callable[[Matrix, Matrix, Matrix], Matrix]:
    """Return a filled matrix with predictions for its `incomplete_rows`, kept between two `bounds`.

    Where everything is missing nothing is predicted, as in scikit-learn.
    """
    index = parameters.integer("index", 0, MOST_COLUMNS)
    bounds = parameters.array("bounds", "f", 1)
    if bounds.shape != (2,):
        raise CompiledInvalid("impute_column: two bounds expected")

    def run(filled: Matrix, original: Matrix, predicted: Matrix) -> Matrix:
        missing = np.isnan(original)
        if not len(predicted) or missing.all():
            return filled
        changed = filled.copy()
        changed[missing[:, index], index] = np.clip(predicted, *bounds)
        return changed

    return run


def impute_nearest(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a matrix with the mean of the nearest kept rows' values where a value is missing.

    `rows` has NaN for what they miss; a column's `means` stand where no row is comparable. Distances are euclidean,
    over the columns that both rows have, and computed as scikit-learn's `nan_euclidean_distances` computes them: of
    rows that are equally far, the last bit decides, and so does the `order` in which the kept rows stand in memory.
    """
    rows, means = parameters.array("rows", "f", 2), parameters.array("means", "f", 1)
    rows = np.asarray(rows, order="F" if parameters.choice("order", ("rows", "columns")) == "columns" else "C")
    neighbors = parameters.integer("neighbors", 1, np.iinfo(np.int32).max)
    weigh = {"uniform": _uniform, "distance": _inverse}[parameters.choice("weights", ("uniform", "distance"))]
    if means.shape != rows.shape[1:] or not rows.size:
        raise CompiledInvalid("impute_nearest: rows, and a mean for each of their columns, expected")
    far = _Distances(rows)
    donors = [np.flatnonzero(has) for has in ~far.missing.T]

    def guess(column: int, distances: Matrix) -> Matrix:
        guesses = np.full(len(distances), means[column])
        distances = distances[:, donors[column]]
        known = ~np.isnan(distances).all(axis=1)
        if known.any():
            distances = distances[known]
            count = min(neighbors, len(donors[column]))
            nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
            weights = weigh(distances[np.arange(len(nearest))[:, None], nearest])
            weights[np.isnan(weights)] = 0.0
            values = rows[donors[column], column].take(nearest)
            guesses[known] = (values * weights).sum(axis=1) / weights.sum(axis=1)
        return guesses

    def run(matrix: Matrix) -> Matrix:
        missing = np.isnan(matrix)
        filled = matrix.copy()
        receivers = np.flatnonzero(missing[:, [len(one) > 0 for one in donors]].any(axis=1))
        step = max(DISTANCES // len(rows), 1)
        for start in range(0, len(receivers), step):
            chosen = receivers[start : start + step]
            distances = far.of(matrix[chosen])
            for column in np.flatnonzero(missing[chosen].any(axis=0)).tolist():
                here = missing[chosen, column]
                if len(donors[column]):
                    filled[chosen[here], column] = guess(column, distances[here])
        return filled

    return run


class _Distances:
    """How far rows are from some rows, NaN where they share no column."""

    def __init__(self, rows: Matrix) -> None:
        self.missing = np.isnan(rows)
        self._rows = np.where(self.missing, 0.0, rows)
        self._squares = self._rows * self._rows
        self._norms = np.einsum("ij,ij->i", self._rows, self._rows)

    def of(self, matrix: Matrix) -> Matrix:
        missing = np.isnan(matrix)
        known = np.where(missing, 0.0, matrix)
        distances = -2 * (known @ self._rows.T)
        distances += np.einsum("ij,ij->i", known, known)[:, None]
        distances += self._norms
        np.maximum(distances, 0, out=distances)
        distances -= np.dot(known * known, self.missing.T.astype(np.float64))
        distances -= np.dot(missing.astype(np.float64), self._squares.T)
        np.clip(distances, 0, None, out=distances)
        shared = np.dot(1.0 - missing, (~self.missing).T.astype(np.float64))
        distances[shared == 0] = np.nan
        distances /= np.maximum(1.0, shared)
        distances *= matrix.shape[1]
        roots: Matrix = np.sqrt(distances)
        return roots


def _uniform(distances: Matrix) -> Matrix:
    return np.where(np.isnan(distances), 0.0, 1.0)


def _inverse(distances: Matrix) -> Matrix:
    """Return weights by distance; rows at no distance leave nothing to the others."""
    weights: Matrix = 1.0 / distances
    endless = np.isinf(weights)
    some = endless.any(axis=1)
    weights[some] = endless[some]
    return weights
