"""Converters of projections: decompositions, random projections, partial least squares, pooled columns."""

from typing import Any

import numpy as np
from sklearn.cluster import FeatureAgglomeration
from sklearn.cross_decomposition import CCA, PLSCanonical, PLSRegression
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import BernoulliRBM
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import affine, arithmetic, dense
from lifecycle.compiler.values import Matrix, SparseMatrix, Value, Vector, float64_of, sparse_of


def _projected(weights: np.ndarray, value: Value, program: Program) -> Matrix:
    """Add the product with weights (outputs x features)."""
    product = affine(np.atleast_2d(weights), 0.0, value, program)
    return Matrix(product.register, len(weights))


def _principal(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_BasePCA._transform`: the projection first, the mean's projection after it."""
    projected = _projected(model.components_, value, program)
    centered = _after(projected, "subtract", model.mean_.reshape(1, -1) @ model.components_.T, program)
    if not model.whiten:
        return centered
    scale = np.sqrt(model.explained_variance_)
    return _after(centered, "divide", np.maximum(scale, np.finfo(scale.dtype).eps), program)


def _after(matrix: Matrix, ufunc: str, operand: np.ndarray, program: Program) -> Matrix:
    """Add a binary ufunc of a matrix and a number a column, in the dtype that the model keeps them in."""
    arrays = {"operand": np.broadcast_to(np.ravel(operand), (matrix.width,))}
    return Matrix(program.add("arithmetic", matrix.register, ufunc=ufunc, arrays=arrays), matrix.width)


def _components(model: Any, value: Value, program: Program) -> Matrix:
    return _projected(model.components_, value, program)


def _independent(model: FastICA, value: Value, program: Program) -> Matrix:
    centered = arithmetic(float64_of(value, program), "subtract", model.mean_, program) if model.whiten else value
    return _projected(model.components_, centered, program)


def _factors(model: FactorAnalysis, value: Value, program: Program) -> Matrix:
    weights = model.components_ / model.noise_variance_
    covariance = np.linalg.inv(np.eye(len(model.components_)) + np.dot(weights, model.components_.T))
    products = _projected(weights, arithmetic(float64_of(value, program), "subtract", model.mean_, program), program)
    return Matrix(_projected(covariance.T, products, program).register, len(covariance))


def _rotated(model: Any, value: Value, program: Program) -> Matrix:
    centered = arithmetic(float64_of(value, program), "subtract", model._x_mean, program)
    scaled = arithmetic(centered, "divide", model._x_std, program)
    return _projected(model.x_rotations_.T, scaled, program)


def _randomly(model: SparseRandomProjection, value: Value, program: Program) -> Value:
    """Add the product with a sparse matrix, which SciPy adds up column after column, as for sparse rows."""
    rows = sparse_of(value, program)
    projected = _projected(dense(model.components_), rows, program)
    if isinstance(value, SparseMatrix):
        return projected if model.dense_output else sparse_of(projected, program)
    # SciPy gives the transpose of a product here, and sums over it that overflow tell the difference.
    return Matrix(program.add("by_column", projected.register), projected.width)


def _hidden(model: BernoulliRBM, value: Value, program: Program) -> Matrix:
    if model.components_.dtype != np.float64:
        raise NotCompiled("was fitted with float32 numbers")
    sums = affine(np.atleast_2d(model.components_), model.intercept_hidden_, value, program)
    return Matrix(program.add("logistic", sums.register), len(model.components_))


def _pooled(model: FeatureAgglomeration, value: Value, program: Program) -> Matrix:
    if model.pooling_func is not np.mean:
        raise NotCompiled("pools by another function than the mean")
    matrix = float64_of(value, program)
    groups = model.labels_.astype(np.int64)
    return Matrix(program.add("pool", matrix.register, arrays={"groups": groups}), int(groups.max()) + 1)


def _least_squares(model: Any, value: Value, program: Program) -> Matrix | Vector:
    centered = arithmetic(float64_of(value, program), "subtract", model._x_mean, program)
    sums = affine(model.coef_, model.intercept_, centered, program)
    if model._predict_1d:
        return Vector(program.add("flatten", sums.register))
    return sums


CONVERTERS: Converters = {
    **{cls: {"transform": _principal} for cls in (PCA, IncrementalPCA)},
    **{
        cls: {"transform": _components}
        for cls in (TruncatedSVD, GaussianRandomProjection, NeighborhoodComponentsAnalysis)
    },
    BernoulliRBM: {"transform": _hidden},
    FactorAnalysis: {"transform": _factors},
    FastICA: {"transform": _independent},
    FeatureAgglomeration: {"transform": _pooled},
    SparseRandomProjection: {"transform": _randomly},
    **{cls: {"transform": _rotated, "predict": _least_squares} for cls in (CCA, PLSCanonical, PLSRegression)},
}
