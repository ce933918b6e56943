"""Aligned and reduced time series, as timeSeries.list, dashboards and threshold conditions ask for them.

What the aligners and reducers take and give is written at
https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#aggregation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from tests.cloud.errors import invalid, required, unimplemented
from tests.cloud.instants import SECOND, read_duration, read_instant, write_instant
from tests.cloud.monitoring.filters import compile_filter, field_reader
from tests.cloud.monitoring.series import Descriptor, Distribution, Labels, Resource, Series, SeriesStore
from tests.cloud.schemas import Json

MINUTE = 60.0
Value = float | Distribution


@dataclass(frozen=True)
class Point:
    """A value over an interval, or at its end for a gauge; seconds since 1970."""

    start: float
    end: float
    value: Value


@dataclass(frozen=True)
class Result:
    """One time series of an answer, its points newest first."""

    descriptor: Descriptor  # its kind and value type are those of the points
    labels: Labels
    resource: Resource
    points: list[Point]

    def as_json(self, *, with_points: bool = True) -> Json:
        """Return it as the API's TimeSeries."""
        points = [self._point(point) for point in self.points] if with_points else []
        return {
            "metric": {"type": self.descriptor.type, "labels": dict(self.labels)},
            "resource": {"type": self.resource.type, "labels": dict(self.resource.labels)},
            "metricKind": self.descriptor.kind,
            "valueType": self.descriptor.value_type,
            "points": points,
        }

    def _point(self, point: Point) -> Json:
        start = point.end if self.descriptor.kind == "GAUGE" else point.start
        interval = {"startTime": _instant(start), "endTime": _instant(point.end)}
        return {"interval": interval, "value": VALUES[self.descriptor.value_type](point.value)}


VALUES: dict[str, Callable[[Any], Json]] = {
    "INT64": lambda value: {"int64Value": str(int(value))},
    "DOUBLE": lambda value: {"doubleValue": value},
    "DISTRIBUTION": lambda value: {"distributionValue": value.as_json()},
}


def list_time_series(store: SeriesStore, query: Mapping[str, Any]) -> list[Json]:
    """Return what timeSeries.list answers to its query parameters, all of it in one page.

    Raises CloudError: 400 where Google would refuse them, 501 for aggregations that the double does not do.
    """
    if "filter" not in query or "interval.endTime" not in query:
        raise required("filter" if "filter" not in query else "interval.endTime")
    if any(name.startswith("secondaryAggregation.") for name in query):
        raise unimplemented("secondaryAggregation")
    aggregation = {name.removeprefix("aggregation."): query[name] for name in query if name.startswith("aggregation.")}
    end = read_instant(query["interval.endTime"]) / SECOND
    start = read_instant(query["interval.startTime"]) / SECOND if "interval.startTime" in query else end - MINUTE
    if start > end:
        raise invalid("Field interval.startTime had an invalid value: it must not be after interval.endTime.")
    found = aggregate(select(store, query["filter"]), aggregation, start, end)
    return [one.as_json(with_points=query.get("view") != "HEADERS") for one in found if one.points]


def select(store: SeriesStore, text: str) -> list[Series]:
    """Return the series that a filter takes.

    Raises CloudError: 400 for a filter that does not say which metric it means.
    """
    if text.lstrip().startswith("select_slo_"):
        raise unimplemented("time series selectors of service level objectives in timeSeries.list")
    if "metric.type" not in text.replace(" ", ""):
        raise invalid(f'Field filter had an invalid value of "{text}": must specify a restriction on "metric.type".')
    predicate = compile_filter(text)
    return [one for one in store.all() if predicate(one)]


def aggregate(series: Iterable[Series], aggregation: Json, start: float, end: float) -> list[Result]:
    """Return series aligned and reduced as an Aggregation says, over (start, end].

    Raises CloudError: 400 or 501 for an aligner or reducer that the metric, or the double, does not have.
    """
    name = aggregation.get("perSeriesAligner", "ALIGN_NONE")
    reducer = aggregation.get("crossSeriesReducer", "REDUCE_NONE")
    if name == "ALIGN_NONE":
        if reducer != "REDUCE_NONE":
            raise invalid("A crossSeriesReducer needs a perSeriesAligner other than ALIGN_NONE.")
        return [_raw(one, start, end) for one in series]
    period = _period(aggregation)
    aligned = [_align(one, name, period, start, end) for one in series]
    if reducer == "REDUCE_NONE":
        return aligned
    return _reduce(aligned, reducer, tuple(aggregation.get("groupByFields", ())))


def check_aggregation(descriptor: Descriptor, aggregation: Json) -> None:
    """Refuse an aggregation that a metric cannot have, whether or not it has any data yet.

    Raises CloudError: as aggregate() does, and 400 for groupByFields that the metric does not have.
    """
    aggregate([Series(descriptor, (), Resource("", ()), [(0.0, 0.0)])], aggregation, -MINUTE, MINUTE)
    for field in aggregation.get("groupByFields", ()):
        field_reader(field)
        owner, *words = field.split(".", 2)
        if owner == "metric" and words != ["type"] and words[-1].strip('"') not in descriptor.labels:
            raise invalid(f"The metric {descriptor.type} has no label that {field} could mean.")


def percentile(distribution: Distribution, share: float) -> float:
    """Return a percentile of a histogram, its values taken to lie evenly between a bucket's bounds."""
    rank, below = share * distribution.count, 0
    bounds = distribution.bounds
    for index, count in enumerate(distribution.counts):
        if count and below + count >= rank:
            low = bounds[index - 1] if index else min(0.0, bounds[0])
            high = bounds[index] if index < len(bounds) else bounds[-1]
            return low + (high - low) * (rank - below) / count
        below += count
    return math.nan


def _period(aggregation: Json) -> float:
    try:
        period = read_duration(aggregation["alignmentPeriod"])
    except (KeyError, ValueError):
        raise invalid("Field aggregation.alignmentPeriod had an invalid value.") from None
    if period < MINUTE:
        raise invalid("Field aggregation.alignmentPeriod had an invalid value: it must be at least 60 seconds.")
    return period


def _raw(series: Series, start: float, end: float) -> Result:
    """Return the points as they were written: a gauge's readings, the minutes of a DELTA metric."""
    if series.descriptor.kind == "GAUGE":
        points = [Point(at, at, value) for at, value in series.between(start, end)]
    else:
        points = _minutes(series, start, end)
    return Result(series.descriptor, series.labels, series.resource, points[::-1])


def _minutes(series: Series, start: float, end: float) -> list[Point]:
    values: dict[float, list[float]] = {}
    for at, value in series.between(start, end):
        values.setdefault(math.floor(at / MINUTE) * MINUTE, []).append(value)
    return [Point(minute, minute + MINUTE, _join(series, found)) for minute, found in values.items()]


def _join(series: Series, values: list[float]) -> Value:
    if series.descriptor.value_type == "DISTRIBUTION":
        return Distribution.of(series.descriptor.bounds, values)
    return sum(values)


@dataclass(frozen=True)
class _Aligner:
    kinds: tuple[str, ...]
    distributions: bool
    value_type: str | None  # None: the metric's own
    compute: Callable[[Series, float, float], Value]


def _align(series: Series, name: str, period: float, start: float, end: float) -> Result:
    """Return one point for each period that holds data, counted back from the end."""
    aligner = _aligner(series.descriptor, name)
    points = []
    for index in range(math.ceil((end - start) / period)):
        last = end - index * period
        if series.between(last - period, last):
            points.append(Point(last - period, last, aligner.compute(series, last - period, last)))
    value_type: Any = aligner.value_type or series.descriptor.value_type
    kind: Any = "DELTA" if name == "ALIGN_DELTA" else "GAUGE"
    return Result(replace(series.descriptor, kind=kind, value_type=value_type), series.labels, series.resource, points)


def _aligner(descriptor: Descriptor, name: str) -> _Aligner:
    if name not in ALIGNERS:
        raise unimplemented(f"the aligner {name}")
    aligner, is_distribution = ALIGNERS[name], descriptor.value_type == "DISTRIBUTION"
    takes = aligner.distributions if is_distribution else not name.startswith("ALIGN_PERCENTILE")
    if not takes or descriptor.kind not in aligner.kinds:
        raise invalid(
            f"The aligner {name} cannot be applied to metrics with kind {descriptor.kind} and value type "
            f"{descriptor.value_type}."
        )
    return aligner


def _numbers(series: Series, start: float, end: float) -> list[float]:
    """Return the values of the points within a period."""
    if series.descriptor.kind == "GAUGE":
        return [value for _, value in series.between(start, end)]
    return [point.value for point in _minutes(series, start, end) if isinstance(point.value, float | int)]


def _whole(series: Series, start: float, end: float) -> Value:
    return _join(series, [value for _, value in series.between(start, end)])


def _rate(series: Series, start: float, end: float) -> float:
    return sum(value for _, value in series.between(start, end)) / (end - start)


def _of_points(compute: Callable[[list[float]], float]) -> Callable[[Series, float, float], Value]:
    return lambda series, start, end: compute(_numbers(series, start, end))


def _percentile_aligner(share: float) -> _Aligner:
    compute = lambda series, start, end: percentile(series.distribution(start, end), share)  # noqa: E731
    return _Aligner(("DELTA", "GAUGE"), True, "DOUBLE", compute)


BOTH = ("DELTA", "GAUGE")
PERCENTILES = {"99": 0.99, "95": 0.95, "50": 0.50, "05": 0.05}
ALIGNERS: dict[str, _Aligner] = {
    "ALIGN_DELTA": _Aligner(("DELTA",), True, None, _whole),
    "ALIGN_RATE": _Aligner(("DELTA",), False, "DOUBLE", _rate),
    "ALIGN_SUM": _Aligner(BOTH, True, None, _whole),
    "ALIGN_MEAN": _Aligner(BOTH, False, "DOUBLE", _of_points(fmean)),
    "ALIGN_MAX": _Aligner(BOTH, False, None, _of_points(max)),
    "ALIGN_MIN": _Aligner(BOTH, False, None, _of_points(min)),
    "ALIGN_COUNT": _Aligner(BOTH, False, "INT64", _of_points(len)),
    "ALIGN_NEXT_OLDER": _Aligner(("GAUGE",), False, None, _of_points(lambda values: values[-1])),
    **{f"ALIGN_PERCENTILE_{name}": _percentile_aligner(share) for name, share in PERCENTILES.items()},
}


def _reduce(aligned: list[Result], name: str, fields: tuple[str, ...]) -> list[Result]:
    if name not in REDUCERS:
        raise unimplemented(f"the reducer {name}")
    groups: dict[tuple[str | None, ...], list[Result]] = {}
    for one in aligned:
        key = tuple(field_reader(field)(_as_series(one)) for field in fields)
        groups.setdefault(key, []).append(one)
    return [_reduced(members, name, fields) for members in groups.values()]


def _reduced(members: list[Result], name: str, fields: tuple[str, ...]) -> Result:
    value_type, compute = REDUCERS[name]
    values: dict[tuple[float, float], list[Value]] = {}
    for one in members:
        for point in one.points:
            values.setdefault((point.start, point.end), []).append(point.value)
    points = [Point(*interval, compute(values[interval])) for interval in sorted(values, reverse=True)]
    first = members[0]
    descriptor = replace(first.descriptor, value_type=value_type or first.descriptor.value_type)
    resource = Resource(first.resource.type, _kept(first.resource.labels, "resource", fields))
    return Result(descriptor, _kept(first.labels, "metric", fields), resource, points)


def _kept(labels: Labels, owner: str, fields: tuple[str, ...]) -> Labels:
    names = {f"{owner}.{word}.{name}": name for word in ("label", "labels") for name, _ in labels}
    wanted = {names[field.replace('"', "")] for field in fields if field.replace('"', "") in names}
    return tuple((name, value) for name, value in labels if name in wanted)


def _as_series(result: Result) -> Series:
    return Series(result.descriptor, result.labels, result.resource)


def _merge(values: list[Value]) -> Value:
    distributions = [value for value in values if isinstance(value, Distribution)]
    if not distributions:
        return sum(value for value in values if not isinstance(value, Distribution))
    counts = tuple(map(sum, zip(*(one.counts for one in distributions), strict=True)))
    total = sum(one.total for one in distributions)
    mean = total / max(1, sum(counts))
    squares = sum(one.squares + one.count * (one.mean - mean) ** 2 for one in distributions)
    return Distribution(distributions[0].bounds, counts, total, squares)


def _mean(values: list[Value]) -> float:
    merged = _merge(values)
    return merged.mean if isinstance(merged, Distribution) else merged / len(values)


def _percentile_of(values: list[Value], share: float) -> float:
    merged = _merge(values)
    if isinstance(merged, Distribution):
        return percentile(merged, share)
    ordered = sorted(value for value in values if not isinstance(value, Distribution))
    low = math.floor(share * (len(ordered) - 1))
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (share * (len(ordered) - 1) - low)


def _extreme(pick: Callable[..., Any]) -> Callable[[list[Value]], Value]:
    def extreme(values: list[Value]) -> Value:
        if isinstance(values[0], Distribution):
            raise invalid("REDUCE_MIN and REDUCE_MAX cannot be applied to distributions.")
        found: Value = pick(values)
        return found

    return extreme


def _percentile_reducer(share: float) -> Callable[[list[Value]], Value]:
    return lambda values: _percentile_of(values, share)


REDUCERS: dict[str, tuple[Any, Callable[[list[Value]], Value]]] = {
    "REDUCE_SUM": (None, _merge),
    "REDUCE_MEAN": ("DOUBLE", _mean),
    "REDUCE_MAX": (None, _extreme(max)),
    "REDUCE_MIN": (None, _extreme(min)),
    "REDUCE_COUNT": ("INT64", lambda values: float(len(values))),
    **{f"REDUCE_PERCENTILE_{name}": ("DOUBLE", _percentile_reducer(share)) for name, share in PERCENTILES.items()},
}


def _instant(seconds: float) -> str:
    # floats of seconds hold microseconds
    return write_instant(round(seconds * 1e6) * 1000)
