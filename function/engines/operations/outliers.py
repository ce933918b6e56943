"""Operations on how unusual a row is."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters

Matrix = np.ndarray


def power_of(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a number to the power of every number, which `exp2` would round otherwise."""
    base = parameters.number("base")
    return lambda exponents: np.power(base, exponents)


def quadratic(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return how far each row is from a center, squared: (x - center)' matrix (x - center), in the order of a loop."""
    center, matrix = parameters.array("center", "f", 1), parameters.array("matrix", "f", 2)
    if matrix.shape != (len(center), len(center)):
        raise CompiledInvalid("quadratic: a square matrix as wide as its center expected")

    def run(rows: Matrix) -> Matrix:
        gaps = np.ascontiguousarray((rows - center).T)
        total = np.zeros(len(rows))
        for gap, weights in zip(gaps, matrix, strict=True):
            weighted = np.zeros(len(rows))
            for other, weight in zip(gaps, weights, strict=True):
                weighted += other * weight
            total += gap * weighted
        return np.sqrt(total) ** 2  # squared again, as scikit-learn does

    return run
