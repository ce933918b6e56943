"""Converters of what looks for the training rows nearest to a row: votes, means, local outliers, clusters."""

from typing import Any

import numpy as np
from sklearn.cluster import AffinityPropagation, Birch, MeanShift
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from lifecycle.compiler.distances import distances
from lifecycle.compiler.program import Converters, NotCompiled, Program
from lifecycle.compiler.steps import apply, arithmetic, decided, decision, labels, project, with_number
from lifecycle.compiler.values import Labels, Matrix, Value, Vector, float64_of

FORMS = ("euclidean", "manhattan", "chebyshev", "minkowski")


def _found(model: Any, count: int, value: Value, program: Program) -> int:
    """Add `kneighbors`: rows that lie equally far are chosen as the search of the model chooses them."""
    form, power = _metric(model)
    matrix = float64_of(value, program)
    if model._fit_method == "brute":
        arrays = {"points": _kept(model)}
        form = "products" if form == "euclidean" else form  # `EuclideanArgKmin` makes squares of a matrix product
    else:
        arrays = _tree(model)
    return program.add("neighbors", matrix.register, form=form, power=power, count=count, arrays=arrays)


def _metric(model: Any) -> tuple[str, float]:
    form, parameters = model.effective_metric_, model.effective_metric_params_
    if form not in FORMS:
        raise NotCompiled(f"measures by {form}")
    if parameters.get("w") is not None:
        raise NotCompiled("measures with weights")
    return form, float(parameters.get("p", 2.0)) if form == "minkowski" else 2.0


def _kept(model: Any) -> np.ndarray:
    rows = model._fit_X
    if not isinstance(rows, np.ndarray):
        raise NotCompiled("was fitted on sparse rows")
    if rows.dtype != np.float64:
        raise NotCompiled(f"was fitted with {rows.dtype} numbers")
    return rows


def _tree(model: Any) -> dict[str, np.ndarray]:
    points, order, nodes, bounds = (np.asarray(array) for array in model._tree.get_arrays())
    arrays = {
        "points": points,
        "order": order,
        "starts": nodes["idx_start"],
        "ends": nodes["idx_end"],
        "leaf": nodes["is_leaf"].astype(bool),
        "low": bounds[0],
    }
    return arrays | ({"high": bounds[1]} if len(bounds) == 2 else {"radius": nodes["radius"]})


def _reads(model: Any, value: Value, program: Program) -> tuple[int, ...]:
    """Add the nearest rows, and their weights where the model has some."""
    uniform = model.weights in (None, "uniform")
    found = _found(model, model.n_neighbors, value, program)
    if uniform:
        return (found,)
    if model.weights != "distance":
        raise NotCompiled("calls a function for its weights")
    return found, program.add("nearness", found)


def _voters(model: KNeighborsClassifier) -> dict[str, Any]:
    if model.outputs_2d_:
        raise NotCompiled("has several targets with classes")
    return {"width": len(model.classes_), "arrays": {"codes": model._y.astype(np.int64)}}


def _chances(model: KNeighborsClassifier, value: Value, program: Program) -> Matrix:
    reads = _reads(model, value, program)
    return Matrix(program.add("class_votes", *reads, **_voters(model)), len(model.classes_))


def _voted(model: KNeighborsClassifier, value: Value, program: Program) -> Labels:
    reads = _reads(model, value, program)
    if len(reads) == 1:
        chosen = program.add("largest", program.add("class_votes", *reads, **_voters(model)))
    else:
        chosen = program.add("heaviest_class", *reads, **_voters(model))
    return labels(model.classes_, chosen, program)


def _mean(model: KNeighborsRegressor, value: Value, program: Program) -> Matrix | Vector:
    targets = np.asarray(model._y, np.float64)
    reads = _reads(model, value, program)
    table = targets.reshape(len(targets), -1)
    means = program.add("neighbor_means", *reads, arrays={"targets": table})
    return Matrix(means, table.shape[1]) if targets.ndim == 2 else Vector(program.add("flatten", means))


def _within(model: Any, targets: np.ndarray, means: bool, value: Value, program: Program) -> int:
    """Add `radius_neighbors`, and the means or sums of what the neighbours have."""
    if model.weights not in (None, "uniform", "distance"):
        raise NotCompiled("calls a function for its weights")
    form, power = _metric(model)
    brute = model._fit_method == "brute"
    if brute and form == "euclidean":
        form = "products"
    points = _kept(model) if brute else np.asarray(model._tree.data)
    parameters = {"form": form, "power": power, "radius": float(model.radius), "means": means}
    register = float64_of(value, program).register
    by_distance = model.weights == "distance"
    arrays = {"points": points, "targets": targets}
    return program.add("within", register, by_distance=by_distance, arrays=arrays, **parameters)


def _mean_within(model: RadiusNeighborsRegressor, value: Value, program: Program) -> Matrix | Vector:
    targets = np.asarray(model._y, np.float64)
    if model._y.dtype.kind != "f":  # no neighbours give NaN as an integer
        raise NotCompiled("predicts whole numbers")
    table = targets.reshape(len(targets), -1)
    found = Matrix(_within(model, table, True, value, program), table.shape[1] + 1)
    if targets.ndim == 1:
        return Vector(program.add("pick", found.register, index=0))
    columns = np.arange(table.shape[1])
    return Matrix(program.add("select", found.register, arrays={"indexes": columns}), len(columns))


def _chances_within(model: RadiusNeighborsClassifier, value: Value, program: Program) -> Matrix:
    if model.outputs_2d_:
        raise NotCompiled("has several targets with classes")
    if model.weights == "distance":  # classes may have the same distances, added in another order
        raise NotCompiled("adds its votes in the order of a search")
    width = len(model.classes_)
    given = (model._y[:, None] == np.arange(width)).astype(np.float64)
    places = [-1]
    if model.outlier_label_ is not None:
        places = np.flatnonzero(model.classes_ == model.outlier_label_[0]).tolist()
    if len(places) != 1:
        raise NotCompiled("has a class of its own for rows without neighbours")
    found = _within(model, given, False, value, program)
    return Matrix(program.add("radius_votes", found, width=width, outlier=places[0]), width)


def _spread_labels(model: Any, value: Value, program: Program) -> Matrix:
    """Add `BaseLabelPropagation.predict_proba`."""
    known = model.label_distributions_.astype(np.float64)
    if model.kernel == "rbf":
        kept = np.asarray(model.X_, np.float64)
        squares = arithmetic(distances(value, kept, "squared", program), "multiply", -float(model.gamma), program)
        sums = project(apply(squares, "exp", program), known, program).register
    elif model.kernel == "knn":
        found = _found(model.nn_fit, model.nn_fit.n_neighbors, value, program)
        sums = program.add("neighbor_means", found, arrays={"targets": known})  # of as many neighbours each
    else:
        raise NotCompiled("has a kernel of its own")
    return Matrix(program.add("over_sum", sums), known.shape[1])


def _outlying(model: LocalOutlierFactor, value: Value, program: Program) -> Vector:
    """Add `LocalOutlierFactor.decision_function`."""
    found = _found(model, model.n_neighbors_, value, program)
    arrays = {"reach": model._distances_fit_X_[:, model.n_neighbors_ - 1], "densities": model._lrd}
    scores = program.add("local_outlier", found, arrays={key: one.astype(np.float64) for key, one in arrays.items()})
    return Vector(with_number(scores, "subtract", float(model.offset_), program))


def _inlying(model: LocalOutlierFactor, value: Value, program: Program) -> Labels:
    return decided([1, -1], apply(_outlying(model, value, program), "negative", program), program)


def _closest(centers: np.ndarray, value: Value, program: Program) -> int:
    """Add `pairwise_distances_argmin`."""
    if len(centers) == 0:
        raise NotCompiled("has no clusters")
    if not isinstance(centers, np.ndarray) or centers.dtype != np.float64:
        raise NotCompiled("was fitted with float32 numbers")
    register = float64_of(value, program).register
    arrays = {"points": centers}
    found = program.add("neighbors", register, form="products", power=2.0, count=1, arrays=arrays)
    return program.add("first_neighbor", found)


def _cluster(model: Any, value: Value, program: Program) -> Vector:
    return Vector(_closest(model.cluster_centers_, value, program))


def _subcluster(model: Birch, value: Value, program: Program) -> Labels:
    return labels(model.subcluster_labels_, _closest(model.subcluster_centers_, value, program), program)


def _far_subclusters(model: Birch, value: Value, program: Program) -> Matrix:
    return distances(value, model.subcluster_centers_, "euclidean", program)


_SPREADING = {"predict": decision(_spread_labels), "predict_proba": _spread_labels}
CONVERTERS: Converters = {
    AffinityPropagation: {"predict": _cluster},
    Birch: {"predict": _subcluster, "transform": _far_subclusters},
    KNeighborsClassifier: {"predict": _voted, "predict_proba": _chances},
    KNeighborsRegressor: {"predict": _mean},
    MeanShift: {"predict": _cluster},
    RadiusNeighborsClassifier: {"predict": decision(_chances_within), "predict_proba": _chances_within},
    RadiusNeighborsRegressor: {"predict": _mean_within},
    **dict.fromkeys((LabelPropagation, LabelSpreading), _SPREADING),
    LocalOutlierFactor: {"decision_function": _outlying, "predict": _inlying},
}
