"""Operations that change the shape of numbers: powers, bins, quantiles, products, norms."""

from collections.abc import Callable
from typing import Any

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters

Matrix = np.ndarray
# scikit-learn takes a shorter row for a row of zeros (`_handle_zeros_in_scale`).
SHORTEST = 10 * np.finfo(np.float64).eps


def normalize_rows(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return every row over its length; a row of zeros stays."""
    norm = parameters.choice("norm", ("l1", "l2", "max"))

    def lengths(matrix: Matrix) -> Matrix:
        if norm == "l2":
            found: Matrix = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        else:
            found = np.abs(matrix).sum(axis=1) if norm == "l1" else np.abs(matrix).max(axis=1)
        return found

    def run(matrix: Matrix) -> Matrix:
        found = lengths(matrix)
        scaled: Matrix = matrix / np.where(found < SHORTEST, 1.0, found)[:, None]
        return scaled

    return run


def exceeds(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return 1.0 for numbers above a threshold, else 0.0."""
    threshold = parameters.number("threshold")
    return lambda matrix: (matrix > threshold).astype(np.float64)


def power(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the Yeo-Johnson or Box-Cox transformation of each column, by its exponent.

    Yeo and Johnson, Biometrika 87 (2000), page 956; Box and Cox, J. R. Stat. Soc. B 26 (1964), page 214; both in the
    arrangement that SciPy computes.
    """
    return _by_exponent({"yeo_johnson": _yeo_johnson, "box_cox": _box_cox}, parameters)


def unpower(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return what `power` makes numbers of, in the arrangement that scikit-learn computes."""
    return _by_exponent({"yeo_johnson": _from_yeo_johnson, "box_cox": _from_box_cox}, parameters)


def rank(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return each number's place among its column's quantiles (columns x references), from 0 to 1."""
    quantiles, references = known_quantiles(parameters)

    def one(column: Matrix, known: Matrix) -> Matrix:
        place = between_quantiles(column, known, references)
        place = np.where(column == known[-1], 1.0, place)
        return np.where(column == known[0], 0.0, place)

    return lambda matrix: each_column(one, matrix, quantiles)


def unrank(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return which number has a place, from 0 to 1, among its column's quantiles (columns x references)."""
    quantiles, references = known_quantiles(parameters)

    def one(column: Matrix, known: Matrix) -> Matrix:
        found: Matrix = np.interp(column, references, known)
        return found

    return lambda matrix: each_column(one, matrix, quantiles)


def pool(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the mean of each group of columns, one number added after the other; `groups` names each column's."""
    groups = parameters.array("groups", "i", 1)
    if not len(groups) or groups.min() < 0 or groups.max() >= len(groups):
        raise CompiledInvalid("pool: a group for each column expected")
    sizes = np.bincount(groups)

    def run(matrix: Matrix) -> Matrix:
        sums = np.zeros((len(matrix), len(sizes)))
        for column, group in zip(matrix.T, groups, strict=True):
            sums[:, group] += column
        return sums / sizes

    return run


def each_column(one: Callable[[Matrix, Any], Matrix], matrix: Matrix, learned: Matrix) -> Matrix:
    """Return what a function makes of each column and what was learned of it."""
    return np.stack([one(column, known) for column, known in zip(matrix.T, learned, strict=True)], axis=1)


def known_quantiles(parameters: Parameters) -> tuple[Matrix, Matrix]:
    """Return the quantiles of columns and the references that they stand for."""
    quantiles = parameters.array("quantiles", "f", 2)
    references = parameters.array("references", "f", 1)
    if quantiles.shape[1:] != references.shape or not len(references):
        raise CompiledInvalid("rank: a quantile for each reference expected")
    return quantiles, references


def between_quantiles(column: Matrix, known: Matrix, references: Matrix) -> Matrix:
    """Return the places of numbers among quantiles; of equal ones the mean place, found by looking from both ends."""
    upward = np.interp(column, known, references)
    downward = np.interp(-column, -known[::-1], -references[::-1])
    return np.where(np.isnan(column), column, 0.5 * (upward - downward))


def bins(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the number of each column's inner edges that are not above a number."""
    edges = parameters.array("edges", "f", 1)
    sizes = parameters.array("sizes", "i", 1)
    if len(sizes) and (int(sizes.min()) < 0 or int(sizes.sum()) != len(edges)):
        raise CompiledInvalid("bins: the number of edges of each column expected")
    inner = np.split(edges, np.cumsum(sizes)[:-1]) if len(sizes) else []

    def run(matrix: Matrix) -> Matrix:
        found = [np.searchsorted(known, column, side="right") for column, known in zip(matrix.T, inner, strict=True)]
        return np.stack(found, axis=1).astype(np.float64)

    return run


def products(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return products of columns (`factors`: factors x products); the index after the last column means 1."""
    factors = parameters.array("factors", "i", 2)

    def run(matrix: Matrix) -> Matrix:
        columns = np.concatenate([matrix, np.ones((len(matrix), 1))], axis=1)
        product = columns[:, factors[0]]
        for indexes in factors[1:]:
            product = product * columns[:, indexes]
        return product

    return run


def _by_exponent(
    transforms: dict[str, Callable[[Matrix, Any], Matrix]], parameters: Parameters
) -> Callable[[Matrix], Matrix]:
    exponents = parameters.array("exponents", "f", 1)
    transform = transforms[parameters.choice("method", tuple(transforms))]
    return lambda matrix: each_column(transform, matrix, exponents)


def _yeo_johnson(numbers: Matrix, exponent: float) -> Matrix:
    powered = numbers.copy()
    positive, negative = numbers >= 0, numbers < 0
    rising, falling = np.log1p(numbers[positive]), np.log1p(-numbers[negative])
    small = np.finfo(np.float64).eps
    powered[positive] = rising if abs(exponent) < small else np.expm1(exponent * rising) / exponent
    rest = 2 - exponent
    powered[negative] = -falling if abs(rest) <= small else -np.expm1(rest * falling) / rest
    return powered


def _from_yeo_johnson(numbers: Matrix, exponent: float) -> Matrix:
    found = np.zeros_like(numbers)
    positive = numbers >= 0
    rest = 2 - exponent
    if abs(exponent) < np.spacing(1.0):
        found[positive] = np.exp(numbers[positive]) - 1
    else:
        found[positive] = np.power(numbers[positive] * exponent + 1, 1 / exponent) - 1
    if abs(rest) > np.spacing(1.0):
        found[~positive] = 1 - np.power(-rest * numbers[~positive] + 1, 1 / rest)
    else:
        found[~positive] = 1 - np.exp(-numbers[~positive])
    return found


def _from_box_cox(numbers: Matrix, exponent: float) -> Matrix:
    found: Matrix = np.exp(numbers if exponent == 0 else np.log1p(exponent * numbers) / exponent)
    return found


def _box_cox(numbers: Matrix, exponent: float) -> Matrix:
    if np.nanmin(numbers, initial=np.inf) <= 0:
        raise ValueError("a number that must be positive is not")
    logarithms: Matrix = np.log(numbers)
    if abs(exponent) < 1e-19:
        return logarithms
    powered: Matrix = np.expm1(exponent * logarithms) / exponent
    return powered
