"""Operations on how far rows lie from centers, and on which center is the closest."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters

Matrix = np.ndarray
FORMS = ("product", "euclidean", "squared", "squared_or_zero", "manhattan")


def distances(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each row's distance from each center (a line each): euclidean, its square, the sum of differences.

    `product` gives the scalar product instead, which the first two are made of.
    `squared_or_zero` adds the terms of the square in another order, and gives 0 for NaN.
    """
    centers = parameters.array("centers", "f", 2)
    norms = np.einsum("ij,ij->i", centers, centers)

    def squared(matrix: Matrix) -> Matrix:
        # The terms are added as scikit-learn's `euclidean_distances` adds them: small distances are what cancels out.
        squares = -2 * (matrix @ centers.T)
        squares += np.einsum("ij,ij->i", matrix, matrix)[:, None]
        squares += norms
        known: Matrix = np.maximum(squares, 0.0)
        return known

    def manhattan(matrix: Matrix) -> Matrix:
        return np.stack([np.abs(matrix - center).sum(axis=1) for center in centers], axis=1)

    if not len(centers):
        raise CompiledInvalid("distances: a center at least expected")
    runs: dict[str, Callable[[Matrix], Matrix]] = {
        "product": lambda matrix: matrix @ centers.T,
        "euclidean": lambda matrix: np.sqrt(squared(matrix)),
        "squared": squared,
        "squared_or_zero": lambda matrix: squared_or_zero(matrix, centers, np.vecdot(centers, centers)),
        "manhattan": manhattan,
    }
    run = runs[parameters.choice("form", FORMS)]
    return lambda matrix: run(np.ascontiguousarray(matrix))


def squared_or_zero(matrix: Matrix, points: Matrix, norms: Matrix) -> Matrix:
    """Return squared distances, 0 for NaN, made of a matrix product whose terms are added as `ArgKmin` adds them."""
    # A single row twice: BLAS would add the terms of a vector's products in another order than a matrix's.
    products = (np.repeat(matrix, 2, axis=0) if len(matrix) == 1 else matrix) @ points.T
    squares = np.vecdot(matrix, matrix)[:, None] + -2.0 * products[: len(matrix)] + norms
    return np.where(squares > 0.0, squares, 0.0)


def smallest(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the index of each row's first smallest number, as a loop finds it in which nothing is less than NaN."""

    def run(matrix: Matrix) -> Matrix:
        known = np.where(np.isnan(matrix), np.inf, matrix)
        return np.where(np.isnan(matrix[:, 0]), 0, known.argmin(axis=1))

    return run


def descend(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the label at the end of each row's way down a tree of pairs, to the smaller one of each pair.

    Node n compares columns 2n and 2n + 1 and goes on to `next` of that column: a later node, or -1 - label.
    """
    following = parameters.array("next", "i", 1).astype(np.intp)
    own = np.arange(len(following)) // 2
    if not len(following) or len(following) % 2 or ((following >= 0) & (following <= own)).any():
        raise CompiledInvalid("descend: two columns a node, and later nodes, expected")
    if int(following.max()) >= len(following) // 2:
        raise CompiledInvalid("descend: numbers of nodes expected")

    def run(matrix: Matrix) -> Matrix:
        right = matrix[:, 1::2] < matrix[:, ::2]
        rows = np.arange(len(matrix))
        at = np.zeros(len(matrix), np.intp)
        while (inside := at >= 0).any():  # ends: every node leads to later ones only
            nodes = np.where(inside, at, 0)
            at = np.where(inside, following[2 * nodes + right[rows, nodes]], at)
        return -1 - at

    return run


def plus(_: Parameters) -> Callable[[Matrix, Matrix], Matrix]:
    """Return the sum of two matrices."""

    def run(one: Matrix, other: Matrix) -> Matrix:
        total: Matrix = one + other
        return total

    return run
