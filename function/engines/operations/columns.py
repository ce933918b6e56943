"""Operations on the columns of a request, Python values with None for missing, and what turns them into matrices."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Columns = Sequence[Sequence[Any]]
DTYPES = ("f8", "f4", "i8", "b1")


def gather(_: Parameters) -> Callable[..., Columns]:
    """Return several columns as one value."""
    return lambda *columns: columns


def column(parameters: Parameters) -> Callable[[Columns], Sequence[Any]]:
    """Return one of several columns."""
    index = parameters.integer("index", 0, 1_000_000)
    return lambda columns: columns[index]


def numbers(parameters: Parameters) -> Callable[..., np.ndarray]:
    """Return columns as a matrix with a row each, None as NaN."""
    dtype = np.dtype(parameters.choice("dtype", DTYPES))
    return lambda *columns: np.array(columns, dtype).T


def lists(_: Parameters) -> Callable[[np.ndarray], Columns]:
    """Return a matrix as columns, NaN as None."""

    def run(matrix: np.ndarray) -> Columns:
        return [[None if value != value else value for value in column] for column in matrix.T.tolist()]

    return run


def fill(parameters: Parameters) -> Callable[[Columns], Columns]:
    """Replace what stands for missing in each column by a value, where it has one."""
    missing = parameters.values("missing")[0]
    values = parameters.values("values")

    def run(columns: Columns) -> Columns:
        pairs = zip(columns, values, strict=True)
        return [[value if old == missing else old for old in column] for column, value in pairs]

    return run


def codes(parameters: Parameters) -> Callable[[Columns], np.ndarray]:
    """Return a float matrix with the code of each value's category.

    Unknown values have a code too, one for all columns or one for each, or are refused (null).
    """
    tables = _tables(parameters.lists("categories"), parameters.lists("codes"))
    given = parameters.values("unknown")
    unknown = given * len(tables) if len(given) == 1 else given

    def run(columns: Columns) -> np.ndarray:
        return np.array(_look_up(tables, columns, unknown), np.float64).T

    return run


def one_hot(parameters: Parameters) -> Callable[[Columns], np.ndarray]:
    """Return a float matrix with a 1 in the place of each value's category.

    A place that equals the width is no place. Unknown values have a place for each column, or are refused (null).
    """
    width = parameters.integer("width", 0, MOST_COLUMNS)
    places = _places(parameters, width)

    def run(columns: Columns) -> np.ndarray:
        found = places(columns)
        matrix = np.zeros((found.shape[1], width + 1))
        matrix[np.arange(found.shape[1]), found] = 1.0
        return matrix[:, :width]

    return run


def one_hot_sparse(parameters: Parameters) -> Callable[[Columns], Sparse]:
    """Return what `one_hot` does as a sparse matrix, however wide."""
    width = parameters.integer("width", 0, np.iinfo(np.int32).max)
    places = _places(parameters, width)

    def run(columns: Columns) -> Sparse:
        found = places(columns).T
        rows, _ = np.nonzero(found < width)
        return Sparse(len(found), rows, found[found < width], np.ones(len(rows)))

    return run


def labels(parameters: Parameters) -> Callable[[np.ndarray], list[Any]]:
    """Return the class of each index."""
    classes = parameters.values("classes")
    return lambda indexes: [classes[index] for index in indexes.tolist()]


def rows(_: Parameters) -> Callable[..., list[Any]]:
    """Return what several targets have for a row as one list for each row."""

    def run(*targets: Any) -> list[Any]:
        plain = [target.tolist() if isinstance(target, np.ndarray) else target for target in targets]
        return [list(row) for row in zip(*plain, strict=True)]

    return run


def _places(parameters: Parameters, width: int) -> Callable[[Columns], np.ndarray]:
    """Return what finds the place of each value's category (columns x rows)."""
    places = parameters.lists("places")
    unknown = parameters.values("unknown")
    used = [place for column in [*places, unknown] for place in column if place is not None]
    if any(type(place) is not int or not 0 <= place <= width for place in used):
        raise CompiledInvalid(f"one_hot: places: integers from 0 to {width} expected")
    tables = _tables(parameters.lists("categories"), places)
    return lambda columns: np.array(_look_up(tables, columns, unknown), np.intp)


def _tables(keys: list[list[Any]], values: list[list[Any]]) -> list[dict[Any, Any]]:
    if [len(column) for column in keys] != [len(column) for column in values]:
        raise CompiledInvalid("one value for each category expected")
    return [dict(zip(*pair, strict=True)) for pair in zip(keys, values, strict=True)]


def _look_up(tables: list[dict[Any, Any]], columns: Columns, unknown: Sequence[Any]) -> list[list[Any]]:
    parts = zip(tables, columns, unknown, strict=True)
    if len(columns[0]) == 1:  # as most requests have it
        found = [[table.get(column[0], default)] for table, column, default in parts]
    else:
        found = [[table.get(value, default) for value in column] for table, column, default in parts]
    if None in unknown and any(None in row for row in found):
        raise ValueError("a category that training never had")
    return found
