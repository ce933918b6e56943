"""Converters of models that compare rows with kept ones by a kernel: support vector machines and kernel ridge."""

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import SGDOneClassSVM
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from lifecycle.compiler.bayes import arithmetic, project
from lifecycle.compiler.distances import distances
from lifecycle.compiler.linear import affine, labels
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.values import Labels, Matrix, Value, Vector, doubled, float64_of

KERNELS = ("linear", "rbf", "poly", "sigmoid")
Sum = tuple[np.ndarray, np.ndarray]  # which support vectors, and their weights


def _sums(model: Any, sums: list[Sum], value: Value, program: Program) -> Matrix:
    """Add libsvm's weighted sums of the kernel of a row and support vectors."""
    if model.kernel not in KERNELS:
        raise NotCompiled(f"has the kernel {model.kernel}")
    if model._sparse:
        raise NotCompiled("was fitted on sparse rows")
    matrix = float64_of(doubled(value, program), program)
    numbers = {"gamma": float(model._gamma), "offset": float(model.coef0), "degree": int(model.degree)}
    arrays = {"centers": model.support_vectors_.astype(np.float64)}
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
    weights = model._dual_coef_
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
    against = program.add("apply", duels.register, ufunc="negative")
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
        return labels(model.classes_, program.add("largest", _scores(model, value, program).register), program)
    duels = _duels(model, value, program)
    return labels(model.classes_, program.add("most_wins", duels.register, width=len(model.classes_)), program)


def _sum(model: Any, value: Value, program: Program) -> Vector:
    weights = model._dual_coef_[0]
    matrix = _sums(model, [(np.arange(len(weights)), weights)], value, program)
    return Vector(program.add("flatten", matrix.register))


def _inlier(model: OneClassSVM, value: Value, program: Program) -> Labels:
    score = _sum(model, value, program)
    return labels([-1, 1], program.add("above", score.register, threshold=0.0, or_equal=False), program)


def _linear_score(model: SGDOneClassSVM, value: Value, program: Program) -> Vector:
    score = affine(model.coef_[0] if model.coef_.ndim == 2 else model.coef_, -model.offset_, value, program)
    assert isinstance(score, Vector)  # noqa: S101  # one line of weights
    return score


def _linear_inlier(model: SGDOneClassSVM, value: Value, program: Program) -> Labels:
    score = _linear_score(model, value, program)
    return labels([-1, 1], program.add("above", score.register, threshold=0.0, or_equal=True), program)


def _ridge(model: KernelRidge, value: Value, program: Program) -> Matrix | Vector:
    kernel = _pairwise(model, value, program)
    if model.dual_coef_.ndim == 1:
        return Vector(program.add("dot", kernel.register, arrays={"weights": model.dual_coef_.astype(np.float64)}))
    return project(kernel, model.dual_coef_, program)


def _pairwise(model: KernelRidge, value: Value, program: Program) -> Matrix:
    """Add scikit-learn's own kernels (`pairwise_kernels`), where they are never large."""
    if model.kernel not in ("rbf", "sigmoid"):
        raise NotCompiled(f"has the kernel {model.kernel}, of which sums cancel out")
    if hasattr(model.X_fit_, "toarray"):
        raise NotCompiled("was fitted on sparse rows")
    kept = model.X_fit_.astype(np.float64)
    gamma = 1.0 / kept.shape[1] if model.gamma is None else model.gamma
    if model.kernel == "rbf":
        squares = arithmetic(distances(value, kept, "squared", program), "multiply", -gamma, program)
        return Matrix(program.add("apply", squares.register, ufunc="exp"), len(kept))
    products = distances(value, kept, "product", program)
    shifted = arithmetic(arithmetic(products, "multiply", gamma, program), "add", model.coef0, program)
    return Matrix(program.add("apply", shifted.register, ufunc="tanh"), len(kept))


_CLASSIFIER = {"decision_function": _scores, "predict": _decision}
_REGRESSOR = {"predict": _sum}
CONVERTERS: Converters = {
    KernelRidge: {"predict": _ridge},
    OneClassSVM: {"decision_function": _sum, "predict": _inlier},
    SGDOneClassSVM: {"decision_function": _linear_score, "predict": _linear_inlier},
    **dict.fromkeys((SVC, NuSVC), _CLASSIFIER),
    **dict.fromkeys((SVR, NuSVR), _REGRESSOR),
}
