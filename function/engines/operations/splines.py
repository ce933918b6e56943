"""Operations on splines: the values of a column's basis functions."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters

Matrix = np.ndarray
HIGHEST_DEGREE = 100


def splines(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the values of B-splines over knots at the numbers of one column (rows x splines).

    Missing numbers give zeros. Beyond the inner knots the polynomials go on (`continue`), begin again (`periodic`), or
    the number is refused (`refuse`). `constant` and `linear` have values of their own beyond two `bounds`: those of
    `edges`, and with `slopes` lines from them (each 2 x splines: below, above).
    """
    index = parameters.integer("index", 0, MOST_COLUMNS)
    degree = parameters.integer("degree", 0, HIGHEST_DEGREE)
    knots = parameters.array("knots", "f", 1)
    outside = parameters.choice("outside", ("continue", "periodic", "refuse", "bounded"))
    last = len(knots) - degree - 1
    if not degree < last <= MOST_COLUMNS or not (knots[1:] >= knots[:-1]).all():
        raise CompiledInvalid("splines: knots in their order, more than twice the degree, expected")
    width = last - degree if outside == "periodic" else last

    def basis(numbers: Matrix) -> Matrix:
        values = np.zeros((len(numbers), width))
        at = np.clip(np.searchsorted(knots, numbers, side="right") - 1, degree, last - 1)
        rows = np.arange(len(numbers))
        for place, value in enumerate(_de_boor(knots, degree, numbers, at)):
            values[rows, (at + place - degree) % width] += value
        values[~np.isfinite(values).all(axis=1)] = np.nan  # SciPy adds zero times infinity to every spline
        return values

    bounded = _bounded(parameters, basis, width) if outside == "bounded" else None
    low, high = knots[degree], knots[last]

    def run(matrix: Matrix) -> Matrix:
        numbers = matrix[:, index]
        missing = np.isnan(numbers)
        known = np.where(missing, low, numbers)
        if bounded is not None:
            values = bounded(known)
        elif outside == "periodic":
            # A column of one value has no period.
            values = basis(low + (known - low) % (high - low) if high > low else np.zeros(len(known)))
        else:
            if outside == "refuse" and ((known < low) | (known > high)).any():
                raise ValueError("a number beyond the limits of the knots")
            values = basis(known)
        values[missing] = 0.0
        return values

    return run


def _bounded(parameters: Parameters, basis: Callable[[Matrix], Matrix], width: int) -> Callable[[Matrix], Matrix]:
    bounds = parameters.array("bounds", "f", 1)
    edges, slopes = parameters.array("edges", "f", 2), parameters.optional("slopes", "f", 2)
    if bounds.shape != (2,) or {edges.shape, edges.shape if slopes is None else slopes.shape} != {(2, width)}:
        raise CompiledInvalid("splines: a value below and above for each spline expected")

    def run(numbers: Matrix) -> Matrix:
        values = basis(np.clip(numbers, *bounds))
        for side, beyond in enumerate((numbers < bounds[0], numbers > bounds[1])):
            if beyond.any():
                values[beyond] = edges[side]
                if slopes is not None:
                    values[beyond] += (numbers[beyond] - bounds[side])[:, None] * slopes[side]
        return values

    return run


def _de_boor(knots: Matrix, degree: int, numbers: Matrix, at: Matrix) -> list[Matrix]:
    """Return the degree + 1 splines that are not zero at numbers of some intervals.

    De Boor's recursion in the order of SciPy's `_deBoor_D`, for all numbers at once.
    """
    found = [np.ones(len(numbers))]
    for order in range(1, degree + 1):
        former, found = found, [np.zeros(len(numbers))]
        for place in range(1, order + 1):
            upper, lower = knots[at + place], knots[at + place - order]
            share = former[place - 1] / np.where(upper == lower, 1.0, upper - lower)
            share = np.where(upper == lower, 0.0, share)
            found[place - 1] = found[place - 1] + share * (upper - numbers)
            found.append(share * (numbers - lower))
    return found
