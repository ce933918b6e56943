"""Columns that tell the target more than a column of the world does: alone, or two together.

A leak is a column that was filled in after the outcome was known (a reason for leaving, an account's closing date), or
that is the target under another name. A model that rests on it is excellent on held-out rows and worthless in
production, so that no comparison on held-out rows finds it. What finds it is that it takes no model: a small tree of
that column alone, fitted on the training rows, explains most of the target on the held-out rows.

Explained is a share of the target's spread about its mean, of classes too (their indicators are what is explained: the
share of the Brier score of the training shares that is gone). How much honest columns explain was measured on 55 public
data sets. Of classes that somebody or something will be in, one column explains at most 0.33, two at most 0.52; of
numbers one at most 0.9, two 0.93. Beyond the thresholds below lie measurements by which a class was defined (iris,
tumours, penguins), what truly leaks (the logarithm of the wage, the day's own return), and what its owner knows to be
known in time: acceptance.known.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

from function.contract import Signature
from lifecycle.signature import as_input

ALONE = {"classification": 0.5, "regression": 0.9}
TOGETHER = {"classification": 0.7, "regression": 0.95}
LEAVES, FEWEST = 32, 5  # of a tree; a leaf of fewer rows, or a value that fewer rows have, is chance
PAIRED = 8  # columns that are tried in pairs: those on which the answers rest most
LARGEST = 1e18  # trees hold float32, and sums of two columns are squared
CELLS = 2_000_000  # rows times columns that are looked at; more rows than that add time, and no certainty
SHUFFLED_CELLS, FEWEST_SHUFFLED, MOST_SHUFFLED = 50_000, 50, 1_000  # of these the candidate itself is asked
BLOCK_CELLS = 2_000_000  # at once


class Leak(NamedTuple):
    """Columns that explain a target by themselves, and how large a share of it."""

    columns: tuple[str, ...]
    share: float

    def __str__(self) -> str:
        alone = "alone explains" if len(self.columns) == 1 else "by themselves explain"
        return f"{' and '.join(self.columns)} {alone} {self.share:.0%} of the target on held-out rows"


class Frames(NamedTuple):
    """The columns of training and held-out rows, and their targets as numbers: a class is a column of 0 and 1."""

    train: pd.DataFrame
    test: pd.DataFrame
    known: np.ndarray
    held_out: np.ndarray


def rests_on(pipeline: Any, signature: Signature, frame: pd.DataFrame) -> dict[str, float]:
    """Return by feature, most first, its share of how far answers move when its values are shuffled among rows."""
    columns = [feature.name for feature in signature.features]
    rows = _some(frame[columns], min(MOST_SHUFFLED, max(FEWEST_SHUFFLED, SHUFFLED_CELLS // len(columns))))
    random = np.random.default_rng(0)
    before = _answers(pipeline, signature, rows)
    moved: dict[str, float] = {}
    # Asked together: a call costs some estimators more than a thousand rows do.
    step = max(1, BLOCK_CELLS // rows.size)
    for start in range(0, len(columns), step):
        names = columns[start : start + step]
        shuffled = [rows.assign(**{name: rows[name].array[random.permutation(len(rows))]}) for name in names]
        after = np.split(_answers(pipeline, signature, pd.concat(shuffled, ignore_index=True)), len(names))
        moved |= {name: float(((one - before) ** 2).mean()) for name, one in zip(names, after, strict=True)}
    total = sum(moved.values()) or 1.0
    return {name: moved[name] / total for name in sorted(moved, key=lambda name: -moved[name])}


def find_leaks(
    train: pd.DataFrame, test: pd.DataFrame, targets: Sequence[str], columns: Sequence[str], task: str
) -> list[Leak]:
    """Return the single columns, then the pairs, that explain the target nearly by themselves.

    `columns` are the features, those on which the candidate rests most first: of these pairs are made.
    """
    most = max(1_000, CELLS // len(columns))
    frames = _frames(_some(train, most), _some(test, most), targets, task)
    coded = {name: _coded(frames, name) for name in columns}
    leaks = [Leak((name,), _explained(frames, *both)) for name, both in coded.items()]
    found = [leak for leak in leaks if leak.share > ALONE[task]]
    alone = {name for leak in found for name in leak.columns}
    rest = [name for name in columns if name not in alone][:PAIRED]
    pairs = [
        Leak((a, b), _explained(frames, *_together(frames, coded[a], coded[b])))
        for a, b in itertools.combinations(rest, 2)
    ]
    return _sorted(found) + _sorted([leak for leak in pairs if leak.share > TOGETHER[task]])


def _sorted(leaks: list[Leak]) -> list[Leak]:
    return sorted(leaks, key=lambda leak: -leak.share)


def _some(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return a frame, or as many of its rows, drawn at random."""
    if len(frame) <= most:
        return frame
    return frame.iloc[np.sort(np.random.default_rng(0).choice(len(frame), most, replace=False))]


def _answers(pipeline: Any, signature: Signature, frame: pd.DataFrame) -> np.ndarray:
    """Return what a pipeline gives as a matrix: probabilities where it has them, else numbers, else labels, 0 or 1."""
    method = "predict_proba" if "predict_proba" in signature.methods else "predict"
    answer = getattr(pipeline, method)(as_input(frame, signature.form))
    parts = answer if isinstance(answer, list) else [answer]
    matrix = np.hstack([np.asarray(part).reshape(len(frame), -1) for part in parts])
    if matrix.dtype.kind == "f":
        return matrix
    labels = [label for output in signature.outputs for label in output.classes or ()]
    return np.hstack([matrix == label for label in labels]).astype(float)


def _frames(train: pd.DataFrame, test: pd.DataFrame, targets: Sequence[str], task: str) -> Frames:
    known, held_out = [], []
    for target in targets:
        if task == "regression":
            scale = train[target].std() or 1.0  # several targets count alike
            known.append(train[[target]].to_numpy(float) / scale)
            held_out.append(test[[target]].to_numpy(float) / scale)
            continue
        classes = train[target].astype(object).unique()
        known.append(train[target].astype(object).to_numpy()[:, None] == classes)
        held_out.append(test[target].astype(object).to_numpy()[:, None] == classes)
    return Frames(train, test, np.hstack(known).astype(float), np.hstack(held_out).astype(float))


def _coded(frames: Frames, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of both frames as numbers that a tree can split: a value's own targets, where it is no number."""
    train, test = frames.train[name], frames.test[name]
    if pd.api.types.is_numeric_dtype(train) or pd.api.types.is_datetime64_any_dtype(train):
        return _numbers(train), _numbers(test)
    there, here = _texts(train), _texts(test)
    groups = pd.DataFrame(frames.known).groupby(there.to_numpy())
    means = groups.mean()[groups.size() >= FEWEST]
    usual = dict(enumerate(frames.known.mean(axis=0)))

    def code(texts: pd.Series) -> np.ndarray:
        return np.column_stack([means.reindex(texts).fillna(usual), texts.str.len(), texts == ""]).astype(float)

    return code(there), code(here)


def _numbers(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(column):
        column = column.astype("int64").where(column.notna(), np.nan)
    return np.asarray(np.clip(column.to_numpy(dtype=float, na_value=np.nan), -LARGEST, LARGEST)[:, None])


def _texts(column: pd.Series) -> pd.Series:
    values = column.astype(object)
    return values.map(repr).where(values.notna(), "").astype("str")


def _together(
    frames: Frames, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return two coded columns beside each other, and their best sum: a tree cannot see a difference of two columns."""
    train, test = np.hstack([one[0], other[0]]), np.hstack([one[1], other[1]])
    middle = np.array([np.median(there) if (there := one[~np.isnan(one)]).size else 0.0 for one in train.T])
    filled = np.where(np.isnan(train), middle, train)
    mean, spread = filled.mean(axis=0), filled.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    weights = np.linalg.lstsq((filled - mean) / spread, frames.known - frames.known.mean(axis=0), rcond=None)[0]
    sums = (filled - mean) / spread @ weights, (np.where(np.isnan(test), middle, test) - mean) / spread @ weights
    return np.hstack([train, sums[0]]), np.hstack([test, sums[1]])


def _explained(frames: Frames, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of the held-out targets' spread that a small tree of these numbers explains."""
    tree = DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=FEWEST, random_state=0)
    answers = tree.fit(train, frames.known).predict(test).reshape(frames.held_out.shape)
    spread = ((frames.held_out - frames.known.mean(axis=0)) ** 2).sum()
    return float(1 - ((frames.held_out - answers) ** 2).sum() / spread) if spread > 0 else 0.0
