"""Time series as Cloud Monitoring keeps them, and the metrics that Cloud Run and log-based metrics write.

Times are seconds since 1970. What is kept is each single increment, observation or reading with its own time; points
of a minute and distributions are made when somebody asks, so nothing has to wait for a minute to end.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.cloud.logging import extract
from tests.cloud.schemas import Json

MetricKind = Literal["DELTA", "GAUGE"]
ValueType = Literal["BOOL", "INT64", "DOUBLE", "DISTRIBUTION"]
Labels = tuple[tuple[str, str], ...]
RUN = "run.googleapis.com/"


@dataclass(frozen=True)
class Descriptor:
    """A metric: its type, what its values are, and for distributions the bounds between the buckets."""

    type: str
    kind: MetricKind
    value_type: ValueType
    unit: str = "1"
    bounds: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """A monitored resource."""

    type: str
    labels: Labels

    @classmethod
    def of(cls, resource: Json) -> Resource:
        """Return the resource that a JSON document describes."""
        return cls(resource["type"], freeze(resource.get("labels", {})))


@dataclass(frozen=True)
class Distribution:
    """A histogram: how many values lie below the first bound, between each two, and from the last one up."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float
    squares: float  # sum of squared deviations from the mean

    @classmethod
    def of(cls, bounds: tuple[float, ...], values: Iterable[float]) -> Distribution:
        """Return the histogram of some values; a bucket has its lower bound and not its upper one."""
        kept = list(values)
        counts = [0] * (len(bounds) + 1)
        for value in kept:
            counts[bisect.bisect_right(bounds, value)] += 1
        mean = sum(kept) / len(kept) if kept else 0.0
        return cls(bounds, tuple(counts), sum(kept), sum((value - mean) ** 2 for value in kept))

    @property
    def count(self) -> int:
        """How many values it holds."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """The values' mean, 0 where there is none."""
        return self.total / self.count if self.count else 0.0

    def as_json(self) -> Json:
        """Return it as the API's Distribution, which leaves trailing empty buckets out."""
        filled = max((index + 1 for index, count in enumerate(self.counts) if count), default=0)
        return {
            "count": str(self.count),
            "mean": self.mean,
            "sumOfSquaredDeviation": self.squares,
            "bucketOptions": {"explicitBuckets": {"bounds": list(self.bounds)}},
            "bucketCounts": [str(count) for count in self.counts[:filled]],
        }


@dataclass
class Series:
    """One time series: what was recorded, oldest first."""

    descriptor: Descriptor
    labels: Labels
    resource: Resource
    records: list[tuple[float, float]] = field(default_factory=list)

    def between(self, start: float, end: float) -> list[tuple[float, float]]:
        """Return the records after `start`, up to and with `end`, as Cloud Monitoring's intervals have it."""
        first = bisect.bisect_right(self.records, start, key=_time)
        return self.records[first : bisect.bisect_right(self.records, end, key=_time)]

    def distribution(self, start: float, end: float) -> Distribution:
        """Return the histogram of what was observed in an interval."""
        return Distribution.of(self.descriptor.bounds, (value for _, value in self.between(start, end)))


class SeriesStore:
    """Every time series of a project."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, Labels, Resource], Series] = {}
        self._lock = threading.Lock()

    def record(
        self, descriptor: Descriptor, labels: Mapping[str, str], resource: Resource, at: float, value: float = 1
    ) -> None:
        """Add an increment, an observation or a reading to the series with these labels."""
        key = (descriptor.type, freeze(labels), resource)
        with self._lock:
            series = self._series.setdefault(key, Series(descriptor, key[1], resource))
            bisect.insort(series.records, (at, float(value)), key=_time)

    def all(self, metric_type: str | None = None) -> list[Series]:
        """Return copies of the series, of one metric or of all."""
        with self._lock:
            chosen = [one for one in self._series.values() if metric_type in (None, one.descriptor.type)]
            return [Series(one.descriptor, one.labels, one.resource, list(one.records)) for one in chosen]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._series.clear()


def freeze(labels: Mapping[str, str]) -> Labels:
    """Return labels in the form in which they can be compared."""
    return tuple(sorted(labels.items()))


def log_metric_descriptor(metric: Json) -> Descriptor:
    """Return the metric that a LogMetric makes in Cloud Monitoring."""
    given = metric.get("metricDescriptor", {})
    labels = tuple(label["key"] for label in given.get("labels", []))
    unit = given.get("unit") or "1"
    if not extract.is_distribution(metric):
        return Descriptor(extract.metric_type(metric), "DELTA", "INT64", unit, labels=labels)
    bounds = extract.bucket_bounds(metric.get("bucketOptions") or extract.DEFAULT_BUCKETS)
    return Descriptor(extract.metric_type(metric), "DELTA", "DISTRIBUTION", unit, bounds, labels)


def record_entry(store: SeriesStore, metrics: Iterable[Json], entry: Json, at: float) -> list[Json]:
    """Count an entry, at its time, in every log-based metric that takes it; return these."""
    increments = [(metric, extract.extract(metric, entry)) for metric in metrics]
    counted = [(metric, increment) for metric, increment in increments if increment is not None]
    for metric, increment in counted:
        resource = Resource.of(entry["resource"])
        store.record(log_metric_descriptor(metric), increment.labels, resource, at, increment.value)
    return [metric for metric, _ in counted]


def record_request(store: SeriesStore, resource: Resource, at: float, status: int, latency_seconds: float) -> None:
    """Count a request that a Cloud Run revision answered."""
    labels = {"response_code": str(status), "response_code_class": f"{status // 100}xx"}
    store.record(REQUEST_COUNT, labels, resource, at)
    store.record(REQUEST_LATENCIES, labels, resource, at, latency_seconds * 1000)


def record_start(store: SeriesStore, resource: Resource, at: float, latency_seconds: float) -> None:
    """Record that an instance became ready, and how long that took."""
    store.record(STARTUP_LATENCIES, {}, resource, at, latency_seconds * 1000)


def record_instances(store: SeriesStore, resource: Resource, at: float, *, active: int, idle: int) -> None:
    """Record how many instances of a revision there are."""
    store.record(INSTANCE_COUNT, {"state": "active"}, resource, at, active)
    store.record(INSTANCE_COUNT, {"state": "idle"}, resource, at, idle)


def record_usage(store: SeriesStore, resource: Resource, at: float, *, cpu: float, memory: float) -> None:
    """Record what share of its CPU and of its memory one instance uses, both from 0 to 1."""
    store.record(CPU_UTILIZATIONS, {}, resource, at, cpu)
    store.record(MEMORY_UTILIZATIONS, {}, resource, at, memory)


def record_concurrency(store: SeriesStore, resource: Resource, at: float, most: int) -> None:
    """Record how many requests an instance served at once at most, over the last minute."""
    store.record(MAX_CONCURRENCIES, {"state": "active" if most else "idle"}, resource, at, most)


def record_billable_time(store: SeriesStore, resource: Resource, at: float, seconds: float) -> None:
    """Record time that is paid for."""
    store.record(BILLABLE_TIME, {}, resource, at, seconds)


def _time(record: tuple[float, float]) -> float:
    return record[0]


def _exponential(scale: float, growth: float, finite: int) -> tuple[float, ...]:
    options = {"exponentialBuckets": {"scale": scale, "growthFactor": growth, "numFiniteBuckets": finite}}
    return extract.bucket_bounds(options)


# https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-run; the buckets of latencies are those that exporters
# of real projects show, those of shares and concurrencies are the double's own (Google does not document any).
_LATENCIES = _exponential(10, 1.1, 134)
_SHARES = tuple(index / 100 for index in range(101))
_CODES = ("response_code", "response_code_class")
REQUEST_COUNT = Descriptor(RUN + "request_count", "DELTA", "INT64", labels=_CODES)
REQUEST_LATENCIES = Descriptor(RUN + "request_latencies", "DELTA", "DISTRIBUTION", "ms", _LATENCIES, _CODES)
INSTANCE_COUNT = Descriptor(RUN + "container/instance_count", "GAUGE", "INT64", labels=("state",))
STARTUP_LATENCIES = Descriptor(RUN + "container/startup_latencies", "DELTA", "DISTRIBUTION", "ms", _LATENCIES)
CPU_UTILIZATIONS = Descriptor(RUN + "container/cpu/utilizations", "DELTA", "DISTRIBUTION", "10^2.%", _SHARES)
MEMORY_UTILIZATIONS = Descriptor(RUN + "container/memory/utilizations", "DELTA", "DISTRIBUTION", "10^2.%", _SHARES)
MAX_CONCURRENCIES = Descriptor(
    RUN + "container/max_request_concurrencies", "DELTA", "DISTRIBUTION", "1", _exponential(1, 1.4, 19), ("state",)
)
BILLABLE_TIME = Descriptor(RUN + "container/billable_instance_time", "DELTA", "DOUBLE", "s")
RUN_METRICS = {
    one.type: one
    for one in (
        REQUEST_COUNT,
        REQUEST_LATENCIES,
        INSTANCE_COUNT,
        STARTUP_LATENCIES,
        CPU_UTILIZATIONS,
        MEMORY_UTILIZATIONS,
        MAX_CONCURRENCIES,
        BILLABLE_TIME,
    )
}
