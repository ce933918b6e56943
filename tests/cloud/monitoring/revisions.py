"""What Cloud Run reports of its revisions: instances, starts, CPU, memory, concurrency and paid time.

Cloud Run samples every minute; whoever has its facts calls `measure` as often as it likes, and each call is
one sample.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.cloud.logging.entries import resource_of
from tests.cloud.monitoring import series
from tests.cloud.monitoring.series import Resource, SeriesStore
from tests.cloud.run.pools import InstanceFacts
from tests.cloud.run.services import RevisionFacts


class Meter:
    """Turns facts into time series; it remembers what it saw last, as shares of CPU need two moments."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._starts: dict[str, int] = {}
        self._cpu: dict[str, tuple[float, float]] = {}
        self._paid: dict[str, float] = {}

    def measure(self, facts: Iterable[RevisionFacts], at: float) -> None:
        """Record one sample of every revision, at a time in seconds since 1970."""
        for one in facts:
            resource = Resource.of(resource_of(one.origin))
            series.record_instances(self._store, resource, at, active=one.pool.active, idle=one.pool.idle)
            self._record_starts(one, resource, at)
            self._record_paid_time(one, resource, at)
            for instance in one.pool.instances:
                self._record_usage(one, instance, resource, at)
                series.record_concurrency(self._store, resource, at, instance.requests)

    def _record_starts(self, facts: RevisionFacts, resource: Resource, at: float) -> None:
        known = self._starts.get(facts.origin.revision, 0)
        for seconds in facts.pool.startup_seconds[known:]:
            series.record_start(self._store, resource, at, seconds)
        self._starts[facts.origin.revision] = len(facts.pool.startup_seconds)

    def _record_paid_time(self, facts: RevisionFacts, resource: Resource, at: float) -> None:
        """Count the instances with requests under way as paid since the last sample: request-based billing, roughly."""
        since = self._paid.get(facts.origin.revision, at)
        self._paid[facts.origin.revision] = at
        if facts.pool.active and at > since:
            series.record_billable_time(self._store, resource, at, facts.pool.active * (at - since))

    def _record_usage(self, facts: RevisionFacts, instance: InstanceFacts, resource: Resource, at: float) -> None:
        before = self._cpu.get(instance.id)
        self._cpu[instance.id] = (at, instance.cpu_seconds)
        if before is not None and at > before[0]:
            cpu = (instance.cpu_seconds - before[1]) / (at - before[0]) / facts.cpu
            series.record_usage(self._store, resource, at, cpu=cpu, memory=instance.rss_bytes / facts.memory_bytes)
