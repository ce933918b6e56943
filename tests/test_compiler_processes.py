"""Gaussian processes: every kernel and what is made of them, several targets, two classes and more."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import erf
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process import kernels as gk
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from function.engines.operations.processes import _erf
from tests.test_compiler import NUMBERS, holds, prove
from tests.test_compiler_bayes import frame_of

FRAME = NUMBERS.drop(columns="kind")
KERNELS: dict[str, Any] = {
    "default": None,
    "radial": gk.RBF(1.5),
    "anisotropic": gk.ConstantKernel(2.0) * gk.RBF([1.0, 2.0, 0.5, 1.0, 3.0]) + gk.WhiteKernel(0.5),
    "matern-half": gk.Matern(1.2, nu=0.5),
    "matern-three-halves": gk.Matern(nu=1.5) + 0.5,
    "matern-five-halves": gk.Matern([1.0, 2.0, 0.5, 1.0, 3.0], nu=2.5),
    "matern-infinite": gk.Matern(nu=np.inf),
    "rational": gk.RationalQuadratic(alpha=0.7) + gk.WhiteKernel(0.5),
    "periodic": gk.ExpSineSquared(2.0, 3.0) * gk.RBF(2.0) + gk.WhiteKernel(9.0),
    "linear": gk.DotProduct(1.5) + gk.WhiteKernel(1.0),
    "power": gk.Exponentiation(gk.RationalQuadratic(), 2.0),
}


def equal_but_for_last_bits(pipeline: Any, frame: pd.DataFrame, target: str) -> None:
    """Fit a classifier and hold it to scikit-learn; what it sums may cancel out, and its proof then fails by a hair.

    How much depends on the processor's BLAS: whether the proof holds is for the proof to say, not for a test.
    """
    proof = prove(pipeline.fit(frame.drop(columns=target), frame[target]), frame, target)
    assert proof.verdict in ("holds", "fails"), proof.reason
    assert max(proof.largest_differences.values()) < 1e-9


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KERNELS)
def test_processes_equal_scikit_learn(name: str) -> None:
    """Means and chances are the same for every kernel, where the noise keeps terms from cancelling out."""
    model: Any = GaussianProcessRegressor(KERNELS[name], alpha=0.5, optimizer=None, normalize_y=True)
    holds(make_pipeline(StandardScaler(), model), FRAME, "amount")
    model = GaussianProcessClassifier(KERNELS[name], optimizer=None)
    equal_but_for_last_bits(make_pipeline(StandardScaler(), model), frame_of(2), "kind")


@pytest.mark.filterwarnings("ignore")
def test_fitted_kernels_equal_scikit_learn() -> None:
    """Kernels whose parameters were fitted are no others."""
    kernel = gk.ConstantKernel() * gk.RBF() + gk.WhiteKernel()
    holds(make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, random_state=0)), FRAME, "amount")
    holds(make_pipeline(StandardScaler(), GaussianProcessRegressor(gk.RBF(), alpha=0.5)), NUMBERS, ["kind", "amount"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["one_vs_rest", "one_vs_one"])
def test_several_classes_equal_scikit_learn(kind: Any) -> None:
    """One against the rest has chances, one against one decides alone."""
    model = GaussianProcessClassifier(1.0 * gk.RBF(2.0), optimizer=None, multi_class=kind)
    equal_but_for_last_bits(make_pipeline(StandardScaler(), model), frame_of(3), "kind")


@pytest.mark.parametrize("kernel", [gk.Matern(nu=0.7), gk.PairwiseKernel(), gk.ConstantKernel()], ids=str)
def test_other_kernels_are_not_compiled(kernel: Any) -> None:
    """A kernel without an exact form in NumPy is named."""
    model = GaussianProcessRegressor(kernel, optimizer=None, alpha=1.0)
    proof = prove(model.fit(FRAME.drop(columns="amount"), FRAME.amount), FRAME, "amount")
    assert proof.verdict == "not compiled"
    assert "kernel" in str(proof.reason)


def test_the_error_function_is_that_of_scipy() -> None:
    """Near zero, in the tails and beyond."""
    random = np.random.default_rng(0)
    numbers = np.concatenate([random.normal(0, scale, 5000) for scale in (0.01, 0.5, 1.0, 3.0, 10.0)])
    numbers = np.concatenate([numbers, [0.0, 1.0, -1.0, 6.0, 8.0, np.inf, -np.inf]])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(_erf(numbers), erf(numbers))
