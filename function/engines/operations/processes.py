"""Operations of Gaussian processes: how far rows lie apart, what is made of two matrices, and averaged logistics."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import Parameters
from function.engines.operations.normal import BEYOND_ONE, NEAR_ZERO, polynomial

Matrix = np.ndarray
# The logistic function as a sum of error functions (Williams and Barber).
LAMBDAS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])[:, None]
COEFFICIENTS = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])[:, None]
WHERE_ONE = 6.0  # the error function of 6 is 1 to the last bit


def gaps(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return how far each row is from each point (a line each), feature after feature: the sum of a term of each.

    `squared` adds (x - y)**2, `absolute` |x - y|, `relative` (x - y)**2 / (x + y), for which no number is negative.
    """
    columns = np.ascontiguousarray(parameters.array("points", "f", 2).T)
    form = parameters.choice("form", tuple(TERMS))
    term = TERMS[form]

    def run(matrix: Matrix) -> Matrix:
        if form == "relative" and (matrix < 0).any():
            raise ValueError("a number is negative")
        total = np.zeros((len(matrix), columns.shape[1]))
        for own, other in zip(matrix.T, columns, strict=True):
            total += term(own[:, None], other)
        return total

    return run


def times(_: Parameters) -> Callable[[Matrix, Matrix], Matrix]:
    """Return the product of two matrices, number by number."""

    def run(one: Matrix, other: Matrix) -> Matrix:
        product: Matrix = one * other
        return product

    return run


def raise_to(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return every number to the same power, which a power of its own would round otherwise."""
    exponent = parameters.number("exponent")

    def run(matrix: Matrix) -> Matrix:
        raised: Matrix = matrix**exponent
        return raised

    return run


def averaged_logistic(_: Parameters) -> Callable[[Matrix, Matrix], Matrix]:
    """Return the mean of the logistic function of a normal number, from its mean and variance: rows (1 - p, p)."""

    def run(mean: Matrix, variance: Matrix) -> Matrix:
        variance = np.ravel(variance)
        alpha = 1 / (2 * variance)
        scaled = LAMBDAS * mean * np.sqrt(alpha / (alpha + LAMBDAS**2))
        integrals = np.sqrt(np.pi / alpha) * _erf(scaled) / (2 * np.sqrt(variance * 2 * np.pi))
        chance = (COEFFICIENTS * integrals).sum(axis=0) + 0.5 * COEFFICIENTS.sum()
        return np.stack([1 - chance, chance], axis=1)

    return run


def _squared(own: Matrix, other: Matrix) -> Matrix:
    gap: Matrix = own - other
    return gap * gap  # type: ignore[no-any-return]


def _absolute(own: Matrix, other: Matrix) -> Matrix:
    return np.abs(own - other)  # type: ignore[no-any-return]


def _relative(own: Matrix, other: Matrix) -> Matrix:
    gap, whole = own - other, own + other
    return np.where(whole != 0, gap * gap / np.where(whole != 0, whole, 1.0), 0.0)


TERMS: dict[str, Callable[[Matrix, Matrix], Matrix]] = {
    "squared": _squared,
    "absolute": _absolute,
    "relative": _relative,
}


def _erf(numbers: Matrix) -> Matrix:
    """Return the error function, with the rational approximations of Cephes that SciPy has."""
    size = np.abs(numbers)
    squares = size * size
    above, below = (polynomial(squares, coefficients) for coefficients in NEAR_ZERO)
    small = size * above / below
    middle = np.minimum(size, WHERE_ONE)
    above, below = (polynomial(middle, coefficients) for coefficients in BEYOND_ONE)
    large = 1.0 - np.exp(-middle * middle) * above / below
    signed: Matrix = np.copysign(np.where(size > 1.0, large, small), numbers)
    return signed
