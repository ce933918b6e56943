"""What a project's services say of themselves: their log entries and time series, and which alerts these raise.

Cloud Run's runtime hands over lines, requests and what it knows of its revisions; everything else follows: log-based
metrics count the entries, sinks take them, policies are evaluated on demand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

from tests.cloud.errors import CloudError, invalid, unimplemented
from tests.cloud.instants import SECOND, read_instant
from tests.cloud.logging import extract
from tests.cloud.logging.entries import (
    Origin,
    RequestFacts,
    read_line,
    request_entry,
    resource_of,
    system_entry,
    trigger_entry,
)
from tests.cloud.logging.store import Entries, is_countable, taking_sinks
from tests.cloud.monitoring import evaluation, promql, series
from tests.cloud.monitoring.evaluation import PolicyState
from tests.cloud.monitoring.revisions import Meter
from tests.cloud.monitoring.series import Resource, SeriesStore
from tests.cloud.project import Project
from tests.cloud.run.services import RevisionFacts
from tests.cloud.schemas import Json

METRICS = "logging.projects.metrics"
SINKS = "logging.projects.sinks"
POLICIES = "monitoring.projects.alertPolicies"
OBJECTIVES = "monitoring.services.serviceLevelObjectives"
DESCRIPTORS = "monitoring.projects.metricDescriptors"
# Takes an entry to the destination of a LogSink.
Delivery = Callable[[Json, Json], None]


class Signals:
    """The logs and time series of a project; its methods may be called from any thread."""

    def __init__(self, project: Project, clock: Callable[[], int] = time.time_ns) -> None:
        """Keep time by a clock of nanoseconds since 1970."""
        self.entries = Entries(clock)
        self.series = SeriesStore()
        self._meter = Meter(self.series)
        self._project = project
        self._deliveries: list[Delivery] = []
        self.entries.subscribe(self._count)
        self.entries.subscribe(self._export)

    def deliver(self, delivery: Delivery) -> None:
        """Hand each entry that a sink takes to this function, with the sink."""
        self._deliveries.append(delivery)

    def line(self, origin: Origin, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Log a line that a container printed."""
        entry = read_line(text, stream, origin, self.entries.now(), self.entries.new_id())
        if entry is not None:
            self.entries.add(entry)

    def system(self, origin: Origin, text: str, severity: str) -> None:
        """Log something that the platform did to an instance."""
        self.entries.add(system_entry(text, severity, origin, self.entries.now(), self.entries.new_id()))

    def requested(self, facts: RequestFacts) -> None:
        """Log and count a request that Cloud Run is done with."""
        entry = request_entry(facts, self.entries.now(), self.entries.new_id())
        self.entries.add(entry)
        latency = float(facts.http_request["latency"].rstrip("s"))
        at = facts.timestamp.timestamp() + latency
        resource = Resource.of(resource_of(facts.origin))
        series.record_request(self.series, resource, at, facts.http_request["status"], latency)

    def not_triggered(self, trigger: Json, fault: CloudError) -> None:
        """Log that an event which a build trigger answers made no build, and why."""
        self.entries.add(trigger_entry(self._project.id, trigger, fault, self.entries.now(), self.entries.new_id()))

    def measure(self, facts: Iterable[RevisionFacts]) -> None:
        """Take one sample of what the runtime knows of its revisions."""
        self._meter.measure(facts, self.now())

    def evaluate(self, at: float | None = None) -> list[PolicyState]:
        """Return the state of every alert policy of the project at a time, by default now.

        Raises CloudError: 501, also where a policy is PromQL and Prometheus is not installed.
        """
        policies, objectives = self._resources(POLICIES), self._objectives()
        moment = self.now() if at is None else at
        try:
            return evaluation.evaluate(policies, self.series, moment, objectives)
        except promql.NoPrometheusError as missing:
            raise no_prometheus(missing) from None

    def now(self) -> float:
        """Return the clock's time in seconds since 1970."""
        return self.entries.now() / SECOND

    def _resources(self, collection: str) -> list[Json]:
        # Copied at once and not under the project's lock: a deployment that waits for a line may hold it.
        return list(self._project.resources(collection).values())

    def _objectives(self) -> dict[str, Json]:
        """Return the SLOs by their names, with the project's id and with its number."""
        numbered, named = f"projects/{self._project.number}/", f"projects/{self._project.id}/"
        objectives = {str(body["name"]): body for body in self._resources(OBJECTIVES)}
        return {
            spelling: body
            for name, body in objectives.items()
            for spelling in (name.replace(numbered, named, 1), name.replace(named, numbered, 1))
        }

    def _count(self, entry: Json) -> None:
        if not is_countable(entry):
            return
        at = read_instant(entry["timestamp"]) / SECOND
        for metric in series.record_entry(self.series, self._resources(METRICS), entry, at):
            self._describe(metric)

    def _describe(self, metric: Json) -> None:
        """Make known a log-based metric that has counted something, as threshold conditions need it."""
        kind = extract.metric_type(metric)
        name = f"projects/{self._project.id}/metricDescriptors/{kind}"
        self._project.resources(DESCRIPTORS)[name] = {**metric.get("metricDescriptor", {}), "name": name, "type": kind}

    def _export(self, entry: Json) -> None:
        for sink in taking_sinks(self._resources(SINKS), entry):
            for delivery in self._deliveries:
                delivery(sink, entry)


def read_moment(text: str | None, otherwise: float) -> float:
    """Return the seconds since 1970 of a time as Prometheus' API takes it: RFC 3339, or seconds.

    Raises CloudError: 400.
    """
    if not text:
        return otherwise
    try:
        return read_instant(text) / SECOND if "-" in text else float(text)
    except ValueError:
        raise invalid(f'invalid parameter "time": cannot parse "{text}" to a valid timestamp') from None


def no_prometheus(missing: promql.NoPrometheusError) -> CloudError:
    """Return the double's refusal of PromQL on a machine without Prometheus."""
    return unimplemented(f"PromQL where {missing}")
