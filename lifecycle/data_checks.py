"""New frames held against the previous version's reference, before anything is fitted on them."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from lifecycle.data import Data
from lifecycle.errors import DataRefused
from lifecycle.frames import column_type
from lifecycle.reference import Reference, Summary, category_key

MISSING_CHANGE = 0.05  # share of rows
NUMBERS = ("integer", "number")


class Finding(NamedTuple):
    """One difference between the new frames and the reference."""

    level: Literal["breaks", "changed"]
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.column}: expected {self.expected}, found {self.found}"


def check_frames(data: Data) -> None:
    """Refuse frames that no model could be made of; raises DataRefused with every fault."""
    _check_are_frames(data)
    faults = []
    for name, frame in (("train", data.train), ("test", data.test)):
        faults += [f"{name}: the target {target} is no column" for target in data.targets if target not in frame]
        faults += [f"{name}: there are no rows"] if frame.empty else []
        known = [target for target in data.targets if target in frame]
        faults += [f"{name}: the target {target} has missing values" for target in known if frame[target].isna().any()]
    only_train = sorted(set(map(str, data.train)) - set(map(str, data.test)))
    only_test = sorted(set(map(str, data.test)) - set(map(str, data.train)))
    faults += [f"{column}: in the training frame alone" for column in only_train]
    faults += [f"{column}: in the test frame alone" for column in only_test]
    if set(map(str, data.train)) <= set(data.targets):
        faults.append("train: there is no feature beside the target")
    faults += _other_types(data)
    if faults:
        raise DataRefused("The frames cannot be used:", faults)


def compare(data: Data, reference: Reference) -> list[Finding]:
    """Return what differs from the frames of the version whose reference this is."""
    return [
        *_columns(data, reference),
        *_features(data, reference),
        *_targets(data, reference),
    ]


def _check_are_frames(data: Data) -> None:
    given: dict[str, object] = {"train": data.train, "test": data.test}
    faults = [
        f"{name}: a DataFrame expected, found {type(frame).__name__}"
        for name, frame in given.items()
        if not isinstance(frame, pd.DataFrame)
    ]
    if faults:
        raise DataRefused("The frames cannot be used:", faults)


def _other_types(data: Data) -> Iterator[str]:
    """Yield the columns that hold one type of values in the training frame and another in the test frame."""
    shared = [name for name in data.train.columns.intersection(data.test.columns) if _has_values(data, name)]
    for name in shared:
        there, here = _kind(data.train[name]), _kind(data.test[name])
        if there != here and not {there, here} <= set(NUMBERS):
            yield f"{name}: {there} in the training frame, {here} in the test frame"


def _has_values(data: Data, name: str) -> bool:
    """Tell whether a column is one column in both frames, with anything in it."""
    columns = (data.train[name], data.test[name])
    return all(isinstance(column, pd.Series) and column.notna().any() for column in columns)


def _kind(column: pd.Series) -> str:
    try:
        return column_type(column)
    except DataRefused:
        return f"{pd.api.types.infer_dtype(column, skipna=True)}"


def _columns(data: Data, reference: Reference) -> Iterator[Finding]:
    known = {*reference.features, *reference.targets}
    for name in sorted(known - set(data.train.columns)):
        yield Finding("breaks", name, "a target column" if name in reference.targets else "a column", "none")
    for name in [column for column in data.train.columns if column not in known]:
        yield Finding("changed", name, "no such column", "a new one")


def _features(data: Data, reference: Reference) -> Iterator[Finding]:
    for name, summary in reference.features.items():
        if name in data.train:
            yield from _feature(data.train[name], summary)


def _feature(column: pd.Series, summary: Summary) -> Iterator[Finding]:
    name = str(column.name)
    missing = float(column.isna().mean())
    if missing == 1.0:
        yield Finding("breaks", name, "values", "nothing but missing ones")
        return
    kind = _kind(column)
    if kind != summary.type and not {kind, summary.type} <= set(NUMBERS):
        yield Finding("breaks", name, f"{summary.type} values", f"{kind} values of dtype {column.dtype}")
        return
    if abs(missing - summary.missing_rate) > MISSING_CHANGE:
        yield Finding("changed", name, f"{summary.missing_rate:.1%} missing", f"{missing:.1%}")
    if summary.quantiles and kind in NUMBERS:
        numbers = column.dropna().astype(float)
        yield from _range(numbers[np.isfinite(numbers)], summary.quantiles)
    if summary.categories is not None:
        yield from _categories(column, summary)


def _range(values: pd.Series, quantiles: dict[str, float]) -> Iterator[Finding]:
    low, high = quantiles["0.0"], quantiles["1.0"]
    if values.min() < low or values.max() > high:
        found = f"{values.min():g} to {values.max():g}"
        yield Finding("changed", str(values.name), f"values from {low:g} to {high:g}", found)


def _categories(column: pd.Series, summary: Summary) -> Iterator[Finding]:
    present = {category_key(value) for value in column.dropna().unique()}
    known = set(summary.categories or {})
    if gone := sorted(known - present):
        yield Finding("changed", str(column.name), f"the category {', '.join(map(repr, gone[:5]))}", "no row of it")
    if (new := sorted(present - known)) and not summary.other:
        yield Finding("changed", str(column.name), "known categories", f"also {', '.join(map(repr, new[:5]))}")


def _targets(data: Data, reference: Reference) -> Iterator[Finding]:
    for name, summary in reference.targets.items():
        if name not in data.train or summary.categories is None:
            continue
        present = {category_key(value) for value in data.train[name].dropna().unique()}
        if gone := sorted(set(summary.categories) - present):
            yield Finding("breaks", name, f"rows of every class, {', '.join(map(repr, gone))} too", "none")
        if (new := sorted(present - set(summary.categories))) and not summary.other:
            yield Finding("changed", name, "known classes", f"also {', '.join(map(repr, new))}")
