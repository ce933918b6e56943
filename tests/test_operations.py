"""Parameters that operations refuse: whatever a file claims, nothing is allocated or looped over for it."""

from typing import Any

import numpy as np
import pytest

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.columns import one_hot_sparse
from function.engines.operations.hashes import hash_records, hash_terms
from function.engines.operations.imputation import impute_column, impute_nearest
from function.engines.operations.shapes import pool
from function.engines.operations.sparse import Sparse, clip, join, keep
from function.engines.operations.splines import splines
from function.engines.operations.trees import one_hot_leaves

SPLINES = {"index": 0, "degree": 1, "outside": "continue"}
HASHES = {"width": 8, "signed": True, "binary": False}
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, np.ndarray]]] = {
    "negative-width": (join, {}, {"widths": np.array([3, -1])}),
    "endless-width": (join, {}, {"widths": np.array([2**62])}),
    "no-widths": (join, {}, {"widths": np.array([], np.int64)}),
    "column-twice": (keep, {}, {"indexes": np.array([1, 2, 1])}),
    "clip-zeros": (clip, {"low": 1, "high": 2}, {}),
    "wide-one-hot": (one_hot_sparse, {"width": 2**40, "places": [], "categories": [], "unknown": []}, {}),
    "place-outside": (one_hot_sparse, {"width": 1, "places": [[2]], "categories": [["a"]], "unknown": [1]}, {}),
    "no-hashes": (hash_terms, {**HASHES, "width": 0}, {}),
    "endless-hashes": (hash_records, {**HASHES, "width": 2**31}, {}),
    "knots-in-disorder": (splines, SPLINES, {"knots": np.array([0.0, 2.0, 1.0, 3.0])}),
    "knots-missing": (splines, SPLINES, {"knots": np.array([0.0, 1.0, np.nan, 3.0])}),
    "too-few-knots": (splines, {**SPLINES, "degree": 3}, {"knots": np.arange(4.0)}),
    "too-many-knots": (splines, SPLINES, {"knots": np.arange(30_000.0)}),
    "high-degree": (splines, {**SPLINES, "degree": 10**6}, {"knots": np.arange(9.0)}),
    "edges-of-others": (
        splines,
        {**SPLINES, "outside": "bounded"},
        {"knots": np.arange(6.0), "bounds": np.array([1.0, 4.0]), "edges": np.zeros((2, 9))},
    ),
    "group-outside": (pool, {}, {"groups": np.array([0, 10**12])}),
    "leaf-outside": (one_hot_leaves, {}, {"places": np.array([-1])}),
    "one-bound": (impute_column, {"index": 0}, {"bounds": np.array([1.0])}),
    "no-rows": (
        impute_nearest,
        {"neighbors": 1, "weights": "uniform", "order": "rows"},
        {"rows": np.zeros((0, 2)), "means": np.zeros(2)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_parameters_are_refused(case: str) -> None:
    """An operation that could not run, or not within its bounds, is none."""
    operation, values, arrays = CASES[case]
    with pytest.raises(CompiledInvalid, match=f"^{operation.__name__.removesuffix('_sparse')}"):
        operation(Parameters(operation.__name__, values, arrays))


def test_columns_far_out_cost_nothing() -> None:
    """Kept columns may be any: no table as wide as the widest is made."""
    run = keep(Parameters("keep", {}, {"indexes": np.array([2**60, 3])}))
    kept = run(Sparse(2, np.array([0, 1]), np.array([3, 4]), np.array([1.5, 2.0])))
    assert [part.tolist() for part in kept[1:]] == [[0], [1], [1.5]]
