"""The training data's summary: what new data and live requests are compared with. It holds no row."""

import base64
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from function.contract import Feature, Label, Signature
from lifecycle.frames import row_hashes

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
BINS = 10
MOST_HASHES = 100_000  # 4 bytes each; of more rows the lowest hashes are kept, which are a sample of the rows
RAREST_SHOWN = 5  # a value that fewer rows share is counted, but not named


class Summary(BaseModel):
    """A column: how much is missing, and how the rest is spread. `edges` and `counts` are equally filled bins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str
    rows: int
    missing_rate: float
    mean: float | None = None
    deviation: float | None = None
    quantiles: dict[str, float] | None = None
    edges: tuple[float, ...] | None = None
    counts: tuple[int, ...] | None = None
    categories: dict[str, int] | None = None
    other: int | None = None  # rows whose value is not named in `categories`
    lengths: dict[str, float] | None = None  # of free text, in characters


class Reference(BaseModel):
    """reference.json: every feature and every target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    features: dict[str, Summary]
    targets: dict[str, Summary]
    # 32 bits of a hash of each row's features, sorted: later versions ask whether a row was among them. Old versions
    # have none.
    hashes: str | None = None

    def trained_on(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Tell of rows' hashes whether they were trained on, and whether that is known; None where nothing is."""
        if self.hashes is None:
            return None
        own = np.frombuffer(base64.b64decode(self.hashes), dtype="<u4")
        known = hashes <= own[-1] if len(own) == MOST_HASHES else np.ones(len(hashes), dtype=bool)
        return np.isin(hashes, own), known


def summarize(frame: pd.DataFrame, signature: Signature) -> Reference:
    """Return the summary of a training frame."""
    return Reference(
        rows=len(frame),
        features={feature.name: _feature(frame[feature.name], feature) for feature in signature.features},
        targets={
            output.name: _categorical(frame[output.name], "label") if output.classes else _numbers(frame[output.name])
            for output in signature.outputs
            if output.name in frame.columns
        },
        hashes=_hashes(frame[[feature.name for feature in signature.features]]),
    )


def _hashes(frame: pd.DataFrame) -> str:
    lowest = np.unique(row_hashes(frame))[:MOST_HASHES]
    return base64.b64encode(lowest.astype("<u4").tobytes()).decode()


def _feature(column: pd.Series, feature: Feature) -> Summary:
    if feature.categories is not None or feature.type == "boolean":
        return _categorical(column, feature.type)
    if feature.type == "text":
        lengths = column.dropna().str.len().astype(float)
        return Summary(**_head(column, "text"), lengths=_quantiles(lengths))
    if feature.type == "datetime":
        moments = column.dropna().astype("int64").astype(float)
        return Summary(**_head(column, "datetime"), quantiles=_quantiles(moments))
    return _numbers(column, feature.type)


def _numbers(column: pd.Series, kind: str = "number") -> Summary:
    values = column.dropna().astype(float)
    values = values[np.isfinite(values)]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1))) if len(values) else np.array([])
    counts = np.histogram(values, edges)[0] if len(edges) > 1 else np.array([len(values)])
    return Summary(
        **_head(column, kind),
        mean=float(values.mean()) if len(values) else None,
        deviation=float(values.std(ddof=0)) if len(values) else None,
        quantiles=_quantiles(values),
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in counts),
    )


def _categorical(column: pd.Series, kind: str) -> Summary:
    counts = {category_key(value): int(count) for value, count in column.dropna().value_counts().items() if count}
    named = {key: count for key, count in counts.items() if count >= RAREST_SHOWN}
    return Summary(**_head(column, kind), categories=named, other=sum(counts.values()) - sum(named.values()))


def category_key(value: Label) -> str:
    """Return a category as it stands in reference.json."""
    return str(value)


def _quantiles(values: pd.Series) -> dict[str, float] | None:
    return {str(q): float(np.quantile(values, q)) for q in QUANTILES} if len(values) else None


def _head(column: pd.Series, kind: str) -> dict[str, Any]:
    return {"type": kind, "rows": len(column), "missing_rate": float(column.isna().mean())}
