"""Converters of neural networks: weighted sums, layer after layer."""

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import affine, apply, arithmetic, decided, narrow
from lifecycle.compiler.values import Labels, Matrix, Value, Vector


def _output(model: Any, value: Value, program: Program) -> Matrix:
    """Add `BaseMultilayerPerceptron._forward_pass_fast`."""
    if any(weights.dtype != np.float64 for weights in model.coefs_):
        raise NotCompiled("was fitted with float32 numbers")
    (first, *rest), (start, *intercepts) = model.coefs_, model.intercepts_
    layer = affine(first.T, start, value, program)
    assert isinstance(layer, Matrix)  # noqa: S101  # a layer's weights have a line for each feature
    for weights, intercept in zip(rest, intercepts, strict=True):
        hidden = _activated(model.activation, layer, program)
        arrays = {"weights": weights, "intercept": intercept}
        layer = Matrix(program.add("affine", hidden.register, arrays=arrays), weights.shape[1])
    return _activated(model.out_activation_, layer, program)


def _activated(name: str, layer: Matrix, program: Program) -> Matrix:
    if name == "identity":
        return layer
    if name == "relu":
        return arithmetic(layer, "maximum", 0.0, program)
    if name in ("tanh", "exp"):
        return apply(layer, name, program)
    if name not in ("logistic", "softmax"):
        raise NotCompiled(f"has the activation {name}")
    return Matrix(program.add(name, layer.register), layer.width)


def _number(model: MLPRegressor, value: Value, program: Program) -> Matrix | Vector:
    return narrow(_output(model, value, program), program)


def _class_output(model: MLPClassifier, value: Value, program: Program) -> Matrix | Vector:
    if model._label_binarizer.y_type_ not in ("binary", "multiclass"):
        raise NotCompiled("has several targets")
    if len(model.classes_) == 1:
        raise NotCompiled("knows one class")
    return narrow(_output(model, value, program), program)


def _chances(model: MLPClassifier, value: Value, program: Program) -> Matrix:
    output = _class_output(model, value, program)
    return Matrix(program.add("complement", output.register), 2) if isinstance(output, Vector) else output


def _decision(model: MLPClassifier, value: Value, program: Program) -> Labels:
    return decided(model.classes_, _class_output(model, value, program), program, threshold=0.5)


CONVERTERS: Converters = {
    MLPClassifier: {"predict": _decision, "predict_proba": _chances},
    MLPRegressor: {"predict": _number},
}
