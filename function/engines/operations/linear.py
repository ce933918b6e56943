"""Operations that end most models: weighted sums, links from sums to probabilities, and decisions."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Matrix = np.ndarray


def affine(parameters: Parameters) -> Callable[[Matrix | Sparse], Matrix]:
    """Return the rows' products with weights (features x outputs), plus an intercept each."""
    weights = parameters.array("weights", "f", 2)
    intercept = parameters.array("intercept", "f", 1)
    if intercept.shape != weights.shape[1:]:
        raise CompiledInvalid("affine: an intercept for each output expected")

    def run(matrix: Matrix | Sparse) -> Matrix:
        product: Matrix = matrix.dot(weights) if isinstance(matrix, Sparse) else matrix @ weights
        sums: Matrix = product + intercept
        return sums

    return run


def flatten(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a matrix of one column as a vector."""
    return np.ravel


def pick(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return one column of a matrix as a vector."""
    index = parameters.integer("index", 0, 1_000_000)
    return lambda matrix: matrix[:, index]


def logistic(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return 1 / (1 + exp(-x))."""
    return lambda scores: 1.0 / (1.0 + np.exp(-scores))


def softmax(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return exp(x) over its sum in each row, the row's largest number subtracted first."""

    def run(scores: Matrix) -> Matrix:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    return run


def complement(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return for each probability of a vector the row (1 - p, p)."""
    return lambda chances: np.array([1.0 - chances, chances]).T


def normalize_sum(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each row over its sum; a row of zeros as equal shares."""

    def run(matrix: Matrix) -> Matrix:
        sums = matrix.sum(axis=1, keepdims=True)
        shares: Matrix = np.where(sums == 0, 1.0 / matrix.shape[1], matrix / sums)
        return shares

    return run


def largest(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the index of each row's first largest number."""
    return lambda scores: scores.argmax(axis=1)


def above(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return 1 for numbers above a threshold (or at it, where that counts too), else 0."""
    threshold = parameters.number("threshold")
    compare = np.greater_equal if parameters.flag("or_equal") else np.greater
    return lambda scores: compare(scores, threshold).astype(np.intp)
