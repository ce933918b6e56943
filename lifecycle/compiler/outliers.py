"""Converters of detectors of outliers that look for no neighbours and are no support vector machines."""

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import apply, arithmetic, decided, with_number
from lifecycle.compiler.trees import Tree, _summed
from lifecycle.compiler.values import Labels, Matrix, Value, Vector, float64_of, matrix_of


def _isolation(model: IsolationForest, value: Value, program: Program) -> Vector:
    """Add `IsolationForest.decision_function`: how many splits it takes to set a row apart, on average."""
    usual = len(model.estimators_) * _average_path_length([model._max_samples])
    if usual[0] == 0:
        raise NotCompiled("was fitted on a single row")
    matrix = matrix_of(value, program)
    if matrix.dtype != "f4":  # infinities are compared like other numbers
        matrix = Matrix(program.add("cast", matrix.register, dtype="f4"), matrix.width, "f4")
    depths = _summed(_trees(model), np.zeros(1), matrix, program, missing=True)
    shares = apply(arithmetic(depths, "divide", usual, program), "negative", program)
    scores = apply(Matrix(program.add("power_of", shares.register, base=2.0), 1), "negative", program)
    decision = arithmetic(scores, "subtract", model.offset_, program)
    return Vector(program.add("flatten", decision.register))


def _trees(model: IsolationForest) -> list[Tree]:
    found = []
    parts = (model.estimators_, model.estimators_features_, model._decision_path_lengths)
    for estimator, features, depths, extra in zip(*parts, model._average_path_length_per_tree, strict=True):
        tree = estimator.tree_
        feature = np.asarray(features)[np.maximum(tree.feature, 0)]
        held = (depths + extra - 1.0)[:, None]
        missing_left = tree.missing_go_to_left.astype(bool)
        found.append(Tree(tree.children_left, tree.children_right, feature, tree.threshold, missing_left, held))
    return found


def _inlier(model: IsolationForest, value: Value, program: Program) -> Labels:
    return decided([1, -1], apply(_isolation(model, value, program), "negative", program), program)


def _elliptic(model: EllipticEnvelope, value: Value, program: Program) -> Vector:
    """Add `EllipticEnvelope.decision_function`: the squared distance in the fitted covariance, beside a threshold."""
    arrays = {"center": model.location_.astype(np.float64), "matrix": model.get_precision().astype(np.float64)}
    squares = Vector(program.add("quadratic", float64_of(value, program).register, arrays=arrays))
    opposite = apply(squares, "negative", program)
    return Vector(with_number(opposite.register, "subtract", model.offset_, program))


def _inside(model: EllipticEnvelope, value: Value, program: Program) -> Labels:
    return decided([-1, 1], _elliptic(model, value, program), program, or_equal=True)


CONVERTERS: Converters = {
    EllipticEnvelope: {"decision_function": _elliptic, "predict": _inside},
    IsolationForest: {"decision_function": _isolation, "predict": _inlier},
}
