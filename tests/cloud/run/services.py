"""A service: its revisions in the order in which they were made, where its traffic goes, and its addresses."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, replace

from tests.cloud.errors import invalid, not_found
from tests.cloud.logging.entries import Origin
from tests.cloud.run import traffic
from tests.cloud.run.conditions import READY, Failure, condition, revision_missing
from tests.cloud.run.fronts import Front
from tests.cloud.run.platform import Platform
from tests.cloud.run.pools import Bounds, PoolFacts
from tests.cloud.run.processes import Tree
from tests.cloud.run.revisions import Revision, already_exists, name_revision, short_name
from tests.cloud.run.traffic import Routes
from tests.cloud.schemas import Json

LARGEST_DEFAULT = 100


@dataclass(frozen=True)
class RevisionFacts:
    """What Cloud Run itself reports of a revision, at one moment."""

    origin: Origin
    pool: PoolFacts
    cpu: float
    memory_bytes: int
    concurrency: int


class Service:
    """One service; fronts ask it for every request, deployments change it one at a time."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self.settings: Json = {}
        self.origin = _origin(name)
        self._platform = platform
        self._random = random.Random(platform.seed)
        self._revisions: dict[str, Revision] = {}
        self._made = 0
        self._routes = Routes()
        self._targets: list[Json] = []
        self._observed_generation = "0"
        self._deploying = threading.Lock()
        self._fronts = {"": Front(self, "", platform)}

    @property
    def uri(self) -> str:
        """The service's own address."""
        return self._fronts[""].url

    @property
    def audiences(self) -> frozenset[str]:
        """Calls to a tag's address are for the service's address, too."""
        return frozenset([self.uri, f"{self.uri}/", *self.settings.get("customAudiences", ())])

    def pick(self, tag: str) -> Revision | None:
        """Return the revision that answers the next request, to a tag where one is given."""
        routes = self._routes
        name = routes.tags.get(tag) if tag else routes.pick(self._random)
        return self._revisions.get(name) if name else None

    def deploy(self, settings: Json, *, forced: bool) -> Json:
        """Make a revision where one is due, move the traffic where it can go, and return the status fields.

        Raises CloudError: 400, 409, 501; then nothing has changed.
        """
        with self._deploying:
            targets = traffic.read_targets(settings)
            revision = self._find_or_make(settings["template"], forced=forced)
            self.settings = settings
            failure = self._route(targets)
            if revision.failure is None and failure is None:
                self._observed_generation = settings["generation"]
            return self._status(revision, failure)

    def revisions(self) -> list[Json]:
        """Return every revision as the Admin API's resource, the newest first."""
        newest_first = reversed(self._revisions.values())
        return [revision.resource(self.name, self._bounds(revision).minimum) for revision in newest_first]

    def delete_revision(self, name: str) -> None:
        """Forget a revision that serves nobody and is not the latest.

        Raises CloudError: 404, 400.
        """
        with self._deploying:
            revision = self._revisions.get(name)
            if revision is None:
                raise not_found(f"Revision '{name}' not found.")
            self._refuse_to_delete(revision)
            self._revisions = {other: kept for other, kept in self._revisions.items() if other != name}
        revision.pool.close()

    def facts(self) -> list[RevisionFacts]:
        """Return what is to be reported of every revision that can have instances."""
        return [revision_facts(revision) for revision in self._revisions.values()]

    def limit_memory(self, tree: Tree) -> None:
        """Kill the instances that hold more memory than they may."""
        for revision in self._revisions.values():
            revision.pool.limit_memory(tree)

    def sweep(self, idle_seconds: float) -> list[threading.Thread]:
        """Stop what was idle for so long and start what the minimum lacks; return what is still stopping."""
        pools = [revision.pool for revision in self._revisions.values()]
        stopping = [thread for pool in pools for thread in pool.stop_idle(idle_seconds)]
        for pool in pools:
            pool.fill()
        return stopping

    def close(self) -> None:
        """End every process, then every port; requests under way are answered 503."""
        self._routes = Routes()
        self._end_instances()  # a deployment that waits for one of them would hold the lock for minutes
        with self._deploying:
            self._end_instances()
            for front in self._fronts.values():
                front.close()

    def _end_instances(self) -> None:
        for revision in self._revisions.values():
            revision.pool.close()

    def _find_or_make(self, template: Json, *, forced: bool) -> Revision:
        latest = self._latest()
        asked = short_name(template.get("revision"))
        if latest and not forced and latest.is_made_of(template) and asked in ("", latest.name):
            return latest
        known = self._revisions.get(asked)
        if known is None:
            return self._make(template)
        if forced or not known.is_made_of(template):
            raise already_exists(asked)
        self._put(known)
        return known

    def _make(self, template: Json) -> Revision:
        name = name_revision(self.origin.service, self._made + 1, template)
        origin = replace(self.origin, revision=name, labels=template.get("labels", {}))
        revision = Revision(origin, template, self._platform)
        self._made += 1
        self._put(revision)
        revision.check()
        return revision

    def _put(self, revision: Revision) -> None:
        """Make a revision the latest; requests that read the revisions meanwhile see the old ones or the new ones."""
        others = {name: other for name, other in self._revisions.items() if other is not revision}
        self._revisions = {**others, revision.name: revision}

    def _latest(self, *, ready: bool = False) -> Revision | None:
        newest_first = reversed(self._revisions.values())
        return next((revision for revision in newest_first if not ready or revision.failure is None), None)

    def _route(self, targets: list[Json]) -> Failure | None:
        """Move the traffic to these targets where each can serve; return what hinders it, and then leave it alone."""
        latest = self._latest(ready=True)
        wanted = [traffic.revision_of(target, latest.name if latest else None) for target in targets]
        failure = next(filter(None, map(self._hindrance, wanted)), None)
        if failure is None:
            self._targets = targets
            self._routes = traffic.route(targets, latest.name if latest else None)
            for tag in self._routes.tags:
                if tag not in self._fronts:
                    self._fronts = {**self._fronts, tag: Front(self, tag, self._platform)}
        for revision in self._revisions.values():
            revision.pool.bind(self._bounds(revision))
        return failure

    def _hindrance(self, name: str | None) -> Failure | None:
        """Return why a revision cannot take traffic; without a name, why there is no ready one yet."""
        revision = self._revisions.get(name) if name else self._latest()
        return revision.failure if revision else revision_missing(name or "")

    def _bounds(self, revision: Revision) -> Bounds:
        percent = self._routes.percents.get(revision.name, 0)
        serves = self._routes.serves(revision.name)
        return bounds(self.settings.get("scaling", {}), revision.template.get("scaling", {}), percent, serves=serves)

    def _status(self, latest: Revision, unroutable: Failure | None) -> Json:
        ready = self._latest(ready=True)
        return {
            "reconciling": False,
            "latestCreatedRevision": self._full(latest),
            "latestReadyRevision": self._full(ready) if ready else "",
            "observedGeneration": self._observed_generation,
            "terminalCondition": condition(READY, latest.failure or unroutable),
            "conditions": [
                condition("RoutesReady", unroutable),
                condition("ConfigurationsReady", latest.failure),
            ],
            "uri": self.uri,
            "urls": [self.uri],
            "trafficStatuses": [self._target_status(target) for target in self._targets],
        }

    def _target_status(self, target: Json) -> Json:
        tag = target.get("tag")
        return {**target, "uri": self._fronts[tag].url} if tag else dict(target)

    def _full(self, revision: Revision) -> str:
        return f"{self.name}/revisions/{revision.name}"

    def _refuse_to_delete(self, revision: Revision) -> None:
        if self._routes.serves(revision.name) or revision is self._latest(ready=True):
            text = "The latest ready revision and revisions with traffic or a tag cannot be deleted"
            raise invalid(f"{text}: {revision.name}.")


def revision_facts(revision: Revision) -> RevisionFacts:
    """Return what is to be reported of a revision, at this moment."""
    spec = revision.spec
    return RevisionFacts(revision.origin, revision.pool.facts(), spec.cpu, spec.memory_bytes, spec.concurrency)


def bounds(service: Json, revision: Json, percent: int, *, serves: bool) -> Bounds:
    """Return how many instances a revision may have, by its own scaling and its share of the service's."""
    if service.get("scalingMode") == "MANUAL":
        count = _share(service.get("manualInstanceCount", 0), percent)
        return Bounds(count, count, serves)
    maximum = revision.get("maxInstanceCount") or LARGEST_DEFAULT
    if service.get("maxInstanceCount"):
        maximum = min(maximum, max(1, _share(service["maxInstanceCount"], percent)))
    own = revision.get("minInstanceCount", 0) if serves else 0
    return Bounds(min(maximum, max(own, _share(service.get("minInstanceCount", 0), percent))), maximum, serves)


def _share(count: int, percent: int) -> int:
    return math.ceil(count * percent / 100)


def _origin(name: str) -> Origin:
    _, project, _, location, _, service = name.split("/")
    return Origin(project, location, service, "")
