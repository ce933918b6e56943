"""Operations of decision trees: the walk from the roots to the leaves, and the sum of what the leaves hold.

All trees of a model share one numbering: the roots first, the children of a node side by side, so that the right child
is the left one's number plus 1. A leaf is its own left child, and nothing is above its threshold.

A node that splits categories has an infinite threshold too. It finds in a flat table whether a category goes right: at
its own place for what is missing, and after that for each category in the order of the codes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from function.engines.operations import CompiledInvalid, Parameters
from function.engines.operations.sparse import Sparse

Matrix = np.ndarray
BLOCK = 1 << 14  # walks under way at once: their state stays in the processor's cache
CHECK_EVERY = 3  # levels between two looks for walks that have ended


def leaves(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return the leaf of each tree and row (trees x rows)."""
    feature = parameters.array("feature", "i", 1).astype(np.intp)
    threshold = parameters.array("threshold", "f", 1)
    left = parameters.array("left", "i", 1).astype(np.intp)
    trees = parameters.integer("trees", 1, len(left))
    depth = parameters.integer("depth", 0, len(left))
    missing_right = parameters.optional("missing_right", "b", 1)
    return _Walk(feature, threshold, left, trees, depth, missing_right, _categories(parameters, len(left))).all


class _Categories:
    """Where each node's part of the table begins, and the columns that hold codes of categories.

    Places of a node that splits no categories are those of the first part, in which nothing goes right.
    """

    def __init__(self, columns: Matrix, places: Matrix, table: Matrix) -> None:
        self._columns, self._places, self._table = columns, places, table

    def codes(self, matrix: Matrix) -> Matrix:
        """Return 1 + the code for what is a category, 0 for what is missing, and 0 in all other columns."""
        codes = np.zeros(matrix.shape, np.intp)
        known = matrix[:, self._columns] + 1.0
        codes[:, self._columns] = np.where(np.isnan(known), 0.0, known)
        return codes

    def right(self, nodes: Matrix, codes: Matrix) -> Matrix:
        """Return whether codes go right at nodes."""
        return self._table.take(self._places.take(nodes) + codes)  # type: ignore[no-any-return]


def _categories(parameters: Parameters, nodes: int) -> _Categories | None:
    columns = parameters.optional("columns", "i", 1)
    if columns is None:
        return None
    places, table = parameters.array("places", "i", 1).astype(np.intp), parameters.array("table", "b", 1)
    if len(places) != nodes or min(places.min(initial=0), columns.min(initial=0)) < 0:
        raise CompiledInvalid("leaves: a place in the table for each node, and columns, expected")
    return _Categories(columns, places, table)


class _Walk:
    def __init__(
        self,
        feature: Matrix,
        threshold: Matrix,
        left: Matrix,
        trees: int,
        depth: int,
        missing_right: Any,
        categories: _Categories | None,
    ) -> None:
        sizes = {len(feature), len(threshold), len(left)} | (
            {len(missing_right)} if missing_right is not None else set()
        )
        if len(sizes) != 1 or left.min(initial=0) < 0 or left.max(initial=0) >= len(left):
            raise CompiledInvalid("leaves: arrays of one length with numbers of nodes expected")
        self._feature, self._threshold, self._left = feature, threshold, left
        self._roots = np.arange(trees)
        self._depth = depth
        self._missing_right = missing_right
        self._categories = categories

    def all(self, matrix: Matrix) -> Matrix:
        count, width = matrix.shape
        if count == 1:
            return self._one(matrix[0])[:, None]
        found = np.empty((len(self._roots), count), np.intp)
        rows = max(BLOCK // len(self._roots), 1)
        for start in range(0, count, rows):
            block = np.ascontiguousarray(matrix[start : start + rows])
            found[:, start : start + rows] = self._block(block, width)
        return found

    def _one(self, row: Matrix) -> Matrix:
        nodes = self._roots
        feature, threshold, left = self._feature, self._threshold, self._left
        if self._missing_right is not None and np.isnan(row).any():
            return self._block(row[None], len(row))[:, 0]
        categories = self._categories
        codes = categories.codes(row[None])[0] if categories else None
        for _ in range(self._depth):
            tested = feature.take(nodes)
            right = row.take(tested) > threshold.take(nodes)
            if categories:
                right |= categories.right(nodes, codes.take(tested))  # type: ignore[union-attr]
            nodes = left.take(nodes) + right
        return nodes

    def _block(self, block: Matrix, width: int) -> Matrix:
        count = len(block)
        flat = block.ravel()
        nodes = np.repeat(self._roots, count)
        offsets = np.tile(np.arange(0, count * width, width), len(self._roots))
        missing = self._missing_right if np.isnan(flat).any() else None
        categories = self._categories
        codes = categories.codes(block).ravel() if categories else flat
        ended = nodes.copy()
        walking = np.arange(len(nodes))
        for level in range(1, self._depth + 1):
            tested = self._feature.take(nodes) + offsets
            values = flat.take(tested)
            right = values > self._threshold.take(nodes)
            if categories:
                right |= categories.right(nodes, codes.take(tested))
            if missing is not None:
                right |= np.isnan(values) & missing.take(nodes)
            nodes = self._left.take(nodes) + right
            if level % CHECK_EVERY == 0:
                on = np.flatnonzero(self._left.take(nodes) != nodes)
                if len(on) < 0.75 * len(nodes):
                    ended[walking] = nodes
                    walking, nodes, offsets = walking.take(on), nodes.take(on), offsets.take(on)
        ended[walking] = nodes
        return ended.reshape(len(self._roots), count)


def sum_leaves(parameters: Parameters) -> Callable[[Matrix], Matrix]:
    """Return for each row the sum of what its leaves hold (rows x outputs), tree after tree as scikit-learn adds them.

    `values` (outputs x nodes) holds what each leaf adds to every output; with one line of values and several starts,
    tree t adds to output t modulo the number of outputs.
    """
    values = parameters.array("values", "f", 2)
    start = parameters.array("start", "f", 1)
    outputs = len(start)
    if len(values) not in (1, outputs) or not outputs:
        raise CompiledInvalid("sum_leaves: values for one output or for all expected")

    def run(leaves: Matrix) -> Matrix:
        trees, count = leaves.shape
        if len(values) == outputs:
            held = values.take(leaves, axis=1)
        else:
            held = values[0].take(leaves.reshape(trees // outputs, outputs, count)).swapaxes(0, 1)
        return _sums(start, held)

    return run


def one_hot_leaves(parameters: Parameters) -> Callable[[Matrix], Sparse]:
    """Return for each row a 1 in the place of each of its leaves; `places` holds one for every node."""
    places = parameters.array("places", "i", 1)
    if places.min(initial=0) < 0:
        raise CompiledInvalid("one_hot_leaves: places from 0 on expected")

    def run(leaves: Matrix) -> Sparse:
        trees, count = leaves.shape
        return Sparse(count, np.repeat(np.arange(count), trees), places.take(leaves.T.ravel()), np.ones(leaves.size))

    return run


def _sums(start: Matrix, held: Matrix) -> Matrix:
    """Return start + held[:, 0] + held[:, 1] + ..., added in this order (rows x outputs)."""
    outputs, _, count = held.shape
    if count == 1:  # along its last axis NumPy would add in pairs
        return np.add.accumulate(np.concatenate([start[:, None], held[:, :, 0]], axis=1), axis=1)[None, :, -1]
    sums = np.empty((count, outputs))
    for output in range(outputs):
        np.add.reduce(held[output], axis=0, initial=start[output], out=sums[:, output])
    return sums
