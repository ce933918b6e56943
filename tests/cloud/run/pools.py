"""The instances of one revision: found for a request, started when missing, stopped when idle."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.cloud.run.instances import Instance
from tests.cloud.run.probes import Verdict
from tests.cloud.run.processes import Tree
from tests.cloud.run.specs import Spec

# Cloud Run lets a request wait for 3.5 times the average startup, or for this long where that is longer.
LEAST_PATIENCE_SECONDS = 10.0
STARTUPS_OF_PATIENCE = 3.5
# How long after a connection it may take until the end of the process is noticed.
DYING_SECONDS = 0.2
# Cloud Run's own words for why an instance starts.
ROLLOUT = (
    "Starting new instance. Reason: DEPLOYMENT_ROLLOUT - Instance started due to traffic shifting between revisions "
    "due to deployment, traffic split adjustment, or deployment health check."
)
SCALING = (
    "Starting new instance. Reason: AUTOSCALING - Instance started due to configured scaling factors (e.g. CPU "
    "utilization, request throughput, etc.) or no existing capacity for current traffic."
)
MINIMUM = (
    "Starting new instance. Reason: MANUAL_OR_CUSTOMER_MIN_INSTANCE - Instance started because of customer-configured "
    "min-instances or manual scaling."
)


class NoInstance(Exception):
    """Nobody became free and nobody could be started in time."""


class CannotLaunch(Exception):
    """There is not even a process; the log says why."""


class StartFailed(Exception):
    """The instance that a request waited for did not start."""

    def __init__(self, *, exited: bool) -> None:
        super().__init__("the process ended" if exited else "the startup probe failed")
        self.exited = exited


@dataclass(frozen=True)
class Bounds:
    """How many instances a revision may have; one that serves nobody keeps none."""

    minimum: int = 0
    maximum: int = 100
    serves: bool = False


@dataclass(frozen=True)
class InstanceFacts:
    """One instance at one moment."""

    id: str
    requests: int
    cpu_seconds: float
    rss_bytes: int


@dataclass(frozen=True)
class PoolFacts:
    """The instances of a revision at one moment, and what all of them, ended ones too, have used so far."""

    active: int
    idle: int
    startup_seconds: tuple[float, ...]
    cpu_seconds: float
    instance_seconds: float
    instances: tuple[InstanceFacts, ...]


class Pool:
    """Keeps one revision's instances within its bounds; everything in it may be called from any thread."""

    def __init__(self, spec: Spec, launch: Callable[[str, Callable[[Instance], None]], Instance]) -> None:
        """Take what starts an instance, given the line that says why and what to call when it ended."""
        self._spec = spec
        self._launch = launch
        # Until it is bound, an instance that a deployment has just started must not count as superfluous.
        self._bounds = Bounds(serves=True)
        self._ready: list[Instance] = []
        self._starting = 0
        self._waiting = 0
        self._failed_starts = 0
        self._last_failure: StartFailed | None = None
        self._startups: list[float] = []
        self._ended_cpu_seconds = 0.0
        self._ended_instance_seconds = 0.0
        self._all: set[Instance] = set()
        self._closed = False
        self._changed = threading.Condition()

    def acquire(self) -> Instance:
        """Return an instance with room for one more request, which then counts as under way.

        Raises NoInstance, StartFailed.
        """
        with self._changed:
            failed_starts = self._failed_starts
            deadline = time.monotonic() + self._patience_seconds()
            self._waiting += 1
            try:
                while (instance := self._free()) is None:
                    if self._last_failure and self._failed_starts > failed_starts and not self._starting:
                        raise self._last_failure
                    if self._closed:
                        raise NoInstance
                    self._start_missing()
                    if not self._changed.wait(max(0, deadline - time.monotonic())):
                        raise NoInstance
            finally:
                self._waiting -= 1
            instance.under_way += 1
            return instance

    def release(self, instance: Instance) -> None:
        """Count a request as done."""
        with self._changed:
            instance.under_way -= 1
            instance.idle_since = time.monotonic()
            self._changed.notify_all()
        self._drop_if_too_large(instance)
        self.stop_idle(math.inf)

    def limit_memory(self, tree: Tree) -> None:
        """Kill every instance that holds more memory than it may; what is under way on one is answered 503."""
        with self._changed:
            instances = list(self._all)
        for instance in instances:
            instance.find_descendants(tree)
            self._drop_if_too_large(instance)

    def drop_if_dead(self, instance: Instance) -> None:
        """After a lost connection: see to it that a process which has just died gets no further request."""
        if instance.ended.wait(DYING_SECONDS):
            self._drop(instance)

    def start(self, reason: str) -> Verdict | None:
        """Start an instance and wait until it is ready, or known not to become it; None where the pool is closed."""
        with self._changed:
            if self._closed:
                return None
            self._starting += 1
        return self._start(reason)

    def bind(self, bounds: Bounds) -> None:
        """Take new bounds; what is missing starts in the background, what serves nobody any more is stopped."""
        with self._changed:
            self._bounds = bounds
        self.fill()
        self.stop_idle(math.inf)

    def fill(self) -> None:
        """Start in the background what the minimum lacks."""
        with self._changed:
            # What could not start before would not now: only requests and deployments try again.
            if self._last_failure is None:
                self._start_in_background(self._bounds.minimum - len(self._ready) - self._starting, MINIMUM)

    def stop_idle(self, longer_than_seconds: float) -> list[threading.Thread]:
        """Stop in the background what was idle for so long, but for the minimum; without traffic, all that is idle."""
        with self._changed:
            now = time.monotonic()
            idle = [instance for instance in self._ready if not instance.under_way]
            if self._bounds.serves:
                spare = len(self._ready) - self._bounds.minimum
                idle = [instance for instance in idle if now - instance.idle_since >= longer_than_seconds]
                idle = sorted(idle, key=lambda instance: instance.idle_since)[: max(0, spare)]
            for instance in idle:
                self._ready.remove(instance)
        return [_run(instance.stop) for instance in idle]

    def facts(self) -> PoolFacts:
        """Return the counts of this moment."""
        with self._changed:
            usages = {instance: instance.usage() for instance in self._all}
            cpu = self._ended_cpu_seconds + sum(usage.cpu_seconds for usage in usages.values())
            age = self._ended_instance_seconds + sum(instance.age_seconds for instance in self._all)
            active = sum(instance.under_way > 0 for instance in self._ready)
            instances = tuple(
                InstanceFacts(
                    instance.origin.instance_id,
                    instance.under_way,
                    usages[instance].cpu_seconds,
                    usages[instance].rss_bytes,
                )
                for instance in self._ready
                if instance in usages
            )
            return PoolFacts(active, len(self._ready) - active, tuple(self._startups), cpu, age, instances)

    def close(self) -> None:
        """Start nothing any more, and wait until every process has ended."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            instances = list(self._all)
            self._changed.notify_all()
        for stopping in [_run(instance.stop) for instance in instances]:
            stopping.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._all and not self._starting)

    def _drop_if_too_large(self, instance: Instance) -> None:
        if instance.kill_if_too_large():
            self._drop(instance)

    def _drop(self, instance: Instance) -> None:
        """See to it that an instance gets no further request."""
        with self._changed:
            if instance in self._ready:
                self._ready.remove(instance)

    def _free(self) -> Instance | None:
        with_room = [instance for instance in self._ready if instance.under_way < self._spec.concurrency]
        return min(with_room, key=lambda instance: instance.under_way, default=None)

    def _start_missing(self) -> None:
        wanted = math.ceil(self._waiting / self._spec.concurrency) - self._starting
        room = self._bounds.maximum - len(self._ready) - self._starting
        self._start_in_background(min(wanted, room), SCALING)

    def _start_in_background(self, count: int, reason: str) -> None:
        for _ in range(0 if self._closed else count):
            self._starting += 1
            _run(self._start, reason)

    def _start(self, reason: str) -> Verdict:
        """Start an instance that is counted as starting already."""
        try:
            instance = self._launch(reason, self._ended)
            self._admit(instance)
            verdict = instance.await_start()
            self._decide(instance, verdict)
        except CannotLaunch:
            verdict = Verdict(passed=False, exited=True, line="")
            self._decide(None, verdict)
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()
        return verdict

    def _admit(self, instance: Instance) -> None:
        with self._changed:
            if not instance.ended.is_set():
                self._all.add(instance)
            closed = self._closed
        if closed:
            instance.stop()

    def _decide(self, instance: Instance | None, verdict: Verdict) -> None:
        with self._changed:
            self._last_failure = None if verdict.passed else StartFailed(exited=verdict.exited)
            if instance is None or not verdict.passed:
                self._failed_starts += 1
            elif not instance.ended.is_set() and not self._closed:
                self._startups.append(instance.startup_seconds or 0.0)
                instance.idle_since = time.monotonic()
                self._ready.append(instance)

    def _ended(self, instance: Instance) -> None:
        with self._changed:
            self._all.discard(instance)
            if instance in self._ready:
                self._ready.remove(instance)
            self._ended_cpu_seconds += instance.usage().cpu_seconds
            self._ended_instance_seconds += instance.age_seconds
            self._changed.notify_all()

    def _patience_seconds(self) -> float:
        average = sum(self._startups) / len(self._startups) if self._startups else 0.0
        return max(LEAST_PATIENCE_SECONDS, STARTUPS_OF_PATIENCE * average)


def _run(run: Callable[..., object], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread
