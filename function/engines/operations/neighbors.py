"""Operations on the kept rows that are nearest to a row: which they are, how far, and what follows from them.

Distances are compared in a reduced form where there is one, squares for instance, as scikit-learn compares them.
"""

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from function.engines.operations import MOST_COLUMNS, CompiledInvalid, Parameters
from function.engines.operations.distances import squared_or_zero

Matrix = np.ndarray
FORMS = ("euclidean", "products", "manhattan", "chebyshev", "minkowski")
MOST_DISTANCES = 1 << 20  # at once: 8 MB
CHUNK = 256  # of kept rows that are looked at one by one where distances are equal
UNSURE = 1e-12  # relative gap below which it is not the distance that decides who is in


class Neighbors(NamedTuple):
    """The nearest kept rows of each row, nearest first, and how far they are."""

    indexes: Matrix
    distances: Matrix


class _Measure:
    """Reduced distances of rows from points, a line each."""

    def __init__(self, points: Matrix, form: str, power: float) -> None:
        self._columns = np.ascontiguousarray(points.T)
        self._points, self._form, self._power = points, form, power
        self._norms = np.vecdot(points, points)

    def reduced(self, matrix: Matrix) -> Matrix:
        if self._form == "products":
            return squared_or_zero(np.ascontiguousarray(matrix), self._points, self._norms)
        total = np.zeros((len(matrix), self._columns.shape[1]))
        # Feature after feature, as a loop adds them; the sum of an axis would add in pairs.
        for own, other in zip(matrix.T, self._columns, strict=True):
            difference = own[:, None] - other
            if self._form == "chebyshev":
                np.maximum(total, np.abs(difference), out=total)
            else:
                total += self._term(difference)
        return total

    def _term(self, difference: Matrix) -> Matrix:
        if self._form == "euclidean":
            return difference * difference  # type: ignore[no-any-return]
        distance: Matrix = np.abs(difference)
        if self._form == "minkowski":
            np.power(distance, self._power, out=distance)
        return distance

    def distance(self, reduced: Matrix) -> Matrix:
        """Return distances from reduced ones."""
        if self._form in ("euclidean", "products"):
            return np.sqrt(reduced)  # type: ignore[no-any-return]
        return np.power(reduced, 1.0 / self._power) if self._form == "minkowski" else reduced

    def reduce(self, distance: Matrix) -> Matrix:
        """Return reduced distances."""
        if self._form in ("euclidean", "products"):
            return distance * distance  # type: ignore[no-any-return]
        return np.power(distance, self._power) if self._form == "minkowski" else distance


class _Tree:
    """The tree by which kept rows are visited: that decides which of several equally far ones stay.

    Node n has the children 2n + 1 and 2n + 2; a leaf has a part of `order`. Boxes have lower and upper bounds, balls a
    center and a radius.
    """

    def __init__(self, parameters: Parameters, form: str, power: float) -> None:
        self.order = parameters.array("order", "i", 1).astype(np.intp)
        self.starts = parameters.array("starts", "i", 1).tolist()
        self.ends = parameters.array("ends", "i", 1).tolist()
        self.leaf = parameters.array("leaf", "b", 1).tolist()
        self._low = parameters.array("low", "f", 2)
        self._high = parameters.optional("high", "f", 2)
        self._radius = None if self._high is not None else parameters.array("radius", "f", 1)
        self._form, self._power = form, power
        self._centers = _Measure(self._low, form, power)
        nodes = len(self._low)
        if not len(self.starts) == len(self.ends) == len(self.leaf) == nodes:
            raise CompiledInvalid("neighbors: a start, an end and bounds for each node of the tree expected")
        parts = [(s, e) for s, e, leaf in zip(self.starts, self.ends, self.leaf, strict=True) if leaf]
        if any(not 0 <= s <= e for s, e in parts) or sum(e - s for s, e in parts) != len(self.order):
            raise CompiledInvalid("neighbors: leaves that share the rows among them expected")

    def bounds(self, row: Matrix) -> list[float]:
        """Return the lowest reduced distance that a row in each node can have."""
        if self._high is None:
            far = self._centers.distance(self._centers.reduced(row[None]))[0]
            near = self._centers.reduce(np.maximum(0.0, far - self._radius))
            return near.tolist()  # type: ignore[no-any-return]
        below, above = self._low - row, row - self._high
        twice = (below + np.abs(below)) + (above + np.abs(above))
        if self._form == "chebyshev":
            return (0.5 * twice).max(axis=1).tolist()  # type: ignore[no-any-return]
        powers = {"euclidean": 2.0, "manhattan": 1.0}
        terms = np.power(0.5 * twice, powers.get(self._form, self._power))
        return np.add.accumulate(terms, axis=1)[:, -1].tolist()  # type: ignore[no-any-return]


class _Heap:
    """The nearest of the rows visited so far, in the heap that scikit-learn keeps them in."""

    def __init__(self, count: int, farthest: float) -> None:
        self.values = [farthest] * count
        self.indexes = [0] * count

    def visit(self, reduced: Matrix, part: Matrix) -> None:
        """Look at some kept rows, one after the other."""
        values = reduced[part]
        for place in np.flatnonzero(values < self.values[0]).tolist():
            value = float(values[place])
            if value < self.values[0]:
                self._push(value, int(part[place]))

    def _push(self, value: float, index: int) -> None:
        values, indexes, at = self.values, self.indexes, 0
        while True:
            child = 2 * at + 1
            if child + 1 < len(values) and values[child] < values[child + 1]:
                child += 1
            if child >= len(values) or not value < values[child]:
                break
            values[at], indexes[at] = values[child], indexes[child]
            at = child
        values[at], indexes[at] = value, index


class _Search:
    def __init__(self, measure: _Measure, size: int, count: int, tree: _Tree | None) -> None:
        self._measure, self._size, self._count, self._tree = measure, size, count, tree
        # What is this far or farther is no neighbour, and its place is left to the first of the kept rows.
        self._farthest = sys.float_info.max if tree is None else math.inf

    def all(self, matrix: Matrix) -> Neighbors:
        step = max(MOST_DISTANCES // self._size, 1)
        starts = range(0, max(len(matrix), 1), step)  # one block at least: an imputer may ask for no row at all
        parts = [self._block(matrix[start : start + step]) for start in starts]
        indexes, reduced = (np.concatenate(one) for one in zip(*parts, strict=True))
        return Neighbors(indexes, self._measure.distance(reduced))

    def _block(self, matrix: Matrix) -> tuple[Matrix, Matrix]:
        reduced = self._measure.reduced(matrix)
        count = self._count
        if count < self._size:
            part = np.argpartition(reduced, count, axis=1)[:, : count + 1]
            near = np.take_along_axis(reduced, part, axis=1)
            part, near, beyond = part[:, :count], near[:, :count], near[:, count]
        else:
            part, near = np.tile(np.arange(count), (len(matrix), 1)), reduced.copy()
            beyond = np.full(len(matrix), np.inf)
        farthest = near.max(axis=1)
        sure = (beyond > farthest * (1.0 + UNSURE)) & (farthest < self._farthest)
        for row in np.flatnonzero(~sure):
            heap = self._one_by_one(matrix[row], reduced[row])
            part[row], near[row] = heap.indexes, heap.values
        order = np.argsort(near, axis=1, kind="stable")
        return np.take_along_axis(part, order, axis=1), np.take_along_axis(near, order, axis=1)

    def _one_by_one(self, row: Matrix, reduced: Matrix) -> _Heap:
        """Return who stays where equally far rows compete: the order of the visits decides."""
        heap = _Heap(self._count, self._farthest)
        if self._tree is None:
            every = np.arange(self._size)
            for start in range(0, self._size, CHUNK):
                heap.visit(reduced, every[start : start + CHUNK])
            return heap
        tree, bounds = self._tree, self._tree.bounds(row)
        waiting = [0]
        while waiting:  # ends: children have larger numbers, and each node one parent
            node = waiting.pop()
            if bounds[node] > heap.values[0]:
                continue
            if tree.leaf[node]:
                heap.visit(reduced, tree.order[tree.starts[node] : tree.ends[node]])
                continue
            first, second = 2 * node + 1, 2 * node + 2
            waiting += [second, first] if bounds[first] <= bounds[second] else [first, second]
        return heap


def neighbors(parameters: Parameters) -> Callable[[Matrix], Neighbors]:
    """Return the nearest of the kept rows (`points`, a line each) and their distances."""
    points = parameters.array("points", "f", 2)
    form, power = parameters.choice("form", FORMS), parameters.number("power")
    count = parameters.integer("count", 1, len(points))
    tree = _Tree(parameters, form, power) if parameters.optional("order", "i", 1) is not None else None
    if tree is not None and (tree.order.min() < 0 or tree.order.max() >= len(points)):
        raise CompiledInvalid("neighbors: order: numbers of rows expected")
    return _Search(_Measure(points, form, power), len(points), count, tree).all


def first_neighbor(_: Parameters) -> Callable[[Neighbors], Matrix]:
    """Return the index of the nearest row."""
    return lambda found: found.indexes[:, 0]


def nearness(_: Parameters) -> Callable[[Neighbors], Matrix]:
    """Return 1 / distance of the nearest rows; where some are at distance 0, 1 for these and 0 for the others."""

    def run(found: Neighbors) -> Matrix:
        weights = 1.0 / found.distances
        infinite = np.isinf(weights)
        return np.where(infinite.any(axis=1, keepdims=True), infinite, weights)

    return run


def class_votes(parameters: Parameters) -> Callable[..., Matrix]:
    """Return each class's share of the nearest rows or of their weights; `codes` holds the kept rows' classes."""
    codes, width = _codes(parameters)

    def run(found: Neighbors, weights: Matrix | None = None) -> Matrix:
        _refuse_weightless(weights)
        votes = np.zeros((len(found.indexes), width))
        rows = np.arange(len(votes))
        for place, indexes in enumerate(found.indexes.T):
            votes[rows, codes[indexes]] += 1.0 if weights is None else weights[:, place]
        shares: Matrix = votes / votes.sum(axis=1)[:, None]
        return shares

    return run


def heaviest_class(parameters: Parameters) -> Callable[[Neighbors, Matrix], Matrix]:
    """Return the first class of the largest weight among the nearest rows, added as `weighted_mode` adds it."""
    codes, width = _codes(parameters)

    def run(found: Neighbors, weights: Matrix) -> Matrix:
        _refuse_weightless(weights)
        given = codes[found.indexes]
        sums = [np.sum(np.where(given == one, weights, 0.0), axis=1) for one in range(width)]
        chosen: Matrix = np.stack(sums, axis=1).argmax(axis=1)
        return chosen

    return run


def neighbor_means(parameters: Parameters) -> Callable[..., Matrix]:
    """Return the mean of what the nearest rows have (`targets`, a line each), weighted or not (rows x outputs)."""
    targets = parameters.array("targets", "f", 2)

    def run(found: Neighbors, weights: Matrix | None = None) -> Matrix:
        if weights is None:
            return np.mean(targets[found.indexes], axis=1)  # type: ignore[no-any-return]
        whole = np.sum(weights, axis=1)
        sums = [np.sum(column[found.indexes] * weights, axis=1) / whole for column in targets.T]
        return np.stack(sums, axis=1)

    return run


def local_outlier(parameters: Parameters) -> Callable[[Neighbors], Matrix]:
    """Return the opposite of how much less dense a row lies than the rows nearest to it.

    `reach` holds how far each kept row's own last neighbour is, `densities` how densely it lies.
    """
    reach, densities = parameters.array("reach", "f", 1), parameters.array("densities", "f", 1)

    def run(found: Neighbors) -> Matrix:
        reached: Any = np.maximum(found.distances, reach[found.indexes])
        own = 1.0 / (np.mean(reached, axis=1) + 1e-10)
        scores: Matrix = -np.mean(densities[found.indexes] / own[:, None], axis=1)
        return scores

    return run


def within(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return means of what the kept rows within a radius have (`targets`, a line each), or their sums.

    Sums are for votes, and a row that has no neighbour gives zeros, means NaN. The last column counts the neighbours.
    """
    points, targets = parameters.array("points", "f", 2), parameters.array("targets", "f", 2)
    form, power = parameters.choice("form", FORMS), parameters.number("power")
    measure = _Measure(points, form, power)
    radius = float(measure.reduce(np.array(parameters.number("radius"))))
    by_distance, means = parameters.flag("by_distance"), parameters.flag("means")
    if len(points) != len(targets) or not len(points):
        raise CompiledInvalid("within: a line of targets for each point expected")
    step = max(MOST_DISTANCES // len(points), 1)

    def block(matrix: Matrix) -> Matrix:
        reduced = measure.reduced(matrix)
        inside = reduced <= radius
        weights = inside.astype(np.float64)
        if by_distance:
            same = inside & (reduced == 0.0)
            weights = np.where(inside, 1.0 / measure.distance(reduced), 0.0)
            weights = np.where(same.any(axis=1, keepdims=True), same, weights)
        sums = weights @ targets
        if means:
            sums /= weights.sum(axis=1, keepdims=True)
        return np.concatenate([sums, inside.sum(axis=1, keepdims=True)], axis=1)

    def run(matrix: Matrix) -> Matrix:
        return np.concatenate([block(matrix[start : start + step]) for start in range(0, len(matrix), step)])

    return run


def radius_votes(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return shares of votes; a row without neighbours (0 in the last column) goes to `outlier`, or is refused (-1)."""
    width = parameters.integer("width", 1, MOST_COLUMNS)
    outlier = parameters.integer("outlier", -1, width - 1)

    def run(found: Matrix) -> Matrix:
        votes, alone = found[:, :width].copy(), found[:, -1] == 0
        if outlier == -1 and alone.any():
            raise ValueError("a row has no neighbours")
        votes[alone, outlier] = 1.0
        shares: Matrix = votes / votes.sum(axis=1, keepdims=True)
        return shares

    return run


def _refuse_weightless(weights: Matrix | None) -> None:
    if weights is not None and (weights == 0).all(axis=1).any():
        raise ValueError("a row is too far from all others")


def _codes(parameters: Parameters) -> tuple[Matrix, int]:
    codes = parameters.array("codes", "i", 1).astype(np.intp)
    width = parameters.integer("width", 1, MOST_COLUMNS)
    if codes.min(initial=0) < 0 or codes.max(initial=0) >= width:
        raise CompiledInvalid(f"codes: integers below {width} expected")
    return codes, width
