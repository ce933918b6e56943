"""Converters of what compares rows with kept ones by a kernel: support vector machines, kernel ridge, embeddings."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.decomposition import KernelPCA
from sklearn.kernel_approximation import AdditiveChi2Sampler, Nystroem, RBFSampler, SkewedChi2Sampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import SGDOneClassSVM
from sklearn.preprocessing import KernelCenterer
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from lifecycle.compiler.distances import distances
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import affine, apply, arithmetic, decided, dense, labels, project
from lifecycle.compiler.values import Labels, Matrix, Table, Value, Vector, doubled, finite, float64_of

KERNELS = ("linear", "rbf", "poly", "sigmoid")
Sum = tuple[np.ndarray, np.ndarray]  # which support vectors, and their weights


def _sums(model: Any, sums: list[Sum], value: Value, program: Program) -> Matrix:
    """Add libsvm's weighted sums of the kernel of a row and support vectors."""
    if model.kernel not in KERNELS:
        raise NotCompiled(f"has the kernel {model.kernel}")
    matrix = float64_of(doubled(value, program), program)
    numbers = {"gamma": float(model._gamma), "offset": float(model.coef0), "degree": int(model.degree)}
    arrays = {"centers": dense(model.support_vectors_).astype(np.float64)}
    kernel = program.add("kernel", matrix.register, form=model.kernel, arrays=arrays, **numbers)
    arrays = {
        "indexes": np.concatenate([indexes for indexes, _ in sums]).astype(np.int64),
        "weights": np.concatenate([weights for _, weights in sums]).astype(np.float64),
        "ends": np.cumsum([len(indexes) for indexes, _ in sums]).astype(np.int64),
        "intercept": model._intercept_.astype(np.float64),
    }
    return Matrix(program.add("kernel_sums", kernel, arrays=arrays), len(sums))


def _duels(model: SVC, value: Value, program: Program) -> Matrix:
    """Add the score of every pair of classes, above zero where the first one wins (libsvm's `predict_values`)."""
    starts = np.cumsum([0, *model._n_support])
    own = [np.arange(start, end) for start, end in pairwise(starts)]
    weights = dense(model._dual_coef_)
    count = len(own)
    sums = [
        (np.concatenate([own[i], own[j]]), np.concatenate([weights[j - 1, own[i]], weights[i, own[j]]]))
        for i in range(count)
        for j in range(i + 1, count)
    ]
    return _sums(model, sums, value, program)


def _scores(model: SVC, value: Value, program: Program) -> Matrix | Vector:
    """Add `BaseSVC.decision_function`."""
    duels = _duels(model, value, program)
    against = apply(duels, "negative", program).register
    if duels.width == 1:
        return Vector(program.add("flatten", against))
    if model.decision_function_shape == "ovo":
        return duels
    winners = program.add("above", against, threshold=0.0, or_equal=False)
    columns = [program.add("pick", one, index=pair) for one in (winners, against) for pair in range(duels.width)]
    width = len(model.classes_)
    return Matrix(program.add("duels", *columns, width=width), width)


def _decision(model: SVC, value: Value, program: Program) -> Labels:
    """Add `BaseSVC.predict`."""
    if model.break_ties and model.decision_function_shape == "ovr" and len(model.classes_) > 2:
        return decided(model.classes_, _scores(model, value, program), program)
    duels = _duels(model, value, program)
    return labels(model.classes_, program.add("most_wins", duels.register, width=len(model.classes_)), program)


def _sum(model: Any, value: Value, program: Program) -> Vector:
    weights = dense(model._dual_coef_)[0]
    matrix = _sums(model, [(np.arange(len(weights)), weights)], value, program)
    return Vector(program.add("flatten", matrix.register))


def _inlier(model: OneClassSVM, value: Value, program: Program) -> Labels:
    return decided([-1, 1], _sum(model, value, program), program)


def _linear_score(model: SGDOneClassSVM, value: Value, program: Program) -> Vector:
    score = affine(model.coef_[0] if model.coef_.ndim == 2 else model.coef_, -model.offset_, value, program)
    assert isinstance(score, Vector)  # noqa: S101  # one line of weights
    return score


def _linear_inlier(model: SGDOneClassSVM, value: Value, program: Program) -> Labels:
    return decided([-1, 1], _linear_score(model, value, program), program, or_equal=True)


def _ridge(model: KernelRidge, value: Value, program: Program) -> Matrix | Vector:
    kernel = _pairwise(model, model.X_fit_, model.gamma, value, program)
    if model.dual_coef_.ndim == 1:
        return Vector(program.add("dot", kernel.register, arrays={"weights": model.dual_coef_.astype(np.float64)}))
    return project(kernel, model.dual_coef_, program)


def _principal(model: KernelPCA, value: Value, program: Program) -> Matrix:
    kernel = _pairwise(model, model.X_fit_, model.gamma_, value, program)
    known = model.eigenvalues_ != 0
    scaled = np.zeros_like(model.eigenvectors_)
    scaled[:, known] = model.eigenvectors_[:, known] / np.sqrt(model.eigenvalues_[known])
    return project(_centered(model._centerer, kernel, program), scaled, program)


def _centered(model: KernelCenterer, value: Value, program: Program) -> Matrix:
    matrix = float64_of(value, program)
    arrays = {"means": model.K_fit_rows_.astype(np.float64)}
    return Matrix(program.add("center", matrix.register, whole=float(model.K_fit_all_), arrays=arrays), matrix.width)


def _embedded(model: Nystroem, value: Value, program: Program) -> Matrix:
    parameters = model._get_kernel_params() if isinstance(model.kernel, str) else {}
    numbers = SimpleNamespace(**{"kernel": model.kernel, "degree": 3, "coef0": 1, "gamma": None, **parameters})
    kernel = _pairwise(numbers, model.components_, numbers.gamma, value, program)
    return project(kernel, model.normalization_.T, program)


def _waves(model: RBFSampler | SkewedChi2Sampler, matrix: Matrix, factor: float, program: Program) -> Matrix:
    shifted = arithmetic(project(matrix, model.random_weights_, program), "add", model.random_offset_, program)
    return arithmetic(apply(shifted, "cos", program), "multiply", factor, program)


def _radial_waves(model: RBFSampler, value: Value, program: Program) -> Matrix:
    if model.random_weights_.dtype != np.float64:
        raise NotCompiled("was fitted with float32 numbers")
    return _waves(model, float64_of(value, program), (2.0 / model.n_components) ** 0.5, program)


def _skewed_waves(model: SkewedChi2Sampler, value: Value, program: Program) -> Matrix:
    if model.random_weights_.dtype != np.float64:
        raise NotCompiled("was fitted with float32 numbers")
    shifted = arithmetic(float64_of(value, program), "add", model.skewedness, program)
    logs = apply(shifted, "log", program)
    # What is not above zero has no finite logarithm, and is refused.
    return _waves(model, finite(logs, program), np.sqrt(2.0) / np.sqrt(model.n_components), program)


def _chi2_waves(model: AdditiveChi2Sampler, value: Value, program: Program) -> Matrix:
    steps, interval = model.sample_steps, model.sample_interval
    if interval is None:
        interval = {1: 0.8, 2: 0.5, 3: 0.4}[steps]
    if isinstance(value, Table) and all("float" not in feature.dtype.lower() for _, feature in value.columns):
        raise NotCompiled("cuts the waves of whole numbers off to whole numbers")
    matrix = float64_of(value, program)
    register = program.add("chi2_waves", matrix.register, steps=int(steps), interval=float(interval))
    return Matrix(register, matrix.width * (2 * steps - 1))


def _pairwise(model: Any, kept: Any, gamma: float | None, value: Value, program: Program) -> Matrix:
    """Add scikit-learn's own kernels (`pairwise_kernels`)."""
    if model.kernel not in PAIRWISE:
        raise NotCompiled(f"has the kernel {model.kernel}")
    if hasattr(kept, "toarray"):
        raise NotCompiled("was fitted on sparse rows")
    kept = np.asarray(kept, np.float64)
    if model.kernel == "chi2":
        gamma = 1.0 if gamma is None else gamma
    gamma = 1.0 / kept.shape[1] if gamma is None else gamma
    return PAIRWISE[model.kernel](model, kept, float(gamma), value, program)


def _linear(_: Any, kept: np.ndarray, __: float, value: Value, program: Program) -> Matrix:
    return distances(value, kept, "product", program)


def _radial(_: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    squares = arithmetic(distances(value, kept, "squared", program), "multiply", -gamma, program)
    return apply(squares, "exp", program)


def _shifted(model: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    products = distances(value, kept, "product", program)
    return arithmetic(arithmetic(products, "multiply", gamma, program), "add", model.coef0, program)


def _polynomial(model: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    base = _shifted(model, kept, gamma, value, program)
    return Matrix(program.add("raise_to", base.register, exponent=float(model.degree)), len(kept))


def _sigmoid(model: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    return apply(_shifted(model, kept, gamma, value, program), "tanh", program)


def _laplacian(_: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    return _fading("absolute", kept, gamma, value, program)


def _chi2(_: Any, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    return _fading("relative", kept, gamma, value, program)


def _fading(form: str, kept: np.ndarray, gamma: float, value: Value, program: Program) -> Matrix:
    matrix = float64_of(value, program)
    gaps = Matrix(program.add("gaps", matrix.register, form=form, arrays={"points": kept}), len(kept))
    return apply(arithmetic(gaps, "multiply", -gamma, program), "exp", program)


PAIRWISE: dict[str, Callable[..., Matrix]] = {
    "chi2": _chi2,
    "laplacian": _laplacian,
    "linear": _linear,
    "poly": _polynomial,
    "polynomial": _polynomial,
    "rbf": _radial,
    "sigmoid": _sigmoid,
}
_CLASSIFIER = {"decision_function": _scores, "predict": _decision}
_REGRESSOR = {"predict": _sum}


def _own_chances(_: Any, __: Value, ___: Program) -> Matrix:
    raise NotCompiled(
        "gives probabilities of its own; those of CalibratedClassifierCV(SVC(), ensemble=False) are compiled"
    )


CONVERTERS: Converters = {
    AdditiveChi2Sampler: {"transform": _chi2_waves},
    KernelCenterer: {"transform": _centered},
    KernelPCA: {"transform": _principal},
    Nystroem: {"transform": _embedded},
    RBFSampler: {"transform": _radial_waves},
    SkewedChi2Sampler: {"transform": _skewed_waves},
    KernelRidge: {"predict": _ridge},
    OneClassSVM: {"decision_function": _sum, "predict": _inlier},
    SGDOneClassSVM: {"decision_function": _linear_score, "predict": _linear_inlier},
    **{cls: {**_CLASSIFIER, "predict_proba": _own_chances} for cls in (SVC, NuSVC)},
    **dict.fromkeys((SVR, NuSVR), _REGRESSOR),
}
