"""Kernels: every form of them, two classes and several, duels and votes, kept rows that are few and many."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import AdditiveChi2Sampler, Nystroem, RBFSampler, SkewedChi2Sampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, MinMaxScaler, StandardScaler
from sklearn.svm import SVC, SVR, NuSVC, OneClassSVM

from tests.test_compiler import NUMBERS, holds, prove
from tests.test_compiler_bayes import frame_of

FRAME = NUMBERS.drop(columns="kind")
KERNELS = ("linear", "rbf", "poly", "sigmoid")


def product(one: Any, other: Any) -> Any:
    """Return a kernel that nobody knows."""
    return one @ other.T


def four_classes() -> pd.DataFrame:
    """Return numbers and a target of four words."""
    kind = np.array(["a", "b", "c", "d"])[np.digitize(NUMBERS.a, [10, 16, 25])]
    return NUMBERS.drop(columns="amount").assign(kind=kind)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_support_vectors_equal_scikit_learn(kernel: Any, classes: int) -> None:
    """Every kernel gives the same classes, scores and numbers."""
    holds(make_pipeline(StandardScaler(), SVC(kernel=kernel, coef0=0.5)), frame_of(classes), "kind")
    holds(make_pipeline(StandardScaler(), SVR(kernel=kernel, C=10.0)), FRAME, "amount")
    holds(make_pipeline(StandardScaler(), OneClassSVM(kernel=kernel, nu=0.3)), FRAME, "amount")


@pytest.mark.parametrize("shape", ["ovr", "ovo"])
def test_duels_and_votes_equal_scikit_learn(shape: Any) -> None:
    """Four classes are decided by votes, ties by the order of the classes; the scores are of either shape."""
    holds(
        make_pipeline(StandardScaler(), SVC(decision_function_shape=shape, class_weight="balanced")),
        four_classes(),
        "kind",
    )
    holds(make_pipeline(StandardScaler(), NuSVC(decision_function_shape=shape, nu=0.2)), four_classes(), "kind")


def test_ties_may_be_broken_by_scores() -> None:
    """With break_ties the largest score decides instead of the votes."""
    holds(make_pipeline(StandardScaler(), SVC(break_ties=True)), four_classes(), "kind")


@pytest.mark.parametrize("kernel", ["rbf", "sigmoid", "poly", "laplacian"])
def test_kernel_ridge_equals_scikit_learn(kernel: str) -> None:
    """Kernel ridge regression gives one number and several."""
    model = make_pipeline(StandardScaler(), KernelRidge(kernel=kernel, gamma=0.1, alpha=20.0))
    holds(model, FRAME, "amount")
    holds(model, NUMBERS, ["kind", "amount"])


@pytest.mark.parametrize("kernel", ["linear", "chi2"])
def test_kernel_ridge_of_shares_equals_scikit_learn(kernel: str) -> None:
    """Kernels of numbers from 0 to 1 do not cancel out; one refuses negative numbers."""
    holds(make_pipeline(MinMaxScaler(clip=True), KernelRidge(kernel=kernel, gamma=0.5)), FRAME, "amount")
    holds(KernelRidge(kernel="chi2", gamma=0.1), FRAME, "amount")


@pytest.mark.parametrize("kernel", ["linear", "poly"])
def test_kernel_ridge_that_cancels_out_fails_its_proof(kernel: str) -> None:
    """Large kernels weighed against each other leave the last bits to BLAS."""
    model = KernelRidge(kernel=kernel).fit(FRAME.drop(columns="amount"), FRAME.amount)
    assert prove(model, FRAME, "amount").verdict == "fails"


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "sigmoid"])
def test_principal_components_of_kernels_equal_scikit_learn(kernel: str) -> None:
    """Kernels are centered and projected as scikit-learn does it."""
    holds(make_pipeline(MinMaxScaler(clip=True), KernelPCA(3, kernel=kernel, degree=2), Ridge()), FRAME, "amount")


@pytest.mark.parametrize(
    "step",
    [
        make_pipeline(StandardScaler(), Nystroem(n_components=20, random_state=0)),
        make_pipeline(StandardScaler(), Nystroem("poly", degree=2, coef0=0.5, n_components=20, random_state=0)),
        Nystroem("chi2", n_components=20, random_state=0),
        Nystroem("laplacian", gamma=0.2, n_components=20, random_state=0),
        make_pipeline(MinMaxScaler(clip=True), RBFSampler(gamma=0.5, n_components=30, random_state=0)),
        SkewedChi2Sampler(skewedness=0.5, n_components=30, random_state=0),
        AdditiveChi2Sampler(),
        AdditiveChi2Sampler(sample_steps=3),
        AdditiveChi2Sampler(sample_steps=1, sample_interval=0.7),
    ],
    ids=str,
)
def test_approximated_kernels_equal_scikit_learn(step: Any) -> None:
    """Kernels with some rows, and waves in place of kernels; what is out of a kernel's range is refused alike."""
    holds(make_pipeline(step, Ridge()), FRAME, "amount")


def test_kernels_may_be_centered_alone() -> None:
    """A matrix of as many columns as rows is centered like a kernel."""
    square = FRAME.drop(columns="amount").head(5)
    step = KernelCenterer().fit(square)
    model = make_pipeline(FrozenEstimator(step), Ridge())
    holds(model, FRAME, "amount")


def test_kernels_of_ones_own_are_not_compiled() -> None:
    """A kernel that somebody wrote is named."""
    model = SVR(kernel=product)
    proof = prove(model.fit(FRAME.drop(columns="amount"), FRAME.amount), FRAME, "amount")
    assert proof.verdict == "not compiled"
    assert "has the kernel" in str(proof.reason)
