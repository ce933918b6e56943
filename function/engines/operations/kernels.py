"""Operations on kernels: how alike rows and centers are, and weighted sums of that, added one after the other."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters

Matrix = np.ndarray
FORMS = ("linear", "rbf", "poly", "sigmoid")
MOST_CLASSES = 300
MOST_STEPS = 100


def kernel(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the kernel of every center (a line each) and row (centers x rows), as libsvm computes it."""
    centers = parameters.array("centers", "f", 2)
    gamma, offset = parameters.number("gamma"), parameters.number("offset")
    degree = parameters.integer("degree", 0, 1_000)

    def products(matrix: Matrix) -> Matrix:
        # One BLAS dot product a pair, as libsvm: a matrix product would add in another order.
        found: Matrix = np.vecdot(centers[:, None], np.ascontiguousarray(matrix)[None])
        return found

    def rbf(matrix: Matrix) -> Matrix:
        found = np.empty((len(centers), len(matrix)))
        for position, row in enumerate(matrix):
            differences = centers - row
            found[:, position] = np.vecdot(differences, differences)
        return np.exp(-gamma * found)

    run: dict[str, Callable[[Matrix], Matrix]] = {
        "linear": products,
        "rbf": rbf,
        "poly": lambda matrix: _power(gamma * products(matrix) + offset, degree),
        "sigmoid": lambda matrix: np.tanh(gamma * products(matrix) + offset),
    }
    return run[parameters.choice("form", FORMS)]


def kernel_sums(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return weighted sums of some lines of a matrix (centers x rows), plus an intercept each (rows x outputs).

    `indexes` and `weights` hold the outputs' lines one after the other, `ends` where each output's end.
    """
    indexes = parameters.array("indexes", "i", 1)
    weights = parameters.array("weights", "f", 1)
    ends = parameters.array("ends", "i", 1).tolist()
    intercept = parameters.array("intercept", "f", 1)
    bounds = [0, *ends]
    if len(weights) != len(indexes) or len(intercept) != len(ends):
        raise CompiledInvalid("kernel_sums: a weight for each index and an intercept for each output expected")
    if bounds != sorted(bounds) or bounds[-1] != len(indexes) or (indexes < 0).any():
        raise CompiledInvalid("kernel_sums: ends in their order expected")
    parts = [slice(*pair) for pair in pairwise(bounds)]

    def run(values: Matrix) -> Matrix:
        sums = [_sum_in_order(values[indexes[part]] * weights[part, None]) for part in parts]
        total: Matrix = np.stack(sums, axis=1) + intercept
        return total

    return run


def dot(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the rows' products with one vector, which BLAS adds in another order than those with several."""
    weights = parameters.array("weights", "f", 1)

    def run(matrix: Matrix) -> Matrix:
        product: Matrix = np.dot(matrix, weights)
        return product

    return run


def center(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a kernel less the means of its kept rows (`means`) and of each row, plus the mean of all (`whole`)."""
    means, whole = parameters.array("means", "f", 1), parameters.number("whole")

    def run(matrix: Matrix) -> Matrix:
        own = (np.sum(matrix, axis=1) / len(means))[:, None]
        centered: Matrix = matrix - means - own + whole
        return centered

    return run


def over_sum(_: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each row over its sum; NaN where that is zero."""

    def run(matrix: Matrix) -> Matrix:
        shares: Matrix = matrix / np.sum(matrix, axis=1)[:, None]
        return shares

    return run


def chi2_waves(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return numbers that are never negative as some waves of their logarithms each, wave after wave."""
    steps, interval = parameters.integer("steps", 1, MOST_STEPS), parameters.number("interval")

    def run(matrix: Matrix) -> Matrix:
        if (matrix < 0).any():
            raise ValueError("a number is negative")
        known = np.where(matrix == 0.0, 1.0, matrix)
        logs, doubled = interval * np.log(known), 2 * known * interval
        waves = [np.sqrt(known * interval)]
        for step in range(1, steps):
            factor = np.sqrt(doubled / np.cosh(np.pi * step * interval))
            waves += [factor * np.cos(step * logs), factor * np.sin(step * logs)]
        return np.concatenate([np.where(matrix == 0.0, 0.0, wave) for wave in waves], axis=1)

    return run


def most_wins(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the first class that wins the most pairs; a number above zero is the first one's win in its pair."""
    width = parameters.integer("width", 2, MOST_CLASSES)
    first, second = np.triu_indices(width, 1)

    def run(scores: Matrix) -> Matrix:
        if scores.shape[1] != len(first):  # a single column would be repeated for every pair
            raise ValueError("a score for each pair of classes expected")
        won = np.where(scores > 0, first, second)
        counts = np.stack([(won == one).sum(axis=1) for one in range(width)], axis=1)
        found: Matrix = counts.argmax(axis=1)
        return found

    return run


def _sum_in_order(values: Matrix) -> Matrix:
    """Return the sums of columns, line after line: along a single column NumPy would add in pairs."""
    if not len(values):
        return np.zeros(values.shape[1])
    alone = values.shape[1] == 1
    sums: Matrix = np.add.accumulate(values, axis=0)[-1] if alone else np.add.reduce(values, axis=0)
    return sums


def _power(base: Matrix, times: int) -> Matrix:
    """Return a power by squaring, in the order of libsvm's `powi`."""
    power = np.ones_like(base)
    while times > 0:
        if times % 2:
            power = power * base
        base = base * base
        times //= 2
    return power
