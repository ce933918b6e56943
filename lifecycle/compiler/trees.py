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
    RandomTreesEmbedding,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.utils import get_tags

from lifecycle.compiler.compose import _selected
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import arithmetic, chances_of, decided, linked, narrow, with_number
from lifecycle.compiler.values import (
    Labels,
    Matrix,
    Several,
    SparseMatrix,
    Value,
    Vector,
    beside,
    doubles,
    finite,
    matrix_of,
    numbers_of,
    several,
    singles,
    take,
)

LEAF = -1
MOST_CODES = 256  # of one column's categories, in a bitset of scikit-learn


class Tree(NamedTuple):
    """One tree, node by node; LEAF stands for no child."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray  # nodes x outputs


class Categories(NamedTuple):
    """What the nodes of all trees that split categories need, the trees one after the other."""

    columns: np.ndarray
    places: np.ndarray  # of each node in the table
    table: np.ndarray


class Forest(NamedTuple):
    """Several trees in one numbering: roots first, level after level, the right child next to the left one."""

    left: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_right: np.ndarray
    values: np.ndarray  # outputs x nodes
    depth: int
    order: np.ndarray  # the number that each node had when the trees stood one after the other


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
        order=order,
    )


def _fitted_tree(estimator: Any, values: np.ndarray) -> Tree:
    tree = estimator.tree_
    missing_left = tree.missing_go_to_left.astype(bool)
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, missing_left, values)


def _walked(
    trees: Sequence[Tree],
    matrix: Matrix | SparseMatrix,
    program: Program,
    missing: bool,
    categories: Categories | None = None,
) -> tuple[Forest, int]:
    """Add the walk to the leaves; return all trees, and the register of the leaves."""
    forest = join(trees)
    if isinstance(matrix, SparseMatrix):  # of many columns trees compare few: those alone are made dense
        used, feature = np.unique(forest.feature, return_inverse=True)
        forest = forest._replace(feature=feature.astype(np.int32))
        matrix = matrix_of(take(matrix, used.tolist(), program), program)
    threshold = forest.threshold
    if matrix.dtype == "f4":  # for float32 x, x > t holds exactly where x > the largest float32 that is not above t
        threshold = threshold.astype(np.float32)
        threshold = np.where(threshold > forest.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    arrays = {"feature": forest.feature, "threshold": threshold, "left": forest.left}
    if missing:
        arrays["missing_right"] = forest.missing_right
    if categories is not None:
        places = categories.places[forest.order]
        arrays |= {"columns": categories.columns, "places": places, "table": categories.table}
    return forest, program.add("leaves", matrix.register, arrays=arrays, trees=len(trees), depth=forest.depth)


def _summed(
    trees: Sequence[Tree],
    start: np.ndarray,
    matrix: Matrix | SparseMatrix,
    program: Program,
    missing: bool,
    categories: Categories | None = None,
) -> Matrix:
    """Add the walk to the leaves and the sum of what they hold."""
    forest, leaves = _walked(trees, matrix, program, missing, categories)
    register = program.add("sum_leaves", leaves, arrays={"values": forest.values, "start": start})
    return Matrix(register, len(start))


def _single_precision(estimator: Any, value: Value, program: Program) -> tuple[Matrix | SparseMatrix, bool]:
    """Return what trees compare, float32, and whether NaN may be in it (`_validate_X_predict`)."""
    missing = (
        bool(get_tags(estimator).input_tags.allow_nan)
        and getattr(estimator, "monotonic_cst", None) is None
        and not isinstance(value, SparseMatrix)
    )
    return _compared(value, program, allow_nan=missing), missing


def _compared(value: Value, program: Program, *, allow_nan: bool) -> Matrix | SparseMatrix:
    return finite(singles(numbers_of(value, program), program), program, allow_nan=allow_nan)


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
    return total if single else arithmetic(total, "divide", len(trees), program)


def _mean(model: Any, value: Value, program: Program) -> Matrix | Vector:
    return narrow(mean_leaves(model, value, program), program)


def _chances(model: Any, value: Value, program: Program) -> Matrix | Several:
    if model.n_outputs_ == 1:
        return mean_leaves(model, value, program)
    return several([_mean_shares(model, target, value, program) for target in range(model.n_outputs_)], program)


def _most_likely(model: Any, value: Value, program: Program) -> Labels | Several:
    chances = _chances(model, value, program)
    if not isinstance(chances, Several):
        return decided(model.classes_, chances, program)
    pairs: Any = zip(model.classes_, chances.parts, strict=True)
    return several([decided(classes, part, program) for classes, part in pairs], program)


def _embedded(model: RandomTreesEmbedding, value: Value, program: Program) -> Value:
    """Add `RandomTreesEmbedding.transform`: each tree's leaf, one-hot."""
    matrix, missing = _single_precision(model.estimators_[0], value, program)
    trees, start = [], 0
    for estimator, known in zip(model.estimators_, model.one_hot_encoder_.categories_, strict=True):
        places = np.zeros((estimator.tree_.node_count, 1))
        places[known, 0] = start + np.arange(len(known))
        start += len(known)
        trees.append(_fitted_tree(estimator, places))
    forest, leaves = _walked(trees, matrix, program, missing)
    arrays = {"places": forest.values[0].astype(np.int64)}
    embedded = SparseMatrix(program.add("one_hot_leaves", leaves, arrays=arrays), start)
    return embedded if model.sparse_output else matrix_of(embedded, program)


def _boosted(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_raw_predict` of gradient boosting, whose first estimator gives constants."""
    if model.init is not None and model.init != "zero":
        raise NotCompiled("begins with an estimator of its own")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]
    trees = [
        _fitted_tree(one, model.learning_rate * one.tree_.value[:, :, 0])
        for stage in model.estimators_
        for one in stage
    ]
    return _summed(trees, start, _compared(value, program, allow_nan=False), program, missing=False)


def _hist_boosted(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_raw_predict` of histogram gradient boosting."""
    predictors = [predictor for stage in model._predictors for predictor in stage]
    trees = [_hist_tree(predictor.nodes) for predictor in predictors]
    start = np.ravel(model._baseline_prediction).astype(np.float64)
    if model._preprocessor is None:
        return _summed(trees, start, doubles(matrix_of(value, program), program), program, missing=True)
    parts = [_encoded(model, name, step, value, program) for name, step, _ in model._preprocessor.transformers_]
    matrix = doubles(matrix_of(beside([part for part in parts if part is not None], program), program), program)
    return _summed(trees, start, matrix, program, missing=True, categories=_hist_categories(model, predictors))


def _encoded(model: Any, name: str, step: Any, value: Value, program: Program) -> Matrix | None:
    """Add one part of `_preprocess_X`: codes of categories, NaN for what is unknown or missing, or numbers as given."""
    indexes = list(model._preprocessor._transformer_to_input_indices[name])
    if not indexes:
        return None
    part = _selected(model._preprocessor, value, indexes, program)
    return program.convert(step, "transform", part) if name == "encoder" else doubles(matrix_of(part, program), program)


def _hist_categories(model: Any, predictors: Sequence[Any]) -> Categories:
    """Return what `_predict_one_from_raw_data` tests at nodes that split categories."""
    known, index_of = model._bin_mapper.make_known_categories_bitsets()
    table, places = np.zeros(MOST_CODES + 1, bool), []
    parts, begins, end = [table], {}, len(table)
    for predictor in predictors:
        own = np.zeros(len(predictor.nodes), np.int64)
        for number in np.flatnonzero(predictor.nodes["is_categorical"] & ~predictor.nodes["is_leaf"].astype(bool)):
            node = predictor.nodes[number]
            goes_left = _bits(predictor.raw_left_cat_bitsets[node["bitset_idx"]])
            is_known = _bits(known[index_of[node["feature_idx"]]])
            missing_right = not node["missing_go_to_left"]
            right = np.concatenate([[missing_right], ~goes_left & (is_known | missing_right)])
            if right.tobytes() not in begins:  # many nodes split alike
                begins[right.tobytes()] = end
                parts.append(right)
                end += len(right)
            own[number] = begins[right.tobytes()]
        places.append(own)
    columns = np.flatnonzero(model._is_categorical_remapped)
    return Categories(columns, np.concatenate(places), np.concatenate(parts))


def _bits(words: np.ndarray) -> np.ndarray:
    """Return the bits of a bitset, the lowest of the first word first."""
    return (words[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(bool).ravel()


def _hist_tree(nodes: np.ndarray) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(is_leaf, LEAF, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, LEAF, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=np.where(nodes["is_categorical"], np.inf, nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"][:, None],
    )


def _raw(model: Any, value: Value, program: Program) -> Matrix:
    hist = isinstance(model, HistGradientBoostingClassifier | HistGradientBoostingRegressor)
    return _hist_boosted(model, value, program) if hist else _boosted(model, value, program)


def _boosted_scores(model: Any, value: Value, program: Program) -> Matrix | Vector:
    return narrow(_raw(model, value, program), program)


def _boosted_chances(model: Any, value: Value, program: Program) -> Matrix:
    scores = _boosted_scores(model, value, program)
    if isinstance(scores, Vector) and model.loss == "exponential":  # its link is half a logit
        scores = Vector(with_number(scores.register, "multiply", 2.0, program))
    return chances_of(scores, program)


def _boosted_labels(model: Any, value: Value, program: Program) -> Labels:
    hist = isinstance(model, HistGradientBoostingClassifier)
    return decided(model.classes_, _boosted_scores(model, value, program), program, or_equal=not hist)


def _boosted_target(model: Any, value: Value, program: Program) -> Vector:
    raw = Vector(program.add("flatten", _raw(model, value, program).register))
    if not isinstance(model, HistGradientBoostingRegressor):
        return raw
    return linked(model._loss, raw, program)


_CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier, ExtraTreesClassifier, RandomForestClassifier)
_REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor, ExtraTreesRegressor, RandomForestRegressor)
_BOOSTED = {"decision_function": _boosted_scores, "predict_proba": _boosted_chances, "predict": _boosted_labels}
CONVERTERS: Converters = {
    **{cls: {"predict": _most_likely, "predict_proba": _chances} for cls in _CLASSIFIERS},
    **{cls: {"predict": _mean} for cls in _REGRESSORS},
    RandomTreesEmbedding: {"transform": _embedded},
    **dict.fromkeys((GradientBoostingClassifier, HistGradientBoostingClassifier), _BOOSTED),
    **{cls: {"predict": _boosted_target} for cls in (GradientBoostingRegressor, HistGradientBoostingRegressor)},
}
