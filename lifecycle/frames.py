"""Frames: reading them, what type a column is, and how a row becomes a raw instance."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from function.contract import Feature
from lifecycle.errors import DataRefused

FeatureType = Literal["integer", "number", "boolean", "text", "datetime"]

_INFERRED: dict[str, FeatureType] = {
    "string": "text",
    "boolean": "boolean",
    "integer": "integer",
    "floating": "number",
    "mixed-integer-float": "number",
}


def read_frame(path: Path) -> pd.DataFrame:
    """Return a CSV or Parquet file's frame; raises DataRefused for anything else."""
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pq": pd.read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataRefused(f"Examples are read from .csv or .parquet, found {path.name}.")
    try:
        frame = reader(path)
    except Exception as error:
        raise DataRefused(f"{path.name} cannot be read: {error}") from error
    if frame.empty:
        raise DataRefused(f"{path.name} holds no rows.")
    return frame


def column_type(column: pd.Series) -> FeatureType:
    """Return what callers send for a column; raises DataRefused for a column that JSON cannot hold."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        kind = column_type(pd.Series(dtype.categories, name=column.name))
        if kind == "datetime":
            raise DataRefused(f"{column.name}: holds dates as categories; make them dates or text")
        return kind
    if isinstance(dtype, pd.ArrowDtype):
        raise DataRefused(f"{column.name}: the image has no pyarrow; use the dtype that pandas has without it.")
    checks: list[tuple[Any, FeatureType]] = [
        (pd.api.types.is_bool_dtype, "boolean"),
        (pd.api.types.is_integer_dtype, "integer"),
        (pd.api.types.is_float_dtype, "number"),
        (pd.api.types.is_datetime64_any_dtype, "datetime"),
    ]
    for check, name in checks:
        if check(dtype):
            return name
    if isinstance(dtype, pd.StringDtype):
        return "text"
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if not pd.api.types.is_object_dtype(dtype) or inferred not in _INFERRED:
        raise DataRefused(
            f"{column.name}: holds {inferred} values of dtype {dtype}; "
            "a feature holds numbers, text, booleans or dates with times"
        )
    return _INFERRED[inferred]


def raw_instances(frame: pd.DataFrame, features: tuple[Feature, ...]) -> list[dict[str, Any]]:
    """Return each row as a caller would send it: JSON values, None where missing."""
    return plain_rows(frame[[feature.name for feature in features]])


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each row of a frame as JSON values by column, None where missing."""
    columns = [[_json_value(value) for value in frame[name]] for name in frame.columns]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def digest(*frames: pd.DataFrame) -> str:
    """Return the SHA-256 of frames' names and values, whatever built them."""
    content = hashlib.sha256()
    for frame in frames:
        content.update("\0".join(map(str, frame.columns)).encode())
        content.update(pd.util.hash_pandas_object(frame.astype(object).map(repr), index=False).to_numpy().tobytes())
    return content.hexdigest()


def row_hashes(frame: pd.DataFrame) -> np.ndarray:
    """Return 32 bits of a hash for each row, whatever the order of the columns and however they hold their values."""
    plain = pd.DataFrame({name: _hashable(frame[name]) for name in sorted(frame.columns)})
    hashes = pd.util.hash_pandas_object(plain, index=False).to_numpy()
    return np.asarray(hashes >> np.uint64(32), dtype=np.uint32)


def _hashable(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return np.asarray(column.to_numpy(dtype=float, na_value=np.nan) + 0.0)  # -0.0 becomes 0.0
    return np.array(["" if text is None else repr(text) for text in map(_json_value, column)], dtype=object)


def _json_value(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
