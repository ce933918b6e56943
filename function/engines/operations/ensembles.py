"""Operations on the answers of several models: constants, votes, averages, medians, chains and calibration."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Matrix = np.ndarray


def repeat(parameters: Parameters) -> Callable[[Matrix | Sparse | Sequence[Any]], Matrix]:
    """Return the same row for each row of a value."""
    row = parameters.array("row", "f", 1)

    def run(value: Matrix | Sparse | Sequence[Any]) -> Matrix:
        return np.tile(row, (value.row_count if isinstance(value, Sparse) else len(value), 1))

    return run


def stack(_: Parameters) -> Callable[..., Matrix]:
    """Return vectors as the columns of a matrix."""
    return lambda *vectors: np.array(vectors).T


def look_up(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the number of each index."""
    numbers = parameters.array("numbers", "f", 1)
    return lambda indexes: numbers[indexes]


def spread(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a wider matrix with each column in its place, and zeros in the others."""
    places = parameters.array("places", "i", 1)
    width = parameters.integer("width", 1, MOST_COLUMNS)
    if places.min(initial=0) < 0 or places.max(initial=0) >= width:
        raise CompiledInvalid(f"spread: places: integers below {width} expected")

    def run(matrix: Matrix) -> Matrix:
        wide = np.zeros((len(matrix), width))
        wide[:, places] = matrix
        return wide

    return run


def total(_: Parameters) -> Callable[..., Matrix]:
    """Return the sum of matrices or vectors, one added after the other."""
    return lambda *values: sum(values)


def average(parameters: Parameters) -> Callable[..., Matrix]:
    """Return the mean of matrices or vectors, weighted where there are weights."""
    weights = parameters.optional("weights", "f", 1)
    return lambda *values: np.average(np.array(values), axis=0, weights=weights)


def votes(parameters: Parameters) -> Callable[..., Matrix]:
    """Return for each class a sum over the models: of `hits` where its index was given, of `misses` where not."""
    hits, misses = parameters.array("hits", "f", 1), parameters.array("misses", "f", 1)
    classes = np.arange(parameters.integer("width", 1, MOST_COLUMNS))
    if hits.shape != misses.shape:
        raise CompiledInvalid("votes: a hit and a miss for each model expected")
    hits, misses = hits[:, None, None], misses[:, None, None]

    def run(*indexes: Matrix) -> Matrix:
        given = np.array(indexes)[:, :, None] == classes
        return np.add.reduce(np.where(given, hits, misses), axis=0)  # type: ignore[no-any-return]

    return run


def weighted_median(parameters: Parameters) -> Callable[..., Matrix]:
    """Return of each row's numbers, one from each model, the first in their order that half the weight has reached."""
    weights = parameters.array("weights", "f", 1)

    def run(*vectors: Matrix) -> Matrix:
        numbers = np.array(vectors).T
        order = np.argsort(numbers, axis=1)
        reached = np.cumsum(weights[order], axis=1)
        median = (reached >= 0.5 * reached[:, -1:]).argmax(axis=1)
        rows = np.arange(len(numbers))
        return numbers[rows, order[rows, median]]  # type: ignore[no-any-return]

    return run


def leading(_: Parameters) -> Callable[..., Matrix]:
    """Return the index of the vector with the largest number, the first of equals; NaN hides what comes before it."""

    def run(*vectors: Matrix) -> Matrix:
        maxima = np.full(len(vectors[0]), -np.inf)
        found = np.zeros(len(maxima), np.intp)
        for index in range(len(vectors) - 1, -1, -1):
            np.maximum(maxima, vectors[index], out=maxima)
            found[maxima == vectors[index]] = index
        return found

    return run


def duels(parameters: Parameters) -> Callable[..., Matrix]:
    """Return each class's won duels, plus its summed confidences brought to less than a third.

    Reads for each pair of classes, (0, 1), (0, 2), ..., (1, 2), ..., the winner (0 or 1), then for each its confidence.
    """
    width = parameters.integer("width", 2, 1_000)
    pairs = [(one, other) for one in range(width) for other in range(one + 1, width)]

    def run(*values: Matrix) -> Matrix:
        won, sums = np.zeros((len(values[0]), width)), np.zeros((len(values[0]), width))
        winners, confidences = values[: len(pairs)], values[len(pairs) :]
        for (one, other), winner, confidence in zip(pairs, winners, confidences, strict=True):
            sums[:, one] -= confidence
            sums[:, other] += confidence
            won[:, one] += winner == 0
            won[:, other] += winner == 1
        scores: Matrix = won + sums / (3 * (np.abs(sums) + 1))
        return scores

    return run


def nearest(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the index of the nearest of some points to each row, the first of equals."""
    points = parameters.array("points", "f", 2)
    squares = (points * points).sum(axis=1)

    def run(matrix: Matrix) -> Matrix:
        # The row's own square changes no order, but it rounds the distances of large rows to the same number.
        own = np.einsum("ij,ij->i", matrix, matrix)[:, None]
        index: Matrix = np.maximum(own - 2.0 * (matrix @ points.T) + squares, 0.0).argmin(axis=1)
        return index

    return run


def shares(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each row over its sum; a row whose sum is zero as it is."""

    def run(matrix: Matrix) -> Matrix:
        sums = matrix.sum(axis=1, keepdims=True)
        divided: Matrix = matrix / np.where(sums == 0, 1.0, sums)
        return divided

    return run


def interpolate(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the line through points at each number; what lies beyond them is clipped, gives NaN, or is refused."""
    at, heights = parameters.array("at", "f", 1), parameters.array("heights", "f", 1)
    outside = parameters.choice("outside", ("clip", "nan", "refuse"))
    if not len(at) or at.shape != heights.shape or (np.diff(at) < 0).any():
        raise CompiledInvalid("interpolate: at: increasing numbers with a height each expected")
    beyond = np.nan if outside == "nan" else None

    def run(numbers: Matrix) -> Matrix:
        if outside == "refuse" and ((numbers < at[0]) | (numbers > at[-1])).any():
            raise ValueError("a number is outside of what training had")
        line: Matrix = np.interp(numbers, at, heights, left=beyond, right=beyond)
        return line

    return run
