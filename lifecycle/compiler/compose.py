"""Converters of what holds other estimators: pipelines, unions, column transformers, searches, thresholds."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import FeatureUnion, Pipeline

from function.engines.operations import MOST_COLUMNS
from lifecycle.compiler.program import Converter, Converters, NotCompiled, Program
from lifecycle.compiler.steps import apply, labels
from lifecycle.compiler.values import (
    Labels,
    Matrix,
    SparseMatrix,
    Table,
    Texts,
    Value,
    Vector,
    beside,
    matrix_of,
    take,
)

METHODS = ("predict", "predict_proba", "decision_function", "transform")


def _through(attribute: str) -> dict[str, Converter]:
    """Return converters of an estimator that hands every method to the one in an attribute."""

    def through(method: str) -> Converter:
        return lambda estimator, value, program: program.convert(getattr(estimator, attribute), method, value)

    return {method: through(method) for method in METHODS}


def _pipeline(method: str) -> Converter:
    def convert(pipeline: Any, value: Value, program: Program) -> Value:
        *steps, last = [step for _, step in pipeline.steps]
        for step in steps:
            value = _transformed(step, value, program)
        if method == "transform":
            return _transformed(last, value, program)
        return program.convert(last, method, value)  # type: ignore[no-any-return]

    return convert


def _transformed(step: Any, value: Value, program: Program) -> Value:
    if step is None or step == "passthrough":
        return value
    return program.convert(step, "transform", value)  # type: ignore[no-any-return]


def _column_transformer(transformer: ColumnTransformer, value: Value, program: Program) -> Value:
    parts = []
    weights = transformer.transformer_weights or {}
    for name, step, columns in transformer.transformers_:
        indexes = list(transformer._transformer_to_input_indices[name])
        if (isinstance(step, str) and step == "drop") or not indexes:
            continue
        part = _selected(transformer, value, indexes, program)
        if np.isscalar(columns):
            part = _single(part)
        part = _transformed(step, part, program)
        parts.append(_weighted(part, weights.get(name), program))
    joined = beside(parts, program)
    # What has not few enough numbers for a sparse matrix is dense, unless that would be too wide for the engine.
    if isinstance(joined, SparseMatrix) and not transformer.sparse_output_ and joined.width <= MOST_COLUMNS:
        return matrix_of(joined, program)
    return joined


def _selected(transformer: ColumnTransformer, value: Value, indexes: list[int], program: Program) -> Value:
    if not isinstance(value, Table):
        return take(value, indexes, program)
    names = getattr(transformer, "feature_names_in_", None)
    if names is None:
        return value.take(indexes)
    there = {name: position for position, name in enumerate(value.names)}
    return value.take([there[names[index]] for index in indexes])


def _single(value: Value) -> Value:
    if isinstance(value, Table) and value.columns[0][1].type == "text":
        return Texts(value.columns[0][0])
    raise NotCompiled("gives a step one column as a vector that is no text")


def _feature_union(union: FeatureUnion, value: Value, program: Program) -> Value:
    weights = union.transformer_weights or {}
    parts = [
        _weighted(_transformed(step, value, program), weights.get(name), program)
        for name, step in union.transformer_list
        if not (isinstance(step, str) and step == "drop")
    ]
    return beside(parts, program)


def _weighted(value: Value, weight: float | None, program: Program) -> Value:
    if weight is None:
        return value
    if isinstance(value, SparseMatrix):
        register = program.add("scale", value.register, factor=float(weight))
        return SparseMatrix(register, value.width)
    matrix = matrix_of(value, program)
    operand = np.full(matrix.width, float(weight))
    register = program.add("arithmetic", matrix.register, ufunc="multiply", arrays={"operand": operand})
    return Matrix(register, matrix.width, matrix.dtype)


def _fixed_threshold(classifier: FixedThresholdClassifier, value: Value, program: Program) -> Labels:
    inner = getattr(classifier, "estimator_", classifier.estimator)
    method = classifier.response_method
    if method == "auto":
        method = "predict_proba" if hasattr(inner, "predict_proba") else "decision_function"
    threshold = classifier.threshold
    if threshold == "auto":
        threshold = 0.5 if method == "predict_proba" else 0.0
    return _decided(classifier, inner, method, float(threshold), classifier.pos_label, value, program)


def _tuned_threshold(classifier: TunedThresholdClassifierCV, value: Value, program: Program) -> Labels:
    method = classifier.response_method
    if method == "auto":
        method = "predict_proba" if hasattr(classifier.estimator_, "predict_proba") else "decision_function"
    positive = getattr(classifier._curve_scorer, "_get_pos_label", lambda: None)()
    return _decided(
        classifier, classifier.estimator_, method, float(classifier.best_threshold_), positive, value, program
    )


def _decided(
    classifier: Any, inner: Any, method: str, threshold: float, positive: Any, value: Value, program: Program
) -> Labels:
    """Add the comparison of the positive class's score with a threshold (`_threshold_scores_to_class_labels`)."""
    classes = list(classifier.classes_)
    place = 1 if positive is None else classes.index(positive)
    scores = program.convert(inner, method, value)
    if method == "predict_proba":
        score = Vector(program.add("pick", scores.register, index=place))
    elif place == 1:
        score = scores
    else:  # a decision function speaks for the second class
        score = apply(scores, "negative", program)
    decided = program.add("above", score.register, threshold=threshold, or_equal=True)
    return labels([classes[1 - place], classes[place]], decided, program)


def _transformed_target(regressor: TransformedTargetRegressor, value: Value, program: Program) -> Value:
    inner = program.convert(regressor.regressor_, "predict", value)
    if isinstance(inner, Vector):
        inner = Matrix(program.add("stack", inner.register), 1)
    targets = matrix_of(program.convert(regressor.transformer_, "inverse_transform", inner), program)
    if regressor._training_dim == 1 and targets.width == 1:
        return Vector(program.add("flatten", targets.register))
    return targets


def _inverse_pipeline(pipeline: Any, value: Value, program: Program) -> Value:
    for _, step in reversed(pipeline.steps):
        if step is not None and step != "passthrough":
            value = program.convert(step, "inverse_transform", value)
    return value


CONVERTERS: Converters = {
    ColumnTransformer: {"transform": _column_transformer},
    FeatureUnion: {"transform": _feature_union},
    FixedThresholdClassifier: {**_through("estimator_"), "predict": _fixed_threshold},
    FrozenEstimator: _through("estimator"),
    GridSearchCV: _through("best_estimator_"),
    Pipeline: {**{method: _pipeline(method) for method in METHODS}, "inverse_transform": _inverse_pipeline},
    RandomizedSearchCV: _through("best_estimator_"),
    TransformedTargetRegressor: {"predict": _transformed_target},
    TunedThresholdClassifierCV: {**_through("estimator_"), "predict": _tuned_threshold},
}
