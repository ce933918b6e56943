"""Operations on scores of how unusual a row is."""

from collections.abc import Callable

import numpy as np

from function.engines.operations import Parameters

Matrix = np.ndarray


def power_of(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return a number to the power of every number, which `exp2` would round otherwise."""
    base = parameters.number("base")
    return lambda exponents: np.power(base, exponents)
