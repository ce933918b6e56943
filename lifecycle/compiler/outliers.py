"""Converters of detectors of outliers that are no support vector machines."""

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from lifecycle.compiler.bayes import arithmetic
from lifecycle.compiler.linear import labels
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.trees import Tree, _summed
from lifecycle.compiler.values import Labels, Matrix, Value, Vector, matrix_of


def _isolation(model: IsolationForest, value: Value, program: Program) -> Vector:
    """Add `IsolationForest.decision_function`: how many splits it takes to set a row apart, on average."""
    usual = len(model.estimators_) * _average_path_length([model._max_samples])
    if usual[0] == 0:
        raise NotCompiled("was fitted on a single row")
    matrix = matrix_of(value, program)
    if matrix.dtype != "f4":  # infinities are compared like other numbers
        matrix = Matrix(program.add("cast", matrix.register, dtype="f4"), matrix.width, "f4")
    depths = _summed(_trees(model), np.zeros(1), matrix, program, missing=True)
    shares = program.add("apply", arithmetic(depths, "divide", usual, program).register, ufunc="negative")
    scores = program.add("apply", program.add("power_of", shares, base=2.0), ufunc="negative")
    decision = arithmetic(Matrix(scores, 1), "subtract", model.offset_, program)
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
    below = program.add("apply", _isolation(model, value, program).register, ufunc="negative")
    return labels([1, -1], program.add("above", below, threshold=0.0, or_equal=False), program)


CONVERTERS: Converters = {IsolationForest: {"decision_function": _isolation, "predict": _inlier}}
