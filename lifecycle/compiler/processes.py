"""Converters of Gaussian processes: kernels of any sums, products and powers; means, and chances of classes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as gk
from sklearn.gaussian_process._gpc import _BinaryGaussianProcessClassifierLaplace

from lifecycle.compiler.distances import distances
from lifecycle.compiler.program import Converter, Converters, NotCompiled, Program
from lifecycle.compiler.steps import apply, arithmetic, decided, project
from lifecycle.compiler.values import Labels, Matrix, Value, Vector, finite, float64_of

Covariance = Matrix | float  # a constant is no matrix
Kernel = Callable[[Any, Matrix, np.ndarray, Program], Covariance]


def _covariance(kernel: Any, matrix: Matrix, points: np.ndarray, program: Program) -> Covariance:
    """Add a kernel of rows and kept points (rows x points)."""
    add = KERNELS.get(type(kernel))
    if add is None:
        raise NotCompiled(f"has the kernel {type(kernel).__name__}")
    return add(kernel, matrix, points, program)


def _diagonal(kernel: Any, matrix: Matrix, program: Program) -> Covariance:
    """Add a kernel of each row and itself, as a matrix of one column."""
    kind = type(kernel)
    if kind in (gk.Sum, gk.Product):
        one, other = (_diagonal(part, matrix, program) for part in (kernel.k1, kernel.k2))
        return _joined("plus" if kind is gk.Sum else "times", one, other, program)
    if kind is gk.Exponentiation:
        return _raised(_diagonal(kernel.kernel, matrix, program), kernel.exponent, program)
    if kind is gk.DotProduct:
        squares = Matrix(program.add("sum_squares", matrix.register), 1)
        return arithmetic(squares, "add", kernel.sigma_0**2, program)
    constants = {gk.ConstantKernel: "constant_value", gk.WhiteKernel: "noise_level"}
    return float(getattr(kernel, constants[kind])) if kind in constants else 1.0


def _sum(kernel: gk.Sum, matrix: Matrix, points: np.ndarray, program: Program) -> Covariance:
    one, other = (_covariance(part, matrix, points, program) for part in (kernel.k1, kernel.k2))
    return _joined("plus", one, other, program)


def _product(kernel: gk.Product, matrix: Matrix, points: np.ndarray, program: Program) -> Covariance:
    one, other = (_covariance(part, matrix, points, program) for part in (kernel.k1, kernel.k2))
    return _joined("times", one, other, program)


def _joined(operation: str, one: Covariance, other: Covariance, program: Program) -> Covariance:
    if isinstance(one, float):
        one, other = other, one
    if isinstance(other, Matrix):
        assert isinstance(one, Matrix)  # noqa: S101  # constants come second
        return Matrix(program.add(operation, one.register, other.register), one.width)
    if isinstance(one, float):
        return one + other if operation == "plus" else one * other
    return arithmetic(one, "add" if operation == "plus" else "multiply", other, program)


def _power(kernel: gk.Exponentiation, matrix: Matrix, points: np.ndarray, program: Program) -> Covariance:
    return _raised(_covariance(kernel.kernel, matrix, points, program), kernel.exponent, program)


def _raised(base: Covariance, exponent: float, program: Program) -> Covariance:
    if isinstance(base, float):
        return float(base**exponent)
    return Matrix(program.add("raise_to", base.register, exponent=float(exponent)), base.width)


def _gaps(matrix: Matrix, points: np.ndarray, scale: Any, program: Program) -> Matrix:
    """Add SciPy's squared distances of scaled rows and scaled points."""
    if scale is not None:
        matrix, points = arithmetic(matrix, "divide", scale, program), np.divide(points, scale)
    return Matrix(program.add("gaps", matrix.register, form="squared", arrays={"points": points}), len(points))


def _radial(kernel: gk.RBF, matrix: Matrix, points: np.ndarray, program: Program) -> Matrix:
    gaps = _gaps(matrix, points, np.squeeze(kernel.length_scale), program)
    return apply(arithmetic(gaps, "multiply", -0.5, program), "exp", program)


def _matern(kernel: gk.Matern, matrix: Matrix, points: np.ndarray, program: Program) -> Matrix:
    far = apply(_gaps(matrix, points, np.squeeze(kernel.length_scale), program), "sqrt", program)
    if kernel.nu == 0.5:
        return apply(apply(far, "negative", program), "exp", program)
    if kernel.nu == math.inf:
        halves = arithmetic(apply(apply(far, "square", program), "negative", program), "divide", 2.0, program)
        return apply(halves, "exp", program)
    if kernel.nu not in (1.5, 2.5):
        raise NotCompiled(f"has a Matern kernel of nu {kernel.nu}")
    scaled = arithmetic(far, "multiply", math.sqrt(2 * kernel.nu), program)
    factor = arithmetic(scaled, "add", 1.0, program)
    if kernel.nu == 2.5:
        thirds = arithmetic(apply(scaled, "square", program), "divide", 3.0, program)
        factor = Matrix(program.add("plus", factor.register, thirds.register), factor.width)
    fading = apply(apply(scaled, "negative", program), "exp", program)
    return Matrix(program.add("times", factor.register, fading.register), factor.width)


def _rational(kernel: gk.RationalQuadratic, matrix: Matrix, points: np.ndarray, program: Program) -> Covariance:
    gaps = _gaps(matrix, points, None, program)
    ratio = arithmetic(gaps, "divide", 2 * kernel.alpha * kernel.length_scale**2, program)
    return _raised(arithmetic(ratio, "add", 1.0, program), -kernel.alpha, program)


def _periodic(kernel: gk.ExpSineSquared, matrix: Matrix, points: np.ndarray, program: Program) -> Matrix:
    far = apply(_gaps(matrix, points, None, program), "sqrt", program)
    waves = apply(arithmetic(far, "multiply", np.pi / kernel.periodicity, program), "sin", program)
    squares = apply(arithmetic(waves, "divide", kernel.length_scale, program), "square", program)
    return apply(arithmetic(squares, "multiply", -2.0, program), "exp", program)


def _inner(kernel: gk.DotProduct, matrix: Matrix, points: np.ndarray, program: Program) -> Matrix:
    return arithmetic(distances(matrix, points, "product", program), "add", kernel.sigma_0**2, program)


def _kernel_of(model: Any, value: Value, program: Program) -> tuple[Matrix, Matrix]:
    """Return the rows, and their kernel with the kept rows."""
    matrix = float64_of(value, program)
    found = _covariance(model.kernel_, matrix, np.asarray(model.X_train_, np.float64), program)
    if not isinstance(found, Matrix):
        raise NotCompiled("has a constant kernel")
    return matrix, found


def _mean(model: GaussianProcessRegressor, value: Value, program: Program) -> Matrix | Vector:
    _, kernel = _kernel_of(model, value, program)
    if model.alpha_.ndim == 1:
        sums = Matrix(program.add("dot", kernel.register, arrays={"weights": model.alpha_}), 1)
    else:
        sums = project(kernel, model.alpha_, program)
    for ufunc, number in (("multiply", model._y_train_std), ("add", model._y_train_mean)):
        sums = arithmetic(sums, ufunc, np.ravel(number), program)
    single = model.alpha_.ndim == 1 or sums.width == 1
    return Vector(program.add("flatten", sums.register)) if single else sums


def _latent(model: Any, value: Value, program: Program) -> tuple[Matrix, Matrix, Vector]:
    """Add the latent mean of a classifier of two classes."""
    matrix, kernel = _kernel_of(model, value, program)
    register = program.add("dot", kernel.register, arrays={"weights": model.y_train_ - model.pi_})
    return matrix, kernel, Vector(register)


def _binary_labels(model: Any, value: Value, program: Program) -> Labels:
    _, _, mean = _latent(model, value, program)
    return decided(model.classes_, mean, program)


def _binary_chances(model: Any, value: Value, program: Program) -> Matrix:
    """Add `predict_proba` of two classes: an average of the logistic function, from the latent mean and variance."""
    matrix, kernel, mean = _latent(model, value, program)
    weighted = finite(arithmetic(kernel, "multiply", model.W_sr_, program), program)
    solved = project(weighted, np.linalg.inv(model.L_).T, program)
    less = apply(Matrix(program.add("sum_squares", solved.register), 1), "negative", program)
    variance = _joined("plus", less, _diagonal(model.kernel_, matrix, program), program)
    assert isinstance(variance, Matrix)  # noqa: S101  # one part of it is
    return Matrix(program.add("averaged_logistic", mean.register, variance.register), 2)


def _inside(method: str) -> Converter:
    def convert(model: GaussianProcessClassifier, value: Value, program: Program) -> Value:
        return program.convert(model.base_estimator_, method, value)  # type: ignore[no-any-return]

    return convert


KERNELS: dict[type, Kernel] = {
    gk.ConstantKernel: lambda kernel, *_: float(kernel.constant_value),
    gk.DotProduct: _inner,
    gk.ExpSineSquared: _periodic,
    gk.Exponentiation: _power,
    gk.Matern: _matern,
    gk.Product: _product,
    gk.RBF: _radial,
    gk.RationalQuadratic: _rational,
    gk.Sum: _sum,
    gk.WhiteKernel: lambda *_: 0.0,  # of rows that are not those of the training
}
CONVERTERS: Converters = {
    GaussianProcessClassifier: {method: _inside(method) for method in ("predict", "predict_proba")},
    GaussianProcessRegressor: {"predict": _mean},
    _BinaryGaussianProcessClassifierLaplace: {"predict": _binary_labels, "predict_proba": _binary_chances},
}
