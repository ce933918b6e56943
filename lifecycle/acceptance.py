"""The limits of model.yaml held against what was measured."""

import math
from collections.abc import Callable, Mapping

from function.contract import Limit, Metric
from lifecycle.metrics import Measured
from lifecycle.recipe import Acceptance, Bound

Slices = Mapping[str, Mapping[str, float]]


def judge(
    acceptance: Acceptance,
    metrics: Mapping[str, Metric],
    slice_values: Slices,
    artifact_mb: float,
    where: Callable[[str], str],
) -> tuple[Limit, ...]:
    """Return every limit with the value that it was held against; what could not be measured misses its limit.

    `slice_values` holds the sliced metric by column and value; `where` tells on which line a key stands.
    """
    limits = []
    for name, bound in acceptance.metrics.items():
        named = name + _why_not(metrics, name)
        limits.append(_limit(named, f"acceptance.metrics.{name}", bound, _value(metrics, name), where))
    if acceptance.slices:
        for column, values in slice_values.items():
            if not values:
                name = f"{acceptance.slices.metric} by {column}, of which no value has enough rows"
                limits.append(_limit(name, "acceptance.slices", acceptance.slices, math.nan, where))
            for value, measured in values.items():
                why_not = _why_not(metrics, acceptance.slices.metric)
                name = f"{acceptance.slices.metric} where {column} is {value}{why_not}"
                limits.append(_limit(name, "acceptance.slices", acceptance.slices, measured, where))
    if acceptance.gap:
        metric = metrics.get(acceptance.gap.metric)
        gap = math.nan if metric is None or metric.train is None else metric.train - metric.value
        unknown = " (on training rows it is not known)" if metric and metric.train is None else ""
        why_not = _why_not(metrics, acceptance.gap.metric) or unknown
        name = f"{acceptance.gap.metric} on training minus test rows{why_not}"
        limits.append(_limit(name, "acceptance.gap", acceptance.gap, gap, where))
    if acceptance.artifact_mb:
        limits.append(_limit("artifact_mb", "acceptance.artifact_mb", acceptance.artifact_mb, artifact_mb, where))
    return tuple(limits)


def describe(limit: Limit) -> str:
    """Return a limit, the value found and where the limit stands, in one line."""
    found = "could not be measured" if limit.value is None else f"found {limit.value:.6g}"
    return f"{limit.name}: {limit.rule} expected, {found} ({limit.stands})"


def _value(metrics: Mapping[str, Metric], name: str) -> float:
    return metrics[name].value if name in metrics else math.nan


def _why_not(metrics: Mapping[str, Metric], name: str) -> str:
    """Return why a metric could not be measured, to stand after its name."""
    reason = metrics.reasons.get(name) if isinstance(metrics, Measured) else None
    return f" ({reason})" if reason else ""


def _limit(name: str, key: str, bound: Bound, value: float, where: Callable[[str], str]) -> Limit:
    measured = None if math.isnan(value) else value
    return Limit(name=name, stands=where(key), rule=bound.text(), value=measured, met=bound.holds(value))
