"""Steps that converters of several families add: products, arithmetic, and what is made of scores."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from lifecycle.compiler.program import Converter, NotCompiled, Program, label
from lifecycle.compiler.values import Labels, Matrix, SparseMatrix, Value, Vector, finite, float64_of

N = TypeVar("N", bound=Matrix | Vector)
Scores = Callable[[Any, Value, Program], Matrix]


def affine(weights: np.ndarray, intercept: Any, value: Value, program: Program) -> Matrix | Vector:
    """Add products with weights (outputs x features, or features), plus intercepts; one output gives a vector."""
    table = np.atleast_2d(np.asarray(weights, dtype=np.float64)).T
    offsets = np.broadcast_to(np.atleast_1d(np.asarray(intercept, dtype=np.float64)), table.shape[1:])
    matrix = finite(value, program) if isinstance(value, SparseMatrix) else float64_of(value, program)
    product = program.add("affine", matrix.register, arrays={"weights": table, "intercept": offsets})
    if np.ndim(weights) == 1:
        return Vector(program.add("flatten", product))
    return Matrix(product, table.shape[1])


def project(matrix: Matrix, weights: np.ndarray, program: Program) -> Matrix:
    """Add the rows' products with weights (features x outputs); overflow on the way is no reason to refuse a row."""
    arrays = {"weights": weights.astype(np.float64), "intercept": np.zeros(weights.shape[1])}
    return Matrix(program.add("affine", matrix.register, arrays=arrays), weights.shape[1])


def dense(array: Any) -> np.ndarray:
    """Return what a model keeps as an array; some keep sparse matrices."""
    return array.toarray() if hasattr(array, "toarray") else array  # type: ignore[no-any-return]


def arithmetic(matrix: Matrix, ufunc: str, operand: Any, program: Program) -> Matrix:
    """Add a binary ufunc of a matrix and a number a column, or one for all."""
    numbers = np.broadcast_to(np.asarray(operand, dtype=np.float64), (matrix.width,))
    return Matrix(program.add("arithmetic", matrix.register, ufunc=ufunc, arrays={"operand": numbers}), matrix.width)


def with_number(register: int, ufunc: str, number: float, program: Program) -> int:
    """Add a binary ufunc of all that a register holds, of whatever width, and one number."""
    return program.add("arithmetic", register, ufunc=ufunc, arrays={"operand": np.array([number], np.float64)})


def apply(numbers: N, ufunc: str, program: Program) -> N:
    """Add a unary ufunc of every number."""
    return replace(numbers, register=program.add("apply", numbers.register, ufunc=ufunc))


def linked(loss: Any, raw: N, program: Program) -> N:
    """Add the inverse of a loss's link: raw numbers as they are, or their exponential function."""
    link = type(loss.link).__name__
    if link == "IdentityLink":
        return raw
    if link != "LogLink":
        raise NotCompiled(f"has the link {link}")
    return apply(raw, "exp", program)


def binarized(threshold: float, value: Value, program: Program) -> Matrix | SparseMatrix:
    """Add 1.0 for numbers above a threshold, else 0.0."""
    if isinstance(value, SparseMatrix):
        if threshold < 0:
            raise NotCompiled("makes zeros of a sparse matrix ones")
        register = program.add("mark", finite(value, program).register, threshold=threshold)
        return SparseMatrix(register, value.width)
    matrix = float64_of(value, program)
    return Matrix(program.add("exceeds", matrix.register, threshold=threshold), matrix.width)


def narrow(matrix: Matrix, program: Program) -> Matrix | Vector:
    """Return a single column as a vector, several as they are."""
    return Vector(program.add("flatten", matrix.register)) if matrix.width == 1 else matrix


def labels(classes: Sequence[Any], indexes: int, program: Program) -> Labels:
    """Add the classes of indexes."""
    known = [label(one) for one in classes]
    return Labels(program.add("labels", indexes, classes=known), indexes, tuple(known))


def decided(
    classes: Sequence[Any],
    scores: Matrix | Vector,
    program: Program,
    *,
    threshold: float = 0.0,
    or_equal: bool = False,
) -> Labels:
    """Add the class of the largest score; where two classes share one score, the second if it is above a threshold."""
    if isinstance(scores, Vector):
        chosen = program.add("above", scores.register, threshold=threshold, or_equal=or_equal)
    else:
        chosen = program.add("largest", scores.register)
    return labels(classes, chosen, program)


def decision(scores: Converter) -> Converter:
    """Return the converter of a `predict` that decides by scores."""
    return lambda model, value, program: decided(model.classes_, scores(model, value, program), program)


def chances_of(scores: Matrix | Vector, program: Program) -> Matrix:
    """Add the chances of classes: the softmax of scores; where two classes share one score, its logistic function."""
    if isinstance(scores, Vector):
        return Matrix(program.add("complement", program.add("logistic", scores.register)), 2)
    return Matrix(program.add("softmax", scores.register), scores.width)


def shares(scores: Scores, operation: str) -> Converter:
    """Return the converter from logarithms of densities to shares of their sum."""

    def convert(model: Any, value: Value, program: Program) -> Matrix:
        logs = scores(model, value, program)
        shared = Matrix(program.add(operation, logs.register), logs.width)
        return apply(shared, "exp", program)

    return convert


def two_or_more(scores: Scores) -> Converter:
    """Return the converter that gives the difference of two classes' scores, or the scores of more."""

    def convert(model: Any, value: Value, program: Program) -> Matrix | Vector:
        matrix = scores(model, value, program)
        return Vector(program.add("gap", matrix.register)) if matrix.width == 2 else matrix

    return convert
