"""What is known of a value while a pipeline is compiled: where it stands, its width, what scikit-learn would see."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from function.contract import Feature, Signature
from function.engines.operations import MOST_COLUMNS
from lifecycle.compiler.program import NotCompiled, Program

NUMERIC = ("integer", "number", "boolean")


@dataclass(frozen=True)
class Table:
    """A frame: some of the request's columns, by the registers that they stand in."""

    columns: tuple[tuple[int, Feature], ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [feature.name for _, feature in self.columns]

    def take(self, indexes: list[int]) -> "Table":
        """Return some columns."""
        return Table(tuple(self.columns[index] for index in indexes))


@dataclass(frozen=True)
class Cells:
    """An array of objects, such as text: Python values column by column."""

    register: int
    missing: tuple[str, ...]  # per column what stands for missing: "nan" or "none"


@dataclass(frozen=True)
class Matrix:
    """A two-dimensional array of numbers, float64 or float32."""

    register: int
    width: int
    dtype: str = "f8"


@dataclass(frozen=True)
class SparseMatrix:
    """A sparse matrix of numbers, float64 or float32."""

    register: int
    width: int
    dtype: str = "f8"


@dataclass(frozen=True)
class Texts:
    """A one-dimensional column of texts."""

    register: int


@dataclass(frozen=True)
class Vector:
    """One number a row."""

    register: int


@dataclass(frozen=True)
class Labels:
    """One class a row: the class itself, and its index, for what is made of several classifiers."""

    register: int
    indexes: int
    classes: tuple[Any, ...]


@dataclass(frozen=True)
class Several:
    """Several targets a row: each one's class, or the probabilities of each one's classes."""

    register: int
    parts: tuple["Labels | Matrix", ...]


@dataclass(frozen=True)
class Records:
    """A list of dictionaries without what is missing."""

    table: Table


Value = Table | Records | Cells | Matrix | SparseMatrix | Texts | Vector | Labels | Several

M = TypeVar("M", bound=Matrix | SparseMatrix)


def input_of(signature: Signature, program: Program) -> Value:
    """Return what the fitted pipeline is given, as `input_builder` of the sklearn engine makes it."""
    features = signature.features
    table = Table(tuple(enumerate(features)))
    if signature.form == "frame":
        return table
    if signature.form == "column":
        return text_of(table)
    if signature.form == "array" and all(feature.type in NUMERIC for feature in features):
        return Matrix(program.add("numbers", *range(len(features)), dtype="f8"), len(features))
    if signature.form == "array":
        return Cells(program.add("gather", *range(len(features))), ("nan",) * len(features))
    return Records(table)


def text_of(value: Value) -> Texts:
    """Return one column of texts."""
    if isinstance(value, Texts):
        return value
    if isinstance(value, Table) and len(value.columns) == 1 and value.columns[0][1].type == "text":
        return Texts(value.columns[0][0])
    raise NotCompiled("takes one column of texts")


def matrix_of(value: Value, program: Program) -> Matrix:
    """Return numbers as scikit-learn's `check_array` with FLOAT_DTYPES makes them: float32 where all of them are."""
    if isinstance(value, Matrix):
        return value
    if isinstance(value, SparseMatrix):
        if value.width > MOST_COLUMNS:
            raise NotCompiled(f"makes {value.width} sparse columns dense")
        return Matrix(program.add("densify", value.register, width=value.width), value.width, value.dtype)
    if isinstance(value, Table):
        return _table_matrix(value, program)
    raise NotCompiled(f"takes numbers, not {type(value).__name__.lower()}")


def numbers_of(value: Value, program: Program) -> Matrix | SparseMatrix:
    """Return numbers, sparse ones as they are."""
    return value if isinstance(value, SparseMatrix) else matrix_of(value, program)


def sparse_of(value: Value, program: Program) -> SparseMatrix:
    """Return float64 numbers as a sparse matrix, for what adds them up one after the other."""
    return value if isinstance(value, SparseMatrix) else _joined([float64_of(value, program)], program)


def float64_of(value: Value, program: Program, *, allow_nan: bool = False) -> Matrix:
    """Return float64 numbers, refused where scikit-learn refuses them; raises NotCompiled for float32."""
    matrix = finite(matrix_of(value, program), program, allow_nan=allow_nan)
    if matrix.dtype != "f8":
        raise NotCompiled("takes float32 numbers")
    return matrix


def doubled(value: Value, program: Program) -> Value:
    """Return numbers as float64, for models that compute in it whatever they are given; the rest as it is."""
    matrix = matrix_of(value, program) if isinstance(value, Table) else value
    return doubles(matrix, program) if isinstance(matrix, Matrix) else matrix


def finite(matrix: M, program: Program, *, allow_nan: bool = False) -> M:
    """Return numbers of which the infinite ones are refused, as `check_array` does."""
    return replace(matrix, register=program.add("finite", matrix.register, allow_nan=allow_nan))


def singles(matrix: M, program: Program) -> M:
    """Return numbers as float32."""
    if matrix.dtype == "f4":
        return matrix
    return replace(matrix, register=program.add("cast", matrix.register, dtype="f4"), dtype="f4")


def doubles(matrix: Matrix, program: Program) -> Matrix:
    """Return numbers as float64."""
    if matrix.dtype == "f8":
        return matrix
    return Matrix(program.add("cast", matrix.register, dtype="f8"), matrix.width)


def cells_of(value: Value, program: Program) -> Cells:
    """Return columns of Python values, for what compares them with categories."""
    if isinstance(value, Cells):
        return value
    if isinstance(value, Table):
        if any(feature.type == "datetime" for _, feature in value.columns):
            raise NotCompiled("takes dates")
        register = program.add("gather", *[_cell_column(*column, program) for column in value.columns])
        return Cells(register, tuple(feature.missing for _, feature in value.columns))
    matrix = finite(matrix_of(value, program), program, allow_nan=True)
    return Cells(program.add("lists", matrix.register), ("nan",) * matrix.width)


def _cell_column(register: int, feature: Feature, program: Program) -> int:
    """Return the register of a column's values; float32 ones are compared with categories as they were rounded."""
    if not _is_single(feature):
        return register
    return program.add("column", program.add("lists", program.add("numbers", register, dtype="f4")), index=0)


def beside(values: list[Value], program: Program) -> Value:
    """Return what `hstack` makes of several values."""
    if len(values) == 1 and not isinstance(values[0], Table):
        return values[0]
    if not values:
        raise NotCompiled("has no columns")
    if any(isinstance(value, SparseMatrix) for value in values):
        return _joined([numbers_of(value, program) for value in values], program)
    parts = [matrix_of(value, program) for value in values]
    if len(parts) == 1:
        return parts[0]
    dtype = "f4" if all(part.dtype == "f4" for part in parts) else "f8"
    register = program.add("concatenate", *[part.register for part in parts])
    return Matrix(register, sum(part.width for part in parts), dtype)


def several(parts: "Sequence[Labels] | Sequence[Matrix]", program: Program) -> Several:
    """Add what several targets were given, a list a row."""
    return Several(program.add("rows", *[part.register for part in parts]), tuple(parts))


def take(value: Value, indexes: list[int], program: Program) -> Value:
    """Return some columns of a value, by position."""
    if isinstance(value, Table):
        return value.take(indexes)
    array = np.array(indexes, np.int64)
    if isinstance(value, SparseMatrix):
        if len(set(indexes)) < len(indexes):
            raise NotCompiled("takes a sparse column twice")
        register = program.add("keep", value.register, arrays={"indexes": array})
        return SparseMatrix(register, len(indexes), value.dtype)
    matrix = matrix_of(value, program)
    return Matrix(program.add("select", matrix.register, arrays={"indexes": array}), len(indexes), matrix.dtype)


def _joined(parts: list[Matrix | SparseMatrix], program: Program) -> SparseMatrix:
    widths = np.array([part.width for part in parts], np.int64)
    register = program.add("join", *[part.register for part in parts], arrays={"widths": widths})
    # A float32 matrix that nothing else stands beside is never sparse here, so the result is float64.
    return SparseMatrix(register, int(widths.sum()))


def _table_matrix(table: Table, program: Program) -> Matrix:
    if not table.columns:
        raise NotCompiled("takes no columns")
    dtypes = [_numpy_dtype(feature) for _, feature in table.columns]
    registers = [register for register, _ in table.columns]
    plain = [dtype for dtype in dtypes if dtype is not None]
    width = len(registers)
    if len(plain) == width and np.result_type(*plain) == np.float32:  # small integers beside them are exact
        return Matrix(program.add("numbers", *registers, dtype="f4"), width, "f4")
    if not any(_is_single(feature) for _, feature in table.columns):
        return Matrix(program.add("numbers", *registers, dtype="f8"), width)
    # Stacked, columns lie in memory as a frame's do: sums that overflow depend on it.
    columns = [program.add("flatten", _double(*column, program)) for column in table.columns]
    return Matrix(program.add("stack", *columns), width)


def _double(register: int, feature: Feature, program: Program) -> int:
    """Add a column as float64; a float32 one is rounded before."""
    if not _is_single(feature):
        return program.add("numbers", register, dtype="f8")
    return program.add("cast", program.add("numbers", register, dtype="f4"), dtype="f8")


def _is_single(feature: Feature) -> bool:
    """Return whether a column holds float32 numbers, NumPy's or pandas' own."""
    if feature.type not in NUMERIC or feature.dtype in ("category", "object"):
        return False
    dtype = pd.api.types.pandas_dtype(feature.dtype)
    return bool(getattr(dtype, "numpy_dtype", dtype) == np.float32)


def _numpy_dtype(feature: Feature) -> np.dtype | None:
    """Return a column's NumPy dtype, or None for pandas' own; raises NotCompiled where it holds no numbers."""
    if feature.type not in NUMERIC or feature.dtype == "category":
        raise NotCompiled(f"takes the column {feature.name} of dtype {feature.dtype} as numbers")
    dtype = pd.api.types.pandas_dtype(feature.dtype)
    if not isinstance(dtype, np.dtype):
        return None
    if dtype.kind not in "biuf" or dtype == np.float16:
        raise NotCompiled(f"takes the column {feature.name} of dtype {feature.dtype} as numbers")
    return dtype
