"""Makes up what prediction records leave out or hash, from the training data's summary; never from anybody's data."""

import random
from collections.abc import Mapping
from typing import Any

from function.contract import Feature, Label
from lifecycle.reference import Summary, category_key


def fill(feature: Feature, summary: Summary | None, chance: random.Random) -> Label | None:
    """Return a value as the training data had them, each feature for itself; dates and texts are always the example."""
    if summary is None:
        return feature.example
    if feature.nullable and chance.random() < summary.missing_rate:
        return None
    if summary.categories:
        return _category(feature, summary.categories, chance)
    if summary.edges and summary.counts and len(summary.edges) > 1:
        return _number(feature, summary.edges, summary.counts, chance)
    return feature.example


def _category(feature: Feature, counts: Mapping[str, int], chance: random.Random) -> Label | None:
    known: tuple[Any, ...] = (False, True) if feature.type == "boolean" else feature.categories or ()
    named = {category_key(value): value for value in known}
    weights = {key: count for key, count in counts.items() if key in named}
    if not weights:
        return feature.example
    (key,) = chance.choices(list(weights), list(weights.values()))
    value: Label = named[key]
    return value


def _number(feature: Feature, edges: tuple[float, ...], counts: tuple[int, ...], chance: random.Random) -> float:
    (index,) = chance.choices(range(len(counts)), counts)
    value = chance.uniform(edges[index], edges[index + 1])
    return round(value) if feature.type == "integer" else value
