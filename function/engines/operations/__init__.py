"""The operations of compiled models: one function each, from its parameters to what runs. They know no estimators."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Where each operation stands. A module is imported when the first program needs it.
_BY_MODULE = {
    "columns": (
        *("gather", "column", "numbers", "lists", "fill", "codes", "one_hot", "one_hot_sparse", "labels", "rows"),
    ),
    "matrices": (
        *("cast", "finite", "impute", "replace", "missing", "arithmetic", "apply", "select", "concatenate"),
        "by_column",
    ),
    "linear": ("affine", "flatten", "pick", "logistic", "softmax", "complement", "normalize_sum", "largest", "above"),
    "trees": ("leaves", "sum_leaves", "one_hot_leaves"),
    "ensembles": (
        *("repeat", "stack", "look_up", "spread", "total", "average", "votes", "weighted_median", "leading"),
        *("duels", "nearest", "shares", "interpolate"),
    ),
    "shapes": ("normalize_rows", "exceeds", "power", "rank", "unrank", "unpower", "pool", "bins", "products"),
    "distances": ("distances", "smallest", "descend", "plus"),
    "kernels": ("kernel", "kernel_sums", "dot", "most_wins", "center", "over_sum", "chi2_waves"),
    "likelihoods": (
        *("scaled_squares", "sum_squares", "mark", "sum_codes", "log_shares", "shifted_log_shares", "gap"),
    ),
    "hashes": ("hash_terms", "hash_records"),
    "imputation": ("equal_to", "incomplete_rows", "impute_column", "impute_nearest"),
    "neighbors": (
        *("neighbors", "first_neighbor", "nearness", "class_votes", "heaviest_class", "neighbor_means"),
        *("local_outlier", "within", "radius_votes"),
    ),
    "normal": ("normal_rank", "normal_unrank"),
    "outliers": ("power_of", "quadratic"),
    "processes": ("gaps", "times", "raise_to", "averaged_logistic"),
    "splines": ("splines",),
    "text": ("prepare", "words", "characters", "count", "damp", "weigh", "normalize"),
    "sparse": ("densify", "join", "keep", "scale", "clip"),
}
MODULES = {name: module for module, names in _BY_MODULE.items() for name in names}


# Of a dense matrix: a block of rows with so many takes 160 MB, and what is wider belongs into a sparse one.
MOST_COLUMNS = 20_000


class CompiledInvalid(ValueError):
    """What was read is no compiled model that this engine can run; the message says what was expected and found."""


class Parameters:
    """The parameters of one operation, from a file that nobody vouches for: asked for by name, with their type."""

    def __init__(self, operation: str, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._operation = operation
        self._values = values
        self._arrays = arrays

    def array(self, name: str, kind: str, dimensions: int) -> np.ndarray:
        """Return an array of a kind ("f": floats, "i": integers, "b": booleans) and number of dimensions."""
        array = self._arrays[name]
        self._expect(array.dtype.kind == kind and array.ndim == dimensions, name, f"{dimensions}-d {kind}", array.dtype)
        return array

    def optional(self, name: str, kind: str, dimensions: int) -> np.ndarray | None:
        """Return an array, or None where there is none."""
        return self.array(name, kind, dimensions) if name in self._arrays else None

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._values[name]
        self._expect(isinstance(value, bool), name, "true or false", value)
        return bool(value)

    def integer(self, name: str, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        value = self._values[name]
        self._expect(type(value) is int and low <= value <= high, name, f"an integer from {low} to {high}", value)
        return int(value)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._values[name]
        self._expect(type(value) in (int, float), name, "a number", value)
        return float(value)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._values[name]
        self._expect(isinstance(value, str), name, "text", value)
        return str(value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of some words."""
        value = self._values[name]
        self._expect(value in choices, name, f"one of {', '.join(choices)}", value)
        return str(value)

    def values(self, name: str) -> list[Any]:
        """Return a list of labels: text, numbers, true, false and null."""
        value = self._values[name]
        plain = isinstance(value, list) and all(isinstance(v, str | int | float | None) for v in value)
        self._expect(plain, name, "a list of labels", value)
        return list(value)

    def lists(self, name: str) -> list[list[Any]]:
        """Return a list of lists of labels."""
        value = self._values[name]
        self._expect(isinstance(value, list), name, "a list of lists", value)
        return [Parameters(self._operation, {name: one}, {}).values(name) for one in value]

    def _expect(self, holds: bool, name: str, expected: str, found: object) -> None:
        if not holds:
            raise CompiledInvalid(f"{self._operation}: {name}: {expected} expected, found {str(found)[:100]}")
