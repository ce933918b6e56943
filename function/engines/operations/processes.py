"""Operations of Gaussian processes: how far rows lie apart, what is made of two matrices, and averaged logistics."""

from collections.abc import Callable, Sequence

import numpy as np

from function.engines.operations import Parameters

Matrix = np.ndarray
# The logistic function as a sum of error functions (Williams and Barber), and the error function as in Cephes.
LAMBDAS = np.array([0.41, 0.4, 0.37, 0.44, 0.39])[:, None]
COEFFICIENTS = np.array([-1854.8214151, 3516.89893646, 221.29346712, 128.12323805, -2010.49422654])[:, None]
P = (
    *(2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0, 4.86371970985681366614e1),
    *(1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3),
    5.57535335369399327526e2,
)
Q = (
    *(1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2),
    *(1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2),
)
T = (
    *(9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3),
    5.55923013010394962768e4,
)
U = (
    *(1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3, 2.26290000613890934246e4),
    4.92673942608635921086e4,
)
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
    small = size * _polynomial(squares, T) / _polynomial(squares, U)
    middle = np.minimum(size, WHERE_ONE)
    large = 1.0 - np.exp(-middle * middle) * _polynomial(middle, P) / _polynomial(middle, Q)
    signed: Matrix = np.copysign(np.where(size > 1.0, large, small), numbers)
    return signed


def _polynomial(numbers: Matrix, coefficients: Sequence[float]) -> Matrix:
    total = np.full_like(numbers, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * numbers + coefficient
    return total
