"""Converters of classifiers that compare the densities of classes: naive Bayes and discriminant analysis."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

from lifecycle.compiler.program import Converter, Converters, NotCompiled, Program
from lifecycle.compiler.steps import (
    Scores,
    affine,
    arithmetic,
    binarized,
    chances_of,
    decision,
    project,
    shares,
    two_or_more,
)
from lifecycle.compiler.values import Matrix, Value, Vector, doubled, float64_of


def _gaussian(model: GaussianNB, value: Value, program: Program) -> Matrix:
    """Add `GaussianNB._joint_log_likelihood`."""
    matrix = float64_of(value, program)
    arrays = {"centers": model.theta_.astype(np.float64), "scales": model.var_.astype(np.float64)}
    squares = Matrix(program.add("scaled_squares", matrix.register, arrays=arrays), len(model.classes_))
    constants = [-0.5 * np.sum(np.log(2.0 * np.pi * variances)) for variances in model.var_]
    # -0.5 * squares + constant is constant - 0.5 * squares to the last bit.
    logs = arithmetic(arithmetic(squares, "multiply", -0.5, program), "add", constants, program)
    return arithmetic(logs, "add", np.log(model.class_prior_), program)


def _multinomial(model: MultinomialNB, value: Value, program: Program) -> Matrix:
    return _weighed(model.feature_log_prob_, model.class_log_prior_, value, program)


def _complement(model: ComplementNB, value: Value, program: Program) -> Matrix:
    prior = model.class_log_prior_ if len(model.classes_) == 1 else np.zeros(len(model.classes_))
    return _weighed(model.feature_log_prob_, prior, value, program)


def _bernoulli(model: BernoulliNB, value: Value, program: Program) -> Matrix:
    """Add `BernoulliNB._joint_log_likelihood`."""
    absent = np.log(1 - np.exp(model.feature_log_prob_))
    if model.binarize is not None:
        value = binarized(float(model.binarize), value, program)
    return _weighed(model.feature_log_prob_ - absent, model.class_log_prior_ + absent.sum(axis=1), value, program)


def _weighed(weights: np.ndarray, intercept: np.ndarray, value: Value, program: Program) -> Matrix:
    product = affine(weights, intercept, value, program)
    assert isinstance(product, Matrix)  # noqa: S101  # weights have a line for each class
    return product


def _categorical(model: CategoricalNB, value: Value, program: Program) -> Matrix:
    """Add `CategoricalNB._joint_log_likelihood`: numbers are cut to integers, which count as categories."""
    codes = program.add("cast", float64_of(value, program).register, dtype="i8")
    counts = np.array([table.shape[1] for table in model.feature_log_prob_], np.int64)
    arrays = {"values": np.concatenate(model.feature_log_prob_, axis=1), "counts": counts}
    sums = Matrix(program.add("sum_codes", codes, arrays=arrays), len(model.classes_))
    return arithmetic(sums, "add", model.class_log_prior_, program)


def _quadratic(model: QuadraticDiscriminantAnalysis, value: Value, program: Program) -> Matrix:
    """Add `QuadraticDiscriminantAnalysis._decision_function`."""
    matrix = float64_of(value, program)
    norms = []
    for mean, rotation, scaling in zip(model.means_, model.rotations_, model.scalings_, strict=True):
        centered = arithmetic(matrix, "subtract", mean, program)
        projected = project(centered, rotation * (scaling ** (-0.5)), program)
        norms.append(program.add("sum_squares", projected.register))
    joined = Matrix(program.add("concatenate", *norms), len(norms))
    logs = arithmetic(joined, "add", [np.sum(np.log(scaling)) for scaling in model.scalings_], program)
    return arithmetic(arithmetic(logs, "multiply", -0.5, program), "add", np.log(model.priors_), program)


def _linear(model: LinearDiscriminantAnalysis, value: Value, program: Program) -> Matrix | Vector:
    coefficients = model.coef_[0] if len(model.coef_) == 1 else model.coef_
    return affine(coefficients, model.intercept_, value, program)


def _linear_chances(model: LinearDiscriminantAnalysis, value: Value, program: Program) -> Matrix:
    return chances_of(_linear(model, value, program), program)


def _discriminants(model: LinearDiscriminantAnalysis, value: Value, program: Program) -> Matrix:
    """Add `LinearDiscriminantAnalysis.transform`."""
    matrix = float64_of(value, program)
    if model.solver == "lsqr":
        raise NotCompiled("does not transform with the lsqr solver")
    if model.solver == "svd":
        matrix = arithmetic(matrix, "subtract", model.xbar_, program)
    return project(matrix, model.scalings_[:, : model._max_components], program)


def _naive(scores: Scores) -> dict[str, Converter]:
    return {"predict": decision(scores), "predict_proba": shares(scores, "log_shares")}


def _discrete(scores: Scores) -> dict[str, Converter]:
    """Return the converters of naive Bayes on counts, which learns float64 numbers whatever its rows are."""
    return _naive(lambda model, value, program: scores(model, doubled(value, program), program))


CONVERTERS: Converters = {
    BernoulliNB: _discrete(_bernoulli),
    CategoricalNB: _discrete(_categorical),
    ComplementNB: _discrete(_complement),
    GaussianNB: _naive(_gaussian),
    LinearDiscriminantAnalysis: {
        "decision_function": _linear,
        "predict": decision(_linear),
        "predict_proba": _linear_chances,
        "transform": _discriminants,
    },
    MultinomialNB: _discrete(_multinomial),
    QuadraticDiscriminantAnalysis: {
        "decision_function": two_or_more(_quadratic),
        "predict": decision(_quadratic),
        "predict_proba": shares(_quadratic, "shifted_log_shares"),
    },
}
