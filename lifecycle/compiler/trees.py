"""Converters of decision trees and what is made of many: forests and boosting."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.utils import get_tags

from lifecycle.compiler.linear import labels
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.values import Labels, Matrix, Several, Value, Vector, finite, matrix_of, several

LEAF = -1


class Tree(NamedTuple):
    """One tree, node by node; LEAF stands for no child."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray  # nodes x outputs


class Forest(NamedTuple):
    """Several trees in one numbering: roots first, level after level, the right child next to the left one."""

    left: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_right: np.ndarray
    values: np.ndarray  # outputs x nodes
    depth: int


def join(trees: Sequence[Tree]) -> Forest:
    """Return trees in the numbering of the `leaves` operation."""
    offsets = np.cumsum([0, *(len(tree.left) for tree in trees)])[:-1]
    joined = Tree(*(np.concatenate(parts) for parts in zip(*trees, strict=True)))
    shift = np.repeat(offsets, [len(tree.left) for tree in trees])
    left = np.where(joined.left == LEAF, LEAF, joined.left + shift)
    right = np.where(joined.left == LEAF, LEAF, joined.right + shift)
    levels = [offsets]
    while len(inner := levels[-1][left[levels[-1]] != LEAF]):
        levels.append(np.stack([left[inner], right[inner]], axis=1).ravel())
    order = np.concatenate(levels)
    number = np.empty(len(left), np.int64)
    number[order] = np.arange(len(order))
    is_leaf = left[order] == LEAF
    return Forest(
        left=np.where(is_leaf, np.arange(len(order)), number[left[order]]).astype(np.int32),
        feature=np.where(is_leaf, 0, joined.feature[order]).astype(np.int32),
        threshold=np.where(is_leaf, np.inf, joined.threshold[order]),
        missing_right=~joined.missing_left[order] & ~is_leaf,
        values=np.where(is_leaf[:, None], joined.values[order], 0.0).T,
        depth=len(levels) - 1,
    )


def _fitted_tree(estimator: Any, values: np.ndarray) -> Tree:
    tree = estimator.tree_
    missing_left = tree.missing_go_to_left.astype(bool)
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, missing_left, values)


def _summed(trees: Sequence[Tree], start: np.ndarray, matrix: Matrix, program: Program, missing: bool) -> Matrix:
    """Add the walk to the leaves and the sum of what they hold."""
    forest = join(trees)
    threshold = forest.threshold
    if matrix.dtype == "f4":  # for float32 x, x > t holds exactly where x > the largest float32 that is not above t
        threshold = threshold.astype(np.float32)
        threshold = np.where(threshold > forest.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    arrays = {"feature": forest.feature, "threshold": threshold, "left": forest.left}
    if missing:
        arrays["missing_right"] = forest.missing_right
    leaves = program.add("leaves", matrix.register, arrays=arrays, trees=len(trees), depth=forest.depth)
    register = program.add("sum_leaves", leaves, arrays={"values": forest.values, "start": start})
    return Matrix(register, len(start))


def _single_precision(estimator: Any, value: Value, program: Program) -> tuple[Matrix, bool]:
    """Return what trees compare, float32, and whether NaN may be in it (`_validate_X_predict`)."""
    matrix = matrix_of(value, program)
    missing = bool(get_tags(estimator).input_tags.allow_nan) and getattr(estimator, "monotonic_cst", None) is None
    if matrix.dtype != "f4":
        matrix = Matrix(program.add("cast", matrix.register, dtype="f4"), matrix.width, "f4")
    return finite(matrix, program, allow_nan=missing), missing


def _divided(total: Matrix, count: int, program: Program) -> Matrix:
    operand = np.full(total.width, float(count))
    return Matrix(program.add("arithmetic", total.register, ufunc="divide", arrays={"operand": operand}), total.width)


def mean_leaves(model: Any, value: Value, program: Program) -> Matrix:
    """Add the mean of what the trees' leaves hold: class shares, or targets."""
    if hasattr(model, "classes_"):
        return _mean_shares(model, 0, value, program)
    return _mean_values(model, lambda held: held[:, :, 0], value, program)


def _mean_shares(model: Any, target: int, value: Value, program: Program) -> Matrix:
    """Add one target's mean class shares; the walks of several targets are the same, and added once."""
    count = int(np.atleast_1d(model.n_classes_)[target])
    return _mean_values(model, lambda held: held[:, target, :count], value, program)


def _mean_values(model: Any, chosen: Callable[[np.ndarray], np.ndarray], value: Value, program: Program) -> Matrix:
    single = not hasattr(model, "estimators_")
    estimators = [model] if single else model.estimators_
    matrix, missing = _single_precision(estimators[0], value, program)
    trees = [_fitted_tree(one, chosen(one.tree_.value)) for one in estimators]
    total = _summed(trees, np.zeros(trees[0].values.shape[1]), matrix, program, missing)
    return total if single else _divided(total, len(trees), program)


def _mean(model: Any, value: Value, program: Program) -> Matrix | Vector:
    means = mean_leaves(model, value, program)
    return means if model.n_outputs_ > 1 else Vector(program.add("flatten", means.register))


def _chances(model: Any, value: Value, program: Program) -> Matrix | Several:
    if model.n_outputs_ == 1:
        return mean_leaves(model, value, program)
    return several([_mean_shares(model, target, value, program) for target in range(model.n_outputs_)], program)


def _most_likely(model: Any, value: Value, program: Program) -> Labels | Several:
    chances = _chances(model, value, program)
    if not isinstance(chances, Several):
        return labels(model.classes_, program.add("largest", chances.register), program)
    found = [
        labels(classes, program.add("largest", part.register), program)
        for classes, part in zip(model.classes_, chances.parts, strict=True)
    ]
    return several(found, program)


def _boosted(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_raw_predict` of gradient boosting, whose first estimator gives constants."""
    if model.init is not None and model.init != "zero":
        raise NotCompiled("begins with an estimator of its own")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]
    matrix = matrix_of(value, program)
    if matrix.dtype != "f4":
        matrix = Matrix(program.add("cast", matrix.register, dtype="f4"), matrix.width, "f4")
    trees = [
        _fitted_tree(one, model.learning_rate * one.tree_.value[:, :, 0])
        for stage in model.estimators_
        for one in stage
    ]
    return _summed(trees, start, finite(matrix, program), program, missing=False)


def _hist_boosted(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_raw_predict` of histogram gradient boosting."""
    if model._preprocessor is not None:
        raise NotCompiled("splits categories")
    matrix = matrix_of(value, program)
    if matrix.dtype != "f8":
        matrix = Matrix(program.add("cast", matrix.register, dtype="f8"), matrix.width)
    trees = [_hist_tree(predictor.nodes) for stage in model._predictors for predictor in stage]
    return _summed(trees, np.ravel(model._baseline_prediction).astype(np.float64), matrix, program, missing=True)


def _hist_tree(nodes: np.ndarray) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(is_leaf, LEAF, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, LEAF, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"][:, None],
    )


def _raw(model: Any, value: Value, program: Program) -> Matrix:
    hist = isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor)
    return _hist_boosted(model, value, program) if hist else _boosted(model, value, program)


def _boosted_scores(model: Any, value: Value, program: Program) -> Matrix | Vector:
    raw = _raw(model, value, program)
    return raw if raw.width > 1 else Vector(program.add("flatten", raw.register))


def _boosted_chances(model: Any, value: Value, program: Program) -> Matrix:
    scores = _boosted_scores(model, value, program)
    if getattr(model, "loss", "log_loss") != "log_loss":
        raise NotCompiled(f"gives probabilities for the loss {model.loss}")
    if isinstance(scores, Vector):
        return Matrix(program.add("complement", program.add("logistic", scores.register)), 2)
    return Matrix(program.add("softmax", scores.register), scores.width)


def _boosted_labels(model: Any, value: Value, program: Program) -> Labels:
    scores = _boosted_scores(model, value, program)
    if isinstance(scores, Matrix):
        return labels(model.classes_, program.add("largest", scores.register), program)
    hist = isinstance(model, HistGradientBoostingClassifier)
    chosen = program.add("above", scores.register, threshold=0.0, or_equal=not hist)
    return labels(model.classes_, chosen, program)


def _boosted_target(model: Any, value: Value, program: Program) -> Vector:
    raw = program.add("flatten", _raw(model, value, program).register)
    if not isinstance(model, HistGradientBoostingRegressor):
        return Vector(raw)
    link = type(model._loss.link).__name__
    if link == "IdentityLink":
        return Vector(raw)
    if link != "LogLink":
        raise NotCompiled(f"has the link {link}")
    return Vector(program.add("apply", raw, ufunc="exp"))


_CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier, ExtraTreesClassifier, RandomForestClassifier)
_REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor, ExtraTreesRegressor, RandomForestRegressor)
_BOOSTED = {"decision_function": _boosted_scores, "predict_proba": _boosted_chances, "predict": _boosted_labels}
CONVERTERS: Converters = {
    **{cls: {"predict": _most_likely, "predict_proba": _chances} for cls in _CLASSIFIERS},
    **{cls: {"predict": _mean} for cls in _REGRESSORS},
    **dict.fromkeys((GradientBoostingClassifier, HistGradientBoostingClassifier), _BOOSTED),
    **{cls: {"predict": _boosted_target} for cls in (GradientBoostingRegressor, HistGradientBoostingRegressor)},
}
