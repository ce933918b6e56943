"""Converters of models that compare rows with centers: clusters, mixtures of Gaussians, nearest centroids."""

from typing import Any

import numpy as np
from scipy.special import digamma
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky
from sklearn.neighbors import NearestCentroid

from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import affine, apply, arithmetic, decision, labels, project, shares, two_or_more
from lifecycle.compiler.values import Labels, Matrix, SparseMatrix, Table, Value, Vector, float64_of


def distances(value: Value, centers: np.ndarray, form: str, program: Program) -> Matrix:
    """Add the distances from centers; raises NotCompiled for sparse rows, whose sums have another order."""
    if isinstance(value, SparseMatrix):
        raise NotCompiled("measures how far sparse rows are")
    matrix = float64_of(value, program)
    arrays = {"centers": centers.astype(np.float64)}
    return Matrix(program.add("distances", matrix.register, form=form, arrays=arrays), len(centers))


def _relative(centers: np.ndarray, value: Value, program: Program) -> Matrix:
    """Add squared distances from centers less the row's own square, as k-means compares them."""
    # Products with -2 * centers are -2 times the products, to the last bit.
    found = affine(-2.0 * centers, np.einsum("ij,ij->i", centers, centers), value, program)
    assert isinstance(found, Matrix)  # noqa: S101  # centers have a line each
    return found


def _cluster(model: KMeans, value: Value, program: Program) -> Vector:
    return Vector(program.add("smallest", _relative(model.cluster_centers_, value, program).register))


def _far(model: Any, value: Value, program: Program) -> Matrix:
    return distances(value, model.cluster_centers_, "euclidean", program)


def _bisected(model: BisectingKMeans, value: Value, program: Program) -> Vector:
    """Add `BisectingKMeans._predict_recursive`, all pairs of centers at once."""
    root = model._bisecting_tree
    nodes = [root] if root.left is not None else []
    for node in nodes:  # grows while it is read
        nodes += [child for child in (node.left, node.right) if child.left is not None]
    if not nodes:
        raise NotCompiled("has a single cluster")
    number = {id(node): position for position, node in enumerate(nodes)}
    children = [child for node in nodes for child in (node.left, node.right)]
    following = [number[id(child)] if id(child) in number else -1 - child.label for child in children]
    centers = np.stack([child.center for child in children])
    if hasattr(model, "_X_mean"):
        centers = centers + model._X_mean
    compared = _relative(centers, value, program)
    return Vector(program.add("descend", compared.register, arrays={"next": np.array(following, np.int64)}))


def _centroid_scores(model: NearestCentroid, value: Value, program: Program) -> Matrix:
    """Add `NearestCentroid._decision_function`."""
    deviations = np.where(model.within_class_std_dev_ != 0, model.within_class_std_dev_, 1.0)
    scaled = arithmetic(float64_of(value, program), "divide", deviations, program)
    far = distances(scaled, model.centroids_ / deviations, _metric(model), program)
    scores = arithmetic(apply(far, "square", program), "multiply", -1.0, program)
    return arithmetic(scores, "add", 2.0 * np.log(model.class_prior_), program)


def _centroid(model: NearestCentroid, value: Value, program: Program) -> Labels:
    if not np.isclose(model.class_prior_, 1 / len(model.classes_)).all():
        return decision(_centroid_scores)(model, value, program)  # type: ignore[no-any-return]
    form = "manhattan"
    if _metric(model) == "euclidean":
        # The columns of a frame lie apart, and then scikit-learn compares the roots: near squares have the same one.
        form = "euclidean" if isinstance(value, Table) else "squared_or_zero"
    far = distances(value, model.centroids_, form, program)
    return labels(model.classes_, program.add("smallest", far.register), program)


def _metric(model: NearestCentroid) -> str:
    if model.metric not in ("euclidean", "manhattan"):
        raise NotCompiled(f"measures by {model.metric}")
    return str(model.metric)


def _mixture(model: GaussianMixture, value: Value, program: Program) -> Matrix:
    """Add `GaussianMixture._estimate_weighted_log_prob`."""
    return arithmetic(_gaussians(model, value, program), "add", model._estimate_log_weights(), program)


def _bayesian_mixture(model: BayesianGaussianMixture, value: Value, program: Program) -> Matrix:
    """Add `BayesianGaussianMixture._estimate_weighted_log_prob`."""
    width, freedom = model.n_features_in_, model.degrees_of_freedom_
    logs = arithmetic(_gaussians(model, value, program), "subtract", 0.5 * width * np.log(freedom), program)
    terms = digamma(0.5 * (freedom - np.arange(0, width)[:, np.newaxis]))
    spread = width * np.log(2.0) + np.sum(terms, 0) - width / model.mean_precision_
    logs = arithmetic(logs, "add", 0.5 * spread, program)
    return arithmetic(logs, "add", model._estimate_log_weights(), program)


def _gaussians(model: Any, value: Value, program: Program) -> Matrix:
    """Add `_estimate_log_gaussian_prob`."""
    matrix = float64_of(value, program)
    squares = {"full": _full, "tied": _full, "diag": _diagonal, "spherical": _spherical}[model.covariance_type]
    width = model.n_features_in_
    logs = arithmetic(squares(model, matrix, program), "add", width * np.log(2 * np.pi), program)
    determinants = _compute_log_det_cholesky(model.precisions_cholesky_, model.covariance_type, width)
    return arithmetic(arithmetic(logs, "multiply", -0.5, program), "add", determinants, program)


def _full(model: Any, matrix: Matrix, program: Program) -> Matrix:
    norms = []
    shape = (len(model.means_), matrix.width, matrix.width)
    for mean, precision in zip(model.means_, np.broadcast_to(model.precisions_cholesky_, shape), strict=True):
        projected = arithmetic(project(matrix, precision, program), "subtract", mean @ precision, program)
        norms.append(program.add("sum_squares", projected.register))
    return Matrix(program.add("concatenate", *norms), len(norms))


def _diagonal(model: Any, matrix: Matrix, program: Program) -> Matrix:
    precisions = model.precisions_cholesky_**2
    linear = project(matrix, -2.0 * (model.means_ * precisions).T, program)
    linear = arithmetic(linear, "add", np.sum(model.means_**2 * precisions, axis=1), program)
    quadratic = project(apply(matrix, "square", program), precisions.T, program)
    return Matrix(program.add("plus", linear.register, quadratic.register), len(precisions))


def _spherical(model: Any, matrix: Matrix, program: Program) -> Matrix:
    precisions = model.precisions_cholesky_**2
    linear = arithmetic(project(matrix, model.means_.T, program), "multiply", -2 * precisions, program)
    linear = arithmetic(linear, "add", np.sum(model.means_**2, axis=1) * precisions, program)
    norms = Matrix(program.add("sum_squares", matrix.register), len(precisions))
    quadratic = arithmetic(norms, "multiply", precisions, program)
    return Matrix(program.add("plus", linear.register, quadratic.register), len(precisions))


def _component(model: Any, value: Value, program: Program) -> Vector:
    logs = _mixture if isinstance(model, GaussianMixture) else _bayesian_mixture
    return Vector(program.add("largest", logs(model, value, program).register))


_CLUSTERS = {"predict": _cluster, "transform": _far}
CONVERTERS: Converters = {
    BayesianGaussianMixture: {"predict": _component, "predict_proba": shares(_bayesian_mixture, "log_shares")},
    BisectingKMeans: {"predict": _bisected, "transform": _far},
    GaussianMixture: {"predict": _component, "predict_proba": shares(_mixture, "log_shares")},
    NearestCentroid: {
        "decision_function": two_or_more(_centroid_scores),
        "predict": _centroid,
        "predict_proba": shares(_centroid_scores, "shifted_log_shares"),
    },
    **dict.fromkeys((KMeans, MiniBatchKMeans), _CLUSTERS),
}
