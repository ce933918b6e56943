"""Rows built to break a compiled model: missing, extreme, denormal, unseen, empty, or a hair beside a threshold."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from function.contract import Feature, Signature
from function.validation import Columns

MOST_THRESHOLDS = 100
MOST_CATEGORIES = 40
# Empty, blank, accents composed and combining, letters whose lower case is longer, ligatures, digits of other scripts,
# right to left, emoji with joiners, control characters, and words that no tokenizer agrees on.
TEXTS = (
    *("", " ", "\t\n ", "a", "ab", "Zürich", "Zu\u0308rich", "İstanbul", "ǆ", "ﬁne ﬂow", "STRASSE straße", "١٢٣ ४५"),
    *("שלום עולם", "👩‍👩‍👧 ok 🎉🎉", "\x00nul\x1f", "it's e-mail@host.tld", "x" * 300, "ß" * 3),
    *("日本語 テスト", "a b  c   d"),
    *("_under_score_", "1e5 -0.0 NaN", "\u200bzero\u00a0width", "naïve café résumé", "…—–“”"),
)
TINY = (0.0, -0.0, 5e-324, -5e-324, 1e-310, 2.2250738585072014e-308)
ODD = (0.1, -1.0, 1 / 3, 16777217.0, 9007199254740993.0)


def hard_rows(signature: Signature, blocks: Sequence[Columns], thresholds: Sequence[float]) -> list[Columns]:
    """Return two blocks of rows, each a real row with one value replaced: hard ones, and such as most models refuse."""
    if not blocks:
        return []
    base = blocks[0]
    count = len(base[signature.features[0].name])
    rows: list[dict[str, Any]] = []
    extreme: list[dict[str, Any]] = []
    for feature in signature.features:
        for target, values in ((rows, _values(feature, thresholds, base[feature.name])), (extreme, _extremes(feature))):
            for value in values:
                real = len(target) * 7919 % count  # spread over the block, the same rows each time
                target.append({name: column[real] for name, column in base.items()} | {feature.name: value})
    rows += _whole_rows(signature)
    return [{name: [row[name] for row in part] for name in base} for part in (rows, extreme) if part]


def _whole_rows(signature: Signature) -> list[dict[str, Any]]:
    """Return rows that are hard everywhere: all missing, all lowest, all highest."""
    kinds = ("missing", "lowest", "highest")
    return [{feature.name: _one(feature, kind) for feature in signature.features} for kind in kinds]


def _one(feature: Feature, kind: str) -> Any:
    if kind == "missing" and feature.nullable:
        return None
    if feature.minimum is not None and kind != "missing":
        bound = feature.minimum if kind == "lowest" else feature.maximum
        return _fit(feature, float(bound or 0.0))
    if feature.categories:
        return feature.categories[0 if kind == "lowest" else -1]
    return pd.Timestamp(str(feature.example)) if feature.type == "datetime" else feature.example


def _values(feature: Feature, thresholds: Sequence[float], real: Sequence[Any]) -> list[Any]:
    values: list[Any] = [None] if feature.nullable else []
    if feature.type == "boolean":
        return [*values, True, False]
    if feature.type == "text":
        known = [str(value) for value in (feature.categories or ())[:MOST_CATEGORIES]]
        words = [str(value) for value in real[:5] if value]
        return [*values, *known, *(word.upper() for word in [*known[:3], *words]), *TEXTS]
    if feature.type == "datetime" or feature.categories is not None:
        return [*values, *(feature.categories or ())]
    low, high = feature.bounds() or (-math.inf, math.inf)
    near = [one for one in thresholds if low <= one <= high]
    near = near[:: max(len(near) // MOST_THRESHOLDS, 1)]
    wanted = [*TINY, *ODD, *_beside([feature.minimum or 0.0, feature.maximum or 0.0, *near], feature)]
    return [*values, *(_fit(feature, one) for one in wanted)]


def _extremes(feature: Feature) -> list[Any]:
    if feature.type not in ("integer", "number") or feature.categories is not None:
        return []
    if feature.type == "integer":
        limits = np.iinfo(np.dtype(feature.dtype.lower()) if feature.dtype != "object" else np.int64)
        return [int(limits.min), int(limits.max)]
    single = feature.dtype.lower() == "float32"
    largest = float(np.finfo(np.float32 if single else np.float64).max)
    return [largest, -largest, float(np.finfo(np.float32).max), 1e30, -1e30]


def _beside(numbers: Sequence[float], feature: Feature) -> list[float]:
    """Return numbers with their neighbours in double and in single precision, or the integers around them."""
    found = []
    for number in numbers:
        single = np.float32(number)
        found += [number, math.nextafter(number, -math.inf), math.nextafter(number, math.inf), float(single)]
        found += [float(np.nextafter(single, np.float32(sign * np.inf))) for sign in (-1, 1)]
        found += [number - 1, number + 1] if feature.type == "integer" else []
    return [number for number in found if math.isfinite(number)]


def _fit(feature: Feature, number: float) -> Any:
    """Return a number as the feature's type and width hold it."""
    if feature.type != "integer":
        return number
    limits = np.iinfo(np.dtype(feature.dtype.lower()) if feature.dtype != "object" else np.int64)
    return min(max(int(number), int(limits.min)), int(limits.max))
